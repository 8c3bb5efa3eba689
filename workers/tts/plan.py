"""Decides what to synthesise next, folded from the call's event log.  Pure.

Only the newest reply counts: an older one ends when the next starts.  An interrupted reply ends when the caller's words
arrive; until then its current clause is synthesised to the end, because the reply may resume.  A clause that a previous
owner has synthesised (`ClauseSynthesized`) is not synthesised again.  After a reconnect everything that the caller did
not hear is, because the audio was lost with the connection: from the first clause that was not `ClausePlayed`, or from
the word that the caller had reached, if the edge reported it (`CallStarted.heard`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from common.call.backchannels import is_backchannel
from common.protocol.messages import (
    CallEnded,
    CallStarted,
    Clause,
    ClausePlayed,
    ClauseSynthesized,
    EagerUserTurn,
    HeardPosition,
    Interrupted,
    Message,
    ReplyDiscarded,
    ReplyEnded,
    ReplyPlayed,
    ReplyReleased,
    ReplyResumed,
    ReplyStarted,
    UserTurn,
    of_past_connection,
)
from workers.tts.resume_point import ON_ITS_WAY_MS, resume_ms


@dataclass(frozen=True, slots=True)
class Synthesize:
    """Synthesise this clause for connection `epoch`, without its first `from_ms` ms, which the caller has heard."""

    clause: Clause
    epoch: int
    from_ms: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """All clauses of the reply are synthesised: report it to the edge, with the action that follows the reply."""

    turn: int
    then: str


Task: TypeAlias = Synthesize | Done


class SpeechPlan:
    """One call's speech plan.  Call `receive` with every event in order; `next` returns what to do now."""

    def __init__(self) -> None:
        self._turn = 0
        self._clauses: dict[int, Clause] = {}
        self._spoken: set[int] = set()
        self._ended: ReplyEnded | None = None
        self._synthesized: dict[int, ClauseSynthesized] = {}  # by clause, for whichever connection it was synthesised
        self._played: set[int] = set()
        self._start_at: tuple[int, int] = (0, 0)  # (clause, ms) at which this connection begins
        self._closed = False  # interrupted, discarded or played
        self._possible_interruption = 0  # the utterance that interrupted it, while it may prove to be noise; else 0
        self._resumed = 0  # the newest utterance that proved to be noise
        self._completion_sent = False  # `ReplySynthesized` was sent to the edge
        self.held = False
        """True if the reply is preemptive: the edge must hold its audio until the release."""
        self.answers = 0
        """The utterance that the reply answers; 0: none."""
        self.epoch = 0
        self.edge = ""
        self.over = False

    def receive(self, message: Message) -> None:
        """Fold one event.  A repeated event changes nothing."""
        if of_past_connection(message, self.epoch):
            return
        match message:
            case CallStarted(epoch, edge, heard=heard) if epoch > self.epoch:
                self.epoch, self.edge = epoch, edge
                self._resume_from(heard)
                self._spoken = set(self._played)  # audio that was still queued on the lost connection was never heard
                self._completion_sent = False
                self.over = False  # the carrier may reconnect a call that has ended here
            case CallEnded(epoch):
                self.over = self.over or epoch == 0 or epoch >= self.epoch
            case ReplyStarted(turn, utterance, based_on):
                if turn > self._turn:
                    self._open(turn)
                    self.held, self.answers = bool(based_on), utterance
            case ReplyReleased(_, _, turn) if turn == self._turn:
                self.held = False
            case Clause(turn, clause):
                self._open(turn)
                if turn == self._turn:
                    self._clauses.setdefault(clause, message)
            case ReplyEnded(turn) if turn == self._turn:
                self._ended = message
            case ClauseSynthesized(turn, clause, epoch=epoch) if turn == self._turn:
                self._synthesized[clause] = message
                if epoch in (0, self.epoch):
                    self._spoken.add(clause)
            case ClausePlayed(turn, clause) if turn == self._turn:
                self._played.update(range(clause + 1))  # the carrier plays in order, but may not report each clause
            case Interrupted(turn, utterance=utterance) if turn == self._turn and utterance:
                if utterance > self._resumed:
                    self._possible_interruption = utterance
            case ReplyResumed(turn, utterance) if turn == self._turn and 0 < self._possible_interruption <= utterance:
                self._possible_interruption, self._resumed = 0, utterance
            case EagerUserTurn(utterance, text) | UserTurn(utterance, text) if (
                0 < self._possible_interruption <= utterance
            ):
                self._closed = self._closed or not is_backchannel(text)
            case Interrupted(turn) | ReplyPlayed(turn) | ReplyDiscarded(turn) if turn == self._turn:
                self._closed = True
            case _:
                pass

    def next(self) -> Task | None:
        """Return what to do now; None: wait for the next event."""
        if self._closed or self._possible_interruption or self._completion_sent or self.over or not self.edge:
            return None
        number = 0
        while number in self._spoken:
            number += 1
        if number in self._clauses:
            return Synthesize(
                self._clauses[number], self.epoch, self._start_at[1] if number == self._start_at[0] else 0
            )
        if self._ended is not None and number >= self._ended.clauses:
            return Done(self._turn, self._ended.then)
        return None

    def note_completion_sent(self, turn: int) -> None:
        """Record that `ReplySynthesized` was sent to the edge."""
        if turn == self._turn:
            self._completion_sent = True

    def stands(self, task: Synthesize) -> bool:
        """True if this clause is still to be synthesised, and for the current connection."""
        return self.speaks(task.clause.turn) and task.epoch == self.epoch

    def speaks(self, turn: int) -> bool:
        """True if the caller may still hear anything of this reply."""
        return turn == self._turn and not self._closed and not self.over

    def _resume_from(self, heard_position: HeardPosition) -> None:
        """Compute where in the reply a new connection begins."""
        self._start_at = (0, 0)
        if len(heard_position) != 3 or heard_position[0] != self._turn:
            return
        _, clause, heard_ms = heard_position
        if heard_ms < ON_ITS_WAY_MS and clause - 1 in self._synthesized and clause - 1 not in self._played:
            clause -= 1  # its end was still on its way to the caller
            heard_ms += self._synthesized[clause].duration_ms
        self._played.update(range(clause))
        if clause in self._clauses:
            known = self._synthesized.get(clause)
            duration_ms, char_timings = (known.duration_ms, known.char_timings) if known else (0, ())
            self._start_at = (clause, resume_ms(self._clauses[clause].text, heard_ms, duration_ms, char_timings))

    def _open(self, turn: int) -> None:
        if turn > self._turn:
            self._turn = turn
            self._clauses, self._spoken, self._played = {}, set(), set()
            self._synthesized, self._start_at = {}, (0, 0)
            self._ended, self._closed, self._completion_sent = None, False, False
            self._possible_interruption = self._resumed = 0
            self.held, self.answers = False, 0
