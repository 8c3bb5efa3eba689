"""Converts the bytes that a server sent for one clause to telephone audio: mu-law, 8 kHz, mono.

    bytes ──▶ what are they? ──▶ samples, as requested ─────┐
                     ├─────────▶ WAV: header read, removed ─┤──▶ first 100 ms of sound: a voice? ──▶ mu-law
                     └─────────▶ anything else: Rejected    └────────────── noise: Rejected

Nothing passes before it is known to be samples; a server that sends 100 ms at once is not delayed.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any

from workers.providers.deadlines import SynthesisDeadline
from workers.providers.interfaces import Down, Rejected
from workers.tts.audio import format
from workers.tts.audio.format import MULAW_8K, WAV, WINDOW_MS, Encoding, NotSamples
from workers.tts.audio.wav import WavStream

if TYPE_CHECKING:
    from workers.tts.audio.resample import PcmToMulaw


class ReceivedAudio:
    """Converts the answer of a server for one clause to mu-law.

    Call `declared` with the media type if there is one, then `feed` with each chunk, then `finish`.
    """

    def __init__(self, name: str, setting: str, asked: Encoding, deadline: SynthesisDeadline | None = None) -> None:
        """`name` ("openai/tts-1") and `setting` ("OPENAI_BASE_URL") appear in errors, which quote no byte.

        `deadline`, if given, is updated with the number of bytes of a millisecond.
        """
        self._name = name
        self._setting = setting
        self._asked = asked
        self._encoding = asked
        self._deadline = deadline
        self._label = self._hint = ""
        self._head: bytes | None = b""  # None: the format is known
        self._wav: WavStream | None = None
        self._odd = b""
        self._window: bytes | None = b""  # None: the first sound was a voice
        self._to_mulaw: PcmToMulaw | None = None

    def declared(self, content_type: str, *, trusted: bool = True) -> None:
        """Take the answer's media type.

        Raises `Rejected` if it is not playable, and `Down` if its sample rate is not the requested one.  A label of a
        compressed format is believed only if `trusted`; else the bytes decide.
        """
        label = format.compressed(content_type)
        self._label, self._hint = (label, "") if trusted else ("", label)
        try:
            self._encoding = format.declared(content_type, self._asked)
        except NotSamples as what:
            raise self._rejected(str(what)) from None
        if self._asked == MULAW_8K and self._encoding.coding == "mulaw" and self._encoding != MULAW_8K:
            raise Down(f"{self._name} answered with another sample rate than was asked for")
        self._update_deadline_rate()

    def feed(self, data: bytes) -> bytes:
        """Take more bytes; return mu-law, which may be empty.  Raises `Rejected`."""
        if self._head is not None:
            self._head += data
            return self._begun(whole=False)
        return self._payload(data)

    def finish(self) -> bytes:
        """Return the rest: no more bytes will come.  Raises `Rejected`."""
        mulaw = self._begun(whole=True) if self._head else b""
        if self._wav is not None:
            mulaw += self._samples(self._wav.finish())
        if self._window:
            mulaw += self._judged(whole=True)
        return mulaw + (self._to_mulaw.finish() if self._to_mulaw is not None else b"")

    def _begun(self, *, whole: bool) -> bytes:
        """Decide what the bytes are, if enough have come."""
        assert self._head is not None
        found = format.container(self._head, whole=whole)
        if found is None:
            return b""
        if not found and self._hint and format.mpeg_frame(self._head)[0]:
            found = self._hint
        if found == WAV:
            self._wav = WavStream()
        elif found or self._label:
            raise self._rejected(found or self._label)
        head, self._head = self._head, None
        return self._payload(head)

    def _payload(self, data: bytes) -> bytes:
        if self._wav is None:
            return self._samples(data)
        try:
            data = self._wav.feed(data)
        except NotSamples as what:
            raise self._rejected(str(what)) from None
        if self._wav.encoding not in (None, self._encoding):
            self._encoding = self._wav.encoding
            self._update_deadline_rate()
        return self._samples(data)

    def _samples(self, data: bytes) -> bytes:
        """Pass whole samples on, once the first sound is known to be a voice."""
        data = self._odd + data
        whole = len(data) - len(data) % self._encoding.frame_bytes
        self._odd = data[whole:]
        if self._window is None:
            return self._converted(data[:whole])
        self._window += data[:whole]
        return self._judged(whole=False)

    def _judged(self, *, whole: bool) -> bytes:
        from workers.tts.audio.samples import linear_of

        assert self._window is not None
        size = WINDOW_MS * self._encoding.rate // 1000 * self._encoding.frame_bytes
        if len(self._window) < size and not whole:
            return b""
        at = 0
        while at < len(self._window):
            samples = linear_of(self._window[at : at + size], self._encoding).tolist()
            if self._encoding.coding == "l16":
                samples = self._settled(samples)
            if format.is_noise(samples):
                raise self._rejected("noise at full scale")
            if format.is_sound(samples):
                passed, self._window = self._window, None
                return self._converted(passed)
            at += size
        passed, self._window = self._window, b""  # only silence until now
        return self._converted(passed)

    def _settled(self, samples: list[int]) -> list[int]:
        """Decide the byte order: audio/L16 is big-endian by definition, but little-endian at most servers."""
        from workers.tts.audio.samples import byteswapped

        swapped = byteswapped(samples)
        if not any(samples):
            return samples
        is_big = format.likeness(swapped) > format.likeness(samples)
        self._encoding = Encoding("big" if is_big else "pcm", self._encoding.rate, 16, self._encoding.channels)
        return swapped if is_big else samples

    def _converted(self, data: bytes) -> bytes:
        encoding = self._encoding
        if encoding == MULAW_8K:
            return data
        if not data:
            return b""
        from workers.tts.audio.resample import (
            PcmToMulaw,  # numpy and soxr are loaded with the first sound that needs them
        )
        from workers.tts.audio.samples import linear_of

        if self._to_mulaw is None:
            self._to_mulaw = PcmToMulaw(encoding.rate)
        return self._to_mulaw.feed(linear_of(data, encoding).astype("<i2", copy=False).tobytes())

    def _update_deadline_rate(self) -> None:
        if self._deadline is not None:
            self._deadline.of_rate(self._encoding.bytes_per_ms)

    def _rejected(self, what: str) -> Rejected:
        asked = "raw mu-law at 8 kHz" if self._asked == MULAW_8K else f"raw PCM at {self._asked.rate // 1000} kHz"
        return Rejected(
            f"{self._name} answered with {what}, not with {asked} or WAV; "
            f"set {self._setting} to a server that sends it, or choose another voice in TTS_PROVIDER"
        )


async def received(audio: ReceivedAudio, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Convert these chunks to mu-law.  The caller closes `chunks`."""
    async for chunk in chunks:
        if mulaw := audio.feed(chunk):
            yield mulaw
    if mulaw := audio.finish():
        yield mulaw


def base64_audio(name: str, data: Any) -> bytes:
    """Decode the audio in a message.  `name` is for the error.  Raises `Down`."""
    try:
        return base64.b64decode(data, validate=True)
    except (TypeError, ValueError):
        raise Down(f"{name} sent audio that is no base64") from None
