"""What the mouth must say next, folded from the call's story.  Pure.

Only the newest reply counts: an older one is over the moment the next begins, and an interrupted one once there are
words; until then the clause that is being spoken is spoken to its end, because the reply may go on.  What
another owner has synthesized before us (`ClauseSynthesized`) is not synthesized again; but after a reconnect everything
that was not heard is, because the connection that held it is gone: from the clause that was not `ClausePlayed`, or, if
the edge's last frames tell how far the caller had heard (`CallStarted.heard`), from the word in it.
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
    """Speak this clause, for this connection of the call, but for its first `from_ms`: those were heard before."""

    clause: Clause
    epoch: int
    from_ms: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """All clauses of the reply are spoken: tell the edge."""

    turn: int
    then: str


Task: TypeAlias = Synthesize | Done


class SpeechPlan:
    """One call's script.  `receive` every event in order; `next` is what to do now."""

    def __init__(self) -> None:
        self._turn = 0
        self._clauses: dict[int, Clause] = {}
        self._spoken: set[int] = set()
        self._ended: ReplyEnded | None = None
        self._lengths: dict[int, ClauseSynthesized] = {}  # of the clauses, whichever connection they were spoken for
        self._played: set[int] = set()
        self._from: tuple[int, int] = (0, 0)  # (clause, ms) from which this connection goes on
        self._closed = False  # interrupted or played
        self._doubt = 0  # the speech that interrupted it, if that may prove to be a cough
        self._resumed = 0  # the newest one that did
        self._told = False  # the edge knows that the reply is complete
        self.held = False
        """The reply is tentative: the edge must keep what it gets."""
        self.answers = 0
        """The utterance that the reply answers; 0: none."""
        self.epoch = 0
        self.edge = ""
        self._edge_holds = False
        self.over = False

    def receive(self, message: Message) -> None:
        """Fold one event.  A repeated one changes nothing."""
        if of_past_connection(message, self.epoch):
            return
        match message:
            case CallStarted(epoch, edge, can_hold_replies=holds, heard=heard) if epoch > self.epoch:
                self.epoch, self.edge, self._edge_holds = epoch, edge, holds
                self._goes_on(heard)
                self._spoken = set(self._played)  # what the lost connection still held was never heard
                self._told = False
                self.over = False  # the carrier may come back with a call that was over for us
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
                self._lengths[clause] = message
                if epoch in (0, self.epoch):
                    self._spoken.add(clause)
            case ClausePlayed(turn, clause) if turn == self._turn:
                self._played.update(range(clause + 1))  # a carrier plays in order, but may not tell of each
            case Interrupted(turn, utterance=utterance) if turn == self._turn and utterance:
                if utterance > self._resumed:
                    self._doubt = utterance
            case ReplyResumed(turn, utterance) if turn == self._turn and 0 < self._doubt <= utterance:
                self._doubt, self._resumed = 0, utterance
            case EagerUserTurn(utterance, text) | UserTurn(utterance, text) if 0 < self._doubt <= utterance:
                self._closed = self._closed or not is_backchannel(text)
            case Interrupted(turn) | ReplyPlayed(turn) | ReplyDiscarded(turn) if turn == self._turn:
                self._closed = True
            case _:
                pass

    def next(self) -> Task | None:
        """What to do now; None: wait for the next event."""
        if self._closed or self._doubt or self._told or self.over or not self.edge:
            return None
        if self.held and not self._edge_holds:
            return None  # an edge of release 0.1.0 would play it at once
        number = 0
        while number in self._spoken:
            number += 1
        if number in self._clauses:
            return Synthesize(self._clauses[number], self.epoch, self._from[1] if number == self._from[0] else 0)
        if self._ended is not None and number >= self._ended.clauses:
            return Done(self._turn, self._ended.then)
        return None

    def told(self, turn: int) -> None:
        """The edge knows that the reply is complete."""
        if turn == self._turn:
            self._told = True

    def stands(self, task: Synthesize) -> bool:
        """Is this clause still worth speaking?  Not if the connection that it is spoken for is gone."""
        return self.speaks(task.clause.turn) and task.epoch == self.epoch

    def speaks(self, turn: int) -> bool:
        """May anything of this reply still be heard?"""
        return turn == self._turn and not self._closed and not self.over

    def _goes_on(self, heard: HeardPosition) -> None:
        """A new connection: where in the reply does it begin?"""
        self._from = (0, 0)
        if len(heard) != 3 or heard[0] != self._turn:
            return
        _, clause, heard_ms = heard
        if heard_ms < ON_ITS_WAY_MS and clause - 1 in self._lengths and clause - 1 not in self._played:
            clause -= 1  # its end was on its way to the caller
            heard_ms += self._lengths[clause].duration_ms
        self._played.update(range(clause))
        if clause in self._clauses:
            known = self._lengths.get(clause)
            text, (length_ms, marks) = (
                self._clauses[clause].text,
                (known.duration_ms, known.char_timings) if known else (0, ()),
            )
            self._from = (clause, resume_ms(text, heard_ms, length_ms, marks))

    def _open(self, turn: int) -> None:
        if turn > self._turn:
            self._turn = turn
            self._clauses, self._spoken, self._played = {}, set(), set()
            self._lengths, self._from = {}, (0, 0)
            self._ended, self._closed, self._told = None, False, False
            self._doubt = self._resumed = 0
            self.held, self.answers = False, 0
