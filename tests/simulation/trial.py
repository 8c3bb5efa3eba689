"""What must hold in one call, whatever breaks: checked while it happens, and at its end.  Pure.

See docs/testing.md for the list in words.  Facts come from three witnesses that cannot agree by accident: what the
caller's phone played, what was written to the call's story, and what the edges did.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from common.call.end_reasons import EndReason
from common.call.reply_state import ABOUT_REPLY, CUT_MARK, Reply, ReplyState, lose
from common.protocol.fields import HeardPosition
from common.protocol.messages import (
    AudioIn,
    AudioOut,
    AudioStarted,
    CallEnded,
    CallStarted,
    Clause,
    ClausePlayed,
    Interrupted,
    Message,
    ReplyEnded,
    ReplyPlayed,
    ReplyResumed,
    ReplyStarted,
    ReplySynthesized,
    SpeechStarted,
    UserTurn,
)
from common.store import END_REASONS
from tests.simulation.providers import FRAME_BYTES, FRAMES_PER_CHARACTER, Saying, saying_of, word_ended
from tests.simulation.tool_trial import FILLER_CLAUSES, ToolTrial
from workers.llm.text.phrases import APOLOGIES

FRAME_MS = 20
HELD_FRAMES_MAX = 90_000 // FRAME_MS
APOLOGY_BEGIN = 10
"""So many characters of the apology are in its first clause at least."""
OWN_SPEECH_S = 0.1
"""Sound this soon after a word still belongs to it."""

Place = tuple[int, int]
"""(turn, clause)"""


@dataclass(slots=True)
class _Epoch:
    """What one connection did."""

    severed: bool = False
    tolerance: int = 1
    """How many frames the edge may be wrong about what was heard: it cannot see the frames that are on their way."""
    fence: int = 0
    turn_min: int = 1
    cut: Interrupted | None = None
    """The reply was cut, and it is not known yet whether for good."""
    resumes: int = 0
    """How often a reply went on after that."""
    last: tuple[int, int, int] = (0, -1, -1)
    """Turn, clause and frame that were sent last."""
    sent: Counter[Place] = field(default_factory=Counter)
    heard: Counter[Place] = field(default_factory=Counter)


@dataclass(slots=True)
class Trial:
    """One call before the judge.  `wrong` is told of each breach."""

    call_id: str
    sayings: dict[int, Saying]
    vocabulary: dict[int, str]
    wrong: Callable[[str], None]
    tools: ToolTrial
    tokens: Counter[str] = field(default_factory=Counter)
    """Newest token of each pool."""
    spoke_s: dict[str, float] = field(default_factory=dict)
    """When the caller ended each word."""
    last_sound_s: float = 0.0
    """When the caller last made a sound."""
    words: dict[str, None] = field(default_factory=dict)
    """Words of the caller that reached the bus in time, in order."""
    audio_epoch: int = 0
    utterances: dict[int, str] = field(default_factory=dict)
    replies: dict[int, Reply] = field(default_factory=dict)
    clauses: dict[Place, str] = field(default_factory=dict)
    epoch: int = 0
    ends: set[tuple[int, str]] = field(default_factory=set)
    _epochs: dict[int, _Epoch] = field(default_factory=lambda: defaultdict(_Epoch))
    _over_with: dict[int, tuple[set[Place], set[int]]] = field(default_factory=dict)
    """By epoch: clauses and turns that stood in the story as heard, or as cut, before it began."""
    _ear: Counter[Place] = field(default_factory=Counter)
    """How many frames of each clause the caller has heard, on all connections together."""
    _played: set[Place] = field(default_factory=set)
    _closed: set[int] = field(default_factory=set)
    _late: set[tuple[int, int, int]] = field(default_factory=set)
    """Frames of (epoch, saying, number) that came with a token that was old by then."""
    _in_time: set[tuple[int, int, int]] = field(default_factory=set)

    # --- the bus ------------------------------------------------------------------------------------------------

    def audio(self, message: AudioIn | AudioStarted) -> None:
        """An entry of the call's audio.  What comes behind the start of a newer connection is not heard any more."""
        self.audio_epoch = max(self.audio_epoch, message.epoch)
        if isinstance(message, AudioStarted) or message.epoch < self.audio_epoch:
            return
        if (number := word_ended(message.mulaw)) is not None:
            self.words.setdefault(self.vocabulary[number])

    def event(self, message: Message) -> None:
        """An entry of the call's story."""
        self.tools.event(message)
        match message:
            case CallStarted(epoch) if epoch > self.epoch:
                self.epoch = epoch
                self.ends -= {end for end in self.ends if end[1] == EndReason.TRANSFERRED}  # it came back
                lose(self.replies, message.heard)
                self._over_with[epoch] = (set(self._played), set(self._closed))
            case CallEnded(epoch, reason, heard=heard) if epoch == 0 or epoch >= self.epoch:
                self._end(epoch, reason, heard)
            case UserTurn(utterance, text):
                if self.utterances.setdefault(utterance, text) != text:
                    self._breach(f"utterance {utterance} is {self.utterances[utterance]!r} and {text!r}")
            case SpeechStarted(_, _, utterance) if sum(known > utterance for known in self.utterances) > 1:
                self._breach(f"speech {utterance} is heard again, long after it was understood")
            case ReplyStarted(turn, utterance, based_on):
                known = self.replies.setdefault(turn, Reply(turn, utterance, based_on))
                if known.utterance != utterance:
                    self._breach(f"reply {turn} answers utterances {known.utterance} and {utterance}")
            case Clause(turn, clause, text):
                if self.clauses.setdefault((turn, clause), text) != text:
                    self._breach(f"clause {turn}.{clause} is {self.clauses[turn, clause]!r} and {text!r}")
                if turn < max(self.replies, default=0):
                    self._breach(f"clause {turn}.{clause} is written, but reply {max(self.replies)} has begun")
            case ReplyEnded(turn, clauses):
                missing = [number for number in range(clauses) if (turn, number) not in self.clauses]
                if missing:
                    self._breach(f"reply {turn} ends without its clauses {missing}")
            case ClausePlayed(turn, clause):
                self._played.update((turn, number) for number in range(clause + 1))  # a carrier plays in order
            case Interrupted(turn) | ReplyPlayed(turn):
                self._closed.add(turn)
            case ReplyResumed(turn):
                for closed in (self._closed, *(turns for _, turns in self._over_with.values())):
                    closed.discard(turn)
        if isinstance(message, ABOUT_REPLY) and message.turn in self.replies:
            self.replies[message.turn].receive(message)

    def _end(self, epoch: int, reason: str, heard: HeardPosition) -> None:
        lose(self.replies, heard)
        self.ends.add((epoch, reason))
        if len(self.ends) > 1:
            self._breach(f"it ends more than once: {sorted(self.ends)}")
        if reason not in END_REASONS:
            self._breach(f"it ends because of {reason!r}")

    # --- the edge -----------------------------------------------------------------------------------------------

    def delivered(self, message: AudioOut | ReplySynthesized) -> None:
        """An edge is about to receive this: is its mouth still the newest that the edge has heard of?"""
        state = self._epochs[message.epoch]
        late = message.token < state.fence
        if not late and message.turn >= state.turn_min:
            state.fence = max(state.fence, message.token)
        if isinstance(message, AudioOut):
            for number, frame in _frames(message):
                place = (message.epoch, number, frame)
                if late and place not in self._in_time:
                    self._late.add(place)
                elif not late:
                    self._in_time.add(place)

    def interrupted(self, message: Interrupted, epoch: int) -> None:
        """The edge has just cut this reply off, perhaps only until it knows that it was a cough."""
        state = self._epochs[epoch]
        if not message.utterance:
            state.turn_min = max(state.turn_min, message.turn + 1)
        state.cut = message
        reply = self.replies.get(message.turn)
        if reply is not None and reply.on_hold:
            return  # music ends when there is something to say
        asked = self.utterances.get(reply.utterance, "") if reply is not None else ""
        asked_s = self.spoke_s.get(asked.split(" ")[-1], 0.0)
        if self.last_sound_s <= asked_s + OWN_SPEECH_S:
            self._breach(f"reply {message.turn} is interrupted, and the caller was silent since they asked")

    def resumed(self, message: ReplyResumed, epoch: int) -> None:
        """The edge lets the reply go on: with the frame at which it was cut."""
        state = self._epochs[epoch]
        cut, state.cut = state.cut, None
        if cut is None or (cut.turn, cut.utterance) != (message.turn, message.utterance):
            self._breach(f"reply {message.turn} goes on, but was not cut")
            return
        first = cut.heard_ms // FRAME_MS
        for place in [place for place in state.sent if place[0] == cut.turn and place[1] >= cut.clause]:
            state.sent[place] = min(state.sent[place], first) if place[1] == cut.clause else 0
        state.last = (cut.turn, cut.clause, first - 1)
        state.resumes += 1

    # --- the line -----------------------------------------------------------------------------------------------

    def sent(self, epoch: int, number: int, frame: int) -> None:
        """The edge has sent this frame to the carrier."""
        saying = self.sayings.get(number)
        about = saying.about if saying is not None else None
        if saying is None or about is None or about.call_id != self.call_id:
            self._breach(f"frame {frame} of a saying that is not of this call: {number}")
            return
        state = self._epochs[epoch]
        turn, clause = about.turn, about.clause
        late = (epoch, number, frame) in self._late
        frame += saying.first_seq
        name = f"frame {turn}.{clause}.{frame}"
        if epoch not in saying.epochs:
            self._breach(f"{name} of epochs {sorted(saying.epochs)} is sent in epoch {epoch}")
        if state.cut is not None and turn == state.cut.turn:
            self._breach(f"{name} is sent, but it was cut and does not go on yet")
        if turn < state.turn_min:
            self._breach(f"{name} is sent, but was interrupted or replaced before")
        if late:
            self._breach(f"{name} is of token {about.token}, but a newer mouth was heard before")
        clauses, turns = self._over_with.get(epoch, (set(), set()))
        if turn in turns or (turn, clause) in clauses:
            self._breach(f"{name} is sent in epoch {epoch}, but was over before it")
        reply = self.replies.get(turn)
        if reply is None or reply.preemptive:
            self._breach(f"{name} is sent, but nobody may hear that reply yet")
        self._follows(state, (turn, clause, frame), clauses)
        state.last = (turn, clause, frame)
        state.turn_min = max(state.turn_min, turn)
        state.sent[turn, clause] += 1

    def _follows(self, state: _Epoch, place: tuple[int, int, int], over_with: set[Place]) -> None:
        """Nothing is repeated, nothing left out."""
        turn, clause, frame = place
        last_turn, last_clause, last_frame = state.last
        if (turn, clause) == (last_turn, last_clause):
            if frame != last_frame + 1:
                self._breach(f"frame {turn}.{clause}.{frame} follows frame {last_frame}")
            return
        if (turn, clause) < (last_turn, last_clause):
            self._breach(f"clause {turn}.{clause} follows clause {last_turn}.{last_clause}")
        first = last_clause if turn == last_turn else 0
        if last_turn == 0:  # the first sound of this connection: it may go on where the one before broke off
            over_with = over_with | {place for place in self._ear if self._heard_out(place)}
            if 0 < frame <= self._ear[turn, clause]:
                state.sent[turn, clause] = state.heard[turn, clause] = frame
                frame = 0
        if frame != 0:
            self._breach(f"clause {turn}.{clause} begins with frame {frame}, heard were {self._ear[turn, clause]}")
        self._complete(turn, [number for number in range(first, clause) if (turn, number) not in over_with], state)

    def _heard_out(self, place: Place) -> bool:
        """Has the caller heard this clause to its end, on whichever connection?"""
        return self._ear[place] >= len(self.clauses.get(place, "")) * FRAMES_PER_CHARACTER

    def _complete(self, turn: int, clauses: Iterable[int], state: _Epoch) -> None:
        """Was all of these clauses sent, but for what a voice could not say?"""
        for clause in clauses:
            text = self.clauses.get((turn, clause), "")
            sent = state.sent[turn, clause]
            if sent < len(text) * FRAMES_PER_CHARACTER and not self._voice_failed(turn, clause):
                self._breach(f"of clause {turn}.{clause} only {sent} frames were sent")

    def _voice_failed(self, turn: int, clause: int) -> bool:
        text = self.clauses.get((turn, clause))
        return any(saying.failed_at >= 0 for saying in self.sayings.values() if saying.text == text)

    def heard(self, epoch: int, number: int, frame: int) -> None:
        """The caller has heard this frame."""
        about = self.sayings[number].about
        assert about is not None
        frame += self.sayings[number].first_seq
        state = self._epochs[epoch]
        place = (about.turn, about.clause)
        self._ear[place] = max(self._ear[place], frame + 1)
        known = state.heard[place]
        if state.resumes and abs(known - frame) <= state.tolerance:
            state.heard[place] = max(known, frame + 1)  # it was cut there: the edge cannot see what was on its way
            return
        if known != frame:
            self._breach(f"frame {about.turn}.{about.clause}.{frame} is heard after {state.heard[place]} of its clause")
        state.heard[place] += 1

    def line(self, epoch: int, latency_s: float) -> None:
        """An epoch has begun, on a line as slow as this."""
        self._epochs[epoch].tolerance = 1 + math.ceil(2000 * latency_s / FRAME_MS)

    def severed(self, epoch: int) -> None:
        """The line of this epoch broke: what the edge believes of the caller's ear counts for nothing from now on."""
        self._epochs[epoch].severed = True

    def held(self, frames: int) -> None:
        """An edge holds so much audio for the call."""
        if frames > HELD_FRAMES_MAX:
            self._breach(f"an edge holds {frames} frames")

    # --- the end ------------------------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Was everything that the caller said understood, and answered, or did the caller speak on?"""
        if list(self.words) != " ".join(text for _, text in sorted(self.utterances.items())).split():
            return False
        standing = [reply for _, reply in sorted(self.replies.items()) if reply.state is not ReplyState.DISCARDED]
        if not standing:
            return False
        newest = standing[-1]
        over = newest.closed or newest.state is ReplyState.POSSIBLE_INTERRUPTION
        answered = max(reply.utterance for reply in standing) >= max(self.utterances, default=0)
        return answered and over and not self.tools.missing

    def unsettled(self) -> str:
        """What is missing, for a trace."""
        said = " ".join(text for _, text in sorted(self.utterances.items()))
        newest = self.replies[max(self.replies)] if self.replies else None
        missing = f"understood was {said!r}, {self.tools.missing or 'no tool is waited for'}, newest reply: {newest}"
        return f"the caller said {' '.join(self.words)!r}, {missing}"

    def finish(self) -> None:
        """Judge the whole call."""
        understood = " ".join(text for _, text in sorted(self.utterances.items())).split()
        spoken = list(self.words)
        if understood != spoken[: len(understood)]:
            self._breach(f"the caller said {' '.join(spoken)!r}, understood was {' '.join(understood)!r}")
        for turn, reply in sorted(self.replies.items()):
            epochs = [number for number, state in self._epochs.items() if any(place[0] == turn for place in state.sent)]
            if len(epochs) == 1 and not self._epochs[epochs[0]].severed:
                self._compare(reply, self._epochs[epochs[0]])
            if reply.begun and reply.utterance and reply.clauses:
                self._fits(reply)
            if reply.cut is None and reply.stopped_at is not None:
                self._not_more_than_heard(reply, *reply.stopped_at)
            if reply.state is ReplyState.PLAYED and reply.clauses and not epochs and not self._mute(reply):
                self._breach(f"reply {turn} was played, says the story, but nothing of it was sent")

    def _not_more_than_heard(self, reply: Reply, clause: int, heard_ms: int) -> None:
        """The call ended in it: the story must not say of any word that it was heard if it was not."""
        tolerance = max((state.tolerance for state in self._epochs.values()), default=1)
        if heard_ms // FRAME_MS > self._ear[reply.turn, clause] + tolerance:
            place = f"{reply.turn}.{clause}"
            self._breach(
                f"of clause {place} {self._ear[reply.turn, clause]} frames were heard, by the story {heard_ms} ms"
            )

    def _fits(self, reply: Reply) -> None:
        """Is it the answer to what was said?  Its words are named for the last word that it answers."""
        asked = self.utterances.get(reply.utterance, "").split(" ")[-1]
        own = [text for text in reply.clauses if text not in FILLER_CLAUSES]
        if own and not own[0].startswith((asked, APOLOGIES["en"][:APOLOGY_BEGIN])):
            self._breach(f"reply {reply.turn} answers {asked!r} with {own[0]!r}")

    def _mute(self, reply: Reply) -> bool:
        return all(self._voice_failed(reply.turn, clause) for clause in range(len(reply.clauses)))

    def _compare(self, reply: Reply, state: _Epoch) -> None:
        """What the story says was heard, and what the carrier played."""
        turn = reply.turn
        heard = sum(count for place, count in state.heard.items() if place[0] == turn)
        if reply.cut is not None:
            before = sum(
                count for place, count in state.sent.items() if place[0] == turn and place[1] < reply.cut.clause
            )
            expected = before + reply.cut.heard_ms // FRAME_MS
            if abs(heard - expected) > state.tolerance:
                self._breach(f"reply {turn}: {heard} frames were heard, by the story {expected}")
                return
            if state.tolerance == 1:
                self._compare_words(reply, state)
        elif reply.state is ReplyState.PLAYED:
            self._complete(turn, range(len(reply.clauses)), state)
            if heard != sum(count for place, count in state.sent.items() if place[0] == turn):
                self._breach(f"reply {turn} was played, says the story, but only {heard} frames were heard")

    def _compare_words(self, reply: Reply, state: _Epoch) -> None:
        """To the word; the last one, in the middle of which the caller spoke, may count or not."""
        assert reply.cut is not None
        if any(clause not in reply.durations_ms for clause in range(min(reply.cut.clause + 1, len(reply.clauses)))):
            return  # the length of a clause was not known when it was cut: the story can only guess
        if any(self._voice_failed(reply.turn, clause) for clause in range(len(reply.clauses))):
            return  # which words a voice that broke off has said, nobody knows
        told = len(reply.heard().removesuffix(CUT_MARK).split())
        whole = 0
        for clause, text in enumerate(reply.clauses):
            frames = state.heard[reply.turn, clause]
            words = text[: frames // FRAMES_PER_CHARACTER].split()
            whole += len(text.split()) if frames >= len(text) * FRAMES_PER_CHARACTER else len(words)
        if not whole - 1 <= told <= whole:
            self._breach(f"reply {reply.turn}: the caller heard {whole} words, the story says {told}")

    def _breach(self, text: str) -> None:
        self.wrong(f"{self.call_id}: {text}")


def _frames(audio: AudioOut) -> list[tuple[int, int]]:
    return [saying_of(audio.mulaw[at : at + 8]) for at in range(0, len(audio.mulaw), FRAME_BYTES)]
