"""`local/whisper-<size>`: speech to text without a key.  Silero VAD, endpointing, and Whisper once per utterance.

    feed -> VAD window -> Endpointing -> Onset, Offset                      (heard at once)
                               |-> EagerEnd: decode now -> Likely
                               |-> End: the text of that decode, or of a new one -> Utterance

A caller is done 200 ms into their silence far more often than not: the decode starts there, and an answer may be
prepared when its text is there.  If the caller goes on, it is thrown away.

Positions in the audio decide everything, so an ear that is fed faster than real time (a replay after a takeover)
hears the same.  Audio is kept as mu-law, from shortly before the open utterance.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from common.audio import g711
from workers.providers.interfaces import (
    Busy,
    Down,
    EagerEndOfTurn,
    EndOfTurn,
    ListenOptions,
    ProviderError,
    Rejected,
    SpeechEnd,
    SpeechStart,
    SttEvent,
)
from workers.stt.engines.whisper_decoder import Decoder
from workers.stt.stream.event_queue import EventQueue
from workers.stt.stream.interim_words import InterimWords
from workers.stt.vad import silero
from workers.stt.vad.endpointing import EAGER_END_MS, EagerEnd, Endpointing
from workers.stt.vad.silero import SileroVad

PREROLL_MS = 300
"""Audio before the onset that Whisper also gets: the VAD notices soft first consonants late."""
GAP_MS_MAX = 30_000
"""Audio missing for up to this long counts as silence; after more, the ear begins anew."""
BACKLOG_MS_MAX = silero.WINDOWS_BEHIND_MAX * silero.WINDOW_MS
DECODE_S_MAX = 15.0
LOAD_S_MAX = 600.0  # a download; a packaged model takes 2 s


class LocalWhisper:
    """`SpeechToText` on this machine's processor: one VAD and one Whisper model for all calls of the process."""

    def __init__(self, size: str = "tiny.en") -> None:
        self._vad = SileroVad()
        self._decoder = Decoder(size)
        self._loading = asyncio.Lock()

    @asynccontextmanager
    async def listen(self, options: ListenOptions) -> AsyncIterator[WhisperStream]:
        """Open an ear (see `SpeechToText`); loads the models first if `warm` was not called."""
        if not self._decoder.speaks(options.language):
            raise Rejected(f"whisper {self._decoder.size} does not understand {options.language}")
        await self.warm()
        stream = WhisperStream(self._vad, self._decoder, options)
        try:
            yield stream
        finally:
            stream.close()

    async def warm(self) -> None:
        """Load both models (some 3 s).  Raises `Down` or `Rejected` with what to do."""
        async with self._loading:
            if self._decoder.loaded:
                return
            try:
                async with asyncio.timeout(LOAD_S_MAX):
                    await asyncio.to_thread(self._vad.load)
                    await asyncio.to_thread(self._decoder.load)
            except TimeoutError:
                raise Down(f"whisper {self._decoder.size} was not loaded within {LOAD_S_MAX:.0f} s") from None

    async def aclose(self) -> None:
        """Stop the threads."""
        await self._vad.aclose()
        await self._decoder.aclose()


@dataclass(eq=False, slots=True)
class _Decode:
    """An utterance at Whisper; `deadline` is armed once the text is wanted."""

    start_ms: int
    end_ms: int
    text: asyncio.Future[str]
    deadline: asyncio.TimerHandle | None = None
    decided_ms: int = 0
    missing: str = ""
    """What stood in earlier decodes of the turn, should this one have no words."""


class WhisperStream:
    """Listens to one call (see `Ear`).  Made by `LocalWhisper.listen`."""

    def __init__(self, vad: SileroVad, decoder: Decoder, options: ListenOptions) -> None:
        self._decoder = decoder
        self._options = options
        self._endpointing = Endpointing(options)
        self._stream = vad.open(self._on_window, self._fail)
        self._audio = bytearray()
        self._audio_at = -1  # where `_audio` begins, in bytes of the call; -1: nothing fed yet
        self._decoded_to_ms = 0  # audio up to here belongs to earlier utterances
        self._early: _Decode | None = None
        self._interims = InterimWords()
        self._ended: deque[_Decode] = deque()  # their text is wanted, in this order
        self._heard = EventQueue()

    @property
    def windows_dropped(self) -> int:
        """32 ms windows never looked at, because the machine was too slow."""
        return self._stream.windows_dropped

    def feed(self, position_ms: int, mulaw: bytes) -> None:
        """Take the next audio (see `Ear`).  What was fed before is skipped; a gap counts as silence."""
        if self._heard.over:
            return
        at = position_ms * g711.BYTES_PER_MS
        if self._audio_at < 0:
            self._audio_at = at
        end = self._audio_at + len(self._audio)
        gap = at - end
        if gap <= -g711.BYTES_PER_MS:
            mulaw = mulaw[-gap:]
        elif gap > GAP_MS_MAX * g711.BYTES_PER_MS:
            self._audio.clear()
            self._audio_at = end = at
        elif gap >= g711.BYTES_PER_MS:
            mulaw = g711.SILENCE * gap + mulaw
        if mulaw:
            self._audio += mulaw
            self._stream.feed(end // g711.BYTES_PER_MS, mulaw)
            self._forget_before(end // g711.BYTES_PER_MS - self._options.utterance_ms_max - BACKLOG_MS_MAX)

    def __aiter__(self) -> AsyncIterator[SttEvent]:
        """What is heard (see `Ear`).  One reader at a time."""
        return aiter(self._heard)

    def close(self) -> None:
        """Hear no more, and free everything at once; a decode that runs ends unheard."""
        self._heard.close()
        self._stream.close()
        self._drop_early()
        for decode in self._ended:
            decode.text.cancel()
            if decode.deadline is not None:
                decode.deadline.cancel()
        self._ended.clear()
        self._audio.clear()

    # --- decisions ---

    def _on_window(self, position_ms: int, probability: float) -> None:
        heard_to_ms = position_ms + silero.WINDOW_MS
        for decision in self._endpointing.feed(position_ms, probability):
            match decision:
                case SpeechStart():
                    self._drop_early()  # the caller goes on
                    self._hear(decision)
                case SpeechEnd():
                    self._hear(decision)
                case EagerEnd(start_ms, end_ms):
                    self._drop_early()
                    with suppress(Busy):  # running ahead is a luxury; the End asks again
                        self._early = self._decode(start_ms, end_ms, heard_to_ms)
                        self._early.text.add_done_callback(self._tell_likely)
                case _:
                    self._end(decision.start_ms, decision.end_ms, heard_to_ms)
        needed_ms = self._endpointing.needed_from_ms
        self._forget_before((position_ms if needed_ms is None else needed_ms) - PREROLL_MS)

    def _end(self, start_ms: int, end_ms: int, decided_ms: int) -> None:
        """A turn is over: its text is wanted now."""
        decode, self._early = self._early, None
        if decode is not None and (decode.start_ms, decode.end_ms) != (start_ms, end_ms):
            decode.text.cancel()
            decode = None
        try:
            decode = decode or self._decode(start_ms, end_ms, decided_ms)
        except Busy as error:
            self._fail(error)
            return
        decode.decided_ms = decided_ms
        decode.missing = self._interims.final("")
        self._decoded_to_ms = end_ms
        decode.deadline = asyncio.get_running_loop().call_later(
            DECODE_S_MAX, self._fail, Down(f"whisper needed more than {DECODE_S_MAX:.0f} s")
        )
        self._ended.append(decode)
        decode.text.add_done_callback(self._deliver)

    def _decode(self, start_ms: int, end_ms: int, heard_to_ms: int) -> _Decode:
        """Send the utterance to Whisper with some audio around it, but none that a next utterance may begin with."""
        first_ms = max(start_ms - PREROLL_MS, self._decoded_to_ms)
        first = max(first_ms * g711.BYTES_PER_MS - self._audio_at, 0)
        last = max(min(end_ms + EAGER_END_MS, heard_to_ms) * g711.BYTES_PER_MS - self._audio_at, 0)
        return _Decode(start_ms, end_ms, self._decoder.decode(bytes(self._audio[first:last]), self._options.language))

    def _drop_early(self) -> None:
        if self._early is not None:
            self._early.text.cancel()
            self._early = None

    def _deliver(self, _: asyncio.Future[str]) -> None:
        """A text is there: hand over those whose turn it is, in the order in which they were spoken."""
        while self._ended and self._ended[0].text.done():
            decode = self._ended.popleft()
            if decode.deadline is not None:
                decode.deadline.cancel()
            if decode.text.cancelled():
                continue
            error = decode.text.exception()
            if isinstance(error, ProviderError):
                self._fail(error)
            elif error is not None:
                self._fail(Down(f"whisper failed: {type(error).__name__}"))
            elif text := decode.text.result() or decode.missing:
                unsure = not decode.text.result()
                self._hear(EndOfTurn(text, decode.start_ms, decode.end_ms, decode.decided_ms, unsure))

    def _tell_likely(self, text: asyncio.Future[str]) -> None:
        """The early text is there, and the turn is not over yet: the answer may be prepared."""
        early = self._early
        if early is None or early.text is not text or text.cancelled() or text.exception() is not None:
            return
        self._interims.interim(text.result())
        if self._options.eager_endpointing_ms and text.result():
            self._hear(EagerEndOfTurn(text.result(), early.start_ms, early.end_ms))

    def _hear(self, heard: SttEvent) -> None:
        if not self._heard.add(heard):
            self._fail(Down("nobody reads what this ear hears"))

    def _fail(self, error: ProviderError) -> None:
        """Listening cannot go on."""
        if self._heard.fail(error):
            self._stream.close()
            self._drop_early()

    def _forget_before(self, position_ms: int) -> None:
        """Free audio that no decision can name any more, in pieces of a second."""
        surplus = min(position_ms * g711.BYTES_PER_MS - self._audio_at, len(self._audio))
        if surplus > g711.SAMPLE_RATE:
            del self._audio[:surplus]
            self._audio_at += surplus
