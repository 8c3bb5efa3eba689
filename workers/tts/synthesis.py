"""A clause becomes sound: by the first voice that can, and one that breaks off is followed by the next at that word.

A voice that ends a clause without an error has not always spoken it: what is missing is synthesised again (`Attempts`),
and what nobody speaks is known (`ClauseSynthesis.spoken_chars`), so that it never counts as heard.

The sound is kept for as long as its reply is the newest.  What the carrier held when a connection broke was never
heard; on the next connection it is played again, without a second synthesis and without waiting for one.  A clause
that is being spoken in that moment goes on being spoken.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import cast

from common.audio.g711 import BYTES_PER_MS
from common.process.clock import wall_ms
from common.protocol.messages import Clause, UsageReported
from common.telemetry import metrics, traces
from workers.providers.failover import Failover, Source
from workers.providers.interfaces import CharTimings, IncompleteAudio, ProviderError, Sound, TextToSpeech, VoiceOptions
from workers.tts.attempts import Attempts
from workers.tts.audio.audibility import NO_AUDIO, SILENCE, TOO_SHORT, LeadingSilence, letters, shortest_ms
from workers.tts.audio_tags import for_voice, takes_audio_tags
from workers.tts.normalise import with_sources
from workers.tts.remainder import synthesized_chars

log = logging.getLogger(__name__)

CLAUSE_SECONDS_MAX = 120.0
"""A clause whose voice takes longer is cut off."""
KEPT_BYTES_MAX = 60_000 * BYTES_PER_MS
"""Of one reply: as much as an edge may hold of it.  Beyond it the oldest clauses go, which are the likeliest heard."""


class ClauseSynthesis:
    """The growing sound of one clause: iterate over its mu-law chunks from the first, as often as you like."""

    def __init__(self, clause: Clause) -> None:
        self.clause = clause
        self.marks: tuple[tuple[int, int], ...] = ()
        """(offset in the clause's text, ms in its audio) of each word; known at the end."""
        self.size = 0
        self.mute = False
        """Could no voice speak it at all?"""
        self.synthesized_chars = -1
        """So many characters of the clause's text were spoken; -1: all.  Known at the end."""
        self._chunks: list[bytes] = []
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self, task: asyncio.Task[None]) -> None:
        """`task` makes the sound."""
        self._task = task
        task.add_done_callback(self._done)

    def add(self, chunk: bytes) -> None:
        """More of its mu-law."""
        self._chunks.append(chunk)
        self.size += len(chunk)
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """One reader at a time.  Raises what ended the synthesis, if it was not a voice's fault."""
        assert self._task is not None
        at = 0
        while True:
            while at < len(self._chunks):
                yield self._chunks[at]
                at += 1
            if self._task.done():
                self._task.result()
                return
            self._news.clear()
            await self._news.wait()

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # seen: perhaps nobody reads this sound any more
        self._news.set()

    def cancel(self) -> None:
        """Make no more sound."""
        if self._task is not None:
            self._task.cancel()

    async def ended(self) -> None:
        """Until no more sound is made, for whatever reason."""
        if self._task is not None:
            await asyncio.wait([self._task])


class CallVoice:
    """The sounds of one call's newest reply.  `write` puts what a provider was used for into the story."""

    def __init__(
        self,
        call_id: str,
        voices: Failover[TextToSpeech],
        options: VoiceOptions,
        write: Callable[[UsageReported], Awaitable[None]],
    ) -> None:
        self._call_id = call_id
        self._voices = voices
        self._options = options
        self._write = write
        self._kept: dict[int, ClauseSynthesis] = {}
        self._was_mute = False  # the clause before
        self.turn = 0
        """Whose sounds are kept."""

    def say(self, clause: Clause) -> ClauseSynthesis:
        """The clause's sound: what is known of it, else it is made."""
        known = self._kept.get(clause.clause) if clause.turn == self.turn else None
        if known is not None and not known.mute:
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
        """Nothing more of this reply will be heard."""
        for synthesis in self._kept.values():
            synthesis.cancel()

    async def close(self) -> None:
        """The call is over, or somebody else's."""
        self.be_silent()
        for synthesis in self._kept.values():
            await synthesis.ended()

    async def _speak(self, synthesis: ClauseSynthesis) -> None:
        clause = synthesis.clause
        tags = any(takes_audio_tags(source.spec) for source in self._voices.sources)
        speech = with_sources(clause.text, self._options.language, audio_tags=tags)
        part = _Part(speech.text)
        attempts = Attempts(self._voices, self._call_id, last_resort=not self._was_mute)
        try:
            async with asyncio.timeout(CLAUSE_SECONDS_MAX):
                while letters(part.rest) and (source := attempts.next()) is not None:
                    begun_ms, outcome = wall_ms(), "cancelled"
                    try:
                        await self._speak_with(source, part, synthesis)
                        outcome = "spoken"
                    except ProviderError as error:
                        outcome = "incomplete" if isinstance(error, IncompleteAudio) else type(error).__name__.lower()
                        log.warning("a voice failed: %s", error, extra={"call_id": self._call_id})
                        attempts.failed(source, error)
                        part.broken_off()
                    finally:
                        if clause.stage_ms:
                            traces.stage("voice", begun_ms, wall_ms(), provider=source.spec, outcome=outcome)
        except TimeoutError:
            log.warning("a voice took too long", extra={"call_id": self._call_id})
            part.broken_off()
        else:
            if letters(part.rest):
                await self._voices.exhausted(self._call_id)
        synthesis.marks = tuple((speech.source(at), at_ms) for at, at_ms in part.word_marks)
        synthesis.mute = self._was_mute = not synthesis.size and letters(speech.text) > 0
        if letters(part.rest):
            synthesis.synthesized_chars = speech.source(part.synthesized_chars) if part.synthesized_chars else 0

    async def _speak_with(self, source: Source[TextToSpeech], part: _Part, synthesis: ClauseSynthesis) -> None:
        text = for_voice(part.rest, source.spec)
        if not letters(text):  # nothing but tags that this voice does not act
            part.complete()
            return
        silence = LeadingSilence()
        with source.use() as use:
            stream = source.provider.say(text, self._options)
            async with aclosing(cast("AsyncGenerator[Sound, None]", stream)) as sounds:
                async for sound in sounds:
                    if isinstance(sound, CharTimings):
                        part.spelled(sound)
                    elif audible := silence.feed(sound):
                        use.worked()
                        part.spoken_bytes += len(audible)
                        synthesis.add(audible)
            if fault := part.fault(silence, text, self._options.speed):
                metrics.CLAUSE_AUDIO_FAULTS.labels(source.spec, fault).inc()
                raise IncompleteAudio(f"{source.spec} spoke a clause of {letters(text)} letters with {fault}")
        part.complete()
        metrics.count_usage("tts", source.spec, {"characters": len(text)})
        await self._write(UsageReported("tts", source.spec, (("characters", len(text)),)))


class _Part:
    """How far a clause is spoken, by however many voices."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._from = 0  # where the voice that speaks now began
        self._from_ms = 0
        self.spoken_bytes = 0  # by that voice
        self.marks: list[tuple[int, int]] = []
        """(offset in the text, ms in its audio)."""

    @property
    def word_marks(self) -> list[tuple[int, int]]:
        """The marks at which words begin: enough to say which words were heard."""
        return [(at, ms) for at, ms in self.marks if at == 0 or self._text[at - 1 : at].isspace()]

    @property
    def rest(self) -> str:
        return self._text[self._from :]

    @property
    def synthesized_chars(self) -> int:
        """Where `rest` begins."""
        return self._from

    def spelled(self, spelled: CharTimings) -> None:
        self.marks += [(self._from + offset, self._from_ms + at_ms) for offset, at_ms in spelled.marks]

    def fault(self, silence: LeadingSilence, text: str, speed: float) -> str:
        """What is wrong with the audio of a voice that ended in order; empty if nothing is.

        `text` is `rest` as the voice was given it.  What is left of it after the last mark must fit into what is left
        of the audio.
        """
        if not silence.open:
            return SILENCE if silence.received else NO_AUDIO
        at, at_ms = next(((at, ms) for at, ms in reversed(self.marks) if at >= self._from), (self._from, self._from_ms))
        left_ms = self._from_ms + self.spoken_bytes / BYTES_PER_MS - at_ms
        return TOO_SHORT if left_ms < shortest_ms(text[at + 1 - self._from :], speed) else ""

    def broken_off(self) -> None:
        """The next voice begins at the word that this one did not finish."""
        spoken_ms = self.spoken_bytes // BYTES_PER_MS
        own = [(at - self._from, ms - self._from_ms) for at, ms in self.marks if at >= self._from]
        self._from += synthesized_chars(self.rest, spoken_ms, own)
        self._from_ms += spoken_ms
        self.spoken_bytes = 0
        self.marks = [(at, ms) for at, ms in self.marks if at < self._from]

    def complete(self) -> None:
        """Nothing is left to speak."""
        self._from = len(self._text)
