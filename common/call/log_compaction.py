"""Compacts the event log of an ended call to the events that its record needs.  Pure.

A fold of the compacted log gives the same result as one of the whole log, both for `GET /v1/calls/<id>`
(`common.call.transcript.CallTranscript`: what each side said, what was heard, timings, usage) and for the workers if
the carrier connects the call again.  What is dropped: `stage_ms` that `PlaybackStarted` repeats, lengths of clauses
that were heard to the end, discarded replies and speech without words, owners.  An entry that stays keeps its id
and its position; compacting twice changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from msgspec.structs import replace

from common.call.reply_state import ABOUT_REPLY, Reply, ReplyState, lose
from common.protocol.acts import ToolSays
from common.protocol.messages import (
    CallEnded,
    CallStarted,
    Clause,
    ClausePlayed,
    ClauseSynthesized,
    EagerUserTurn,
    Message,
    OwnerChanged,
    ReplyEnded,
    ReplyReleased,
    ReplyStarted,
    SpeechEnded,
    SpeechStarted,
    UsageReported,
    UserTurn,
    of_past_connection,
)

Entries: TypeAlias = Sequence[tuple[str, Message]]
"""(entry id, message) pairs, in order."""

SETTLED = "-"
"""Replaces the text that a preemptive reply was based on, once the reply was released or discarded."""


def compacted(entries: Entries) -> list[tuple[str, Message]]:
    """The entries that the record of an ended call needs, in order."""
    entries = _current(entries)
    log = _Log(entries)
    kept = [(entry_id, short) for entry_id, message in entries if (short := log.shortened(message)) is not None]
    return sorted([*kept, *log.usage()], key=lambda entry: _entry_number(entry[0]))


def _current(entries: Entries) -> Entries:
    """The log without an edge's events of a past connection, which every reader ignores."""
    epoch, current = 0, []
    for entry_id, message in entries:
        if of_past_connection(message, epoch):
            continue
        if isinstance(message, CallStarted):
            epoch = max(epoch, message.epoch)
        current.append((entry_id, message))
    return current


class _Log:
    """Facts about the whole log that decide which entries stay."""

    def __init__(self, entries: Entries) -> None:
        self._replies = _replies(message for _, message in entries)
        self._newest = max(self._replies, default=0)
        self._understood = {message.utterance for _, message in entries if isinstance(message, UserTurn)}
        self._played = max(
            (
                message.clause
                for _, message in entries
                if isinstance(message, ClausePlayed) and message.turn == self._newest
            ),
            default=-1,
        )
        self._used: Counter[tuple[str, str, str]] = Counter()
        self._last_used: dict[tuple[str, str], str] = {}
        for entry_id, message in entries:
            if isinstance(message, UsageReported):
                self._last_used[message.pool, message.provider] = entry_id
                for unit, amount in message.amounts:
                    self._used[message.pool, message.provider, unit] += amount

    def shortened(self, message: Message) -> Message | None:
        """The message as it stays in the log, or None if it is dropped."""
        return self._about_reply(message) if isinstance(message, ABOUT_REPLY) else self._other(message)

    def usage(self) -> list[tuple[str, Message]]:
        """One sum of usage for each pool and provider, at the position of its last report."""
        sums: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for (pool, provider, unit), amount in self._used.items():
            sums.setdefault((pool, provider), []).append((unit, amount))
        return [(self._last_used[who], UsageReported(*who, tuple(amounts))) for who, amounts in sums.items()]

    def _other(self, message: Message) -> Message | None:
        match message:
            case UsageReported() | EagerUserTurn() | OwnerChanged():
                return None
            case SpeechStarted(utterance=utterance) | SpeechEnded(utterance=utterance):
                return message if utterance in self._understood else None
            case UserTurn():
                return replace(message, stage_ms=())
            case ReplyStarted(turn, based_on=based_on):
                reply = self._replies[turn]
                settled = bool(based_on) and not reply.preemptive
                return replace(message, based_on=SETTLED) if settled else message
            case _:
                return message

    def _about_reply(self, message: Message) -> Message | None:
        reply = self._replies.get(getattr(message, "turn", 0))
        if reply is None:
            return message
        match message:
            case Clause() | ReplyEnded() | ClauseSynthesized() if reply.state is ReplyState.DISCARDED:
                return None  # it was never played
            case ToolSays():
                return None  # what was spoken of it is a clause
            case Clause() | ReplyReleased():
                return replace(message, stage_ms=())
            case ClauseSynthesized():
                return _length(message, reply)
            case ClausePlayed(turn, clause):
                return message if turn == self._newest and clause == self._played else None
            case _:
                return message


def _replies(messages: Iterable[Message]) -> dict[int, Reply]:
    """Every reply of the log in its final state."""
    replies: dict[int, Reply] = {}
    epoch = 0
    for message in messages:
        match message:
            case CallStarted() if message.epoch > epoch:
                epoch = message.epoch
                lose(replies, message.heard)
            case CallEnded() if not message.epoch or message.epoch >= epoch:
                lose(replies, message.heard)
            case _:
                pass
        if isinstance(message, ReplyStarted):
            replies.setdefault(message.turn, Reply(message.turn, message.utterance, message.based_on))
        elif isinstance(message, ABOUT_REPLY) and message.turn in replies:
            replies[message.turn].receive(message)
    return replies


def _length(spoken: ClauseSynthesized, reply: Reply) -> ClauseSynthesized | None:
    """The part of a clause's length that says what was heard: its last word before the cut, or that it is short."""
    clause = spoken.clause
    counts = (reply.durations_ms.get(clause), reply.char_timings.get(clause), reply.synthesized_chars.get(clause))
    if counts != (spoken.duration_ms, spoken.char_timings, spoken.synthesized_chars):
        return None  # the clause was synthesized again, and the later one counts
    stopped_at = reply.stopped_at
    if stopped_at is None or stopped_at[0] != clause:
        whole = spoken.duration_ms > 0 and spoken.synthesized_chars < 0
        return None if whole else replace(spoken, char_timings=())
    reached = [mark for mark in spoken.char_timings if mark[1] < stopped_at[1]]
    return replace(spoken, char_timings=tuple(reached[-1:]))


def _entry_number(entry_id: str) -> tuple[int, int]:
    """An entry id as numbers, for sorting."""
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)
