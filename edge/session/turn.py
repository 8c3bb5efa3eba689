"""Decides whose turn it is.  Pure: no socket, no clock, no bus.

    first audio of a reply ──▶ PLAYING ──everything heard──▶ PLAYED
                                │    ▲
              the caller speaks │    │ silent again, and no words
                                ▼    │
                       POSSIBLE_INTERRUPTION ──words, or long speech──▶ INTERRUPTED (the reply is stale)

These are states of `common.call.reply_state`, which the workers fold from the edge's reports.

The agent stops at the first sound, because an STT worker needs about 500 ms to detect words.  A cough or a "mm-hm" is
no interruption: the reply then resumes at the syllable where it stopped.

Replies are numbered (`turn`).  An interruption raises the lowest number that may still play, so audio of the old reply
that is still in transit is stale when it arrives, and no race with it is possible.

A reply of which the caller has heard nothing yet is not interrupted: it waits until the caller is silent.  If the
caller said something new, the next reply replaces it; after a cough it plays.

The caller's speech is numbered too (`utterance`): a repeated or late report changes nothing.

A key of the telephone interrupts at once: it is no cough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from common.call.reply_state import CLOSED, ReplyState

HOLD_MS_MAX = 35_000
"""Maximum wait of a reply for the caller to fall silent; the STT worker forces an end of speech after 30 s."""
CONFIRM_MS = 800
"""Speech this long is an interruption, even if no word of it was detected."""
RESUME_MS = 1200
"""How long words are waited for after a short sound.  Words that arrive later stop the agent again."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Clear the carrier's queue now, and publish the interruption.

    `utterance` names the sound that may be no interruption: keep the unheard audio until `DiscardReply` or
    `ResumeReply`. 0: discard it now.
    """

    utterance: int = 0


@dataclass(frozen=True, slots=True)
class DiscardReply:
    """It was an interruption: discard the unheard audio of the reply."""


@dataclass(frozen=True, slots=True)
class ResumeReply:
    """It was no interruption: resume the reply where `utterance` stopped it."""

    turn: int
    utterance: int


@dataclass(frozen=True, slots=True)
class Wake:
    """Call `Turn.wake` at this time (ms)."""

    at_ms: float


@dataclass(frozen=True, slots=True)
class PauseOutput:
    """Send no audio: the caller is speaking."""


@dataclass(frozen=True, slots=True)
class ResumeOutput:
    """Audio may be sent again."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The caller has heard the whole reply; `then` is what follows: "" or "hangup"."""

    turn: int
    then: str


Effect: TypeAlias = Interrupt | DiscardReply | ResumeReply | Wake | PauseOutput | ResumeOutput | Finish


class Turn:
    """The turns of one call.  Each method takes one event and returns the effects, in order.  `now` is in ms."""

    def __init__(self, interruptible: bool = True) -> None:
        self._first_interruptible = self._interruptible = interruptible
        self.turn = 0
        """The newest reply whose audio was admitted."""
        self.turn_min = 1
        """The lowest reply whose audio is admitted; older audio is stale."""
        self.answers = 0
        """The utterance that the newest reply answers; 0: none."""
        self.state = ReplyState.PLAYED
        """The state of the current reply; PLAYED before the first."""
        self._utterance = 0
        self._speaking_since: float | None = None  # set while the caller is speaking
        self._awaiting_reply = False  # the caller has spoken, and no reply has begun since
        self._complete: tuple[int, str] | None = None  # last clause and `then` of the current reply, once known
        self._heard_clause = -1  # last clause of the current reply that the caller has heard
        self._stopped_by = 0  # the utterance that may have interrupted it
        self._resume_at: float | None = None  # set while the caller is silent again after that
        self._resumed_by = 0  # the utterance that stopped the current reply, after which it resumed

    def admits(self, turn: int) -> bool:
        """Whether audio of this reply may still reach the caller."""
        return turn >= self.turn_min

    def audio_arrived(self, turn: int, answers: int = 0, interruptible: bool | None = None) -> list[Effect]:
        """Audio of an admitted reply arrived; a newer reply replaces the current one.

        `answers` is the utterance that the reply answers.  That utterance is over, even if its start is reported only
        later.  `interruptible` is of the agent that has the reply; None: of that with which the call began.
        """
        if turn <= self.turn:
            return []
        self._utterance = max(self._utterance, answers)
        effects: list[Effect] = [Interrupt()] if self.speaking else []
        if self.state is ReplyState.POSSIBLE_INTERRUPTION:
            effects += self._confirm()
        self._open(turn)
        self.answers = answers
        self._interruptible = self._first_interruptible if interruptible is None else interruptible
        return effects

    def reply_complete(self, turn: int, last_clause: int, then: str) -> list[Effect]:
        """All audio of an admitted reply arrived; `last_clause` is -1 if it has none."""
        effects = self.audio_arrived(turn)
        if turn == self.turn and self.unfinished:
            self._complete = (last_clause, then)
        return [*effects, *self._finish()]

    def clause_heard(self, turn: int, clause: int) -> list[Effect]:
        """The clause was played to its end, as the carrier confirms or, without its answer, the clock shows."""
        if turn == self.turn and self.unfinished:
            self._heard_clause = max(self._heard_clause, clause)
        return self._finish()

    def caller_speaks(self, utterance: int, begun: int, now: float) -> list[Effect]:
        """The caller began to speak.

        `begun` is the newest reply of which a frame was sent.  `words_detected` follows if the speech has words.
        """
        if utterance <= self._utterance:
            return []
        self._utterance = utterance
        self._speaking_since = now
        self._awaiting_reply = False
        if self.state is ReplyState.POSSIBLE_INTERRUPTION:
            self._resume_at = None
            return [Wake(now + CONFIRM_MS)]
        if not self.speaking or begun < self.turn:
            return [PauseOutput()]
        if not self._interruptible:
            return []
        self.state = ReplyState.POSSIBLE_INTERRUPTION
        self._stopped_by, self._resume_at = utterance, None
        return [Interrupt(utterance), PauseOutput(), Wake(now + CONFIRM_MS)]

    def words_detected(self, utterance: int) -> list[Effect]:
        """The utterance contains words.  Only after `caller_speaks`."""
        if self.state is ReplyState.POSSIBLE_INTERRUPTION and utterance >= self._stopped_by:
            return self._confirm()
        if self.speaking and 0 < self._resumed_by <= utterance:
            self.state = ReplyState.INTERRUPTED
            self.turn_min = self.turn + 1
            self._awaiting_reply = not self.caller_is_speaking
            return [Interrupt()]
        return []

    def key_pressed(self, begun: int) -> list[Effect]:
        """The caller pressed a key: an interruption without a doubt, after which nothing resumes.

        `begun` is the newest reply of which a frame was sent; one that the caller has not begun to hear is played.
        """
        if self.state is ReplyState.POSSIBLE_INTERRUPTION:
            return self._confirm()
        if not self.speaking or begun < self.turn or not self._interruptible:
            return []
        self.state = ReplyState.INTERRUPTED
        self.turn_min = self.turn + 1
        return [Interrupt()]

    def caller_silent(self, utterance: int, now: float) -> list[Effect]:
        """The caller fell silent."""
        if utterance < self._utterance or self._speaking_since is None:
            return []
        self._speaking_since = None
        if self.state is ReplyState.POSSIBLE_INTERRUPTION:
            self._resume_at = now + RESUME_MS
            return [Wake(self._resume_at)]
        self._awaiting_reply = not self.speaking
        return [ResumeOutput()]

    def wake(self, now: float) -> list[Effect]:
        """Call at the times of `Wake`, and about once a second: a lost end of speech must not mute the agent."""
        if self._speaking_since is not None and now - self._speaking_since > HOLD_MS_MAX:
            return self.caller_silent(self._utterance, now)
        if self.state is not ReplyState.POSSIBLE_INTERRUPTION:
            return []
        if self._speaking_since is not None:
            return self._confirm() if now - self._speaking_since >= CONFIRM_MS else []
        if self._resume_at is None or now < self._resume_at:
            return []
        self.state = ReplyState.PLAYING
        self._resumed_by = self._stopped_by
        return [ResumeReply(self.turn, self._stopped_by), ResumeOutput(), *self._finish()]

    def _confirm(self) -> list[Effect]:
        self.state = ReplyState.INTERRUPTED
        self.turn_min = self.turn + 1
        if self.caller_is_speaking:
            return [DiscardReply()]
        self._awaiting_reply = True
        return [DiscardReply(), ResumeOutput()]

    @property
    def caller_is_speaking(self) -> bool:
        """Whether the caller is speaking, as far as was reported."""
        return self._speaking_since is not None

    @property
    def between(self) -> bool:
        """Whether the caller fell silent and no reply has begun: the moment in which nobody speaks."""
        return self._awaiting_reply

    @property
    def speaking(self) -> bool:
        """Whether a reply is being played, or waits to be."""
        return self.state is ReplyState.PLAYING

    @property
    def unfinished(self) -> bool:
        """Whether more of the current reply may be heard."""
        return self.state not in CLOSED

    def _open(self, turn: int) -> None:
        self.turn = self.turn_min = turn
        self._resumed_by = 0
        self.state = ReplyState.PLAYING
        self._awaiting_reply = False
        self._complete, self._heard_clause = None, -1

    def _finish(self) -> list[Effect]:
        if not self.speaking or self._complete is None or self._heard_clause < self._complete[0]:
            return []
        self.state = ReplyState.PLAYED
        return [Finish(self.turn, self._complete[1])]
