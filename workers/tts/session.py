"""The mouth's part in one call: speaks the script's next clause, frames it, and sends it to the call's edge.

Frames go as fast as the voice makes them, ~10 to an entry, at most a minute ahead of the caller's ear; the edge holds
them.  So a mouth that dies after a clause was spoken changes nothing.
"""

from __future__ import annotations

import asyncio
import logging

from common.audio.g711 import BYTES_PER_MS, FRAME_BYTES, padded
from common.bus import Bus
from common.call.end_reasons import EndReason
from common.process.clock import wall_ms
from common.process.skipped import skipping
from common.process.tasks import cancel
from common.protocol.messages import AudioOut, ClauseSynthesized, Message, OwnerChanged, ReplySynthesized, StageMs
from common.protocol.redis_keys import call_events, edge_audio
from common.store import CallStore, Claim
from common.telemetry import metrics, traces
from workers.providers.failover import Failover
from workers.providers.interfaces import TextToSpeech, VoiceOptions
from workers.runtime.hang_up import Connection, hang_up
from workers.runtime.runner import Fenced
from workers.tts.plan import Done, SpeechPlan, Synthesize
from workers.tts.synthesis import CallVoice

log = logging.getLogger(__name__)

ENTRY_BYTES = 10 * FRAME_BYTES
AHEAD_SECONDS_MAX = 60.0
"""How much of one reply may be at the edge before its time."""
MUTE_MAX = 2
"""So many clauses in a row that no provider could speak, and the call is given up: the spoken fallback follows."""


class TtsSession:
    """See `workers.runtime.runner.Session`."""

    def __init__(
        self, claim: Claim, bus: Bus, store: CallStore, voices: Failover[TextToSpeech], options: VoiceOptions
    ) -> None:
        self._claim = claim
        self._bus = bus
        self._store = store
        self._voice = CallVoice(claim.call_id, voices, options, self._write)
        self._script = SpeechPlan()
        self._live = False
        self._news = asyncio.Event()
        self._error: Exception | None = None
        self._saying: tuple[Synthesize, asyncio.Task[None]] | None = None
        self._ahead = _Ahead()
        self._mute = 0

    async def run(self) -> None:
        events = call_events(self._claim.call_id)
        await self._write(OwnerChanged("tts", self._claim.token, self._claim.owner, wall_ms(), can_hold_replies=True))
        subscription = self._bus.subscribe(events, skipping(self._receive, self._claim.call_id), self._fail)
        try:
            while not self._script.over:
                await self._step()
        finally:
            subscription.close()
            await self._voice.close()

    def _receive(self, entry_id: str, message: Message) -> None:
        if isinstance(message, OwnerChanged) and (message.pool, message.token) == ("tts", self._claim.token):
            self._live = True  # everything that was written before us has been read
        self._script.receive(message)
        if self._saying is not None and not self._script.stands(self._saying[0]):
            self._saying[1].cancel()
        if not self._script.speaks(self._voice.turn):
            self._voice.be_silent()
        if self._live:
            self._news.set()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._news.set()

    async def _step(self) -> None:
        if self._error is not None:
            raise self._error
        match self._script.next() if self._live else None:
            case Synthesize() as say:
                await self._say(say)
            case Done(turn, then):
                reply = ReplySynthesized(
                    self._claim.call_id, self._script.epoch, self._claim.token, turn, then, self._script.held
                )
                self._bus.publish(edge_audio(self._script.edge), reply)
                self._script.told(turn)
            case None:
                self._news.clear()
                await self._news.wait()

    async def _say(self, say: Synthesize) -> None:
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

    async def _speak(self, say: Synthesize) -> None:
        """One clause, to the connection of the call that it is for."""
        clause = say.clause
        traces.about(traces.TurnTrace(self._claim.call_id, self._script.answers, clause.turn))
        sender = _Sender(self._bus, self._script, self._claim, say)
        synthesis = self._voice.say(clause)
        async for sound in synthesis:
            if not (sound := sender.without_heard(sound)):
                continue
            sender.send(sound)
            await self._ahead.wait(sender.turn, len(sound) / BYTES_PER_MS / 1000)
        sender.finish()
        metrics.ANSWERS_FAILED.labels("no voice").inc(synthesis.synthesized_chars >= 0)
        self._note_mute(synthesis.mute)
        spoken = ClauseSynthesized(
            clause.turn, clause.clause, sender.duration_ms, synthesis.marks, say.epoch, synthesis.synthesized_chars
        )
        await self._write(spoken)
        self._script.receive(spoken)  # not to say it twice while our own news is on its way back

    def _note_mute(self, mute: bool) -> None:
        """An agent that cannot speak must not keep a caller in silence."""
        self._mute = self._mute + 1 if mute else 0
        if self._mute >= MUTE_MAX:
            hang_up(self._bus, self._claim, EndReason.ERROR, Connection(self._script.edge, self._script.epoch))

    async def _write(self, message: Message) -> None:
        if not await self._store.append(self._claim, [message]):
            raise Fenced


class _Sender:
    """Cuts one clause's audio into whole frames and sends them."""

    def __init__(self, bus: Bus, script: SpeechPlan, claim: Claim, say: Synthesize) -> None:
        self._bus = bus
        self._script = script
        self._stream = edge_audio(script.edge)
        self._claim = claim
        self._epoch = say.epoch
        self._clause = say.clause
        self._rest = b""
        self._frames = say.from_ms * BYTES_PER_MS // FRAME_BYTES
        self._heard_bytes = self._frames * FRAME_BYTES  # of the clause, on the connection before this one
        self._begun = say.from_ms > 0

    def without_heard(self, sound: bytes) -> bytes:
        """What is left of the clause's next audio when that which was heard already is taken away."""
        skipped = min(self._heard_bytes, len(sound))
        self._heard_bytes -= skipped
        return sound[skipped:] if skipped else sound

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
        stage_ms: StageMs = (*clause.stage_ms, wall_ms()) if clause.stage_ms and not self._begun and mulaw else ()
        self._begun = self._begun or bool(mulaw)
        if stage_ms:
            traces.stage("first_audio", *stage_ms[-2:])
        self._bus.publish(
            self._stream,
            AudioOut(
                self._claim.call_id, self._epoch, self._claim.token, clause.turn, clause.clause, self._frames, mulaw,
                last, stage_ms, self._script.held, self._script.answers,
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
