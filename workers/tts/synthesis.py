"""Synthesises a clause with the first voice that can; after a voice that broke off the next continues at that word.

A fixed sentence (`Clause.fixed`) is synthesised once for many calls (fixed_sentences.py).

A voice that ends a clause without an error has not always spoken all of it: the missing part is synthesised again
(`Attempts`).  `ClauseSynthesis.synthesized_chars` reports what no voice spoke, so that it never counts as heard.

The audio is kept while its reply is the newest.  Audio that the carrier still queued when a connection broke was never
heard; on the next connection it is played again, without a second synthesis and its delay.  A clause that is being
synthesised at that moment continues.

A clause that is a sound (`Clause.sound`) has no text: its audio is repeated, and no provider is asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast

from common.audio.g711 import BYTES_PER_MS
from common.process.clock import wall_ms
from common.protocol.messages import Clause, UsageReported
from common.store.fixed_speech import FixedSentence
from common.telemetry import metrics, traces
from workers.providers.failover import Failover, Source
from workers.providers.interfaces import CharTimings, IncompleteAudio, ProviderError, Sound, TextToSpeech, VoiceOptions
from workers.tts.attempts import Attempts
from workers.tts.audio.audibility import NO_AUDIO, SILENCE, TOO_SHORT, LeadingSilence, letters, shortest_ms
from workers.tts.audio.hold_tone import hold_tone
from workers.tts.audio_tags import for_voice, takes_audio_tags
from workers.tts.fixed_sentences import FixedSentences
from workers.tts.normalise import Normalised, with_sources
from workers.tts.remainder import synthesized_chars

log = logging.getLogger(__name__)

SOUND_S_MAX = 60
"""Longest playing of one sound clause, in seconds; a shorter sound is repeated."""
SOUND_PIECE_MS = 200
"""A sound is sent in pieces of this length: words of its reply wait for no more, even if 60 s are ahead of them."""
CLAUSE_SECONDS_MAX = 120.0
"""Longest synthesis of one clause, in seconds."""
KEPT_BYTES_MAX = 60_000 * BYTES_PER_MS
"""Most bytes that are kept of one reply: as much as an edge may queue of it.  Beyond it the oldest clauses are dropped,
because they are the most probable to have been heard."""


class ClauseSynthesis:
    """The growing audio of one clause: iterate over its mu-law chunks from the first, any number of times."""

    def __init__(self, clause: Clause) -> None:
        self.clause = clause
        self.char_timings: tuple[tuple[int, int], ...] = ()
        """(offset in the clause's text, ms in its audio) of each word; complete at the end of the synthesis."""
        self.size = 0
        self.silent = False
        """True if no voice gave any audio for the clause; set at the end of the synthesis."""
        self.synthesized_chars = -1
        """Number of characters of the clause's text that were spoken; -1: all.  Set at the end of the synthesis."""
        self._chunks: list[bytes] = []
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self, task: asyncio.Task[None]) -> None:
        """Attach the task that synthesises the clause."""
        self._task = task
        task.add_done_callback(self._done)

    def add(self, chunk: bytes) -> None:
        """Append mu-law audio."""
        self._chunks.append(chunk)
        self.size += len(chunk)
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the chunks; one reader at a time.  Raises what ended the synthesis, other than a `ProviderError`."""
        assert self._task is not None
        at = 0
        while True:
            while at < len(self._chunks):
                yield self._chunks[at]
                at += 1
            if self._task.done():
                self._task.result()
                return
            self._changed.clear()
            await self._changed.wait()

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # retrieved here, because there may be no reader any more
        self._changed.set()

    @property
    def audio(self) -> bytes:
        """All mu-law audio so far."""
        return b"".join(self._chunks)

    def cancel(self) -> None:
        """Cancel the synthesis."""
        if self._task is not None:
            self._task.cancel()

    async def ended(self) -> None:
        """Wait for the end of the synthesis, for whatever reason it ends."""
        if self._task is not None:
            await asyncio.wait([self._task])


async def _tone(name: str) -> bytes:
    return hold_tone()


@dataclass(frozen=True, slots=True)
class AgentVoice:
    """The voice of one agent: its providers in the order of failover, and what they are told."""

    voices: Failover[TextToSpeech]
    options: VoiceOptions = field(default_factory=VoiceOptions)
    fixed: FixedSentences | None = None
    """The fixed sentences; None: all clauses are synthesised."""
    sound: Callable[[str], Awaitable[bytes]] = _tone
    """(name of a sound) -> its mu-law audio, never empty."""
    interruptible: int = -1
    """As in `AudioOut`."""


class CallVoice:
    """The audio of one call's newest reply.

    `voice_of`: number of a reply -> the voice of the agent that has it.  `write` logs the usage of a provider in the
    event log.
    """

    def __init__(
        self,
        call_id: str,
        voice_of: Callable[[int], AgentVoice],
        write: Callable[[UsageReported], Awaitable[None]],
    ) -> None:
        self._call_id = call_id
        self._voice_of = voice_of
        self._write = write
        self._keeping: dict[FixedSentences, None] = {}
        self._kept: dict[int, ClauseSynthesis] = {}
        self._previous_was_silent = False
        self.turn = 0
        """Number of the reply whose audio is kept."""

    def say(self, clause: Clause) -> ClauseSynthesis:
        """Return the clause's audio: the kept one, or else start its synthesis."""
        known = self._kept.get(clause.clause) if clause.turn == self.turn else None
        if known is not None and not known.silent:
            return known
        if clause.turn != self.turn:
            self.be_silent()
            self.turn, self._kept = clause.turn, {}
        synthesis = ClauseSynthesis(clause)
        synthesis.begin(asyncio.create_task(self._speak(synthesis), name=f"voice {clause.turn}.{clause.clause}"))
        while self._kept and sum(one.size for one in self._kept.values()) > KEPT_BYTES_MAX:
            self._kept.pop(min(self._kept)).cancel()
        self._kept[clause.clause] = synthesis
        return synthesis

    def be_silent(self) -> None:
        """Cancel all synthesis of the reply: the caller will hear no more of it."""
        for synthesis in self._kept.values():
            synthesis.cancel()

    async def close(self) -> None:
        """Cancel all synthesis and wait for its end: the call is over, or another worker owns it."""
        self.be_silent()
        for synthesis in self._kept.values():
            await synthesis.ended()
        for fixed in self._keeping:
            await fixed.close()

    async def _speak(self, synthesis: ClauseSynthesis) -> None:
        """Speak the clause with audio that was kept from another call, or else with a voice; or play its sound."""
        clause = synthesis.clause
        voice = self._voice_of(clause.turn)
        if clause.sound:
            await _repeat(synthesis, await voice.sound(clause.sound))
            return
        tags = any(takes_audio_tags(source.spec) for source in voice.voices.sources)
        speech = with_sources(clause.text, voice.options.language, audio_tags=tags)
        fixed = voice.fixed
        if fixed is None or not clause.fixed or not letters(speech.text):
            await self._synthesize(synthesis, speech, voice)
            return
        key = fixed.key(voice.voices.sources[0].spec, clause.text, speech.text)
        if (kept := await fixed.read(key)) is not None:
            synthesis.add(kept.mulaw)
            synthesis.char_timings = kept.char_timings
            self._previous_was_silent = False
        elif await self._synthesize(synthesis, speech, voice):
            self._keeping[fixed] = None
            fixed.keep(key, FixedSentence(synthesis.audio, synthesis.char_timings))

    async def _synthesize(self, synthesis: ClauseSynthesis, speech: Normalised, voice: AgentVoice) -> bool:
        """Synthesise the clause; True if the preferred voice spoke all of it, and no voice failed."""
        clause = synthesis.clause
        progress = _ClauseProgress(speech.text)
        faultless = True
        attempts = Attempts(voice.voices, self._call_id, last_resort=not self._previous_was_silent)
        try:
            async with asyncio.timeout(CLAUSE_SECONDS_MAX):
                while letters(progress.rest) and (source := attempts.next()) is not None:
                    started_ms, outcome = wall_ms(), "cancelled"
                    try:
                        await self._speak_with(source, progress, synthesis, voice.options)
                        outcome = "spoken"
                        faultless = faultless and source is voice.voices.sources[0]
                    except ProviderError as error:
                        faultless = False
                        outcome = "incomplete" if isinstance(error, IncompleteAudio) else type(error).__name__.lower()
                        log.warning("a voice failed: %s", error, extra={"call_id": self._call_id})
                        attempts.failed(source, error)
                        progress.note_broken_off()
                    finally:
                        if clause.stage_ms:
                            traces.stage("voice", started_ms, wall_ms(), provider=source.spec, outcome=outcome)
        except TimeoutError:
            log.warning("a voice took too long", extra={"call_id": self._call_id})
            progress.note_broken_off()
        else:
            if letters(progress.rest):
                await voice.voices.exhausted(self._call_id)
        synthesis.char_timings = tuple((speech.source(at), at_ms) for at, at_ms in progress.word_timings)
        synthesis.silent = self._previous_was_silent = not synthesis.size and letters(speech.text) > 0
        if letters(progress.rest):
            synthesis.synthesized_chars = speech.source(progress.synthesized_chars) if progress.synthesized_chars else 0
        return faultless and bool(synthesis.size) and synthesis.synthesized_chars < 0

    async def _speak_with(
        self,
        source: Source[TextToSpeech],
        progress: _ClauseProgress,
        synthesis: ClauseSynthesis,
        options: VoiceOptions,
    ) -> None:
        text = for_voice(progress.rest, source.spec)
        if not letters(text):  # only tags that this voice does not perform
            progress.note_complete()
            return
        silence = LeadingSilence()
        with source.use() as use:
            stream = source.provider.say(text, options)
            async with aclosing(cast("AsyncGenerator[Sound, None]", stream)) as chunks:
                async for chunk in chunks:
                    if isinstance(chunk, CharTimings):
                        progress.add_char_timings(chunk)
                    elif audible := silence.feed(chunk):
                        use.worked()
                        progress.synthesized_bytes += len(audible)
                        synthesis.add(audible)
            if fault := progress.fault(silence, text, options.speed):
                metrics.CLAUSE_AUDIO_FAULTS.labels(source.spec, fault).inc()
                raise IncompleteAudio(f"{source.spec} spoke a clause of {letters(text)} letters with {fault}")
        progress.note_complete()
        metrics.count_usage("tts", source.spec, {"characters": len(text)})
        await self._write(UsageReported("tts", source.spec, (("characters", len(text)),)))


async def _repeat(synthesis: ClauseSynthesis, mulaw: bytes) -> None:
    """Repeat a sound for `SOUND_S_MAX`, in pieces between which others run."""
    piece = SOUND_PIECE_MS * BYTES_PER_MS
    rounds = mulaw * (piece // len(mulaw) + 1)
    rounds += rounds[:piece]
    for number in range(SOUND_S_MAX * 1000 // SOUND_PIECE_MS):
        at = number * piece % len(mulaw)
        synthesis.add(rounds[at : at + piece])
        await asyncio.sleep(0)


class _ClauseProgress:
    """How far a clause has been synthesised, by any number of voices."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._from = 0  # where the current voice began
        self._from_ms = 0
        self.synthesized_bytes = 0  # by the current voice
        self.char_timings: list[tuple[int, int]] = []
        """(offset in the text, ms in its audio) of each character or word."""

    @property
    def word_timings(self) -> list[tuple[int, int]]:
        """The timings of the beginnings of words: enough to compute which words were heard."""
        return [(at, ms) for at, ms in self.char_timings if at == 0 or self._text[at - 1 : at].isspace()]

    @property
    def rest(self) -> str:
        return self._text[self._from :]

    @property
    def synthesized_chars(self) -> int:
        """The offset at which `rest` begins."""
        return self._from

    def add_char_timings(self, timings: CharTimings) -> None:
        self.char_timings += [(self._from + offset, self._from_ms + at_ms) for offset, at_ms in timings.marks]

    def fault(self, silence: LeadingSilence, text: str, speed: float) -> str:
        """Return the fault of the audio of a voice that ended without an error; empty if there is none.

        `text` is `rest` as it was given to the voice.  The audio after the last timing must be long enough for the text
        after it.
        """
        if not silence.open:
            return SILENCE if silence.received else NO_AUDIO
        at, at_ms = next(
            ((at, ms) for at, ms in reversed(self.char_timings) if at >= self._from), (self._from, self._from_ms)
        )
        left_ms = self._from_ms + self.synthesized_bytes / BYTES_PER_MS - at_ms
        return TOO_SHORT if left_ms < shortest_ms(text[at + 1 - self._from :], speed) else ""

    def note_broken_off(self) -> None:
        """Set the beginning of the next voice: the word that the current voice did not finish."""
        synthesized_ms = self.synthesized_bytes // BYTES_PER_MS
        own = [(at - self._from, ms - self._from_ms) for at, ms in self.char_timings if at >= self._from]
        self._from += synthesized_chars(self.rest, synthesized_ms, own)
        self._from_ms += synthesized_ms
        self.synthesized_bytes = 0
        self.char_timings = [(at, ms) for at, ms in self.char_timings if at < self._from]

    def note_complete(self) -> None:
        """Record that nothing is left to synthesise."""
        self._from = len(self._text)
