"""Runs the STT worker's part of one call: passes its audio to a provider, publishes the provider's events.

A speech start goes to the edge's priority stream first: it may stop the agent.  Utterances are numbered; a checkpoint
after each one holds the entry at which the next owner must begin to read, so that an utterance that a dead owner left
unfinished is transcribed again, under the same number.

If the call is handed to another agent (`AgentChanged`), the stream is closed and one with that agent's options and
providers is opened, from the same entry: no audio is lost, and utterances are counted on.  The event log is read only
for calls that can be handed over.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from common.audio.g711 import BYTES_PER_MS
from common.bus import Bus
from common.call.end_reasons import EndReason
from common.call.resume import ListeningPosition
from common.process.clock import wall_ms
from common.process.skipped import skipping
from common.protocol.messages import (
    AudioEnded,
    AudioIn,
    AudioStarted,
    EagerUserTurn,
    Message,
    SpeechEnded,
    SpeechStarted,
    UsageReported,
    UserTurn,
    WordsDetected,
)
from common.protocol.redis_keys import call_audio, edge_priority
from common.store import CallStore, Claim
from common.telemetry import metrics, traces
from workers.providers.failover import Failover, Source, Use
from workers.providers.interfaces import (
    EagerEndOfTurn,
    EndOfTurn,
    ListenOptions,
    ProviderError,
    SpeechEnd,
    SpeechStart,
    SpeechToText,
    SttEvent,
    SttStream,
)
from workers.runtime.event_session import EventSession
from workers.runtime.hang_up import Connection, hang_up
from workers.runtime.per_agent import PerAgent
from workers.stt.audio_watch import AudioWatch
from workers.stt.backchannels import is_backchannel
from workers.stt.event_writer import EventWriter
from workers.stt.stream.reopening import Reopening
from workers.stt.timeline import Timeline

log = logging.getLogger(__name__)

LAG_SAMPLE_FRAMES = 50
"""The lag of the bus is measured once in this many frames."""
SPEECH_STARTS_MAX = 64
"""Speech starts remembered until their words are there."""
UNRESPONSIVE_SECONDS_MAX = 20.0
"""A call that has had no event from any provider for this long is given up: the spoken fallback follows."""


@dataclass(frozen=True, slots=True)
class Recognition:
    """How the callers of one agent are recognised: by which providers, in the order of failover, and how."""

    sources: Failover[SpeechToText]
    options: ListenOptions


class SttSession:
    """See `workers.runtime.runner.Session`."""

    def __init__(self, claim: Claim, bus: Bus, store: CallStore, agents: PerAgent[Recognition]) -> None:
        self._claim = claim
        self._bus = bus
        self._log = EventSession(claim, bus, store)
        self._writer = EventWriter(self._log)
        self._agents = agents
        self._used = agents.now  # what the open stream was opened with
        self._until_handoff: asyncio.Timeout | None = None  # of the open stream
        self._edge = claim.record.edge
        self._epoch = claim.record.epoch
        self._audio = (0, 0)  # (epoch, position_ms): older audio was fed
        self._resume = ListeningPosition.of(claim.checkpoint)
        self._utterance = 0
        self._speech_starts: deque[tuple[int, int]] = deque(maxlen=SPEECH_STARTS_MAX)  # (position_ms, utterance)
        self._timeline = Timeline()
        self._watch = AudioWatch(bus, claim.call_id)
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stream: SttStream | None = None
        self._has_events = False  # the open stream has had an event
        self._spec = ""
        self._fed_bytes = 0  # to the open stream, and not yet counted as used

    async def run(self) -> None:
        if not self._agents.may_change:
            await self._log.begin()
            await self._recognise([])
            return
        async with self._log.following(self._note_agent):
            await self._log.changed()  # the log's past is read: it says which agent has the call
            await self._recognise([self._follow_agents()])

    async def _recognise(self, more: list[Coroutine[Any, Any, None]]) -> None:
        """Run until the audio ends; `more` is run beside."""
        call_id = self._claim.call_id
        streaming = asyncio.create_task(self._run_stream(), name=f"stt stream {call_id}")
        watching = asyncio.create_task(self._watch.run(self._is_due), name=f"audio watch {call_id}")
        writing = asyncio.create_task(self._writer.run(), name=f"stt events {call_id}")
        tasks = [streaming, watching, writing]
        tasks += [asyncio.create_task(each, name=f"stt agents {call_id}") for each in more]
        try:
            await asyncio.wait([*tasks, self._over], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:  # all of them before any is waited for: an error of one must not spare the other
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.exception()  # seen, even if we are cancelled with it
        for task in tasks:
            if not task.cancelled():
                task.result()
        self._over.result()
        self._count_use(self._spec)
        await self._writer.flush()

    def _note_agent(self, message: Message) -> None:
        self._agents.receive(message)

    async def _follow_agents(self) -> None:
        """Have the stream reopened when another agent has the call, unless that one is listened to in the same way."""
        while True:
            if self._until_handoff is not None and self._agents.now != self._used:
                self._until_handoff.reschedule(asyncio.get_running_loop().time())
                self._until_handoff = None
            await self._log.changed()

    def _receive(self, entry_id: str, message: Message) -> None:
        match message:
            case AudioIn(epoch, position_ms) if (epoch, position_ms) < self._audio:
                return  # fed already: Redis was away, and the edge wrote it twice
            case AudioIn(epoch, position_ms, at_ms, mulaw):
                self._audio = (
                    epoch,
                    position_ms + 1,
                )  # an edge that took over without the last position counts from the start
                self._watch.entry = entry_id
                self._timeline.note(entry_id, position_ms, at_ms, mulaw)
                if self._stream is not None:
                    self._stream.feed(position_ms, mulaw)
                    self._fed_bytes += len(mulaw)
                if position_ms // 20 % LAG_SAMPLE_FRAMES == 0:
                    metrics.BUS_LAG_SECONDS.labels("edge to stt").observe(max(0, wall_ms() - at_ms) / 1000)
            case AudioStarted(epoch, edge):
                self._audio = max(self._audio, (epoch, 0))  # audio of an edge that was cut off is void
                if epoch > self._epoch:
                    self._epoch, self._edge = epoch, edge
            case AudioEnded(epoch):
                if not self._over.done() and (epoch == 0 or epoch >= self._epoch):
                    self._over.set_result(None)

    def _is_due(self, audio: AudioIn) -> bool:
        """True if the audio was not fed yet."""
        return (audio.epoch, audio.position_ms) >= self._audio

    def _fail(self, error: Exception) -> None:
        if not self._over.done():
            self._over.set_exception(error)

    async def _run_stream(self) -> None:
        """Keep a stream open; when one fails the next is opened, from the start of the utterance it was in."""
        loop = asyncio.get_running_loop()
        reopening = Reopening()
        tried: set[str] = set()
        event_at = loop.time()
        handed_over = False
        while True:
            if self._agents.now != self._used:
                self._used = self._agents.now
                tried.clear()
            source = self._used.sources.choose(tried, self._claim.call_id)
            if source is None:
                await self._used.sources.exhausted(self._claim.call_id)
                if loop.time() - event_at > UNRESPONSIVE_SECONDS_MAX:
                    hang_up(self._bus, self._claim, EndReason.ERROR, Connection(self._edge, self._epoch))
                    event_at = loop.time()
                tried.clear()
                await asyncio.sleep(reopening.pause_s())
                continue
            if limit_s := reopening.limit_s(loop.time()):
                await asyncio.sleep(limit_s)
            tried.add(source.spec)
            metrics.PROVIDER_REOPENED.labels(source.spec).inc(reopening.count > 0 and not handed_over)
            reopening.opened(loop.time())
            self._has_events = False
            handed_over = False
            try:
                handed_over = await self._listen_until_handoff(source)
            except ProviderError as error:
                log.warning("an STT stream failed: %s", error, extra={"call_id": self._claim.call_id})
            self._count_use(source.spec)
            if self._has_events or handed_over:
                event_at = loop.time()
            if handed_over:
                continue
            if reopening.failed(loop.time(), self._has_events):
                tried.clear()

    async def _listen_until_handoff(self, source: Source[SpeechToText]) -> bool:
        """As `_listen`; returns True if another agent, who is listened to otherwise, has the call."""
        try:
            async with asyncio.timeout(None) as until:
                self._until_handoff = until
                self._log.wake()  # the hand-off may have come before
                with source.use() as use:
                    await self._listen(source, use)
        except TimeoutError:
            if not until.expired():
                raise
            return True
        finally:
            self._until_handoff = None
        return False

    async def _listen(self, source: Source[SpeechToText], use: Use) -> None:
        """Feed one stream and publish its events until it fails.  Raises a ProviderError; silence is no failure."""
        self._spec = source.spec
        async with source.provider.listen(self._used.options) as stream:
            self._stream = stream
            self._utterance = self._resume.utterance
            self._audio = (0, 0)
            self._watch.entry, self._watch.open = self._resume.entry, True
            audio = call_audio(self._claim.call_id)
            receive = skipping(self._receive, self._claim.call_id)
            subscription = self._bus.subscribe(audio, receive, self._fail, self._resume.entry)
            try:
                async for event in stream:
                    use.worked()
                    self._has_events = True
                    self._publish(event, source.spec)
                    await self._writer.room()
            finally:  # before the goodbye to the vendor, which may take its time
                self._stream, self._watch.open = None, False
                subscription.close()

    def _publish(self, event: SttEvent, spec: str) -> None:
        """Send what the edge needs at once, and have the event written."""
        call_id, token = self._claim.call_id, self._claim.token
        match event:
            case SpeechStart(position_ms):
                self._utterance += 1
                self._speech_starts.append((position_ms, self._utterance))
                self._speech(SpeechStarted(call_id, token, self._utterance, position_ms, wall_ms()))
            case SpeechEnd(position_ms):
                self._speech(SpeechEnded(call_id, token, self._utterance, position_ms))
            case EagerEndOfTurn(text, _, end_ms, unsure):
                now_ms = wall_ms()
                stage_ms = (self._timeline.wall(end_ms, now_ms), now_ms, now_ms)
                utterance, backchannel = self._utterance_of(end_ms), is_backchannel(text)
                if not unsure:  # an agent that speaks is not stopped for it
                    self._publish_words(utterance, backchannel)
                self._writer.add(EagerUserTurn(utterance, text, stage_ms, backchannel, unsure))
            case EndOfTurn():
                self._end_of_turn(event, spec)

    def _end_of_turn(self, event: EndOfTurn, spec: str) -> None:
        """Publish the caller's turn; the next owner, or the next stream, begins where its words ended."""
        now_ms, end_ms = wall_ms(), event.end_ms
        speech_end = self._timeline.wall(end_ms, now_ms)
        endpoint = self._timeline.wall(event.decided_ms, now_ms) if event.decided_ms else now_ms
        utterance, backchannel = self._utterance_of(end_ms), is_backchannel(event.text)
        if not event.unsure:  # an agent that speaks is not stopped for it
            self._publish_words(utterance, backchannel)
        stage_ms = (speech_end, endpoint, now_ms)
        self._resume = ListeningPosition(utterance, self._timeline.entry(end_ms))
        self._writer.add(
            UserTurn(utterance, event.text, stage_ms, event.unsure, backchannel), checkpoint=self._resume.checkpoint()
        )
        turn = traces.TurnTrace(self._claim.call_id, utterance)
        traces.stage("endpoint", speech_end, endpoint, turn=turn, provider=spec)
        traces.stage("transcript", endpoint, now_ms, turn=turn, provider=spec)
        self._count_use(spec)

    def _publish_words(self, utterance: int, backchannel: bool) -> None:
        """Report that the speech has words, so that the edge, which stopped the agent for it, need not wait."""
        if not backchannel:
            self._bus.publish(
                edge_priority(self._edge), WordsDetected(self._claim.call_id, self._claim.token, utterance)
            )

    def _count_use(self, spec: str) -> None:
        audio_ms, self._fed_bytes = self._fed_bytes // BYTES_PER_MS, 0
        if audio_ms:
            metrics.count_usage("stt", spec, {"audio_ms": audio_ms})
            self._writer.add(UsageReported("stt", spec, (("audio_ms", audio_ms),)))

    def _speech(self, speech: SpeechStarted | SpeechEnded) -> None:
        self._bus.publish(edge_priority(self._edge), speech)
        self._writer.add(speech)

    def _utterance_of(self, end_ms: int) -> int:
        """The number of the utterance that ended there; by now the caller may be speaking again."""
        return next((number for at_ms, number in reversed(self._speech_starts) if at_ms < end_ms), self._utterance)
