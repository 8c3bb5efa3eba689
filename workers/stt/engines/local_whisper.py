"""`local/whisper-<size>`: speech to text without a key.  Silero VAD, endpointing, and Whisper once per utterance.

    feed -> VAD window -> Endpointing -> SpeechStart, SpeechEnd              (at once)
                               |-> EagerEnd: decode now -> EagerEndOfTurn
                               |-> End: the text of that decode, or of a new one -> EndOfTurn

After 200 ms of silence most callers have finished: the decode starts there, and an answer may be prepared when its
text is there.  If the caller goes on, it is discarded.

Positions in the audio decide everything, so a stream that is fed faster than real time (a replay after a takeover)
has the same events.  Audio is kept as mu-law, from shortly before the open utterance.
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
"""Audio before the speech start that Whisper also gets: the VAD notices soft first consonants late."""
GAP_MS_MAX = 30_000
"""Audio missing for up to this long counts as silence; after more, the stream begins anew."""
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
        """Open a stream (see `SpeechToText`); loads the models first if `warm` was not called.  Raises Rejected."""
        if not self._decoder.speaks(options.language):
            raise Rejected(f"whisper {self._decoder.size} does not understand {options.language}")
        await self.warm()
        stream = WhisperStream(self._vad, self._decoder, options)
        try:
            yield stream
        finally:
            stream.close()

    async def warm(self) -> None:
        """Load both models (some 3 s).  Raises `Down` or `Rejected`, with the remedy in the text."""
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
    """The words of earlier decodes of the turn, should this one have none."""


class WhisperStream:
    """One call's stream (see `SttStream`).  Made by `LocalWhisper.listen`."""

    def __init__(self, vad: SileroVad, decoder: Decoder, options: ListenOptions) -> None:
        self._decoder = decoder
        self._options = options
        self._endpointing = Endpointing(options)
        self._vad_stream = vad.open(self._on_window, self._fail)
        self._audio = bytearray()
        self._audio_at = -1  # where `_audio` begins, in bytes of the call; -1: nothing fed yet
        self._decoded_to_ms = 0  # audio up to here belongs to earlier utterances
        self._early: _Decode | None = None
        self._interims = InterimWords()
        self._ended: deque[_Decode] = deque()  # their text is wanted, in this order
        self._events = EventQueue()

    @property
    def windows_dropped(self) -> int:
        """How many 32 ms windows were dropped because the machine was too slow."""
        return self._vad_stream.windows_dropped

    def feed(self, position_ms: int, mulaw: bytes) -> None:
        """Take the next audio (see `SttStream`).  Audio that was fed before is skipped; a gap counts as silence."""
        if self._events.over:
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
            self._vad_stream.feed(end // g711.BYTES_PER_MS, mulaw)
            self._forget_before(end // g711.BYTES_PER_MS - self._options.utterance_ms_max - BACKLOG_MS_MAX)

    def __aiter__(self) -> AsyncIterator[SttEvent]:
        """The events (see `SttStream`).  One reader at a time."""
        return aiter(self._events)

    def close(self) -> None:
        """End the stream and free everything at once; the result of a decode that runs is discarded."""
        self._events.close()
        self._vad_stream.close()
        self._drop_early()
        for decode in self._ended:
            decode.text.cancel()
            if decode.deadline is not None:
                decode.deadline.cancel()
        self._ended.clear()
        self._audio.clear()

    # --- decisions ---

    def _on_window(self, position_ms: int, probability: float) -> None:
        fed_to_ms = position_ms + silero.WINDOW_MS
        for decision in self._endpointing.feed(position_ms, probability):
            match decision:
                case SpeechStart():
                    self._drop_early()  # the caller goes on
                    self._publish(decision)
                case SpeechEnd():
                    self._publish(decision)
                case EagerEnd(start_ms, end_ms):
                    self._drop_early()
                    with suppress(Busy):  # the early decode is optional; the End asks again
                        self._early = self._decode(start_ms, end_ms, fed_to_ms)
                        self._early.text.add_done_callback(self._publish_eager_end)
                case _:
                    self._end(decision.start_ms, decision.end_ms, fed_to_ms)
        needed_ms = self._endpointing.needed_from_ms
        self._forget_before((position_ms if needed_ms is None else needed_ms) - PREROLL_MS)

    def _end(self, start_ms: int, end_ms: int, decided_ms: int) -> None:
        """Have the text of a turn that is over."""
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

    def _decode(self, start_ms: int, end_ms: int, fed_to_ms: int) -> _Decode:
        """Send the utterance to Whisper with some audio around it, but none that a next utterance may begin with."""
        first_ms = max(start_ms - PREROLL_MS, self._decoded_to_ms)
        first = max(first_ms * g711.BYTES_PER_MS - self._audio_at, 0)
        last = max(min(end_ms + EAGER_END_MS, fed_to_ms) * g711.BYTES_PER_MS - self._audio_at, 0)
        return _Decode(start_ms, end_ms, self._decoder.decode(bytes(self._audio[first:last]), self._options.language))

    def _drop_early(self) -> None:
        if self._early is not None:
            self._early.text.cancel()
            self._early = None

    def _deliver(self, _: asyncio.Future[str]) -> None:
        """Publish the texts that are there, in the order in which they were spoken."""
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
                self._publish(EndOfTurn(text, decode.start_ms, decode.end_ms, decode.decided_ms, unsure))

    def _publish_eager_end(self, text: asyncio.Future[str]) -> None:
        """Publish the early text, unless the turn is over by now: the answer may be prepared."""
        early = self._early
        if early is None or early.text is not text or text.cancelled() or text.exception() is not None:
            return
        self._interims.interim(text.result())
        if self._options.eager_endpointing_ms and text.result():
            self._publish(EagerEndOfTurn(text.result(), early.start_ms, early.end_ms))

    def _publish(self, event: SttEvent) -> None:
        if not self._events.add(event):
            self._fail(Down("the events of this stream are not read"))

    def _fail(self, error: ProviderError) -> None:
        """End the stream with an error, which its reader gets after the events before it."""
        if self._events.fail(error):
            self._vad_stream.close()
            self._drop_early()

    def _forget_before(self, position_ms: int) -> None:
        """Free audio that no later decision can name, in pieces of a second."""
        surplus = min(position_ms * g711.BYTES_PER_MS - self._audio_at, len(self._audio))
        if surplus > g711.SAMPLE_RATE:
            del self._audio[:surplus]
            self._audio_at += surplus
