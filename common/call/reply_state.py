"""The states of a reply of the agent, folded from its events, and how much of it the caller heard.  Pure.

    PREEMPTIVE ──▶ DISCARDED
        ▼
      QUEUED ──▶ PLAYING ──▶ PLAYED
        │  ╲      ▲   │ ╲
        │   ▼     │   ▼  ▶ INTERRUPTED
        │  POSSIBLE_INTERRUPTION ──▲ ▲
        └────────────────────────────┘

The edge decides between PLAYING and what follows (edge/session/turn.py) and reports it; the LLM worker decides what
becomes of a preemptive reply.  Each worker folds their reports here.  How much was heard the carrier reports
(`Interrupted`); the length of each clause (`ClauseSynthesized`) maps it to words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import TypeAlias

from common.call.tool_rounds import ToolRounds
from common.protocol.acts import ToolReturned, ToolSays, ToolsCalled
from common.protocol.fields import HeardPosition
from common.protocol.messages import (
    Clause,
    ClausePlayed,
    ClauseSynthesized,
    Interrupted,
    PlaybackStarted,
    ReplyDiscarded,
    ReplyEnded,
    ReplyPlayed,
    ReplyReleased,
    ReplyResumed,
)

MS_PER_CHARACTER = 66
"""Speaking rate of about 15 characters a second, used until the length of a clause is known."""
CUT_MARK = "—"
"""Ends a reply that was not heard to its end, so that a reader or a model can tell."""

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
    ClausePlayed,
    ToolsCalled,
    ToolReturned,
    ToolSays,
)
# fmt: off
AboutReply: TypeAlias = (
    Clause | ReplyEnded | ClauseSynthesized | PlaybackStarted | ReplyPlayed | Interrupted
    | ReplyResumed | ReplyReleased | ReplyDiscarded | ClausePlayed | ToolsCalled | ToolReturned | ToolSays
)
# fmt: on


class ReplyState(Enum):
    """Where a reply stands between its begin and its end."""

    PREEMPTIVE = "preemptive"
    """Begun before the caller's turn was over: nobody may hear it before its release."""
    QUEUED = "queued"
    PLAYING = "playing"
    POSSIBLE_INTERRUPTION = "possible interruption"
    """A sound stopped it, which may prove to be no turn; it may resume."""
    PLAYED = "played"
    """The caller has heard the whole of it."""
    INTERRUPTED = "interrupted"
    DISCARDED = "discarded"
    """It was preemptive, and is not the answer."""


_S = ReplyState
NEXT: dict[ReplyState, frozenset[ReplyState]] = {
    _S.PREEMPTIVE: frozenset({_S.QUEUED, _S.DISCARDED}),
    _S.QUEUED: frozenset({_S.PLAYING, _S.POSSIBLE_INTERRUPTION, _S.PLAYED, _S.INTERRUPTED}),
    _S.PLAYING: frozenset({_S.POSSIBLE_INTERRUPTION, _S.PLAYED, _S.INTERRUPTED}),
    _S.POSSIBLE_INTERRUPTION: frozenset({_S.PLAYING, _S.INTERRUPTED}),
    _S.PLAYED: frozenset(),
    _S.INTERRUPTED: frozenset(),
    _S.DISCARDED: frozenset(),
}
"""State -> the states that may follow; an event that asks for another one changes nothing."""
CLOSED = tuple(state for state, after in NEXT.items() if not after)
"""States in which nothing more of the reply is heard.

A tuple, because the edge looks here for each frame of the caller, and to hash an enum takes longer than to compare it.
"""


@dataclass(slots=True)
class Reply:
    """One reply, folded from its events; a repeated event changes nothing."""

    turn: int
    utterance: int
    based_on: str = ""
    """See `ReplyStarted`."""
    state: ReplyState = field(init=False)
    clauses: list[str] = field(default_factory=list)
    """The text of each clause; empty: a sound."""
    durations_ms: dict[int, int] = field(default_factory=dict)
    char_timings: dict[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    """Clause -> pairs of (offset of a character, ms in its audio), if the provider reports them."""
    synthesized_chars: dict[int, int] = field(default_factory=dict)
    """Clause -> how many of its characters are in its audio; -1: all."""
    ended: bool = False
    """All clauses are known."""
    tools: ToolRounds = field(default_factory=ToolRounds)
    """The calls of tools in the reply, and their results."""
    superseded: bool = False
    """A newer reply has begun."""
    played_clause: int = -1
    """The newest clause that the carrier confirmed."""
    begun: bool = False
    """The first frame was sent to the caller."""
    cut: Interrupted | None = None
    """Up to where it was heard, if it is interrupted or may be; a discarded one was heard up to its start."""
    resumed_by: int = 0
    """The newest speech that interrupted the reply and proved to be no turn."""
    lost_at: tuple[int, int] | None = None
    """(clause, ms) up to which it was heard when its connection was lost; None while it is being played."""

    def __post_init__(self) -> None:
        self.state = ReplyState.PREEMPTIVE if self.based_on else ReplyState.QUEUED

    def lose(self, clause: int, heard_ms: int) -> None:
        """Record that the connection was lost, or the call ended; a new connection may continue from here."""
        if self.state is not ReplyState.PLAYED:
            self.lost_at = (clause, heard_ms)

    def receive(self, message: AboutReply) -> None:
        """Fold one event about this reply."""
        match message:
            case Clause(_, clause, text):
                if clause == len(self.clauses):
                    self.clauses.append(text)
                    self.tools.note_clauses(len(self.clauses))
            case ToolsCalled():
                self.tools.call(message)
            case ToolSays():
                self.tools.say(message)
            case ToolReturned():
                self.tools.finish(message, waited=not (self.ended or self.closed or self.superseded))
            case ClausePlayed(_, clause):
                self.played_clause = max(self.played_clause, clause)
            case ReplyEnded():
                self.ended = True
            case ClauseSynthesized(_, clause, duration_ms, char_timings, synthesized_chars=synthesized_chars):
                self.durations_ms[clause] = duration_ms
                self.char_timings[clause] = char_timings
                self.synthesized_chars[clause] = synthesized_chars
            case PlaybackStarted():
                self.begun, self.lost_at = True, None
                if self.state is ReplyState.QUEUED:
                    self._enter(ReplyState.PLAYING)
            case ReplyPlayed():
                self._enter(ReplyState.PLAYED)
            case Interrupted(utterance=utterance) if not 0 < utterance <= self.resumed_by:
                if self._enter(ReplyState.POSSIBLE_INTERRUPTION if utterance else ReplyState.INTERRUPTED):
                    self.cut = message
            case ReplyResumed(_, utterance):
                self.resumed_by = max(self.resumed_by, utterance)
                if self.cut is not None and self.cut.utterance <= utterance and self._enter(ReplyState.PLAYING):
                    self.cut = None
            case ReplyReleased():
                self._enter(ReplyState.QUEUED)
            case ReplyDiscarded(turn):
                if self._enter(ReplyState.DISCARDED):
                    self.cut = Interrupted(turn, 0, 0)
            case _:
                pass

    def _enter(self, state: ReplyState) -> bool:
        """Whether the state changed."""
        if state not in NEXT[self.state]:
            return False
        self.state = state
        return True

    @property
    def stopped_at(self) -> tuple[int, int] | None:
        """(clause, ms) up to which it was heard, if it was stopped before its end and is not being played."""
        if self.cut is not None:
            return self.cut.clause, self.cut.heard_ms
        return None if self.state is ReplyState.PLAYED else self.lost_at

    @property
    def preemptive(self) -> bool:
        """Whether it waits for its `ReplyReleased`."""
        return self.state is ReplyState.PREEMPTIVE

    @property
    def closed(self) -> bool:
        """Whether nothing more of it is heard."""
        return self.state in CLOSED

    @property
    def on_hold(self) -> bool:
        """Whether it ends with a sound: the caller waits for something, and need not hear the end of it."""
        return self.ended and bool(self.clauses) and not self.clauses[-1]

    @property
    def text(self) -> str:
        """The text of all clauses known so far."""
        return " ".join(filter(None, self.clauses))

    def heard(self) -> str:
        """The text that the caller heard, or "".  A reply that is being played counts as a whole.

        Text that no provider spoke was not heard, even if the reply was played to its end.
        """
        return " ".join(part for part in self.heard_parts() if part)

    def heard_parts(self, bounds: Sequence[int] = ()) -> list[str]:
        """As `heard`, cut before the clauses with the numbers `bounds`: one text more than there are bounds."""
        if self.stopped_at is None:
            count, part = (len(self.clauses), "") if self.begun else (0, "")
        else:
            clause, heard_ms = self.stopped_at
            count, part = clause, self._part(clause, heard_ms)
        count = min(count, len(self.clauses))
        texts = [*map(self._voiced, range(count)), part]
        edges = [0, *(min(bound, len(texts)) for bound in bounds), len(texts)]
        parts = [" ".join(filter(None, texts[begin:end])) for begin, end in pairwise(edges)]
        if (heard := " ".join(filter(None, parts))) and not self._heard_out(heard):
            last = max(number for number, text in enumerate(parts) if text)
            parts[last] = f"{parts[last]} {CUT_MARK}"
        return parts

    def _heard_out(self, heard: str) -> bool:
        """Whether the text that was heard ends as the reply does."""
        if self.stopped_at is None:
            last = len(self.clauses) - 1
            while last > 0 and not any(map(str.isalnum, self.clauses[last])):
                last -= 1  # an emoji is not spoken, so it is not missing
            return self._voiced(last) == self.clauses[last]
        return self.ended and heard == self.text

    def _voiced(self, clause: int) -> str:
        """The text of a clause that is in its audio; all of it while that is not known."""
        text = self.clauses[clause]
        if self.durations_ms.get(clause) == 0:
            return ""
        chars = self.synthesized_chars.get(clause, -1)
        return text if chars < 0 else text[:chars].strip()

    def _part(self, clause: int, heard_ms: int) -> str:
        """The words of a clause that are complete within its first `heard_ms`."""
        if clause >= len(self.clauses):
            return ""
        text = self._voiced(clause)
        duration_ms = self.durations_ms.get(clause) or len(text) * MS_PER_CHARACTER
        if heard_ms >= duration_ms:
            return text
        reached = [offset for offset, at_ms in self.char_timings.get(clause, ()) if at_ms < heard_ms]
        begun = text[: reached[-1] + 1] if reached else text[: len(text) * heard_ms // duration_ms]
        return begun.rpartition(" ")[0].strip()  # the word that was cut does not count


def lose(replies: Mapping[int, Reply], heard: HeardPosition) -> None:
    """Apply the heard position of a lost connection (`CallStarted`, `CallEnded`) to the reply that was being played."""
    if len(heard) == 3 and (reply := replies.get(heard[0])) is not None:
        reply.lose(heard[1], heard[2])
