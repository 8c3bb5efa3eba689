"""Runs the TTS worker's part of one call: synthesises the next clause, frames it, and sends it to the call's edge.

Frames are sent as fast as the voice makes them, about ten to a stream entry, at most a minute ahead of playout; the
edge queues them.  So a TTS worker that dies after a clause was synthesised changes nothing.
"""

from __future__ import annotations

import asyncio
import logging

from common.audio.g711 import BYTES_PER_MS, FRAME_BYTES, padded
from common.bus import Bus
from common.call.end_reasons import EndReason
from common.process.clock import wall_ms
from common.process.tasks import cancel
from common.protocol.fields import StageMs
from common.protocol.messages import (
    AudioOut,
    ClauseSynthesized,
    Message,
    ReplySynthesized,
)
from common.protocol.redis_keys import edge_audio
from common.store import CallStore, Claim
from common.telemetry import metrics, traces
from workers.runtime.event_session import EventSession
from workers.runtime.hang_up import Connection, hang_up
from workers.runtime.per_agent import PerAgent
from workers.tts.plan import Done, SpeechPlan, Synthesize, Task
from workers.tts.synthesis import AgentVoice, CallVoice

log = logging.getLogger(__name__)

ENTRY_BYTES = 10 * FRAME_BYTES
AHEAD_SECONDS_MAX = 60.0
"""Most seconds of one reply that are sent to the edge ahead of playout."""
SILENT_CLAUSES_MAX = 2
"""After this many clauses in a row without a voice the call is given up; the edge plays its fallback message."""


class TtsSession:
    """Implements `workers.runtime.runner.Session` for the TTS pool."""

    def __init__(self, claim: Claim, bus: Bus, store: CallStore, voices: PerAgent[AgentVoice]) -> None:
        self._claim = claim
        self._bus = bus
        self._log = EventSession(claim, bus, store)
        self._voices = voices
        self._voice = CallVoice(claim.call_id, voices.of, self._log.write)
        self._plan = SpeechPlan()
        self._current: tuple[Synthesize, asyncio.Task[None]] | None = None
        self._lead = _PlayoutLead()
        self._sent_sound = False  # the newest clause that was sent is a sound
        self._silent_clauses = 0

    async def run(self) -> None:
        try:
            async with self._log.following(self._receive):
                while not self._plan.over:
                    await self._log.changed()
                    while (task := self._plan.next()) is not None:
                        await self._perform(task)
        finally:
            await self._voice.close()

    def _receive(self, message: Message) -> None:
        self._voices.receive(message)
        self._plan.receive(message)
        if self._current is not None and not self._plan.stands(self._current[0]):
            self._current[1].cancel()
        if not self._plan.speaks(self._voice.turn):
            self._voice.be_silent()

    async def _perform(self, task: Task) -> None:
        match task:
            case Synthesize():
                await self._synthesize(task)
            case Done(turn, then):
                reply = ReplySynthesized(
                    self._claim.call_id, self._plan.epoch, self._claim.token, turn, then, self._plan.held
                )
                self._bus.publish(edge_audio(self._plan.edge), reply)
                self._plan.note_completion_sent(turn)

    async def _synthesize(self, order: Synthesize) -> None:
        """Synthesise and send one clause; returns early, without an error, if `_receive` cancels it."""
        task = asyncio.create_task(self._send_clause(order), name=f"clause {order.clause.turn}.{order.clause.clause}")
        self._current = (order, task)
        try:
            await asyncio.wait([task])
        finally:
            self._current = None
            if not task.done():
                await cancel(task)
        if not task.cancelled():
            task.result()

    async def _send_clause(self, order: Synthesize) -> None:
        """Send one clause to the connection of the call that it is for, and log it as synthesised."""
        clause = order.clause
        traces.about(traces.TurnTrace(self._claim.call_id, self._plan.answers, clause.turn))
        sender = _Sender(self._bus, self._plan, self._claim, order, self._voices.of(clause.turn).interruptible)
        synthesis = self._voice.say(clause)
        if self._sent_sound and not clause.sound:
            self._lead = _PlayoutLead()  # the edge drops what was sent ahead of the sound
        self._sent_sound = bool(clause.sound)
        async for chunk in synthesis:
            if clause.sound and self._plan.goes_on(clause):
                break
            if not (unheard := sender.without_heard(chunk)):
                continue
            sender.send(unheard)
            await self._lead.wait(clause.turn, len(unheard) / BYTES_PER_MS / 1000)
        sender.finish()
        metrics.ANSWERS_FAILED.labels("no voice").inc(synthesis.synthesized_chars >= 0)
        if not clause.sound:
            self._count_silent_clause(synthesis.silent)
        synthesized = ClauseSynthesized(
            clause.turn, clause.clause, sender.duration_ms, synthesis.char_timings, order.epoch,
            synthesis.synthesized_chars,
        )  # fmt: skip
        await self._log.write(synthesized)
        self._plan.receive(synthesized)  # before it comes back through the log, so that it is not synthesised twice

    def _count_silent_clause(self, silent: bool) -> None:
        """Give the call up after `SILENT_CLAUSES_MAX` silent clauses in a row: the caller must not wait in silence."""
        self._silent_clauses = self._silent_clauses + 1 if silent else 0
        if self._silent_clauses >= SILENT_CLAUSES_MAX:
            hang_up(self._bus, self._claim, EndReason.ERROR, Connection(self._plan.edge, self._plan.epoch))


class _Sender:
    """Cuts one clause's audio into whole frames and sends them."""

    def __init__(self, bus: Bus, plan: SpeechPlan, claim: Claim, order: Synthesize, interruptible: int) -> None:
        self._bus = bus
        self._interruptible = interruptible
        self._plan = plan
        self._stream = edge_audio(plan.edge)
        self._claim = claim
        self._epoch = order.epoch
        self._clause = order.clause
        self._rest = b""
        self._frames = order.from_ms * BYTES_PER_MS // FRAME_BYTES
        self._heard_bytes = self._frames * FRAME_BYTES  # of the clause, on the connection before this one
        self._begun = order.from_ms > 0

    def without_heard(self, chunk: bytes) -> bytes:
        """Return the clause's next audio without the part that the caller has heard."""
        skipped = min(self._heard_bytes, len(chunk))
        self._heard_bytes -= skipped
        return chunk[skipped:] if skipped else chunk

    def send(self, chunk: bytes) -> None:
        audio = self._rest + chunk
        whole = len(audio) - len(audio) % FRAME_BYTES
        self._rest = audio[whole:]
        for at in range(0, whole, ENTRY_BYTES):
            self._publish(audio[at : min(at + ENTRY_BYTES, whole)], last=False)

    def finish(self) -> None:
        """Send the rest, padded to a whole frame, and mark the end of the clause."""
        self._publish(padded(self._rest), last=True)

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
                last, stage_ms, self._plan.held, self._plan.answers, self._interruptible, bool(clause.sound),
            ),
        )  # fmt: skip
        self._frames += len(mulaw) // FRAME_BYTES


class _PlayoutLead:
    """Bounds how far a reply's audio is sent ahead of real time, by the worker's own clock: no credit messages."""

    def __init__(self) -> None:
        self._turn = 0
        self._runs_out_at = 0.0

    async def wait(self, turn: int, seconds: float) -> None:
        """Count `seconds` of audio of the reply `turn`; wait while more than `AHEAD_SECONDS_MAX` are ahead."""
        now = asyncio.get_running_loop().time()
        if turn != self._turn:
            self._turn, self._runs_out_at = turn, now
        self._runs_out_at = max(self._runs_out_at, now) + seconds
        if self._runs_out_at - now > AHEAD_SECONDS_MAX:
            await asyncio.sleep(self._runs_out_at - now - AHEAD_SECONDS_MAX)
