"""One reply of the agent, and how much of it the caller heard.  Pure.

The carrier's account decides (`Interrupted`), and the length of each clause (`ClauseSynthesized`) says which words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from common.protocol.messages import (
    Clause,
    ClauseSynthesized,
    HeardPosition,
    Interrupted,
    PlaybackStarted,
    ReplyDiscarded,
    ReplyEnded,
    ReplyPlayed,
    ReplyReleased,
    ReplyResumed,
)

MS_PER_CHARACTER = 66
"""About 15 characters a second: how fast a voice speaks, used until the clause's true length is known."""
CUT_MARK = "—"
"""Ends a reply that was not heard to its end, so that a reader (or a model) can tell."""

ABOUT_REPLY = (
    Clause,
    ReplyEnded,
    ClauseSynthesized,
    PlaybackStarted,
    ReplyPlayed,
    Interrupted,
    ReplyResumed,
    ReplyReleased,
    ReplyDiscarded,
)
# fmt: off
AboutReply: TypeAlias = (
    Clause | ReplyEnded | ClauseSynthesized | PlaybackStarted | ReplyPlayed | Interrupted
    | ReplyResumed | ReplyReleased | ReplyDiscarded
)
# fmt: on


@dataclass(slots=True)
class Reply:
    """Folds its own events; a repeated one changes nothing."""

    turn: int
    utterance: int
    based_on: str = ""
    """See `ReplyStarted`."""
    released: bool = False
    discarded: bool = False
    clauses: list[str] = field(default_factory=list)
    durations_ms: dict[int, int] = field(default_factory=dict)
    char_timings: dict[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    """Of a clause: (offset of a character, ms in its audio), where the voice told them."""
    synthesized_chars: dict[int, int] = field(default_factory=dict)
    """Of a clause: how many of its characters are in its audio; -1: all."""
    ended: bool = False
    """All its clauses are known."""
    begun: bool = False
    """Its first frame has left for the caller."""
    played: bool = False
    """The caller has heard it all."""
    cut: Interrupted | None = None
    resumed_by: int = 0
    """The newest speech that interrupted it and proved to be a cough."""
    lost_at: tuple[int, int] | None = None
    """(clause, ms) up to where it was heard when its connection went; None while it is being played."""

    def lose(self, clause: int, heard_ms: int) -> None:
        """The connection is gone, or the call is over; it may go on there on the next one."""
        if not self.played:
            self.lost_at = (clause, heard_ms)

    def receive(self, message: AboutReply) -> None:
        """One event about this reply."""
        match message:
            case Clause(_, clause, text):
                if clause == len(self.clauses):
                    self.clauses.append(text)
            case ReplyEnded():
                self.ended = True
            case ClauseSynthesized(_, clause, duration_ms, char_timings, synthesized_chars=synthesized_chars):
                self.durations_ms[clause] = duration_ms
                self.char_timings[clause] = char_timings
                self.synthesized_chars[clause] = synthesized_chars
            case PlaybackStarted():
                self.begun, self.lost_at = True, None
            case ReplyPlayed():
                self.played = True
            case Interrupted(utterance=utterance):
                if self.cut is None and not 0 < utterance <= self.resumed_by:
                    self.cut = message
                elif self.may_resume and not utterance:
                    self.cut = message  # it does not go on
            case ReplyResumed(_, utterance):
                self.resumed_by = max(self.resumed_by, utterance)
                if self.may_resume and self.cut is not None and self.cut.utterance <= utterance:
                    self.cut = None
            case ReplyReleased():
                self.released = True
            case ReplyDiscarded(turn):
                self.discarded = True
                self.cut = self.cut or Interrupted(turn, 0, 0)

    @property
    def stopped_at(self) -> tuple[int, int] | None:
        """(clause, ms) up to where it was heard, if it was not heard to its end and is not being played."""
        if self.cut is not None:
            return self.cut.clause, self.cut.heard_ms
        return None if self.played else self.lost_at

    @property
    def may_resume(self) -> bool:
        """Was it cut by a sound that may be a cough?"""
        return self.cut is not None and self.cut.utterance > 0

    @property
    def preemptive(self) -> bool:
        """It waits for its `ReplyReleased`."""
        return bool(self.based_on) and not self.released

    @property
    def text(self) -> str:
        """All that was to be said, as far as it is known."""
        return " ".join(self.clauses)

    def heard(self) -> str:
        """What the caller heard; empty if nothing.  A reply that is being played counts as a whole.

        What no voice spoke was not heard, even if the reply was played to its end.
        """
        if self.stopped_at is None:
            count, part = (len(self.clauses), "") if self.begun else (0, "")
        else:
            clause, heard_ms = self.stopped_at
            count, part = clause, self._part(clause, heard_ms)
        heard = " ".join(text for text in [*map(self._voiced, range(min(count, len(self.clauses)))), part] if text)
        if not heard or self._heard_out(heard):
            return heard
        return f"{heard} {CUT_MARK}"

    def _heard_out(self, heard: str) -> bool:
        """Does what was heard end as the reply does?"""
        if self.stopped_at is None:
            last = len(self.clauses) - 1
            while last > 0 and not any(map(str.isalnum, self.clauses[last])):
                last -= 1  # an emoji is not spoken, and not missed
            return self._voiced(last) == self.clauses[last]
        return self.ended and heard == self.text

    def _voiced(self, clause: int) -> str:
        """As much of a clause as is in its audio; all of it while that is not known."""
        text = self.clauses[clause]
        if self.durations_ms.get(clause) == 0:
            return ""
        chars = self.synthesized_chars.get(clause, -1)
        return text if chars < 0 else text[:chars].strip()

    def _part(self, clause: int, heard_ms: int) -> str:
        """The words of a clause that fit into its first `heard_ms`."""
        if clause >= len(self.clauses):
            return ""
        text = self._voiced(clause)
        duration_ms = self.durations_ms.get(clause) or len(text) * MS_PER_CHARACTER
        if heard_ms >= duration_ms:
            return text
        reached = [offset for offset, at_ms in self.char_timings.get(clause, ()) if at_ms < heard_ms]
        begun = text[: reached[-1] + 1] if reached else text[: len(text) * heard_ms // duration_ms]
        return begun.rpartition(" ")[0].strip()  # the word that was being spoken does not count


def lose(replies: Mapping[int, Reply], heard: HeardPosition) -> None:
    """What a connection's end says of the reply that was being played (`CallStarted`, `CallEnded`)."""
    if len(heard) == 3 and (reply := replies.get(heard[0])) is not None:
        reply.lose(heard[1], heard[2])
