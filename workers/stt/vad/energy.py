"""Detects speech by its level alone.  Pure and cheap, and good enough to find the caller's pauses.

The level is compared with a floor that follows the line's noise: down at once, up slowly, so that a hum or the hiss
of a bad line stops counting as speech after some seconds, and words, which have gaps, never do.
"""

from __future__ import annotations

from collections import deque

from common.audio.g711 import BYTES_PER_MS, LINEAR_OF_MULAW
from workers.stt.vad.endpointing import WINDOW_MS

WINDOW_BYTES = WINDOW_MS * BYTES_PER_MS
LEVEL_UNIT = 128
"""One unit of level is this much of a 16-bit sample."""
SPEECH_LEVEL_MIN = 1.5
"""Mean level (units) of the softest speech: about -45 dBFS."""
BEGINS_OVER_FLOOR = 3.0
LASTS_OVER_FLOOR = 2.0
"""Speech is this many times louder than the floor: to begin, and to last."""
FLOOR_RISE = 1.0055
"""Growth of the floor in a window: it doubles in 4 s."""

FORGOTTEN_S = 10.0
"""Noises that a vendor did not report are forgotten after this long: a hundred coughs are not speech."""

SURELY, PERHAPS, NOT = 1.0, 0.4, 0.0
"""Probabilities for `Endpointing`: speech begins, speech lasts, silence."""

_LEVEL_OF_MULAW = bytes(min(255, abs(sample) // LEVEL_UNIT) for sample in LINEAR_OF_MULAW)


class EnergyVad:
    """Judges one call's audio, window by window.  Feed it in order."""

    def __init__(self) -> None:
        self._floor = SPEECH_LEVEL_MIN / BEGINS_OVER_FLOOR
        self._rest = b""
        self._rest_at_ms = 0

    def feed(self, position_ms: int, mulaw: bytes) -> list[tuple[int, float]]:
        """The windows that are complete with this audio: (position in ms, probability of speech)."""
        if self._rest and position_ms != self._rest_at_ms + len(self._rest) // BYTES_PER_MS:
            self._rest = b""  # audio is missing: the window that it tore counts as silence
        if not self._rest:
            self._rest_at_ms = position_ms
        audio = self._rest + mulaw
        windows = []
        whole = len(audio) - len(audio) % WINDOW_BYTES
        for start in range(0, whole, WINDOW_BYTES):
            windows.append((self._rest_at_ms, self._judge(audio[start : start + WINDOW_BYTES])))
            self._rest_at_ms += WINDOW_MS
        self._rest = audio[whole:]
        return windows

    def _judge(self, window: bytes) -> float:
        level = sum(window.translate(_LEVEL_OF_MULAW)) / len(window)
        self._floor = min(level, self._floor * FLOOR_RISE) if level > 0.0 else self._floor
        self._floor = max(self._floor, SPEECH_LEVEL_MIN / BEGINS_OVER_FLOOR)
        if level >= BEGINS_OVER_FLOOR * self._floor:
            return SURELY
        return PERHAPS if level >= LASTS_OVER_FLOOR * self._floor else NOT


class UnnoticedSpeech:
    """Measures speech, by its level, that a vendor has not reported for `seconds`.  Times are of any one clock."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loudness = EnergyVad()
        self._windows: deque[float] = deque(maxlen=int(FORGOTTEN_S * 1000 / WINDOW_MS))  # when each was fed

    def feed(self, position_ms: int, mulaw: bytes, now: float) -> None:
        """Take the call's next audio."""
        for _, probability in self._loudness.feed(position_ms, mulaw):
            if probability == NOT:
                continue
            if self._windows and now - self._windows[-1] > FORGOTTEN_S:
                self._windows.clear()
            self._windows.append(now)

    def noticed(self, now: float) -> None:
        """Take note of a message from the vendor; audio of the last moments it may not have processed."""
        while self._windows and self._windows[0] < now - self._seconds / 2:
            self._windows.popleft()

    @property
    def due(self) -> float | None:
        """When the speech so far has been unnoticed for long enough; None if there is too little of it."""
        if len(self._windows) * WINDOW_MS < 1000 * self._seconds:
            return None
        return self._windows[0] + self._seconds

    def lasts(self, now: float) -> bool:
        """True if there is that much speech, and it waits for that long."""
        return self.due is not None and now >= self.due
