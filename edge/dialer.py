"""Places the outbound calls of the whole deployment, one dialer at a time, within the account's limits.

Every edge runs one; whoever holds the lead dials.  Before a request leaves, its name is written down; so a dialer
that dies in between leaves an uncertain call, never a doubled one.  What happened to an uncertain call is told by its
webhooks, which carry the dial's id and the request's name in their URL, or else by the carrier when it is asked.

While the carrier refuses the account (no credit, say), no call is placed and none is given up: all of them wait, for a
time that grows with every refusal, and every edge says why (`waits`).
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from dataclasses import dataclass, field, replace

from common import metrics
from common.ledger.dials import DialBook, Entry
from edge.carrier.account import REASONS, account_problem
from edge.carrier.causes import account_reason
from edge.carrier.client import VobizClient
from edge.carrier.errors import CarrierError, Limited, Unavailable, Uncertain
from edge.carrier.lookup import Found, Inconclusive, Lookup, LostRequest, Nothing
from edge.carrier.orders import CallRequest, MachineDetection
from edge.destinations import Destinations, NotAllowed
from edge.dialing import (
    CLOSED,
    OPEN,
    POST_MS_MAX,
    Absent,
    Accepted,
    AccountRefused,
    Answered,
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
from edge.url_proof import SPARE_SECONDS, of_dial

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
LEAD_MS = 3000
UNAVAILABLE_SECONDS = 5.0
"""Pause after the carrier could not be reached at all."""
PAUSED_LOOK_SECONDS = 0.5
"""How often an edge asks whether calls are placed at all; another edge may have stopped them."""
STOP_SECONDS = 12.0
"""Longer than a request may take: who leaves earlier leaves an uncertain call behind."""
SPACING = 1.1
"""Our seconds and the carrier's are not the same: keep a tenth more distance than the limit asks for."""
DAY_LOOK_SECONDS = 5.0
"""How often it is looked whether a new day, or a raised DIALS_PER_DAY, lets calls be placed again."""
LOOKUPS_MAX = 20
LOOKUP_AGAIN_MS = 60_000
DAY_IS_SPENT = "DIALS_PER_DAY is used up for today (UTC)"
CHANGES_MAX = 10
"""Tries to write a dial down while webhooks change it too."""
_DIAL_ID = re.compile(r"out-[0-9a-f]{25}")
"""What `ask` makes; the book has other keys, too."""


@dataclass(frozen=True, slots=True)
class DialerOptions:
    """The account's limits, the operator's, and where the carrier reaches us.

    `secret` signs the URLs that the carrier is given (url_proof.py); None: they are not signed.
    """

    public_url: str
    calls_per_second: float = 1.0
    calls_at_once: int = 3
    destinations: Destinations = field(default_factory=Destinations)
    dials_per_day: int = 2000
    call_s_max: int = 14_400
    secret: bytes | None = None


class DayIsSpent(Exception):
    """DIALS_PER_DAY is used up, or will be by the calls that wait."""


class Dialer:
    """`ask` for a call, `tell` it news, and `run` it on every edge."""

    def __init__(
        self, owner: str, book: DialBook, clients: tuple[VobizClient, VobizClient], options: DialerOptions
    ) -> None:
        """`clients`: one for questions and hang-ups, which repeats itself, and one for placing, which must not."""
        self._owner = owner
        self._book = book
        self._client, self._placer = clients
        self._lookup = Lookup(self._client)
        self.options = options
        self._day_is_spent = False
        self._next_at = 0.0
        self._asked_ms = 0
        self._placing: set[asyncio.Task[None]] = set()
        self._reporting: set[asyncio.Task[None]] = set()
        self._refused_because = ""
        """What is wrong with the account.  Until a call is placed again, one at a time is tried after each pause."""
        self._paused = False
        self._paused_look_at = 0.0
        self._accepted_ms = 0
        for reason in REASONS:
            metrics.DIALS_PAUSED.labels(reason).set(0)

    @property
    def waits(self) -> str:
        """Why no outbound call is placed at the moment; empty if calls are placed."""
        if self._day_is_spent and not self._refused_because:
            return DAY_IS_SPENT
        return REASONS.get(self._refused_because, self._refused_because)

    async def ask(self, dial: Dial, key: str) -> Dial:
        """Queue a call; with a known idempotency key, return the one that it made before.

        Raises QueueFull and DayIsSpent.
        """
        if key and (known := await self.read(await self._book.made_by(key))) is not None:
            return known
        if await self._book.spent_today() + await self._book.queued_count() >= self.options.dials_per_day:
            raise DayIsSpent(DAY_IS_SPENT)
        # No two at once: the queue is in order.
        now_ms = self._asked_ms = max(await self._book.now_ms(), self._asked_ms + 1)
        dial_id = f"out-{now_ms:013x}{secrets.token_hex(6)}"
        dial = replace(dial, dial_id=dial_id, created_ms=now_ms, changed_ms=now_ms, due_ms=now_ms)
        made = await self._book.add(dial_id, dial.to_document(), now_ms, key)
        return dial if made == dial_id else await self.read(made) or dial

    async def read(self, dial_id: str) -> Dial | None:
        """The dial as it stands, or None if it is not known (any more)."""
        entry = await self._entry(dial_id)
        return Dial.from_document(entry.body) if entry else None

    async def has_signed(self, dial_id: str, call_id: str) -> bool:
        """Has the carrier URLs with our proof for this outbound call, named by its id or by the carrier's?"""
        dial_id = dial_id or (await self._book.owner(call_id) if call_id else "")
        dial = await self.read(dial_id) if dial_id else None
        return dial is not None and any(request.signed for request in dial.requests)

    async def tell(
        self, dial_id: str, news: News, name: int | None = None, seen: Dial | None = None, dialer: str = ""
    ) -> Dial | None:
        """Write the news down; returns the dial after it, or None if there is none.

        Without a `dial_id` the dial is the one that the news's CallUUID is known to belong to.
        `name` is that of the request which the news is of.  With `seen`, the news is a conclusion from that state of
        the dial, and counts for nothing if it has another one by now.  With a `dialer`, only while that one dials.
        """
        if not dial_id and (call_id := getattr(news, "call_id", "")):
            dial_id = await self._book.owner(call_id)
        for _ in range(CHANGES_MAX):
            entry = await self._entry(dial_id)
            if entry is None:
                return None
            dial = Dial.from_document(entry.body)
            if seen is not None and dial != seen:
                return dial
            changed = advance(dial, news, entry.now_ms, name)
            if changed is dial or await self._write(changed, entry.version, dialer):
                if isinstance(news, Over) and changed is not dial and (reason := account_reason(news.cause)):
                    await self._pause_account(reason)
                return changed
        raise TimeoutError("a dial changes faster than it can be written")

    def answered(self, dial_id: str, call_id: str) -> None:
        """The call's media stream has begun: only now it is certain that somebody, or something, picked up."""
        task = asyncio.create_task(self._answered(dial_id, call_id), name=f"answer of dial {dial_id}")
        self._reporting.add(task)  # beside the call, which must not wait for Redis
        task.add_done_callback(self._reporting.discard)

    async def _answered(self, dial_id: str, call_id: str) -> None:
        try:
            await self.tell(dial_id, Answered(call_id))
        except (ConnectionError, TimeoutError):
            log.warning("the answer of an outbound call could not be written down; it will be looked up")

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
            if under_way := self._placing | self._reporting:
                await asyncio.wait(under_way, timeout=STOP_SECONDS)

    async def _dial_forever(self) -> None:
        led = False
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                leads = await self._book.lead(self._owner, LEAD_MS)
                if leads and not led:
                    self._pause(SPACING / self.options.calls_per_second)  # another may just have dialed
                led = leads
                await self._look_at_pause()
                if leads:
                    await self._look_up()
                    await self._place_next()
            except (ConnectionError, TimeoutError):
                led = False

    async def _look_at_pause(self) -> None:
        if time.monotonic() >= self._paused_look_at:
            self._paused_look_at = time.monotonic() + PAUSED_LOOK_SECONDS
            self._set_paused(*await self._book.paused())

    def _set_paused(self, reason: str, holds: bool) -> None:
        reason = reason if not reason or reason in REASONS else "account"  # of another release: its text is no log's
        if reason and reason != self._refused_because:
            log.warning("outbound calls wait: %s", REASONS.get(reason, reason))
        self._refused_because, self._paused = reason, holds
        for known in REASONS:
            metrics.DIALS_PAUSED.labels(known).set(known == reason)

    async def _pause_account(self, reason: str) -> None:
        self._set_paused(reason, holds=True)
        try:
            await self._book.pause(reason)
        except (ConnectionError, TimeoutError):
            log.warning("the pause of the outbound calls could not be written down")

    async def _unpause(self) -> None:
        self._set_paused("", holds=False)
        try:
            await self._book.unpause()
        except (ConnectionError, TimeoutError):
            log.warning("the end of a pause of the outbound calls could not be written down")

    async def _place_next(self) -> None:
        """Begin the next call if the account and its limits allow one now."""
        busy_trying = bool(self._refused_because and self._placing)
        if self._paused or busy_trying or time.monotonic() < self._next_at:
            return
        if await self._book.open_count() >= self.options.calls_at_once:
            return
        for dial_id in await self._book.due(1):
            self._day_is_spent = not await self._book.spend(self.options.dials_per_day)
            if self._day_is_spent:
                self._pause(DAY_LOOK_SECONDS)
                return
            sent = Sent(signed=self.options.secret is not None)
            dial = await self.tell(dial_id, sent, dialer=self._owner)  # who froze, and dials no more, sends nothing
            if dial is None or dial.state != "dialing":
                await self._book.give_back()
                return
            self._pause(SPACING / self.options.calls_per_second)
            task = asyncio.create_task(self._place(dial), name=f"dial {dial_id}")
            self._placing.add(task)
            task.add_done_callback(self._placing.discard)

    async def _place(self, dial: Dial) -> None:
        try:
            news = await self._post(dial)
            await self.tell(dial.dial_id, news, dial.sent)
            if isinstance(news, Throttled | AccountRefused):  # nobody was rung
                await self._book.give_back()
        except (ConnectionError, TimeoutError):
            log.warning("the outcome of a dial could not be written down; it will be looked up")

    async def _post(self, dial: Dial) -> News:
        """Ask the carrier for the call; every way that can go is news."""
        began = time.monotonic()
        try:
            self.options.destinations.check(dial.to)  # it may have been queued under other settings
        except NotAllowed as error:
            metrics.DIALS_REFUSED.labels(error.reason).inc()
            return Denied(str(error))
        try:
            call_ids = await self._placer.make_call(self._request(dial))
        except Limited as error:
            self._pause(error.retry_after_s)
            return Throttled()
        except Unavailable as error:
            self._pause(UNAVAILABLE_SECONDS)
            return Unclear() if error.sent else Throttled()
        except Uncertain as error:
            log.warning("it is not known whether a call was placed: %s", error)
            return Unclear()
        except (CarrierError, ValueError) as error:
            return await self._refused(dial, error)
        metrics.CALLS_PLACED.inc()
        self._accepted_ms = dial.changed_ms + round(1000 * (time.monotonic() - began))
        if self._refused_because:
            await self._unpause()
        return Accepted(call_ids[0])

    async def _refused(self, dial: Dial, error: CarrierError | ValueError) -> News:
        """Of the account, or of this call?  What may be either is of this call once others were taken since."""
        log.warning("the carrier refused a call: %s", error)
        of_account = account_problem(error) if isinstance(error, CarrierError) else None
        if of_account is None:
            return Denied(str(error))
        if not of_account.sure and 0 < dial.refused_ms < self._accepted_ms:
            return Denied(str(error))
        await self._pause_account(of_account.reason)
        return AccountRefused(str(error), keeps_place=of_account.sure)

    def _pause(self, seconds: float) -> None:
        self._next_at = max(self._next_at, time.monotonic() + seconds)

    def _request(self, dial: Dial) -> CallRequest:
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
        """Ask the carrier about calls of which nothing was heard for too long."""
        for dial_id in await self._book.overdue(LOOKUPS_MAX):
            dial = await self.read(dial_id)
            if dial is None or dial.state in CLOSED or dial.lead is None:
                continue
            if dial.state == "dialing":  # its dialer died, or could not write
                await self.tell(dial_id, Unclear(), dial.lead.name)
                continue
            news = await self._news_of(dial)
            told = await self.tell(dial_id, news, dial.lead.name, seen=dial) if news is not None else dial
            entry = await self._entry(dial_id) if told == dial else None
            if entry is not None:  # it goes on, or nothing is known of it: ask again later
                later = replace(Dial.from_document(entry.body), due_ms=entry.now_ms + LOOKUP_AGAIN_MS)
                await self._write(later, entry.version)

    async def _news_of(self, dial: Dial) -> News | None:
        """What the carrier knows of the call; None if that says nothing."""
        request = dial.lead
        assert request is not None

        async def is_others(call_id: str) -> bool:
            owner = await self._book.owner(call_id)
            return bool(owner) and not (owner == dial.dial_id and request.call_id == call_id)

        try:
            if dial.call_id:
                found: Found | Nothing | Inconclusive = await self._lookup.by_id(dial.call_id)
            else:
                sent_ms = request.sent_ms or dial.changed_ms - POST_MS_MAX
                found = await self._lookup.by_numbers(LostRequest(dial.sender, dial.to, sent_ms), is_others)
        except CarrierError:
            return None
        match found:
            case Nothing():
                return Absent()
            case Found(call_id, answered, ""):
                return Answered(call_id) if answered else Rang(call_id)
            case Found(call_id, answered, cause):
                return Over(cause, call_id, answered)
        return None

    async def _entry(self, dial_id: str) -> Entry | None:
        return await self._book.read(dial_id) if _DIAL_ID.fullmatch(dial_id) else None

    async def _write(self, dial: Dial, version: int, dialer: str = "") -> bool:
        where = "queued" if dial.state == "queued" else "open" if dial.state in OPEN else "closed"
        call_ids = [request.call_id for request in dial.requests if request.call_id]
        document = dial.to_document()
        return await self._book.write(dial.dial_id, version, document, where, dial.due_ms, call_ids, dialer)
