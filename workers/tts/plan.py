"""Decides what to synthesise next, folded from the call's event log.  Pure.

Only the newest reply counts: an older one ends when the next starts.  While an interruption may prove to be none, the
current clause is synthesised to its end, because the reply may resume.  A clause that a previous owner has synthesised
(`ClauseSynthesized`) is not synthesised again.  A sound (`Clause.sound`) ends where the reply goes on with words, so
one that words follow already is left out.  After a reconnect everything that the caller did not hear is, because
the audio was lost with the connection: from the first clause that was not `ClausePlayed`, or from the word that the
caller had reached, if the edge reported it (`CallStarted.heard`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from common.call.reply_state import ABOUT_REPLY, Reply, ReplyState
from common.protocol.fields import HeardPosition
from common.protocol.messages import (
    CallEnded,
    CallStarted,
    Clause,
    ClausePlayed,
    ClauseSynthesized,
    Message,
    ReplyEnded,
    ReplyStarted,
    of_past_connection,
)
from workers.tts.resume_point import ON_ITS_WAY_MS, resume_ms, sound_resume_ms


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
        self._open(Reply(0, 0))
        self.epoch = 0
        self.edge = ""
        self.over = False

    def _open(self, reply: Reply) -> None:
        """Begin with another reply."""
        self._reply = reply
        self._clauses: dict[int, Clause] = {}
        self._spoken: set[int] = set()  # clauses that were synthesised for this connection, or need not be
        self._ended: ReplyEnded | None = None
        self._played: set[int] = set()
        self._start_at: tuple[int, int] = (0, 0)  # (clause, ms) at which this connection begins
        self._completion_sent = False  # `ReplySynthesized` was sent to the edge

    @property
    def held(self) -> bool:
        """True if the reply is preemptive: the edge must hold its audio until the release."""
        return self._reply.preemptive

    @property
    def answers(self) -> int:
        """The utterance that the reply answers; 0: none."""
        return self._reply.utterance

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
            case ReplyStarted(turn, utterance, based_on) if turn > self._reply.turn:
                self._open(Reply(turn, utterance, based_on))
            case Clause(turn) if turn > self._reply.turn:
                self._open(Reply(turn, 0))
            case _:
                pass
        if getattr(message, "turn", 0) == self._reply.turn:
            self._about_reply(message)

    def _about_reply(self, message: Message) -> None:
        if isinstance(message, ABOUT_REPLY):
            self._reply.receive(message)
        match message:
            case Clause(_, clause):
                self._clauses.setdefault(clause, message)
            case ReplyEnded():
                self._ended = message
            case ClauseSynthesized(_, clause, epoch=epoch) if epoch in (0, self.epoch):
                self._spoken.add(clause)
            case ClausePlayed(_, clause):
                self._played.update(range(clause + 1))  # the carrier plays in order, but may not report each clause
            case _:
                pass

    def next(self) -> Task | None:
        """Return what to do now; None: wait for the next event."""
        paused = self._reply.closed or self._reply.state is ReplyState.POSSIBLE_INTERRUPTION
        if paused or self._completion_sent or self.over or not self.edge:
            return None
        number = 0
        while number in self._spoken or self._is_over_sound(number):
            number += 1
        if number in self._clauses:
            from_ms = self._start_at[1] if number == self._start_at[0] else 0
            return Synthesize(self._clauses[number], self.epoch, from_ms)
        if self._ended is not None and number >= self._ended.clauses:
            return Done(self._reply.turn, self._ended.then)
        return None

    def goes_on(self, clause: Clause) -> bool:
        """True if words follow this clause in its reply already: a sound ends then."""
        return any(number > clause.clause and not later.sound for number, later in self._clauses.items())

    def _is_over_sound(self, number: int) -> bool:
        clause = self._clauses.get(number)
        return clause is not None and bool(clause.sound) and self.goes_on(clause)

    def note_completion_sent(self, turn: int) -> None:
        """Record that `ReplySynthesized` was sent to the edge."""
        if turn == self._reply.turn:
            self._completion_sent = True

    def stands(self, task: Synthesize) -> bool:
        """True if this clause is still to be synthesised, and for the current connection."""
        return self.speaks(task.clause.turn) and task.epoch == self.epoch

    def speaks(self, turn: int) -> bool:
        """True if the caller may still hear anything of this reply."""
        return turn == self._reply.turn and not self._reply.closed and not self.over

    def _resume_from(self, heard_position: HeardPosition) -> None:
        """Compute where in the reply a new connection begins."""
        self._start_at = (0, 0)
        if len(heard_position) != 3 or heard_position[0] != self._reply.turn:
            return
        _, clause, heard_ms = heard_position
        durations_ms, char_timings = self._reply.durations_ms, self._reply.char_timings
        if heard_ms < ON_ITS_WAY_MS and clause - 1 in durations_ms and clause - 1 not in self._played:
            clause -= 1  # its end was still on its way to the caller
            heard_ms += durations_ms[clause]
        self._played.update(range(clause))
        if clause in self._clauses:
            text, duration_ms = self._clauses[clause].text, durations_ms.get(clause, 0)
            resume = (
                sound_resume_ms(heard_ms)
                if self._clauses[clause].sound
                else resume_ms(text, heard_ms, duration_ms, char_timings.get(clause, ()))
            )
            self._start_at = (clause, resume)
