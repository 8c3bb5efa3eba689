"""The bytes that a server sent for one clause, on their way to the telephone: mu-law, 8 kHz, mono.

    bytes ──▶ what are they? ──▶ samples, as asked for ─────┐
                     ├─────────▶ WAV: header read, removed ─┤──▶ first 100 ms of sound: a voice? ──▶ mu-law
                     └─────────▶ anything else: Rejected    └────────────── noise: Rejected

Nothing passes before it is known to be samples; a server that sends 100 ms at once is delayed by nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING

from workers.providers.deadlines import SynthesisDeadline
from workers.providers.interfaces import Down, Rejected
from workers.tts.audio import format
from workers.tts.audio.format import MULAW_8K, WAV, WINDOW_MS, Encoding, NotSamples
from workers.tts.audio.wav import WavStream

if TYPE_CHECKING:
    from workers.tts.audio.resample import PcmToMulaw


class ReceivedAudio:
    """Converts what a server sends for one clause to mu-law.

    Call `declared` with the media type if there is one, then `feed` with each chunk, then `finish`.
    """

    def __init__(self, name: str, setting: str, asked: Encoding, deadline: SynthesisDeadline | None = None) -> None:
        """`name` ("openai/tts-1") and `setting` ("OPENAI_BASE_URL") are for the errors, which quote no byte.

        `deadline`, if given, learns how much audio a byte is.
        """
        self._name = name
        self._setting = setting
        self._asked = asked
        self._encoding = asked
        self._deadline = deadline
        self._label = self._hint = ""
        self._head: bytes | None = b""  # None: it is known what the bytes are
        self._wav: WavStream | None = None
        self._odd = b""
        self._window: bytes | None = b""  # None: the first sound was a voice
        self._telephone: PcmToMulaw | None = None

    def declared(self, content_type: str, *, trusted: bool = True) -> None:
        """The answer's media type.  Raises Rejected if it is not to be played; Down if a rate is not the asked one.

        A label of a compressed format is believed only if it is `trusted`; else the bytes decide.
        """
        label = format.compressed(content_type)
        self._label, self._hint = (label, "") if trusted else ("", label)
        try:
            self._encoding = format.declared(content_type, self._asked)
        except NotSamples as what:
            raise self._rejected(str(what)) from None
        if self._asked == MULAW_8K and self._encoding.coding == "mulaw" and self._encoding != MULAW_8K:
            raise Down(f"{self._name} answered with another sample rate than was asked for")
        self._tell_rate()

    def feed(self, data: bytes) -> bytes:
        """More bytes; returns mu-law, maybe none yet.  Raises Rejected."""
        if self._head is not None:
            self._head += data
            return self._begun(whole=False)
        return self._payload(data)

    def finish(self) -> bytes:
        """No more will come: the rest.  Raises Rejected."""
        mulaw = self._begun(whole=True) if self._head else b""
        if self._wav is not None:
            mulaw += self._samples(self._wav.finish())
        if self._window:
            mulaw += self._judged(whole=True)
        return mulaw + (self._telephone.finish() if self._telephone is not None else b"")

    def _begun(self, *, whole: bool) -> bytes:
        """Decide what the bytes are, if that can be said."""
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
            self._tell_rate()
        return self._samples(data)

    def _samples(self, data: bytes) -> bytes:
        """Whole samples go on, once the first sound is known to be a voice."""
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
        passed, self._window = self._window, b""  # silence until now
        return self._converted(passed)

    def _settled(self, samples: list[int]) -> list[int]:
        """audio/L16 is big-endian by its definition, and little-endian by most servers: a voice changes slowly."""
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

        if self._telephone is None:
            self._telephone = PcmToMulaw(encoding.rate)
        return self._telephone.feed(linear_of(data, encoding).astype("<i2", copy=False).tobytes())

    def _tell_rate(self) -> None:
        if self._deadline is not None:
            self._deadline.of_rate(self._encoding.bytes_per_ms)

    def _rejected(self, what: str) -> Rejected:
        asked = "raw mu-law at 8 kHz" if self._asked == MULAW_8K else f"raw PCM at {self._asked.rate // 1000} kHz"
        return Rejected(
            f"{self._name} answered with {what}, not with {asked} or WAV; "
            f"set {self._setting} to a server that sends it, or choose another voice in TTS_PROVIDER"
        )


async def received(audio: ReceivedAudio, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The mu-law of these chunks.  Close the chunks yourself."""
    async for chunk in chunks:
        if mulaw := audio.feed(chunk):
            yield mulaw
    if mulaw := audio.finish():
        yield mulaw
