"""The outbound calls as they are written down: each a document that any edge may change, and that one change at a time.

`edge/outbound/dialer.py` places them and asks the carrier about them; the API and the webhooks read them and write down
what happened.  `edge/outbound/state.py` says which state follows from what happened.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from dataclasses import replace

from common.store.outbound import OutboundQueue, QueuedCall, UnreadableOutboundCall
from edge.outbound.account_pause import AccountPause
from edge.outbound.state import OPEN, Answered, Ended, OutboundCall, OutboundEvent, StreamClosed, advance
from edge.vobiz.hangup_causes import account_reason

log = logging.getLogger(__name__)

DAY_IS_SPENT = "DIALS_PER_DAY is used up for today (UTC)"
CHANGES_MAX = 10
"""Tries to write a dial down while webhooks change it too."""
_DIAL_ID = re.compile(r"out-[0-9a-f]{25}")
"""What `ask` makes; the book has other keys, too."""


class DayIsSpent(Exception):
    """DIALS_PER_DAY is used up, or will be by the calls that wait."""


class OutboundCalls:
    """`ask` for a call, `read` it, and `tell` it news."""

    def __init__(self, queue: OutboundQueue, account: AccountPause, dials_per_day: int) -> None:
        self._queue = queue
        self._account = account
        self._dials_per_day = dials_per_day
        self._asked_ms = 0
        self.reporting: set[asyncio.Task[None]] = set()
        """Answers that are being written down."""

    async def enqueue(self, dial: OutboundCall, key: str) -> OutboundCall:
        """Queue a call; with a known idempotency key, return the one that it made before.

        Raises QueueFull and DayIsSpent.
        """
        if key and (known := await self.read(await self._queue.made_by(key))) is not None:
            return known
        if await self._queue.spent_today() + await self._queue.queued_count() >= self._dials_per_day:
            raise DayIsSpent(DAY_IS_SPENT)
        # No two at once: the queue is in order.
        now_ms = self._asked_ms = max(await self._queue.now_ms(), self._asked_ms + 1)
        dial_id = f"out-{now_ms:013x}{secrets.token_hex(6)}"
        dial = replace(dial, dial_id=dial_id, created_ms=now_ms, changed_ms=now_ms, due_ms=now_ms)
        made = await self._queue.add(dial_id, dial.to_document(), now_ms, key)
        return dial if made == dial_id else await self.read(made) or dial

    async def read(self, dial_id: str) -> OutboundCall | None:
        """The dial as it stands, or None if it is not known (any more)."""
        found = await self._find(dial_id)
        return found[0] if found else None

    async def has_signed(self, dial_id: str, call_id: str) -> bool:
        """Has the carrier URLs with our proof for this outbound call, named by its id or by the carrier's?"""
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
        """Write the news down; returns the dial after it, or None if there is none.

        Without a `dial_id` the dial is the one that the news's CallUUID is known to belong to.
        `name` is that of the request which the news is of.  With `seen`, the news is a conclusion from that state of
        the dial, and counts for nothing if it has another one by now.  With a `dialer`, only while that one dials.
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
                if isinstance(event, Ended) and changed is not dial and (reason := account_reason(event.cause)):
                    await self._account.pause(reason)
                return changed
        raise TimeoutError("a dial changes faster than it can be written")

    def answered(self, dial_id: str, call_id: str) -> None:
        """The call's media stream has begun: only now it is certain that somebody, or something, picked up."""
        task = asyncio.create_task(self._answered(dial_id, call_id), name=f"answer of dial {dial_id}")
        self.reporting.add(task)  # beside the call, which must not wait for Redis
        task.add_done_callback(self.reporting.discard)

    async def _answered(self, dial_id: str, call_id: str) -> None:
        try:
            await self.apply(dial_id, Answered(call_id))
        except (ConnectionError, TimeoutError):
            log.warning("the answer of an outbound call could not be written down; it will be looked up")

    async def closed(self, dial_id: str) -> None:
        """The call's media are over at this edge."""
        try:
            await self.apply(dial_id, StreamClosed())
        except (ConnectionError, TimeoutError):
            log.warning("the end of an outbound call could not be written down; it will be looked up")

    async def put_back(self, dial_id: str) -> None:
        """An id is in the queue, or takes a line, and its document says otherwise, or is gone: the document counts."""
        found = await self._find(dial_id)
        if found is None:
            await self._queue.set_aside(dial_id)
        else:
            await self._write(found[0], found[1].version)

    async def postpone(self, dial_id: str, ms: int) -> None:
        """Nothing new is known of the call: it is looked at again in `ms`."""
        found = await self._find(dial_id)
        if found is not None:
            dial, entry = found
            await self._write(replace(dial, due_ms=entry.now_ms + ms), entry.version)

    async def _find(self, dial_id: str) -> tuple[OutboundCall, QueuedCall] | None:
        """The dial and its document; one that cannot be read is set aside."""
        if not _DIAL_ID.fullmatch(dial_id):
            return None
        try:
            entry = await self._queue.read(dial_id)
            dial = OutboundCall.from_document(entry.body) if entry else None
            if dial is not None and dial.dial_id != dial_id:
                raise UnreadableOutboundCall("another's document")
        except (UnreadableOutboundCall, ValueError):
            await self._queue.set_aside(dial_id)
            return None
        return (dial, entry) if entry and dial else None

    async def _write(self, dial: OutboundCall, version: int, dialer: str = "") -> bool:
        where = "queued" if dial.state == "queued" else "open" if dial.state in OPEN else "closed"
        call_ids = [request.call_id for request in dial.requests if request.call_id]
        document = dial.to_document()
        return await self._queue.write(dial.dial_id, version, document, where, dial.due_ms, call_ids, dialer)
