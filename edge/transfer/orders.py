"""Carries out the orders of LLM workers that take time: transfers, and keys for the other side.

    TransferCall ──▶ checked ──▶ cold: the record says "transferred", and the caller leaves the stream
                             └─▶ warm: the person is called by the dialer; the caller stays until they accept
    SendKeys ──▶ one request to the carrier

An order is repeated to each new connection of the call until its `ToolReturned` is in the event log.  The record of the
transfer, the idempotency key of the outbound call and the effect of the keys make each happen once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from common.bus import Bus
from common.call.acts import ToolOutcome
from common.call.end_reasons import EndReason
from common.call.once import NotDone, once
from common.call.transfer import Transfer
from common.process.skipped import skip
from common.protocol.acts import SendKeys, ToolReturned, TransferCall
from common.protocol.messages import Message
from common.protocol.redis_keys import call_events
from common.store import CallStore
from common.store.effects import Effect, EffectState
from common.store.outbound import QueueFull
from edge.outbound.calls import DayIsSpent
from edge.outbound.destinations import OperatorLimits
from edge.outbound.dialer import Dialer
from edge.outbound.state import CLOSED, Briefing
from edge.session.call import Call
from edge.session.lifecycle import State
from edge.transfer.briefing import ANSWER_S, briefing_call, briefing_words, why_closed
from edge.transfer.records import TransferRecords, count
from edge.transfer.state import CallerGone, Dialled, Failure, NotReached, OrderStanding, result_of
from edge.transfer.targets import our_number, wanted_transfer
from edge.vobiz.rest.errors import CarrierError, Uncertain

log = logging.getLogger(__name__)
T = TypeVar("T")

ORDERS_MAX = 2_000
"""Orders that one edge carries out at once; more are ignored, and the LLM worker repeats them."""
TRY_SECONDS = 5.0
"""How long a transfer is tried while Redis is away; then the model is told that it is not possible."""
LOOK_TRIES_MAX, LOOK_PAUSE_SECONDS = 60, 1.0
"""Looks, and the pause between them, by which it is then found out whether the transfer was begun after all."""
TRY_PAUSE_SECONDS = 0.2
WATCH_SECONDS = 0.5
"""Pause between two looks at the call to a person while a caller waits; its webhooks are faster."""
NOT_RUNG_SECONDS = 20
"""After the ring time and this, a caller waits no longer for a call that did not ring, as if its edge died with it."""
BRIEFING_SECONDS = 200
"""Longest time from the person's answer to theirs, two rounds of the briefing included."""
SENT = "The keys were sent."
_KEYS_FAILED = "The keys could not be sent."
_KEYS_UNKNOWN = "It is not known whether the keys were sent."


class CallOrders:
    """The orders that one edge carries out, each in a task of its own."""

    def __init__(self, bus: Bus, store: CallStore, dialer: Dialer | None, limits: OperatorLimits) -> None:
        """`dialer` is None without Vobiz credentials."""
        self._bus = bus
        self._store = store
        self._dialer = dialer
        self._limits = limits
        self._records = TransferRecords(store)
        self._tasks: dict[tuple[str, int, int], asyncio.Task[None]] = {}

    def receive(self, call: Call, order: Message) -> None:
        """Carry the order out beside the call; an order that is being carried out already is not begun again."""
        if not isinstance(order, TransferCall | SendKeys) or len(self._tasks) >= ORDERS_MAX:
            return
        key = (call.call_id, order.turn, order.n)
        if key in self._tasks:
            return
        work = self._transfer(call, order) if isinstance(order, TransferCall) else self._send_keys(call, order)
        task = self._tasks[key] = asyncio.create_task(self._guarded(call, work), name=f"order {call.call_id}")
        task.add_done_callback(lambda _: self._tasks.pop(key, None))

    async def aclose(self) -> None:
        """Stop; the LLM workers repeat the orders to the edges that get the calls."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _guarded(self, call: Call, work: Awaitable[None]) -> None:
        try:
            await work
        except (ConnectionError, TimeoutError):
            log.warning("an order was not carried out: the call store is away", extra={"call_id": call.call_id})
        except Exception as error:  # noqa: BLE001 - of this order, and of no other
            skip("orders", error, call.call_id)

    # --- transfers ----------------------------------------------------------------------------------------------------

    async def _transfer(self, call: Call, order: TransferCall) -> None:
        wanted = wanted_transfer(call.record, order.turn, order.n, order.target, order.agent, self._limits)
        if isinstance(wanted, Failure):
            self._refuse(call, order, wanted)
            return
        if wanted.mode == "warm" and self._dialer is None:
            self._refuse(call, order, Failure.NO_ACCOUNT, wanted)
            return
        found = await self._begin(call, wanted)
        if found is OrderStanding.NOT_NOW:
            self._refuse(call, order, Failure.NOT_NOW, wanted)
        elif found is Failure.STORE:
            self._refuse(call, order, Failure.STORE, wanted)
        elif found in (OrderStanding.NEW, OrderStanding.SAME):
            if wanted.mode == "cold":
                call.stop(EndReason.TRANSFERRED)
            else:
                await self._call_person(call, order, wanted)

    async def _begin(self, call: Call, wanted: Transfer) -> OrderStanding | Failure | None:
        """Begin the transfer.  After `TRY_SECONDS` without Redis it is not begun any more, unless it was already: then
        the answer alone was lost.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + TRY_SECONDS
        while True:
            try:
                return await self._records.begin(call.call_id, call.epoch, wanted)
            except (ConnectionError, TimeoutError):
                if loop.time() >= until_s:
                    break
            await asyncio.sleep(TRY_PAUSE_SECONDS)
        for _ in range(LOOK_TRIES_MAX):
            try:
                known = await self._records.find(call.call_id, wanted.name)
            except (ConnectionError, TimeoutError):
                await asyncio.sleep(LOOK_PAUSE_SECONDS)
                continue
            return OrderStanding.SAME if known is not None and known.under_way else Failure.STORE
        return None

    def _refuse(self, call: Call, order: TransferCall, why: Failure, wanted: Transfer | None = None) -> None:
        """The caller stays with the agent, and the model is told why."""
        count(wanted.mode if wanted else "cold", why)
        log.warning("a transfer is not begun: %s", why, extra={"call_id": call.call_id})
        self._publish(call, result_of(order.turn, order.n, why))

    async def _call_person(self, call: Call, order: TransferCall, wanted: Transfer) -> None:
        """Call the person, and watch the call until the transfer is settled or the caller leaves for it."""
        assert self._dialer is not None
        words = briefing_words(wanted.whisper, order.reason)
        briefing = Briefing(call.call_id, order.turn, order.n, words, wanted.language)
        call_s_max = self._limits.call_s_max
        asked = briefing_call(briefing, wanted.number, our_number(call.record), wanted.ring_s, call_s_max)
        key = Effect(call.call_id, order.turn, order.n).key
        outbound, records = self._dialer.outbound, self._records
        try:
            dial = await _insist(lambda: outbound.enqueue(asked, key, first=True))
        except (QueueFull, DayIsSpent):
            await _insist(lambda: records.apply(call.call_id, NotReached(Failure.LIMIT), wanted.name))
            return
        await _insist(lambda: records.apply(call.call_id, Dialled(dial.dial_id), wanted.name))
        await self._watch(call, wanted, dial.dial_id)

    async def _watch(self, call: Call, wanted: Transfer, dial_id: str) -> None:
        """The webhooks of the call to the person settle the transfer; this does it if they are lost."""
        assert self._dialer is not None
        loop = asyncio.get_running_loop()
        rung_by_s = loop.time() + wanted.ring_s + NOT_RUNG_SECONDS
        until_s = loop.time() + wanted.ring_s + BRIEFING_SECONDS + ANSWER_S
        give_up_s = until_s + LOOK_TRIES_MAX * LOOK_PAUSE_SECONDS
        while call.lifecycle.state not in (State.REPLACED, State.HANDED_OVER) and loop.time() < give_up_s:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                known = await self._records.find(call.call_id, wanted.name)
                if known is None or not known.under_way or known.left:
                    return
                why = await self._why_over(call, dial_id, loop.time() >= until_s, loop.time() >= rung_by_s)
                if why is not None:
                    event = CallerGone() if why is Failure.CALLER_GONE else NotReached(why)
                    await self._records.apply(call.call_id, event, wanted.name)
                    await self._dialer.cancel(dial_id)
                    return
            except (ConnectionError, TimeoutError):
                continue

    async def _why_over(self, call: Call, dial_id: str, late: bool, should_ring: bool) -> Failure | None:
        """Why the person will not take the caller any more; None if they may."""
        assert self._dialer is not None
        if call.lifecycle.state is State.ENDED:
            return Failure.CALLER_GONE
        dial = await self._dialer.outbound.read(dial_id)
        if dial is None or dial.state in CLOSED:
            return why_closed(dial) if dial is not None else Failure.UNREACHABLE
        return Failure.TIMEOUT if late or (should_ring and dial.state not in ("ringing", "answered")) else None

    # --- keys ---------------------------------------------------------------------------------------------------------

    async def _send_keys(self, call: Call, order: SendKeys) -> None:
        async def send(key: str) -> str:
            return await self._sent(call, order)

        try:
            outcome = await once(self._store, Effect(call.call_id, order.turn, order.n), send)
        except NotDone as error:
            outcome = ToolOutcome.UNKNOWN if error.state is EffectState.BEGUN else ToolOutcome.REFUSED
        words = {ToolOutcome.DONE: SENT, ToolOutcome.UNKNOWN: _KEYS_UNKNOWN}.get(ToolOutcome.of(outcome), _KEYS_FAILED)
        self._publish(call, ToolReturned(order.turn, order.n, ToolOutcome.of(outcome).value, words))

    async def _sent(self, call: Call, order: SendKeys) -> str:
        """The outcome of one request for the keys."""
        if self._dialer is None or not order.keys:
            return ToolOutcome.FAILED.value
        try:
            await self._dialer.send_keys(call.call_id, order.keys)
        except (CarrierError, ValueError) as error:
            log.warning("keys could not be sent: %s", error, extra={"call_id": call.call_id})
            return (ToolOutcome.UNKNOWN if isinstance(error, Uncertain) else ToolOutcome.FAILED).value
        return ToolOutcome.DONE.value

    def _publish(self, call: Call, message: ToolReturned) -> None:
        self._bus.publish(call_events(call.call_id), message)


async def _insist(act: Callable[[], Awaitable[T]]) -> T:
    """Repeat what may be repeated while Redis is away, for as long as a transfer is looked for."""
    for _ in range(LOOK_TRIES_MAX - 1):
        try:
            return await act()
        except (ConnectionError, TimeoutError):
            await asyncio.sleep(LOOK_PAUSE_SECONDS)
    return await act()
