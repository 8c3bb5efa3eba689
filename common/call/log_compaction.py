"""Shortens the event log of an ended call to what its record needs.  Pure.

Whoever folds the shortened log learns the same as from the whole one: `GET /v1/calls/<id>`
(`common.call.transcript.Story`: who said what, what was heard, timings, usage), and the workers, should the carrier
come back with the call.  What goes is how it came about: stamps that `PlayStarted` repeats, lengths of clauses that
were heard out, replies and speeches that came to nothing, who held the call.  An entry that stays keeps its id and its
place; shortening twice changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from msgspec.structs import replace

from common.call.reply_state import ABOUT_REPLY, Reply
from common.protocol.messages import (
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
)

Entries: TypeAlias = Sequence[tuple[str, Message]]
"""(entry id, message), in order."""

SETTLED = "-"
"""Stands for the text that a reply was prepared for, once that was released or withdrawn: nobody compares it again."""


def compacted(entries: Entries) -> list[tuple[str, Message]]:
    """The entries that the record of an ended call needs, in order."""
    log = _Log(entries)
    kept = [(entry_id, short) for entry_id, message in entries if (short := log.shortened(message)) is not None]
    return sorted([*kept, *log.usage()], key=lambda entry: _place(entry[0]))


class _Log:
    """What must be known of the whole log before any of it may go."""

    def __init__(self, entries: Entries) -> None:
        self._replies = _replies(message for _, message in entries)
        self._newest = max(self._replies, default=0)
        self._understood = {message.utterance for _, message in entries if isinstance(message, UserTurn)}
        self._voice = max(
            (message.token for _, message in entries if isinstance(message, OwnerChanged) and message.pool == "tts"),
            default=0,
        )
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
        """What stays of the message; None: nothing."""
        return self._about_reply(message) if isinstance(message, ABOUT_REPLY) else self._other(message)

    def usage(self) -> list[tuple[str, Message]]:
        """One sum for each pool and provider, where its last part stood."""
        sums: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for (pool, provider, unit), amount in self._used.items():
            sums.setdefault((pool, provider), []).append((unit, amount))
        return [(self._last_used[who], UsageReported(*who, tuple(amounts))) for who, amounts in sums.items()]

    def _other(self, message: Message) -> Message | None:
        match message:
            case UsageReported() | EagerUserTurn():
                return None
            case OwnerChanged(pool, token):
                return message if pool == "tts" and token == self._voice else None
            case SpeechStarted(utterance=utterance) | SpeechEnded(utterance=utterance):
                return message if utterance in self._understood else None
            case UserTurn():
                return replace(message, stage_ms=())
            case ReplyStarted(turn, based_on=based_on):
                reply = self._replies[turn]
                settled = bool(based_on) and (reply.released or reply.discarded)
                return replace(message, based_on=SETTLED) if settled else message
            case ClausePlayed(turn, clause):
                return message if turn == self._newest and clause == self._played else None
            case _:
                return message

    def _about_reply(self, message: Message) -> Message | None:
        reply = self._replies.get(getattr(message, "turn", 0))
        if reply is None:
            return message
        match message:
            case Clause() | ReplyEnded() | ClauseSynthesized() if reply.discarded and not reply.released:
                return None  # nobody has heard it
            case Clause() | ReplyReleased():
                return replace(message, stage_ms=())
            case ClauseSynthesized():
                return _length(message, reply)
            case _:
                return message


def _replies(messages: Iterable[Message]) -> dict[int, Reply]:
    """Every reply of the log as it was in the end."""
    replies: dict[int, Reply] = {}
    for message in messages:
        if isinstance(message, ReplyStarted):
            replies.setdefault(message.turn, Reply(message.turn, message.utterance, message.based_on))
        elif isinstance(message, ABOUT_REPLY) and message.turn in replies:
            replies[message.turn].receive(message)
    return replies


def _length(spoken: ClauseSynthesized, reply: Reply) -> ClauseSynthesized | None:
    """As much of a clause's length as tells what was heard of it: its last word before the cut, or that it is short."""
    clause = spoken.clause
    counts = (reply.durations_ms.get(clause), reply.char_timings.get(clause), reply.synthesized_chars.get(clause))
    if counts != (spoken.duration_ms, spoken.char_timings, spoken.synthesized_chars):
        return None  # it was spoken again, and that counts
    cut_here = reply.cut is not None and reply.cut.clause == clause
    if not cut_here:
        whole = spoken.duration_ms > 0 and spoken.synthesized_chars < 0
        return None if whole else replace(spoken, char_timings=())
    assert reply.cut is not None
    reached = [mark for mark in spoken.char_timings if mark[1] < reply.cut.heard_ms]
    return replace(spoken, char_timings=tuple(reached[-1:]))


def _place(entry_id: str) -> tuple[int, int]:
    """The order of a stream's entry ids."""
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)
