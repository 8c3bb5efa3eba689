"""Turns Sarvam's messages into turns.  Pure: audio and messages in, events and texts out.

    START_SPEECH -> SpeechStart    END_SPEECH -> SpeechEnd    transcript, endpointing_ms of silence -> EndOfTurn

The vendor's voice detection decides, some half a second into a silence; the positions of speech are taken from the
loudness of the audio, as the messages have none.  There is no interim text, and nothing says which transcript belongs
to which speech: they come in order, one for each speech (documented only by example).

A turn never hangs.  A transcript that is late is asked for (`flush`), then given up: words that are known are
reported; if the speech was long enough to have had words, the vendor is Down, and the audio is replayed elsewhere; a
short noise is forgotten.  A speech whose END_SPEECH is overdue is ended here.  A vendor that leaves much loud audio
without any message does not process it any more.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from common.audio import g711
from workers.providers.interfaces import EagerEndOfTurn, EndOfTurn, ListenOptions, SpeechEnd, SpeechStart, SttEvent
from workers.providers.sarvam import parsed
from workers.stt.stream.backlog import ReplayBacklog
from workers.stt.stream.stt_core import IDLE_S, Effect, UnresponsiveVendor
from workers.stt.vad.endpointing import WINDOW_MS
from workers.stt.vad.energy import FORGOTTEN_S, NOT, EnergyVad

NAME = "sarvam"
FLUSH = '{"type":"flush"}'
ASK_PART = 0.4
"""After this part of the final deadline a transcript is asked for."""
END_OVERDUE_MS = 2_000
"""Silence by loudness, beyond `endpointing_ms`, after which a speech is ended though the vendor has not reported it."""
RUN_GAP_MS = 200
"""Loud windows this far apart are two runs."""
WORDS_EXPECTED_MS = 800
"""Speech this long has words; a cough is shorter."""


@dataclass(slots=True)
class _SarvamTurn:
    start_ms: int
    end_ms: int
    texts: list[str] = field(default_factory=list)
    unanswered: int = 0
    """Speeches whose transcript has not come."""
    decided_ms: int = 0
    """Not 0: the turn is over."""
    eager_sent: bool = False


def encode(mulaw: bytes) -> str:
    """Makes JSON of 16-bit samples: the vendor takes no mu-law.  `audio/wav` is the only encoding that it accepts."""
    pcm = base64.b64encode(g711.decode(mulaw)).decode()
    return f'{{"audio":{{"data":"{pcm}","sample_rate":"8000","encoding":"audio/wav"}}}}'


class SarvamCore:
    """See `workers.stt.stream.stt_core.SttCore`."""

    def __init__(self, options: ListenOptions, final_s: float, unresponsive_s: float) -> None:
        self._options = options
        self._final_s = final_s
        self._unresponsive_ms = unresponsive_s * 1000
        self._unnoticed_ms = 0  # loud audio since the vendor's last message
        self._unresponsive_at: float | None = None
        self._backlog = ReplayBacklog()
        self._loudness = EnergyVad()
        self._loud_from_ms = self._loud_to_ms = 0  # the last run of loud windows
        self._now_ms = 0  # end of the audio fed
        self._speaking = False
        self._turns: deque[_SarvamTurn] = deque()
        self._idle_at = 0.0
        self._ask_at: float | None = None
        self._due: float | None = None

    @property
    def deadline(self) -> float | None:
        idle_at = self._idle_at if self._turns and not self._turns[-1].decided_ms else None
        dues = (self._ask_at, self._due, self._unresponsive_at, idle_at)
        return min((due for due in dues if due is not None), default=None)

    def feed(self, position_ms: int, mulaw: bytes, now: float) -> Sequence[Effect]:
        self._backlog.feed(len(mulaw) / g711.BYTES_PER_MS, now)
        self._idle_at = now + IDLE_S
        for at_ms, probability in self._loudness.feed(position_ms, mulaw):
            if probability > NOT:
                if at_ms - self._loud_to_ms >= RUN_GAP_MS:
                    self._loud_from_ms = at_ms
                if at_ms - self._loud_to_ms >= 1000 * FORGOTTEN_S:
                    self._unnoticed_ms, self._unresponsive_at = 0, None
                self._loud_to_ms = at_ms + WINDOW_MS
                self._unnoticed_ms += WINDOW_MS
        if self._unresponsive_at is None and self._unnoticed_ms >= self._unresponsive_ms and not self._speaking:
            self._unresponsive_at = now + self._final_s + self._backlog.allowance_s(now)
        self._now_ms = position_ms + len(mulaw) // g711.BYTES_PER_MS
        silence_ms = self._now_ms - self._loud_to_ms
        if self._speaking and silence_ms >= self._options.endpointing_ms + END_OVERDUE_MS:
            return [FLUSH, *self._end_speech(now), *self._settle(now)]
        return self._settle(now)

    def receive(self, raw: str | bytes, now: float) -> list[Effect]:
        kind, data = parsed(NAME, raw)
        self._unnoticed_ms, self._unresponsive_at = 0, None
        signal = data.get("signal_type")
        events: list[SttEvent] = []
        if kind == "events" and signal == "START_SPEECH":
            events = self._start_speech()
        elif kind == "events" and signal == "END_SPEECH":
            events = self._end_speech(now)
        elif kind == "data":
            events = self._transcript(str(data.get("transcript") or "").strip(), now)
        return [*events, *self._settle(now)]

    def wake(self, now: float) -> list[Effect]:
        if self._unresponsive_at is not None and now >= self._unresponsive_at:
            raise UnresponsiveVendor(f"{NAME} does not notice speech")
        events: list[SttEvent] = []
        orders: list[Effect] = []
        if self._turns and not self._turns[-1].decided_ms and now >= self._idle_at:
            # No audio comes any more: the turn ends with what there was.
            if self._speaking:
                orders.append(FLUSH)
                events += self._end_speech(now)
            self._turns[-1].decided_ms = max(self._now_ms, 1)
            events += self._settle(now)
        if self._ask_at is not None and now >= self._ask_at:
            self._ask_at = None
            orders.append(FLUSH)
        if self._due is None or now < self._due:
            return [*orders, *events]
        waiting = [turn for turn in self._turns if turn.unanswered]
        for turn in waiting:
            if not turn.texts and turn.end_ms - turn.start_ms >= WORDS_EXPECTED_MS:
                raise UnresponsiveVendor(f"{NAME} does not send a transcript", tuple(events))
            turn.unanswered = 0
            events += self._settle(now)
        self._expect(now)
        return [*orders, *events]

    # --- messages ---

    def _start_speech(self) -> list[SttEvent]:
        if self._speaking:
            return []
        self._speaking = True
        turn = self._turns[-1] if self._turns and not self._turns[-1].decided_ms else None
        earliest_ms = self._turns[-1].end_ms if self._turns else 0
        # Loudness may have missed a soft voice: then the speech began when the vendor noticed it.
        loud_now = self._loud_to_ms > earliest_ms
        start_ms = max(
            earliest_ms, self._loud_from_ms if loud_now else self._now_ms - self._options.min_interruption_ms, 0
        )
        if turn is None:
            turn = _SarvamTurn(start_ms, start_ms)
            self._turns.append(turn)
        turn.eager_sent = False
        return [SpeechStart(start_ms)]

    def _end_speech(self, now: float) -> list[SttEvent]:
        if not self._speaking or not self._turns:
            return []
        self._speaking = False
        turn = self._turns[-1]
        turn.end_ms = max(turn.end_ms, min(self._loud_to_ms, self._now_ms), turn.start_ms)
        turn.unanswered += 1
        self._expect(now)
        return [SpeechEnd(turn.end_ms)]

    def _transcript(self, text: str, now: float) -> list[SttEvent]:
        turn = next((turn for turn in self._turns if turn.unanswered), self._turns[-1] if self._turns else None)
        if turn is None:  # of a speech that was given up: its words are reported late
            end_ms = max(self._loud_to_ms, 1)
            return [EndOfTurn(text, min(self._loud_from_ms, end_ms), end_ms, self._now_ms)] if text else []
        if text:
            turn.texts.append(text)
        turn.unanswered = max(0, turn.unanswered - 1)
        self._expect(now)
        return []

    # --- turns ---

    def _expect(self, now: float) -> None:
        """Wait for the oldest transcript, anew after each that came."""
        if any(turn.unanswered for turn in self._turns):
            allowance_s = self._backlog.allowance_s(now)
            self._ask_at = now + ASK_PART * self._final_s + allowance_s
            self._due = now + self._final_s + allowance_s
        else:
            self._ask_at = self._due = None

    def _settle(self, now: float) -> list[SttEvent]:
        """End the turns whose silence is long enough and whose transcripts are there."""
        events: list[SttEvent] = []
        if self._turns and not self._speaking:
            turn = self._turns[-1]
            if not turn.decided_ms and self._now_ms - turn.end_ms >= self._options.endpointing_ms:
                turn.decided_ms = self._now_ms
        while self._turns and self._turns[0].decided_ms and not self._turns[0].unanswered:
            turn = self._turns.popleft()
            if turn.texts:
                events.append(EndOfTurn(" ".join(turn.texts), turn.start_ms, turn.end_ms, turn.decided_ms))
        if len(self._turns) == 1 and self._options.eager_endpointing_ms and not self._speaking:
            turn = self._turns[0]
            if turn.texts and not turn.unanswered and not turn.eager_sent:
                turn.eager_sent = True
                events.append(EagerEndOfTurn(" ".join(turn.texts), turn.start_ms, turn.end_ms))
        return events
