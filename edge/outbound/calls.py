"""Reads and updates the outbound calls in Redis: one document each, which any edge may change, one change at a time.

edge/outbound/dialer.py places the calls and asks the carrier about them; the API and the webhooks read them and apply
events to them.  edge/outbound/state.py determines the state that follows from each event.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace

from common.store.outbound import OutboundQueue, QueuedCall, UnreadableOutboundCall
from edge.outbound.account_pause import AccountPause
from edge.outbound.state import CLOSED, OPEN, Answered, Ended, OutboundCall, OutboundEvent, StreamClosed, advance
from edge.vobiz.hangup_causes import account_reason

log = logging.getLogger(__name__)

DAY_IS_SPENT = "DIALS_PER_DAY is used up for today (UTC)"
CHANGES_MAX = 10
"""Attempts to write an outbound call that webhooks change at the same time."""
_DIAL_ID = re.compile(r"out-[0-9a-f]{25}")
"""Ids that `enqueue` makes; Redis has other keys, too."""


class DayIsSpent(Exception):
    """DIALS_PER_DAY is used up, or will be by the calls in the queue."""


class OutboundCalls:
    """All outbound calls of the deployment: `enqueue` a call, `read` it, `apply` events to it."""

    def __init__(self, queue: OutboundQueue, account: AccountPause, dials_per_day: int) -> None:
        self._queue = queue
        self._account = account
        self._dials_per_day = dials_per_day
        self._asked_ms = 0
        self.briefing_closed: Callable[[OutboundCall], Awaitable[None]] = _nothing
        """Called with every call to a person for a caller (`OutboundCall.briefing`) that this edge finds to be over."""
        self.reporting: set[asyncio.Task[None]] = set()
        """Tasks that write the answer of a call."""

    async def enqueue(self, dial: OutboundCall, key: str, first: bool = False) -> OutboundCall:
        """Queue a call; with an idempotency key that is known, return the call that it made before.

        `first`: before all calls that wait, because a caller waits for it.

        Raises QueueFull, DayIsSpent, and ConnectionError or TimeoutError if Redis is away.
        """
        if key and (known := await self.read(await self._queue.made_by(key))) is not None:
            return known
        if await self._queue.spent_today() + await self._queue.queued_count() >= self._dials_per_day:
            raise DayIsSpent(DAY_IS_SPENT)
        # Times are unique, so that the queue is in order.
        now_ms = self._asked_ms = max(await self._queue.now_ms(), self._asked_ms + 1)
        dial_id = f"out-{now_ms:013x}{secrets.token_hex(6)}"
        dial = replace(dial, dial_id=dial_id, created_ms=now_ms, changed_ms=now_ms, due_ms=1 if first else now_ms)
        made = await self._queue.add(dial_id, dial.to_document(), dial.due_ms, key)
        return dial if made == dial_id else await self.read(made) or dial

    async def read(self, dial_id: str) -> OutboundCall | None:
        """The outbound call in its current state; None if it is unknown or was forgotten."""
        found = await self._find(dial_id)
        return found[0] if found else None

    async def has_signed(self, dial_id: str, call_id: str) -> bool:
        """Whether the carrier was given URLs with our proof for this call; either id may be empty."""
        dial_id = dial_id or (await self._queue.owner(call_id) if call_id else "")
        dial = await self.read(dial_id) if dial_id else None
        return dial is not None and any(request.signed for request in dial.requests)

    async def apply(
        self,
        dial_id: str,
        event: OutboundEvent,
        name: int | None = None,
        seen: OutboundCall | None = None,
        dialer: str = "",
    ) -> OutboundCall | None:
        """Apply an event to an outbound call and write it; returns the call after it, or None if there is none.

        Without a `dial_id`, the call is the one that the event's CallUUID belongs to.  `name` is the name of the
        request that the event is about.  With `seen`, the event is a conclusion from that state, and is ignored if the
        state has changed. With a `dialer`, the change is written only while that dialer holds the lead.  Raises
        TimeoutError if others keep changing the call, and ConnectionError or TimeoutError if Redis is away.
        """
        if not dial_id and (call_id := getattr(event, "call_id", "")):
            dial_id = await self._queue.owner(call_id)
        for _ in range(CHANGES_MAX):
            found = await self._find(dial_id)
            if found is None:
                return None
            dial, entry = found
            if seen is not None and dial != seen:
                return dial
            changed = advance(dial, event, entry.now_ms, name)
            if changed is dial or await self._write(changed, entry.version, dialer):
                if changed is not dial and changed.briefing is not None and changed.state in CLOSED:
                    await self.briefing_closed(changed)
                if isinstance(event, Ended) and changed is not dial and (reason := account_reason(event.cause)):
                    await self._account.pause(reason)
                return changed
        raise TimeoutError("an outbound call changes faster than it can be written")

    def answered(self, dial_id: str, call_id: str) -> None:
        """The call's media stream began: only this proves that it was answered.  Returns at once; a task writes it."""
        task = asyncio.create_task(self._answered(dial_id, call_id), name=f"answer of dial {dial_id}")
        self.reporting.add(task)  # a task, because the call must not wait for Redis
        task.add_done_callback(self.reporting.discard)

    async def _answered(self, dial_id: str, call_id: str) -> None:
        try:
            await self.apply(dial_id, Answered(call_id))
        except (ConnectionError, TimeoutError):
            log.warning("the answer of an outbound call could not be written to Redis; the dialer will look it up")

    async def closed(self, dial_id: str) -> None:
        """The call's media stream ended at this edge.  Never raises; an unreachable Redis is logged."""
        try:
            await self.apply(dial_id, StreamClosed())
        except (ConnectionError, TimeoutError):
            log.warning("the end of an outbound call could not be written to Redis; the dialer will look it up")

    async def put_back(self, dial_id: str) -> None:
        """Move an id that is in the wrong queue to where its document says; without a document it is set aside."""
        found = await self._find(dial_id)
        if found is None:
            await self._queue.set_aside(dial_id)
        else:
            await self._write(found[0], found[1].version)

    async def postpone(self, dial_id: str, ms: int) -> None:
        """Nothing new is known of the call: look at it again in `ms`."""
        found = await self._find(dial_id)
        if found is not None:
            dial, entry = found
            await self._write(replace(dial, due_ms=entry.now_ms + ms), entry.version)

    async def _find(self, dial_id: str) -> tuple[OutboundCall, QueuedCall] | None:
        """The outbound call and its document; a document that cannot be read is set aside."""
        if not _DIAL_ID.fullmatch(dial_id):
            return None
        try:
            entry = await self._queue.read(dial_id)
            dial = OutboundCall.from_document(entry.body) if entry else None
            if dial is not None and dial.dial_id != dial_id:
                raise UnreadableOutboundCall("the document has another id")
        except (UnreadableOutboundCall, ValueError):
            await self._queue.set_aside(dial_id)
            return None
        return (dial, entry) if entry and dial else None

    async def _write(self, dial: OutboundCall, version: int, dialer: str = "") -> bool:
        where = "queued" if dial.state == "queued" else "open" if dial.state in OPEN else "closed"
        call_ids = [request.call_id for request in dial.requests if request.call_id]
        document = dial.to_document()
        return await self._queue.write(dial.dial_id, version, document, where, dial.due_ms, call_ids, dialer)


async def _nothing(dial: OutboundCall) -> None:
    """No transfer waits for the call."""
