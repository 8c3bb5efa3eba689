"""Places the outbound calls of the whole deployment, one dialer at a time, within the account's limits.

Every edge runs a dialer; the one that holds the lead places calls.  Before a request is sent, its name is written to
Redis, so that a dialer that dies in between leaves an uncertain call, never a doubled one.  The outcome of an uncertain
call comes from its webhooks, whose URLs carry the call's id and the request's name, or else from asking the carrier.

While the carrier refuses the account (no credit, for example), no call is placed and none is given up: all wait, for a
time that grows with every refusal, and every edge reports why (`waits`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field

from common.process.skipped import skip
from common.redis.refusals import KeyRefused
from common.store.outbound import OutboundQueue
from common.telemetry import metrics
from edge.outbound.account_pause import AccountPause
from edge.outbound.calls import DAY_IS_SPENT, OutboundCalls
from edge.outbound.destinations import Destinations, NotAllowed
from edge.outbound.state import (
    OPEN,
    POST_MS_MAX,
    Accepted,
    AccountRefused,
    Answered,
    Cancelled,
    Ended,
    NotFound,
    OutboundCall,
    OutboundEvent,
    OutcomeUnknown,
    RefusedByCarrier,
    Ringing,
    Sent,
    Throttled,
    over_at_ms,
)
from edge.session.url_proof import SPARE_SECONDS, of_call, of_dial
from edge.vobiz.rest.account import account_problem
from edge.vobiz.rest.client import VobizClient
from edge.vobiz.rest.errors import CarrierError, CarrierLimited, Unavailable, Uncertain
from edge.vobiz.rest.lookup import Found, Inconclusive, Lookup, LostRequest, Nothing
from edge.vobiz.rest.requests import CallRequest, MachineDetection

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
"""Pause between two looks at the queue."""
LEAD_MS = 3000
"""How long the lead is held without renewal."""
UNAVAILABLE_SECONDS = 5.0
"""Pause after the carrier could not be reached."""
STOP_SECONDS = 12.0
"""How long `run` waits for requests at its end: longer than one may take, or its call would become uncertain."""
SPACING = 1.1
"""Factor on the distance between calls that the rate limit asks for, since our clock and the carrier's differ."""
DAY_LOOK_SECONDS = 5.0
"""How often the dialer checks whether a new day, or a raised DIALS_PER_DAY, lets calls be placed again."""
LOOKUPS_MAX = 20
"""Calls that are looked up at once."""
DUE_MAX = 10
"""Queued calls that one look goes through until one of them can be placed."""
MEND_SECONDS = 5.0
"""Pause between two looks for unusable keys."""
LOOKUP_AGAIN_MS = 60_000
"""Pause until a call is looked up again."""


@dataclass(frozen=True, slots=True)
class DialerOptions:
    """Limits of the account and of the operator, and the edge's public URL.

    `secret` signs the URLs that the carrier is given (url_proof.py); None: they are not signed.
    """

    public_url: str
    calls_per_second: float = 1.0
    calls_at_once: int = 3
    destinations: Destinations = field(default_factory=Destinations)
    dials_per_day: int = 2000
    call_s_max: int = 14_400
    secret: bytes | None = None
    poll_s: float = POLL_SECONDS


class Dialer:
    """Dialer of one edge: `run` it as a task; `outbound` holds the calls that it places."""

    def __init__(
        self,
        owner: str,
        queue: OutboundQueue,
        clients: tuple[VobizClient, VobizClient],
        options: DialerOptions,
    ) -> None:
        """`clients`: one for queries and hang-ups, which repeats requests; one for placing calls, which must not."""
        self._mended_at = 0.0
        self._owner = owner
        self._queue = queue
        self._client, self._placer = clients
        self._lookup = Lookup(self._client)
        self.options = options
        self._day_is_spent = False
        self._next_at = 0.0
        self._placing: set[asyncio.Task[None]] = set()
        self._account = AccountPause(queue)
        self.outbound = OutboundCalls(queue, self._account, options.dials_per_day)
        """Used by the API and the webhooks, too."""
        self._accepted_ms = 0

    @property
    def waits(self) -> str:
        """Why no outbound call is placed now; empty if calls are placed."""
        return self._account.words or (DAY_IS_SPENT if self._day_is_spent else "")

    async def hang_up(self, call_id: str) -> bool:
        """End a call at the carrier; False if that failed, which is logged.  A call that was over is no failure."""
        try:
            await self._client.hang_up(call_id)
        except (CarrierError, ValueError) as error:
            log.warning("a call could not be hung up: %s", error, extra={"call_id": call_id})
            return False
        return True

    async def transfer(self, call_id: str, url: str) -> None:
        """Continue a call with the XML of another URL; a failure is logged."""
        try:
            await self._client.transfer(call_id, aleg_url=url)
        except (CarrierError, ValueError) as error:
            log.warning("a call could not be transferred: %s", error, extra={"call_id": call_id})

    async def continue_at(self, call_id: str, path: str, attempt: str = "") -> None:
        """Continue a call with the XML of our own `path`; a failure is logged."""
        until_s = time.time() + self.options.call_s_max + SPARE_SECONDS
        proven = of_call(self.options.secret, path, call_id, until_s, attempt)
        await self.transfer(call_id, self.options.public_url.rstrip("/") + proven)

    async def send_keys(self, call_id: str, keys: str) -> None:
        """Send keys to the other side of a call, once.  Raises CarrierError, or ValueError for other characters."""
        await self._placer.send_digits(call_id, keys)

    async def cancel(self, dial_id: str) -> None:
        """End a call, whether it waits, rings or was answered.  Raises ConnectionError or TimeoutError."""
        dial = await self.outbound.apply(dial_id, Cancelled()) if dial_id else None
        if dial is not None and dial.state in OPEN and dial.call_id:
            await self.hang_up(dial.call_id)

    async def run(self) -> None:
        """Place calls until cancelled; then wait for the requests that were sent."""
        try:
            await self._dial_forever()
        finally:
            if under_way := self._placing | self.outbound.reporting:
                await asyncio.wait(under_way, timeout=STOP_SECONDS)

    async def _dial_forever(self) -> None:
        led = False
        while True:
            await asyncio.sleep(self.options.poll_s)
            try:
                await self._mend()
                leads = await self._queue.lead(self._owner, LEAD_MS)
                if leads and not led:
                    self._pause(SPACING / self.options.calls_per_second)  # another dialer may just have placed a call
                led = leads
                await self._account.look()
                if leads:
                    await self._look_up()
                    await self._place_next()
            except (ConnectionError, TimeoutError):
                led = False
            except Exception as error:  # noqa: BLE001 - one call that cannot be placed must not stop the others
                skip("dialer", error)

    async def _mend(self) -> None:
        """Repair unusable keys, with or without the lead, whose key may be one of them."""
        if _now_s() >= self._mended_at:
            self._mended_at = _now_s() + MEND_SECONDS
            await self._queue.mend()

    async def _place_next(self) -> None:
        """Place the next queued call if the account and the limits allow one now."""
        busy_trying = bool(self._account.refused_because and self._placing)
        if self._account.paused or busy_trying or _now_s() < self._next_at:
            return
        if await self._queue.open_count() >= self.options.calls_at_once:
            return
        for dial_id in await self._queue.due(DUE_MAX):
            self._day_is_spent = not await self._queue.spend(self.options.dials_per_day)
            if self._day_is_spent:
                self._pause(DAY_LOOK_SECONDS)
                return
            dial = await self._begin(dial_id)
            if dial is None:
                await self._queue.give_back()
                continue  # it is gone, or was in the queue by mistake
            self._pause(SPACING / self.options.calls_per_second)
            task = asyncio.create_task(self._place_call(dial), name=f"dial {dial_id}")
            self._placing.add(task)
            task.add_done_callback(self._placing.discard)
            return

    async def _begin(self, dial_id: str) -> OutboundCall | None:
        """The call, after writing that its request is about to be sent; None if it cannot be placed."""
        before = await self.outbound.read(dial_id)
        sent = Sent(signed=self.options.secret is not None)
        waits = before is not None and before.state == "queued"
        # `dialer`: a dialer that stood still and lost the lead meanwhile sends nothing.
        dial = await self.outbound.apply(dial_id, sent, dialer=self._owner) if waits else None
        if before is not None and dial is not None and dial.sent == before.sent + 1:
            return dial
        await self.outbound.put_back(dial_id)
        return None

    async def _place_call(self, dial: OutboundCall) -> None:
        try:
            event = await self._post(dial)
            await self.outbound.apply(dial.dial_id, event, dial.sent)
            if isinstance(event, Throttled | AccountRefused):  # no phone rang
                await self._queue.give_back()
        except (ConnectionError, TimeoutError):
            log.warning("the outcome of an outbound call could not be written to Redis; it will be looked up")
        except Exception as error:  # noqa: BLE001 - it is looked up as well
            skip("dialer", error)

    async def _post(self, dial: OutboundCall) -> OutboundEvent:
        """Ask the carrier to place the call; returns the outcome as an event."""
        began_s = _now_s()
        try:
            self.options.destinations.check(dial.to)  # it may have been queued under other settings
        except NotAllowed as error:
            metrics.DIALS_REFUSED.labels(error.reason).inc()
            await self._queue.give_back()  # no request was sent
            return RefusedByCarrier(str(error))
        try:
            call_ids = await self._placer.make_call(self._request(dial))
        except CarrierLimited as error:
            self._pause(error.retry_after_s)
            return Throttled()
        except Unavailable as error:
            self._pause(UNAVAILABLE_SECONDS)
            return OutcomeUnknown() if error.sent else Throttled()
        except Uncertain as error:
            log.warning("it is unknown whether a call was placed: %s", error)
            return OutcomeUnknown()
        except (CarrierError, ValueError) as error:
            return await self._refused(dial, error)
        metrics.CALLS_PLACED.inc()
        self._accepted_ms = dial.changed_ms + round(1000 * (_now_s() - began_s))
        if self._account.refused_because:
            await self._account.unpause()
        return Accepted(call_ids[0])

    async def _refused(self, dial: OutboundCall, error: CarrierError | ValueError) -> OutboundEvent:
        """Decide whether a refusal concerns the account or this call; an unclear one concerns the call if others were
        accepted since its last refusal.
        """
        log.warning("the carrier refused a call: %s", error)
        of_account = account_problem(error) if isinstance(error, CarrierError) else None
        if of_account is None:
            return RefusedByCarrier(str(error))
        if not of_account.sure and 0 < dial.refused_ms < self._accepted_ms:
            return RefusedByCarrier(str(error))
        await self._account.pause(of_account.reason)
        return AccountRefused(str(error), keeps_position=of_account.sure)

    def _pause(self, seconds: float) -> None:
        self._next_at = max(self._next_at, _now_s() + seconds)

    def _request(self, dial: OutboundCall) -> CallRequest:
        plan = dial.plan
        call_s = min(plan.call_s_max, self.options.call_s_max)
        until_s = time.time() + plan.ring_timeout_s + call_s + SPARE_SECONDS

        def url(path: str) -> str:
            proven = of_dial(self.options.secret, path, dial.dial_id, str(dial.sent), until_s)
            return self.options.public_url.rstrip("/") + proven

        machine = MachineDetection.for_agents(url("/machine"), hang_up=plan.machine == "hangup")
        return CallRequest(
            from_number=dial.sender,
            to=dial.to,
            answer_url=url("/answer"),
            ring_url=url("/ring"),
            hangup_url=url("/hangup"),
            fallback_url=url("/fallback"),
            ring_timeout_s=plan.ring_timeout_s,
            time_limit_s=call_s,
            machine_detection=machine if plan.machine else None,
        )

    async def _look_up(self) -> None:
        """Ask the carrier about open calls without an event for too long."""
        for dial_id in await self._queue.overdue(LOOKUPS_MAX):
            try:
                await self._look_up_one(dial_id)
            except Exception as error:
                if isinstance(error, ConnectionError | TimeoutError) and not isinstance(error, KeyRefused):
                    raise
                skip("look-up", error)
                await self.outbound.postpone(dial_id, LOOKUP_AGAIN_MS)

    async def _look_up_one(self, dial_id: str) -> None:
        dial = await self.outbound.read(dial_id)
        if dial is None or dial.state not in OPEN or dial.lead is None:
            await self.outbound.put_back(dial_id)
            return
        if dial.state == "dialing":  # its dialer died, or could not write
            await self.outbound.apply(dial_id, OutcomeUnknown(), dial.lead.name)
            return
        event = await self._status_of(dial)
        if event is None and await self._queue.now_ms() > over_at_ms(dial):
            event = Ended(dial.cause or "unknown")  # the carrier says nothing, and no call lasts that long
        after = await self.outbound.apply(dial_id, event, dial.lead.name, seen=dial) if event is not None else dial
        if after == dial:  # it goes on, or nothing is known of it
            await self.outbound.postpone(dial_id, LOOKUP_AGAIN_MS)

    async def _status_of(self, dial: OutboundCall) -> OutboundEvent | None:
        """The state of the call at the carrier as an event; None if the answers are inconclusive."""
        request = dial.lead
        assert request is not None

        async def is_others(call_id: str) -> bool:
            owner = await self._queue.owner(call_id)
            return bool(owner) and not (owner == dial.dial_id and request.call_id == call_id)

        try:
            if dial.call_id:
                found: Found | Nothing | Inconclusive = await self._lookup.by_id(dial.call_id)
            else:
                sent_ms = request.sent_ms or dial.changed_ms - POST_MS_MAX
                found = await self._lookup.by_numbers(LostRequest(dial.sender, dial.to, sent_ms), is_others)
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - an unexpected answer counts as none
            if not isinstance(error, CarrierError):
                skip("look-up", error)
            return None
        match found:
            case Nothing():
                return NotFound()
            case Found(call_id, answered, ""):
                return Answered(call_id) if answered else Ringing(call_id)
            case Found(call_id, answered, cause):
                return Ended(cause, call_id, answered)
        return None


def _now_s() -> float:
    return asyncio.get_running_loop().time()
