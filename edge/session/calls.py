"""Holds the calls of an edge: admission, delivery of bus messages to each call, housekeeping, and the drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from common.bus import Bus
from common.call.end_reasons import EndReason
from common.process.clock import wall_ms
from common.process.skipped import skip
from common.protocol.acts import KeepKeysSecret, SendKeys, TransferCall
from common.protocol.messages import (
    AudioOut,
    CallEnded,
    CallStarted,
    HangUp,
    Message,
    ReplyReleased,
    ReplySynthesized,
    SpeechEnded,
    SpeechStarted,
    WordsDetected,
)
from common.protocol.redis_keys import TOOLS_POOL, call_events, edge_audio, edge_priority
from common.redis.refusals import KeyRefused
from common.store import CallRecord, CallStore
from common.telemetry import metrics
from edge.session.abandoned_calls import AbandonedCalls
from edge.session.admission.reservations import Reservations
from edge.session.call import Call
from edge.session.fences import ORDERS
from edge.session.last_connection import last_connection

log = logging.getLogger(__name__)

HOUSEKEEP_SECONDS = 1.0
HEARTBEAT_SECONDS = 5.0
"""Pause between two signs of life in the store."""
HAND_OVER_SECONDS = 8.0
"""How long a hand-over may wait for a moment between turns; then the call is handed over anyway."""
HAND_OVER_LOOK_SECONDS = 0.005
REDIS_GRACE_SECONDS = 3.0
"""If Redis is away for longer, no new call is taken."""
UNWRITABLE = "Redis refuses writes"
OVERBOOKED = 0.1
"""Share by which reservations may exceed the capacity: some streams arrive at another edge, some not at all."""
OPENING_MAX = 2
"""Sockets that one call may be opening at once, so that one leaked token cannot use up the capacity."""


class Calls:
    """All calls of one edge, at most `calls_max`."""

    def __init__(self, edge: str, bus: Bus, store: CallStore, calls_max: int) -> None:
        self.edge = edge
        self.draining = False
        self.added: Callable[[Call], None] = lambda call: None
        """Called with every call that is added (call_backup.py)."""
        self.order: Callable[[Call, Message], None] = lambda call, order: None
        """Called with each order of the LLM worker that the edge carries out beside the call (edge/transfer/orders.py).
        """
        self.overloaded: Callable[[], bool] = lambda: False
        """Asked before a new call is answered, if there are others (admission/overload.py)."""
        self.missing_pool: Callable[[], str] = lambda: ""
        """Asked before a new call is answered: a pool without a free member, or "" (admission/pool_watch.py)."""
        self.unwritable = ""
        """Why Redis refuses writes, once that has lasted `REDIS_GRACE_SECONDS`; empty while it accepts them."""
        self.bus = bus
        self._store = store
        self._calls_max = calls_max
        self._calls: dict[str, Call] = {}
        self._reservations = Reservations()
        self._overbooked = max(1, int(calls_max * OVERBOOKED))
        self._opening: Counter[str] = Counter()
        self._abandoned = AbandonedCalls()
        self._changed = asyncio.Event()
        self._unwritable_since = 0.0
        metrics.begin("edge", calls_max)

    def listen(self) -> None:
        """Subscribe to the streams on which the workers send to this edge."""
        self.bus.subscribe(edge_audio(self.edge), self._receive, self._subscription_failed)
        self.bus.subscribe(edge_priority(self.edge), self._receive, self._subscription_failed)

    def busy(self, call_id: str = "") -> str:
        """Why a new call, or this one, is not answered now; "" if it is.  A closed set, used as a metric label."""
        refusal = self.refusal(call_id)
        if not refusal and self._calls and self.overloaded():
            return "overloaded"
        if not refusal and self.unwritable:
            return UNWRITABLE
        if not refusal and (pool := self.missing_pool()):
            return f"no {pool}"
        return refusal

    def reserve(self, call_id: str) -> None:
        """Keep capacity for a call that was answered, until its stream arrives or the reservation expires."""
        self._reservations.make(call_id, _now_ms())

    def cancel_reservation(self, call_id: str) -> None:
        """Give the reserved capacity back: the call's stream will not arrive."""
        self._reservations.drop(call_id)

    def refusal(self, call_id: str = "") -> str:
        """Why a stream, or this call's, is not taken now; "" if it is.

        A call that is here already and connects again needs no further capacity.
        """
        if self.draining:
            return "draining"
        if call_id and self._opening[call_id] >= OPENING_MAX:
            return "too many sockets"
        taken = len(self._calls) - (call_id in self._calls) + self._opening.total()
        reserved = self._reservations.others(call_id, _now_ms())
        if taken >= self._calls_max or taken + reserved >= self._calls_max + self._overbooked:
            return "full"
        if self.bus.away_s(call_id) > REDIS_GRACE_SECONDS:
            return "cut off from Redis"
        return ""

    def count_opening(self, call_id: str = "") -> Callable[[], None]:
        """Count a socket that is being opened; returns the function that ends the count, which may be called twice."""
        self._opening[call_id] += 1
        self._reservations.drop(call_id)
        released = False

        def release() -> None:
            nonlocal released
            if not released:
                released = True
                self._opening[call_id] -= 1
                self._opening += Counter()  # removes entries of zero

        return release

    def add(self, call: Call) -> None:
        """Deliver messages for the call's id to this call from now on; a reconnect replaces the call before it."""
        older = self._calls.get(call.call_id)
        if older is not None:
            older.replaced()
        self._calls[call.call_id] = call
        call.secret_keys.store = self._store
        self.added(call)
        self._count()

    def remove(self, call: Call) -> None:
        """Remove the call, unless another connection has taken its place."""
        if self._calls.get(call.call_id) is call:
            del self._calls[call.call_id]
        self._count()

    def get(self, call_id: str) -> Call | None:
        """The call, if this edge has it."""
        return self._calls.get(call_id)

    def live(self) -> list[Call]:
        """All calls of this edge."""
        return list(self._calls.values())

    async def drained(self) -> None:
        """Return when no call is left."""
        while self._calls:
            self._changed.clear()
            await self._changed.wait()

    def hand_over(self) -> None:
        """Hand all calls over at once: the carrier opens each socket anew at another edge, and no call ends."""
        if self._calls:
            log.info("handing over %s calls", len(self._calls))
        for call in list(self._calls.values()):
            call.hand_over()

    async def hand_over_between_turns(self) -> None:
        """Hand each call over just after its caller has fallen silent; after `HAND_OVER_SECONDS` all remaining ones.

        Audio that a caller speaks while there is no socket is lost, and a clause that was not heard to its end is
        repeated. Between two turns neither happens, and the wait for the reply hides the carrier's pause
        (reconnect_silence.py); hence only the first moment of that wait is used, not the time when the reply is about
        to arrive.  While Redis is away, the caller's last audio is still buffered here, and the next edge's audio would
        overtake it.
        """
        awaited = {call for call in self.live() if call.turn.between}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HAND_OVER_SECONDS):
                while self._calls:
                    for call in self.live():
                        if not call.turn.between:
                            awaited.discard(call)
                        elif call not in awaited and not self.bus.away_s(call.call_id):
                            call.hand_over()
                    await asyncio.sleep(HAND_OVER_LOOK_SECONDS)
        self.hand_over()

    async def housekeeping(self) -> None:
        """Check limits, give signs of life, and end abandoned calls, for as long as the process runs."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            # Tasks of their own: Redis may be slow, and abandoned calls may be thousands; neither may delay the limits.
            tasks.create_task(self._keep_store(), name="signs of life")
            tasks.create_task(self._end_abandoned(), name="abandoned calls")
            while True:
                await asyncio.sleep(HOUSEKEEP_SECONDS)
                for call in list(self._calls.values()):
                    self._guarded(call, call.housekeep, loop.time() * 1000)

    async def _keep_store(self) -> None:
        touched = now = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(HOUSEKEEP_SECONDS)
            await self._step("call store", self._check_write)
            await self._step("call store", self._note_silence)
            now = asyncio.get_running_loop().time()
            if now - touched >= HEARTBEAT_SECONDS:
                touched = now
                await self._step("call store", self._heartbeat_calls)
                await self._step("call store", self._mend)

    async def _step(self, loop: str, step: Callable[[], Awaitable[None]]) -> None:
        """Run one step; an error costs this step only."""
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - the loop serves all calls
            skip(loop, error)

    async def _check_write(self) -> None:
        """Test a write: a Redis that is full or read-only answers all reads and takes no call."""
        now = asyncio.get_running_loop().time()
        try:
            await self._store.check_write(self.edge)
        except (ConnectionError, TimeoutError) as error:
            self._unwritable_since = self._unwritable_since or now
            if now - self._unwritable_since >= REDIS_GRACE_SECONDS:
                self.unwritable = str(error)
        else:
            self._unwritable_since, self.unwritable = 0.0, ""

    async def _mend(self) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):  # `_heartbeat_calls` logs it
            await self._store.mend(self.edge, list(self._calls))

    async def _note_silence(self) -> None:
        """Record when somebody last spoke, so that an edge that takes a call over continues the count."""
        now = _now_ms()
        silent = {call_id: call.limits.silence_to_note(now) for call_id, call in self._calls.items()}
        noted = {call_id: ms for call_id, ms in silent.items() if ms is not None}
        if noted:
            with contextlib.suppress(ConnectionError, TimeoutError):  # `_heartbeat_calls` logs it
                await self._store.note_silence(noted, {call_id: self._calls[call_id].epoch for call_id in noted})

    async def _heartbeat_calls(self) -> None:
        try:
            await self._store.heartbeat_calls(list(self._calls))
            await self._store.heartbeat("edge", self.edge)
            await self._notice_ends()
        except (ConnectionError, TimeoutError):
            log.warning("the call store cannot be reached")

    async def _notice_ends(self) -> None:
        """Stop calls whose record has ended: another edge took this one for dead, or an order of ours was lost."""
        for call_id in await self._store.ended(list(self._calls)):
            record = await self._store.read(call_id)
            call = self._calls.get(call_id)
            if call is None or not call.lifecycle.goes_on:
                continue
            if record is not None and record.ended_because == EndReason.TRANSFERRED:
                call.stop(EndReason.TRANSFERRED)
                continue
            log.warning("a call of this edge was ended by another edge", extra={"call_id": call_id})
            metrics.CALLS_FOUND_ENDED.inc()
            call.stop("carrier")

    async def _end_abandoned(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._step("abandoned calls", self._find_abandoned)

    async def _find_abandoned(self) -> None:
        try:
            for call_id in self._abandoned.look(await self._store.abandoned(), _now_ms()):
                try:
                    await self._end_abandoned_call(call_id)
                except KeyRefused as error:  # `_mend` removes the unusable key
                    skip("abandoned calls", error, call_id)
        except (ConnectionError, TimeoutError):
            log.warning("the call store cannot be reached")

    async def _end_abandoned_call(self, call_id: str) -> None:
        """End a call that no edge has; its edge is informed all the same, should it live."""
        record = await self._store.read(call_id)
        logged_reason = await self._logged_end_reason(call_id)
        epoch = record.epoch if record is not None else None
        if not await self._store.end(call_id, logged_reason or "carrier", epoch) or record is None:
            return  # another edge ended it, or a newer connection carries it
        self.bus.publish(edge_priority(record.edge), HangUp(call_id, "carrier", epoch=record.epoch))
        if not logged_reason:
            heard = (await last_connection(self.bus, call_id)).heard
            self.bus.publish(call_events(call_id), CallEnded(record.epoch, "carrier", wall_ms(), heard))
        metrics.CALLS_ENDED.labels(logged_reason or "carrier").inc()

    async def _logged_end_reason(self, call_id: str) -> str:
        """The end reason in the call's event log; empty if there is none, or if the log cannot be read."""
        try:
            return end_reason_in([message for _, message in await self.bus.read(call_events(call_id))])
        except KeyRefused:
            return ""

    async def offer(self, record: CallRecord) -> None:
        """Offer the call to the pools that it needs.  If Redis is away, a worker's scan finds the call later."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            await asyncio.gather(*(self._store.offer(pool, [record.call_id]) for pool in record.pools))

    def _count(self) -> None:
        metrics.CALLS_ACTIVE.labels("edge").set(len(self._calls))
        metrics.CALLS_WITH_TOOLS.set(sum(TOOLS_POOL in call.record.more_pools for call in self._calls.values()))
        self._changed.set()

    def _receive(self, entry_id: str, message: Message) -> None:
        try:
            self._route(message)
        except Exception as error:  # noqa: BLE001 - it would end the subscription of all calls
            skip("bus", error)

    def _route(self, message: Message) -> None:
        call = self._calls.get(getattr(message, "call_id", ""))
        if call is None:
            if isinstance(message, AudioOut):
                metrics.FRAMES_DROPPED.labels("call is over").inc()
            return
        if not call.fences.obeys(message, call.epoch):
            metrics.STALE_ORDERS.labels(ORDERS[type(message)]).inc()
            return
        if isinstance(message, TransferCall | SendKeys):
            self._guarded(call, self.order, call, message)
        else:
            self._guarded(call, _deliver, call, message)

    def _guarded(self, call: Call, step: Callable[..., None], *about: Any) -> None:
        """Run a step of one call; an error ends that call only."""
        try:
            step(*about)
        except Exception:
            log.exception("an error ended a call", extra={"call_id": call.call_id})
            metrics.SESSION_ERRORS.labels("edge").inc()
            call.end("error")

    def _subscription_failed(self, error: Exception) -> None:
        skip("bus", error)  # cannot happen: every message is guarded


def _now_ms() -> float:
    return asyncio.get_running_loop().time() * 1000


def _deliver(call: Call, message: Message) -> None:
    match message:
        case AudioOut():
            call.play(message)
        case ReplySynthesized():
            call.reply_synthesized(message)
        case SpeechStarted():
            call.speech_started(message)
        case SpeechEnded():
            call.speech_ended(message)
        case WordsDetected():
            call.words_detected(message)
        case ReplyReleased():
            call.release(message)
        case KeepKeysSecret():
            call.secret_keys.keep(message.name, message.digits_max)
        case HangUp():
            call.stop(EndReason.of(message.reason))


def end_reason_in(transcript: list[Message]) -> str:
    """The end reason in an event log, which an edge that died wrote before the store; empty if there is none."""
    epoch, reason = 0, ""
    for message in transcript:
        match message:
            case CallStarted():
                epoch, reason = max(epoch, message.epoch), "" if message.epoch > epoch else reason
            case CallEnded() if not message.epoch or message.epoch >= epoch:
                reason = reason or EndReason.of(message.reason).value
    return reason
