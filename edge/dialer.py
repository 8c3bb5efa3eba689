"""Places the outbound calls of the whole deployment, one dialer at a time, within the account's limits.

Every edge runs one; whoever holds the lead dials.  Before a request leaves, its attempt is written down; so a dialer
that dies in between leaves an uncertain call, never a doubled one.  What happened to an uncertain call is told by its
webhooks, which carry the dial's id in their URL, or else by the carrier when it is asked.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from common import metrics
from common.agents import number_key
from common.clock import wall_ms
from common.ledger.dials import DialBook
from edge.carrier.client import VobizClient
from edge.carrier.errors import CarrierError, Limited, Refused, Unauthorized, Unavailable
from edge.carrier.orders import CallRequest, MachineDetection
from edge.dialing import (
    CLOSED,
    OPEN,
    POST_MS_MAX,
    Absent,
    Accepted,
    Denied,
    Dial,
    LineClosed,
    News,
    Over,
    Rang,
    Sent,
    Throttled,
    Unclear,
    advance,
)

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
LEAD_MS = 3000
UNAVAILABLE_SECONDS = 5.0
"""Pause after the carrier could not be reached at all."""
STOP_SECONDS = 12.0
"""Longer than a request may take: who leaves earlier leaves an uncertain call behind."""
SPACING = 1.1
"""Our seconds and the carrier's are not the same: keep a tenth more distance than the limit asks for."""
LOOKUPS_MAX = 20
CDR_SLACK_MS = 2000
"""How much our clock may differ from the carrier's."""
LOOKUP_AGAIN_MS = 60_000
CHANGES_MAX = 10
"""Tries to write a dial down while webhooks change it too."""


@dataclass(frozen=True, slots=True)
class DialerOptions:
    """The account's limits, and where the carrier reaches us."""

    public_url: str
    calls_per_second: float = 1.0
    calls_at_once: int = 3


class Dialer:
    """`ask` for a call, `tell` it news, and `run` it on every edge."""

    def __init__(
        self, owner: str, book: DialBook, clients: tuple[VobizClient, VobizClient], options: DialerOptions
    ) -> None:
        """`clients`: one for questions and hang-ups, which repeats itself, and one for placing, which must not."""
        self._owner = owner
        self._book = book
        self._client, self._placer = clients
        self._options = options
        self._next_at = 0.0
        self._asked_ms = 0
        self._placing: set[asyncio.Task[None]] = set()

    async def ask(self, dial: Dial, key: str) -> Dial:
        """Queue a call; with a known idempotency key, return the one that it made before.  Raises QueueFull."""
        now_ms = self._asked_ms = max(wall_ms(), self._asked_ms + 1)  # no two at once: the queue is in order
        dial_id = f"out-{now_ms:013x}{secrets.token_hex(6)}"
        dial = replace(dial, dial_id=dial_id, created_ms=now_ms, changed_ms=now_ms, due_ms=now_ms)
        made = await self._book.add(dial_id, dial.to_document(), now_ms, key)
        return dial if made == dial_id else await self.read(made) or dial

    async def read(self, dial_id: str) -> Dial | None:
        """The dial as it stands, or None if it is not known (any more)."""
        entry = await self._book.read(dial_id)
        return Dial.from_document(entry.body) if entry else None

    async def tell(self, dial_id: str, news: News, attempt: int | None = None) -> Dial | None:
        """Write the news down; returns the dial after it, or None if there is none.

        News of another attempt than the current one is ignored.
        """
        for _ in range(CHANGES_MAX):
            entry = await self._book.read(dial_id)
            if entry is None:
                return None
            dial = Dial.from_document(entry.body)
            if attempt is not None and attempt != dial.attempt:
                return dial
            changed = advance(dial, news, wall_ms())
            if changed is dial or await self._write(changed, entry.version):
                return changed
        raise TimeoutError("a dial changes faster than it can be written")

    async def closed(self, dial_id: str) -> None:
        """The call's media are over at this edge."""
        try:
            await self.tell(dial_id, LineClosed())
        except (ConnectionError, TimeoutError):
            log.warning("the end of an outbound call could not be written down; it will be looked up")

    async def hang_up(self, call_id: str) -> bool:
        """End a call at the carrier.  False if the carrier could not be told; one that is over already is fine."""
        try:
            await self._client.hang_up(call_id)
        except (CarrierError, ValueError) as error:
            log.warning("a call could not be hung up: %s", error, extra={"call_id": call_id})
            return False
        return True

    async def transfer(self, call_id: str, url: str) -> None:
        """Let a call go on with other XML."""
        try:
            await self._client.transfer(call_id, aleg_url=url)
        except (CarrierError, ValueError) as error:
            log.warning("a call could not be transferred: %s", error, extra={"call_id": call_id})

    async def run(self) -> None:
        """For as long as the process runs; at its end it waits for the requests that are out."""
        try:
            await self._dial_forever()
        finally:
            if self._placing:
                await asyncio.wait(self._placing, timeout=STOP_SECONDS)

    async def _dial_forever(self) -> None:
        led = False
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                leads = await self._book.lead(self._owner, LEAD_MS)
                if leads and not led:
                    self._pause(SPACING / self._options.calls_per_second)  # another may just have dialed
                led = leads
                if leads:
                    await self._look_up()
                    await self._place_next()
            except (ConnectionError, TimeoutError):
                led = False

    async def _place_next(self) -> None:
        """Begin the next call if the account's limits allow one now."""
        if time.monotonic() < self._next_at or await self._book.open_count() >= self._options.calls_at_once:
            return
        for dial_id in await self._book.due(wall_ms(), 1):
            dial = await self.tell(dial_id, Sent())
            if dial is None or dial.state != "dialing":
                return
            self._pause(SPACING / self._options.calls_per_second)
            task = asyncio.create_task(self._place(dial), name=f"dial {dial_id}")
            self._placing.add(task)
            task.add_done_callback(self._placing.discard)

    async def _place(self, dial: Dial) -> None:
        news = await self._post(dial)
        try:
            await self.tell(dial.dial_id, news, dial.attempt)
        except (ConnectionError, TimeoutError):
            log.warning("the outcome of a dial could not be written down; it will be looked up")

    async def _post(self, dial: Dial) -> News:
        """Ask the carrier for the call; every way that can go is news."""
        try:
            call_ids = await self._placer.make_call(self._request(dial))
        except Limited as error:
            self._pause(error.retry_after_s)
            return Throttled()
        except Unavailable as error:
            self._pause(UNAVAILABLE_SECONDS)
            return Unclear() if error.sent else Throttled()
        except (Refused, Unauthorized, ValueError) as error:
            log.warning("the carrier refused a call: %s", error)
            return Denied(str(error))
        except CarrierError as error:
            log.warning("it is not known whether a call was placed: %s", error)
            return Unclear()
        metrics.CALLS_PLACED.inc()
        return Accepted(call_ids[0])

    def _pause(self, seconds: float) -> None:
        self._next_at = max(self._next_at, time.monotonic() + seconds)

    def _request(self, dial: Dial) -> CallRequest:
        def url(path: str) -> str:
            query = urlencode({"dial": dial.dial_id, "attempt": dial.attempt})
            return f"{self._options.public_url.rstrip('/')}{path}?{query}"

        plan = dial.plan
        machine = MachineDetection.for_agents(url("/machine"), hang_up=plan.machine == "hangup")
        return CallRequest(
            from_number=dial.sender,
            to=dial.to,
            answer_url=url("/answer"),
            ring_url=url("/ring"),
            hangup_url=url("/hangup"),
            fallback_url=url("/fallback"),
            ring_timeout_s=plan.ring_timeout_s,
            time_limit_s=plan.call_s_max,
            machine_detection=machine if plan.machine else None,
        )

    async def _look_up(self) -> None:
        """Ask the carrier about calls of which nothing was heard for too long."""
        for dial_id in await self._book.overdue(wall_ms(), LOOKUPS_MAX):
            dial = await self.read(dial_id)
            if dial is None or dial.state in CLOSED:
                continue
            if dial.state == "dialing":  # its dialer died, or could not write
                await self.tell(dial_id, Unclear(), dial.attempt)
                continue
            news = await self._news_of(dial)
            if news is not None:
                await self.tell(dial_id, news, dial.attempt)
            elif (entry := await self._book.read(dial_id)) is not None:
                later = replace(Dial.from_document(entry.body), due_ms=wall_ms() + LOOKUP_AGAIN_MS)
                await self._write(later, entry.version)

    async def _news_of(self, dial: Dial) -> News | None:
        """What the carrier knows of the call; None if it goes on, or if the carrier cannot be asked."""
        try:
            if dial.call_id:
                return await self._end_of(dial.call_id)
            for call_id in [*await self._client.live_calls(), *await self._client.queued_calls()]:
                details = await _found(self._client.call_details(call_id))
                if _is_to(details.get("to"), dial):
                    return Rang(call_id)
            for record in (await self._client.cdr()).get("data") or ():
                if _is_to(record.get("destination_number"), dial) and _began_after(record, dial):
                    return Over(str(record.get("hangup_cause_code") or "unknown"))
        except CarrierError:
            return None
        return Absent()

    async def _end_of(self, call_id: str) -> News | None:
        """How a call ended, by the carrier's records; None if it goes on."""
        if await _found(self._client.call_details(call_id)):
            return None
        record = await _found(self._client.cdr_of(call_id))
        return Over(str(record.get("hangup_cause_code") or "unknown")) if record else Absent()

    async def _write(self, dial: Dial, version: int) -> bool:
        where = "queued" if dial.state == "queued" else "open" if dial.state in OPEN else "closed"
        return await self._book.write(dial.dial_id, version, dial.to_document(), where, dial.due_ms)


def _is_to(number: object, dial: Dial) -> bool:
    return isinstance(number, str) and number_key(number) == number_key(dial.to)


def _began_after(record: dict[str, Any], dial: Dial) -> bool:
    """Is this call record of the dial's last attempt, and not of an earlier call to the same number?"""
    try:
        began = datetime.fromisoformat(str(record.get("start_time")))
    except ValueError:
        return False
    return began.timestamp() * 1000 >= dial.changed_ms - CDR_SLACK_MS - POST_MS_MAX


async def _found(asked: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """What was asked for, or nothing if the carrier does not know it (404)."""
    try:
        return await asked
    except Refused as error:
        if error.status != 404:
            raise
        return {}
