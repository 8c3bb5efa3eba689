"""The calls of this edge: admission, the way from the bus to each, and the drain."""

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
from common.protocol.redis_keys import POOLS, call_events, edge_audio, edge_priority
from common.redis.refusals import KeyRefused
from common.store import CallStore
from common.telemetry import metrics
from edge.session.abandoned_calls import AbandonedCalls
from edge.session.admission.reservations import Reservations
from edge.session.call import Call
from edge.session.fences import ORDERS
from edge.session.last_connection import last_connection

log = logging.getLogger(__name__)

HOUSEKEEP_SECONDS = 1.0
HEARTBEAT_SECONDS = 5.0
"""Pause between two signs of life in the ledger."""
HAND_OVER_SECONDS = 8.0
"""How long a call that is to be handed over may wait for the moment at which that hurts least."""
HAND_OVER_LOOK_SECONDS = 0.005
REDIS_GRACE_SECONDS = 3.0
"""Without Redis for longer, no new call is taken."""
UNWRITABLE = "Redis refuses writes"
OVERBOOKED = 0.1
"""More calls than there are places are answered, by this share: some streams come to another edge, some not at all."""
OPENING_MAX = 2
"""Sockets that one call may be opening at once: whoever got hold of its token cannot take all places with it."""


class Calls:
    """Looks calls up for the bus, counts them against `calls_max`, and keeps house."""

    def __init__(self, edge: str, bus: Bus, store: CallStore, calls_max: int) -> None:
        self.edge = edge
        self.draining = False
        self.added: Callable[[Call], None] = lambda call: None
        """Called with every call that is added."""
        self.overloaded: Callable[[], bool] = lambda: False
        """Asked before a new call is answered, while there are others (limits/shedding.py)."""
        self.missing_pool: Callable[[], str] = lambda: ""
        """Asked before a new call is answered: a pool without a member that takes calls (pool_watch.py)."""
        self.unwritable = ""
        """Why Redis takes no writes, once that has lasted `REDIS_GRACE_SECONDS`; empty if it does."""
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
        """Take what the workers send to this edge."""
        self.bus.subscribe(edge_audio(self.edge), self._receive, self._subscription_failed)
        self.bus.subscribe(edge_priority(self.edge), self._receive, self._subscription_failed)

    def busy(self, call_id: str = "") -> str:
        """Why no new call (or not this one) is answered right now; empty if one is."""
        refusal = self.refusal(call_id)
        if not refusal and self._calls and self.overloaded():
            return "overloaded"
        if not refusal and self.unwritable:
            return UNWRITABLE
        if not refusal and (pool := self.missing_pool()):
            return f"no {pool}"
        return refusal

    def reserve(self, call_id: str) -> None:
        """The call was answered: a place is kept until its stream comes, for a moment."""
        self._reservations.make(call_id, _now_ms())

    def cancel_reservation(self, call_id: str) -> None:
        """The call will not come after all."""
        self._reservations.drop(call_id)

    def refusal(self, call_id: str = "") -> str:
        """Why no stream (or not this call's) is taken right now; empty if one is.

        A call that is here already, and comes back with a new connection, needs no other place.
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
        """Count a socket that is being opened; returns what gives the place back."""
        self._opening[call_id] += 1
        self._reservations.drop(call_id)
        released = False

        def release() -> None:
            nonlocal released
            if not released:
                released = True
                self._opening[call_id] -= 1
                self._opening += Counter()  # forgets whoever has none left

        return release

    def add(self, call: Call) -> None:
        """The call takes what comes for its id from now on; a reconnect replaces the call before it."""
        older = self._calls.get(call.call_id)
        if older is not None:
            older.replaced()
        self._calls[call.call_id] = call
        self.added(call)
        self._count()

    def remove(self, call: Call) -> None:
        """Forget the call, unless another has taken its id."""
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
        """Until no call is left."""
        while self._calls:
            self._changed.clear()
            await self._changed.wait()

    def hand_over(self) -> None:
        """Close every socket, so that the carrier opens it anew at another edge; no call ends by it."""
        if self._calls:
            log.info("handing over %s calls", len(self._calls))
        for call in list(self._calls.values()):
            call.hand_over()

    async def hand_over_between_turns(self) -> None:
        """Hand each call over in the moment after its caller has fallen silent; after `HAND_OVER_SECONDS` all others.

        What a caller says while there is no socket is lost, and a clause that they did not hear to its end is said
        again.  Between the two turns neither happens, and the carrier's pause is hidden in the wait for the answer
        (bridge.py): hence only in the first moment of it, and not when the answer is about to come.  While Redis is
        away, what the caller has said is here: the next edge's audio would overtake it.
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
        """For as long as the process runs."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_store(), name="signs of life")  # of its own: Redis may be slow, calls not
            tasks.create_task(self._end_abandoned(), name="lost calls")  # of its own: there may be thousands
            while True:
                await asyncio.sleep(HOUSEKEEP_SECONDS)
                for call in list(self._calls.values()):
                    self._guarded(call, call.housekeep, loop.time() * 1000)

    async def _keep_store(self) -> None:
        touched = now = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(HOUSEKEEP_SECONDS)
            await self._step("ledger", self._check_write)
            await self._step("ledger", self._note_silence)
            now = asyncio.get_running_loop().time()
            if now - touched >= HEARTBEAT_SECONDS:
                touched = now
                await self._step("ledger", self._heartbeat_calls)
                await self._step("ledger", self._mend)

    async def _step(self, loop: str, step: Callable[[], Awaitable[None]]) -> None:
        """What is wrong with one step, or one key, costs that step and no other."""
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - the loop serves all calls
            skip(loop, error)

    async def _check_write(self) -> None:
        """Redis may be there and full, or read-only: it would answer every question, and take no call."""
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
        with contextlib.suppress(ConnectionError, TimeoutError):  # `_heartbeat_calls` says that the ledger is away
            await self._store.mend(self.edge, list(self._calls))

    async def _note_silence(self) -> None:
        """Where somebody has spoken since the last time: whoever takes the call over goes on counting from there."""
        now = _now_ms()
        silent = {call_id: call.limits.silence_to_note(now) for call_id, call in self._calls.items()}
        noted = {call_id: ms for call_id, ms in silent.items() if ms is not None}
        if noted:
            with contextlib.suppress(ConnectionError, TimeoutError):  # `_heartbeat_calls` says that the ledger is away
                await self._store.note_silence(noted, {call_id: self._calls[call_id].epoch for call_id in noted})

    async def _heartbeat_calls(self) -> None:
        try:
            await self._store.heartbeat_calls(list(self._calls))
            await self._store.heartbeat("edge", self.edge)
            await self._notice_ends()
        except (ConnectionError, TimeoutError):
            log.warning("the ledger cannot be reached")

    async def _notice_ends(self) -> None:
        """Whoever took this edge for dead has ended its calls.  The callers are still on the line: hang them up."""
        for call_id in await self._store.ended(list(self._calls)):
            call = self._calls.get(call_id)
            if call is not None and not call.stopping.done() and not call.ended.done():
                log.warning("a call of this edge stands as ended", extra={"call_id": call_id})
                metrics.CALLS_FOUND_ENDED.inc()
                call.stop("carrier")

    async def _end_abandoned(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._step("lost calls", self._find_abandoned)

    async def _find_abandoned(self) -> None:
        try:
            for call_id in self._abandoned.look(await self._store.lost(), _now_ms()):
                try:
                    await self._end_abandoned_call(call_id)
                except KeyRefused as error:  # `_mend` removes what cannot be used
                    skip("lost calls", error, call_id)
        except (ConnectionError, TimeoutError):
            log.warning("the ledger cannot be reached")

    async def _end_abandoned_call(self, call_id: str) -> None:
        """End a call that no edge has any more and of which the carrier said nothing; its edge is told all the same."""
        record = await self._store.read(call_id)
        logged_reason = await self._logged_end_reason(call_id)
        epoch = record.epoch if record is not None else None
        if not await self._store.end(call_id, logged_reason or "carrier", epoch) or record is None:
            return  # somebody else did, or a newer connection carries it on
        self.bus.publish(edge_priority(record.edge), HangUp(call_id, "carrier", epoch=record.epoch))
        if not logged_reason:
            heard = (await last_connection(self.bus, call_id)).heard
            self.bus.publish(call_events(call_id), CallEnded(record.epoch, "carrier", wall_ms(), heard))
        metrics.CALLS_ENDED.labels(logged_reason or "carrier").inc()

    async def _logged_end_reason(self, call_id: str) -> str:
        """The reason that the call's own events name; empty if they name none, or cannot be read."""
        try:
            return end_reason_in([message for _, message in await self.bus.read(call_events(call_id))])
        except KeyRefused:
            return ""

    async def offer(self, call_id: str) -> None:
        """Tell every pool that the call wants a member."""
        with contextlib.suppress(ConnectionError, TimeoutError):  # then a member's scan finds that nobody holds it
            await asyncio.gather(*(self._store.offer(pool, [call_id]) for pool in POOLS))

    def _count(self) -> None:
        metrics.CALLS_ACTIVE.labels("edge").set(len(self._calls))
        self._changed.set()

    def _receive(self, entry_id: str, message: Message) -> None:
        try:
            self._route(message)
        except Exception as error:  # noqa: BLE001 - it would end what all calls are fed by
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
        self._guarded(call, _deliver, call, message)

    def _guarded(self, call: Call, step: Callable[..., None], *about: Any) -> None:
        """One call's error ends that call and no other."""
        try:
            step(*about)
        except Exception:
            log.exception("an error ended a call", extra={"call_id": call.call_id})
            metrics.SESSION_ERRORS.labels("edge").inc()
            call.end("error")

    def _subscription_failed(self, error: Exception) -> None:
        skip("bus", error)  # cannot be: every message is guarded


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
        case HangUp():
            call.stop(EndReason.of(message.reason))


def end_reason_in(transcript: list[Message]) -> str:
    """Why the call is over, if its story says so: its edge died before the ledger knew.  Empty: it does not say."""
    epoch, reason = 0, ""
    for message in transcript:
        match message:
            case CallStarted():
                epoch, reason = max(epoch, message.epoch), "" if message.epoch > epoch else reason
            case CallEnded() if not message.epoch or message.epoch >= epoch:
                reason = reason or EndReason.of(message.reason).value
    return reason
