"""Whose turn is it?  The decisions of the edge, pure: no socket, no clock, no bus.

    LISTENING ──first audio of a reply──▶ SPEAKING ──everything heard──▶ LISTENING
                                             │
                                             └──the caller speaks──▶ LISTENING (what is left of the reply is stale)

Replies are numbered (`turn`).  An interruption raises the least number that may still play, so audio of the old reply
that is on its way anywhere never has to be raced: it is stale when it arrives.

A reply of which nothing was heard yet is not interrupted: it waits until the caller is silent.  If they said
something new, the next reply replaces it; if it was a cough, nothing is lost.

The caller's speech is numbered too (`utterance`): a repeated or late report changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

HOLD_MS_MAX = 35_000
"""A reply waits no longer than this for the caller to fall silent; the ears force an end of speech after 30 s."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """What is unheard of the current reply will not be: clear the carrier's queue now and tell the mind."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Send no audio: the caller is speaking."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Audio may be sent again."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The caller has heard the whole reply; `then` is what follows ("" or "hangup")."""

    turn: int
    then: str


Effect: TypeAlias = Interrupt | Hold | Resume | Finish


class Turn:
    """One call's turn.  Each method takes one event and returns what to do, in order."""

    def __init__(self, interruptible: bool = True) -> None:
        self._interruptible = interruptible
        self.turn = 0
        """The newest reply that was let in."""
        self.turn_min = 1
        """Audio of an older reply is stale."""
        self.answers = 0
        """The utterance that it answers; 0: none."""
        self.speaking = False
        """Is a reply unfinished?"""
        self._utterance = 0
        self._spoken_since: float | None = None  # the caller is speaking
        self._asked = False  # they have spoken, and no reply has begun since
        self._complete: tuple[int, str] | None = None  # last clause and `then` of the current reply, once known
        self._heard = -1  # last clause of the current reply that the caller has heard

    def admits(self, turn: int) -> bool:
        """May audio of this reply still reach the caller?"""
        return turn >= self.turn_min

    def audio_arrived(self, turn: int, answers: int = 0) -> list[Effect]:
        """Audio of a reply that is admitted is here; a newer reply replaces the current one.

        `answers` is the utterance that it answers: that one is over, even if its onset is not told before now.
        """
        if turn <= self.turn:
            return []
        self._utterance = max(self._utterance, answers)
        effects: list[Effect] = [Interrupt()] if self.speaking else []
        self._open(turn)
        self.answers = answers
        return effects

    def reply_complete(self, turn: int, last_clause: int, then: str) -> list[Effect]:
        """All audio of an admitted reply is here; `last_clause` is -1 if it has none."""
        effects = self.audio_arrived(turn)
        if turn == self.turn and self.speaking:
            self._complete = (last_clause, then)
        return [*effects, *self._finish()]

    def clause_heard(self, turn: int, clause: int) -> list[Effect]:
        """The carrier (or, failing it, the clock) says that the clause was played to its end."""
        if turn == self.turn and self.speaking:
            self._heard = max(self._heard, clause)
        return self._finish()

    def caller_speaks(self, utterance: int, begun: int, now: float) -> list[Effect]:
        """The ears hear speech.  `begun`: the newest reply of which a frame was sent."""
        if utterance <= self._utterance:
            return []
        self._utterance = utterance
        self._spoken_since = now
        self._asked = False
        if not self.speaking or begun < self.turn:
            return [Hold()]
        if not self._interruptible:
            return []
        self.speaking = False
        self.turn_min = self.turn + 1
        return [Interrupt(), Hold()]

    def caller_silent(self, utterance: int) -> list[Effect]:
        """The ears hear no speech any more."""
        if utterance < self._utterance or self._spoken_since is None:
            return []
        self._spoken_since = None
        self._asked = not self.speaking
        return [Resume()]

    def wake(self, now: float) -> list[Effect]:
        """Call about once a second: an end of speech that never came must not mute the agent."""
        if self._spoken_since is not None and now - self._spoken_since > HOLD_MS_MAX:
            return self.caller_silent(self._utterance)
        return []

    @property
    def caller_is_speaking(self) -> bool:
        return self._spoken_since is not None

    @property
    def between(self) -> bool:
        """Has the caller just fallen silent, and no reply begun: the moment at which nobody says anything?"""
        return self._asked

    def _open(self, turn: int) -> None:
        self.turn = self.turn_min = turn
        self.speaking = True
        self._asked = False
        self._complete, self._heard = None, -1

    def _finish(self) -> list[Effect]:
        if not self.speaking or self._complete is None or self._heard < self._complete[0]:
            return []
        self.speaking = False
        return [Finish(self.turn, self._complete[1])]
