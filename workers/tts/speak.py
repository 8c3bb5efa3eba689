"""The mouth's part in one call: speaks the script's next clause, frames it, and sends it to the call's edge.

Frames go as fast as the voice makes them, ~10 to an entry, at most a minute ahead of the caller's ear; the edge holds
them.  So a mouth that dies after a clause was spoken changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from common import metrics, traces
from common.audio.g711 import BYTES_PER_MS, FRAME_BYTES, padded
from common.bus import Bus
from common.clock import wall_ms
from common.ledger import Claim, Ledger
from common.messages import AudioOut, HangUp, Message, OwnerChanged, ReplySpoken, Spoken, Stamps, Used
from common.streams import call_events, edge_audio, edge_priority
from common.tasks import cancel
from workers.failover import Failover, Source
from workers.providers import Down, ProviderError, Sound, Spelled, TextToSpeech, VoiceOptions
from workers.runner import Fenced
from workers.tts.normalise import with_sources
from workers.tts.remainder import spoken_chars
from workers.tts.script import Done, Say, Script

log = logging.getLogger(__name__)

ENTRY_BYTES = 10 * FRAME_BYTES
AHEAD_SECONDS_MAX = 60.0
"""How much of one reply may be at the edge before its time."""
CLAUSE_SECONDS_MAX = 120.0
"""A clause whose voice takes longer is cut off."""
MUTE_MAX = 2
"""So many clauses in a row that no provider could speak, and the call is given up: the spoken fallback follows."""


class SpeakSession:
    """See `workers.runner.Session`."""

    def __init__(
        self, claim: Claim, bus: Bus, ledger: Ledger, voices: Failover[TextToSpeech], options: VoiceOptions
    ) -> None:
        self._claim = claim
        self._bus = bus
        self._ledger = ledger
        self._voices = voices
        self._options = options
        self._script = Script()
        self._live = False
        self._news = asyncio.Event()
        self._error: Exception | None = None
        self._saying: tuple[Say, asyncio.Task[None]] | None = None
        self._ahead = _Ahead()
        self._mute = 0

    async def run(self) -> None:
        events = call_events(self._claim.call_id)
        await self._write(OwnerChanged("tts", self._claim.token, self._claim.owner, wall_ms(), holds=True))
        self._bus.subscribe(events, self._receive, self._fail)
        try:
            while not self._script.over:
                await self._step()
        finally:
            self._bus.unsubscribe(events)

    def _receive(self, entry_id: str, message: Message) -> None:
        if isinstance(message, OwnerChanged) and (message.pool, message.token) == ("tts", self._claim.token):
            self._live = True  # everything that was written before us has been read
        self._script.receive(message)
        if self._saying is not None and not self._script.stands(self._saying[0]):
            self._saying[1].cancel()
        if self._live:
            self._news.set()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._news.set()

    async def _step(self) -> None:
        if self._error is not None:
            raise self._error
        match self._script.next() if self._live else None:
            case Say() as say:
                await self._say(say)
            case Done(turn, then):
                reply = ReplySpoken(
                    self._claim.call_id, self._script.epoch, self._claim.token, turn, then, self._script.held
                )
                self._bus.publish(edge_audio(self._script.edge), reply)
                self._script.told(turn)
            case None:
                self._news.clear()
                await self._news.wait()

    async def _say(self, say: Say) -> None:
        """Speak one clause; given up silently when it is not worth speaking any more."""
        task = asyncio.create_task(self._speak(say), name=f"clause {say.clause.turn}.{say.clause.clause}")
        self._saying = (say, task)
        try:
            await asyncio.wait([task])
        finally:
            self._saying = None
            if not task.done():
                await cancel(task)
        if not task.cancelled():
            task.result()

    async def _speak(self, say: Say) -> None:
        """One clause, by the first voice that can; one that breaks off is followed by the next, at the same word."""
        clause = say.clause
        traces.about(traces.Turn(self._claim.call_id, self._script.answers, clause.turn))
        sender = _Sender(self._bus, self._script, self._claim, say)
        speech = with_sources(clause.text, self._options.language)
        part = _Part(speech.text)
        tried: set[str] = set()
        try:
            async with asyncio.timeout(CLAUSE_SECONDS_MAX):
                while part.rest and (source := self._voices.choose(tried, self._claim.call_id)) is not None:
                    tried.add(source.spec)
                    begun_ms, outcome = wall_ms(), "cancelled"
                    try:
                        await self._speak_with(source, part, sender)
                        outcome = "spoken"
                    except ProviderError as error:
                        outcome = type(error).__name__.lower()
                        log.warning("a voice failed: %s", error, extra={"call_id": self._claim.call_id})
                        part.broken_off()
                    finally:
                        if clause.stamps:
                            traces.stage("voice", begun_ms, wall_ms(), provider=source.spec, outcome=outcome)
        except TimeoutError:
            log.warning("a voice took too long", extra={"call_id": self._claim.call_id})
        sender.finish()
        self._note_mute(sender.duration_ms == 0 and bool(speech.text))
        marks = tuple((speech.source(at), at_ms) for at, at_ms in part.word_marks)
        spoken = Spoken(clause.turn, clause.clause, sender.duration_ms, marks, say.epoch)
        await self._write(spoken)
        self._script.receive(spoken)  # not to say it twice while our own news is on its way back

    async def _speak_with(self, source: Source[TextToSpeech], part: _Part, sender: _Sender) -> None:
        text = part.rest
        with source.use() as use:
            stream = source.provider.say(text, self._options)
            async with aclosing(cast("AsyncGenerator[Sound, None]", stream)) as sounds:
                async for sound in sounds:
                    if isinstance(sound, Spelled):
                        part.spelled(sound)
                        continue
                    use.worked()
                    part.spoken_bytes += len(sound)
                    sender.send(sound)
                    await self._ahead.wait(sender.turn, len(sound) / BYTES_PER_MS / 1000)
            if not part.spoken_bytes:
                raise Down(f"{source.spec} made no sound")
        part.complete()
        metrics.count_usage("tts", source.spec, {"characters": len(text)})
        await self._write(Used("tts", source.spec, (("characters", len(text)),)))

    def _note_mute(self, mute: bool) -> None:
        """An agent that cannot speak must not keep a caller in silence."""
        self._mute = self._mute + 1 if mute else 0
        metrics.ANSWERS_FAILED.labels("no voice").inc(mute)
        if self._mute >= MUTE_MAX:
            self._bus.publish(edge_priority(self._script.edge), HangUp(self._claim.call_id, "error"))

    async def _write(self, message: Message) -> None:
        if not await self._ledger.append(self._claim, [message]):
            raise Fenced


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

    def spelled(self, spelled: Spelled) -> None:
        self.marks += [(self._from + offset, self._from_ms + at_ms) for offset, at_ms in spelled.marks]

    def broken_off(self) -> None:
        """The next voice begins at the word that this one did not finish."""
        spoken_ms = self.spoken_bytes // BYTES_PER_MS
        own = [(at - self._from, ms - self._from_ms) for at, ms in self.marks if at >= self._from]
        self._from += spoken_chars(self.rest, spoken_ms, own)
        self._from_ms += spoken_ms
        self.spoken_bytes = 0
        self.marks = [(at, ms) for at, ms in self.marks if at < self._from]

    def complete(self) -> None:
        """Nothing is left to speak."""
        self._from = len(self._text)


class _Sender:
    """Cuts one clause's audio into whole frames and sends them."""

    def __init__(self, bus: Bus, script: Script, claim: Claim, say: Say) -> None:
        self._bus = bus
        self._script = script
        self._stream = edge_audio(script.edge)
        self._claim = claim
        self._epoch = say.epoch
        self._clause = say.clause
        self._rest = b""
        self._frames = 0

    def send(self, chunk: bytes) -> None:
        audio = self._rest + chunk
        whole = len(audio) - len(audio) % FRAME_BYTES
        self._rest = audio[whole:]
        for at in range(0, whole, ENTRY_BYTES):
            self._publish(audio[at : min(at + ENTRY_BYTES, whole)], last=False)

    def finish(self) -> None:
        """The rest, filled up to a whole frame, and the mark that ends the clause."""
        self._publish(padded(self._rest), last=True)

    @property
    def turn(self) -> int:
        return self._clause.turn

    @property
    def duration_ms(self) -> int:
        return self._frames * FRAME_BYTES // BYTES_PER_MS

    def _publish(self, mulaw: bytes, last: bool) -> None:
        clause = self._clause
        stamps: Stamps = (*clause.stamps, wall_ms()) if clause.stamps and self._frames == 0 and mulaw else ()
        if stamps:
            traces.stage("first_audio", *stamps[-2:])
        self._bus.publish(
            self._stream,
            AudioOut(
                self._claim.call_id, self._epoch, self._claim.token, clause.turn, clause.clause, self._frames, mulaw,
                last, stamps, self._script.held, self._script.answers,
            ),
        )  # fmt: skip
        self._frames += len(mulaw) // FRAME_BYTES


class _Ahead:
    """How far a reply's audio is ahead of real time, by our own clock: no credit messages."""

    def __init__(self) -> None:
        self._turn = 0
        self._dry_at = 0.0

    async def wait(self, turn: int, seconds: float) -> None:
        """Count `seconds` of audio of the turn; wait while too much of it is ahead."""
        now = asyncio.get_running_loop().time()
        if turn != self._turn:
            self._turn, self._dry_at = turn, now
        self._dry_at = max(self._dry_at, now) + seconds
        if self._dry_at - now > AHEAD_SECONDS_MAX:
            await asyncio.sleep(self._dry_at - now - AHEAD_SECONDS_MAX)
