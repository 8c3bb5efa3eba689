"""What every pool does: take calls by free capacity, hold each by a lease, and pass them on.

    offered ──claim──▶ held ──renewed every third of the lease──▶ over
                        │
                        ├── lost: another member has a newer token; drop it, write nothing
                        └── SIGTERM: release and offer again; another member has it in milliseconds

Any member offers again what nobody holds (its owner died): two scans in a row must agree, so that a call that was
only just offered is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from common import metrics
from common.bus import Bus
from common.bus.refusals import KeyRefused
from common.ledger import Claim, Ledger
from common.messages import HangUp, Offer
from common.skipped import skip
from common.streams import edge_priority, pool_calls

log = logging.getLogger(__name__)

TAKE_BLOCK_MS = 1000
SCAN_SECONDS = 0.1
"""How often a pool, by one of its members, looks for calls that nobody holds."""
SECOND_LOOK_SECONDS = 0.04
"""A call that was only just offered is claimed sooner."""
CLAIMS_AT_ONCE = 8
"""Calls that are claimed, or given back, at a time: each of these needs a connection to the ledger."""
BEAT_SECONDS = 5.0
ROOM_SECONDS = 0.8
"""How often a member says that it takes calls; within READY_STALE_MS it may fail to twice."""
RETRY_SECONDS = 0.5
"""Pause after the ledger could not be reached."""
FAILURES_MAX = 3
"""A call whose session failed here so often is hung up rather than offered again."""


class Fenced(Exception):
    """The claim is no longer the newest: another member has the call.  Drop it."""


class Session(Protocol):
    """One pool's part in one call."""

    async def run(self) -> None:
        """Until the call is over.  Cancelled when the call is lost or handed on; raises `Fenced` if it finds out."""


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """Which pool, under what name, how many calls at once, and how long a lease lives unrenewed."""

    pool: str
    owner: str
    calls_max: int
    lease_ms: int


@dataclass(slots=True)
class _Held:
    claim: Claim
    task: asyncio.Task[None]


class Runner:
    """A member of a pool.  `run` it until it is told to stop."""

    def __init__(
        self, options: RunnerOptions, bus: Bus, ledger: Ledger, open_session: Callable[[Claim], Session]
    ) -> None:
        self._options = options
        self._bus = bus
        self._ledger = ledger
        self._open = open_session
        self._held: dict[str, _Held] = {}
        self._failures: Counter[str] = Counter()
        self._freed = asyncio.Event()
        self._trust_until = 0.0  # until then every owner is thought to live
        self.draining = False
        metrics.begin(options.pool, options.calls_max)

    @property
    def refusal(self) -> str:
        """Why this member takes no call right now; empty if it does."""
        if self.draining:
            return "draining"
        if not self._bus.connected:
            return "cut off from Redis"
        return "full" if len(self._held) >= self._options.calls_max else ""

    async def run(self, stop: asyncio.Event) -> None:
        """Hold calls until `stop` is set, then pass them on and return."""
        async with asyncio.TaskGroup() as tasks:
            steps: dict[str, tuple[Callable[[], Awaitable[None]], float]] = {
                "take": (lambda: self._take(tasks), 0.0),
                "renew": (self._renew, self._options.lease_ms / 3000),
                "scan": (self._offer_orphans, SCAN_SECONDS),
                "beat": (self._beat, BEAT_SECONDS),
                "room": (self._report_room, ROOM_SECONDS),
            }
            loops = [
                tasks.create_task(self._forever(name, step, seconds), name=f"{self._options.pool} {name}")
                for name, (step, seconds) in steps.items()
            ]
            await stop.wait()
            self.draining = True
            metrics.DRAINING.labels(self._options.pool).set(1)
            for task in loops:
                task.cancel()
            await self._pass_on()

    async def _forever(self, name: str, step: Callable[[], Awaitable[None]], seconds: float) -> None:
        away = False
        while True:
            if seconds:
                await asyncio.sleep(seconds * random.uniform(0.8, 1.2))  # noqa: S311 - spreads the members' scans
            try:
                await step()
                away = False
            except (ConnectionError, TimeoutError) as error:
                if not away:
                    log.warning("the ledger cannot be reached (%s)", error)
                away = True
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - what is wrong with one item ends no pool
                skip(name, error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _take(self, tasks: asyncio.TaskGroup) -> None:
        """Pull as many calls as there is room for: that is the whole load balancer."""
        pool, owner = self._options.pool, self._options.owner
        free = self._options.calls_max - len(self._held)
        if free <= 0:
            self._freed.clear()
            await self._freed.wait()
            return
        offers = await self._ledger.take_offers(pool, owner, free, TAKE_BLOCK_MS)
        for at in range(0, len(offers), CLAIMS_AT_ONCE):
            some = [self._accept(tasks, *offer) for offer in offers[at : at + CLAIMS_AT_ONCE]]
            for error in await asyncio.gather(*some, return_exceptions=True):
                if error is not None:
                    raise error

    async def _accept(self, tasks: asyncio.TaskGroup, offer_id: str, call_id: str) -> None:
        pool = self._options.pool
        claim = None if call_id in self._held else await self._claim(call_id)
        if claim is not None:
            if claim.token > 1:
                metrics.TAKEOVERS.labels(pool).inc()
                log.info("call taken over", extra={"call_id": call_id, "pool": pool})
            self._held[call_id] = _Held(claim, tasks.create_task(self._carry(claim), name=f"{pool} {call_id}"))
            metrics.CALLS_ACTIVE.labels(pool).set(len(self._held))
        await self._ledger.settle(pool, offer_id)

    async def _claim(self, call_id: str) -> Claim | None:
        """None, too, for a call whose keys cannot be used: nobody is helped by its offer."""
        try:
            return await self._ledger.claim(self._options.pool, call_id, self._options.owner)
        except Exception as error:
            if isinstance(error, ConnectionError | TimeoutError) and not isinstance(error, KeyRefused):
                raise  # the ledger is away, and the offer stays
            skip("take", error, call_id)
            return None

    async def _carry(self, claim: Claim) -> None:
        """One session to its end; whatever it raises stays here."""
        try:
            await self._open(claim).run()
            self._failures.pop(claim.call_id, None)
        except Fenced:
            metrics.LEASES_LOST.labels(claim.pool).inc()
            log.warning("call lost to a newer owner", extra={"call_id": claim.call_id, "pool": claim.pool})
        except (ConnectionError, TimeoutError):
            log.warning("Redis went away during a session", extra={"call_id": claim.call_id, "pool": claim.pool})
        except Exception:
            metrics.SESSION_ERRORS.labels(claim.pool).inc()
            log.exception("a session failed", extra={"call_id": claim.call_id, "pool": claim.pool})
            self._failures[claim.call_id] += 1
            if self._failures[claim.call_id] >= FAILURES_MAX:
                self._failures.pop(claim.call_id)
                self._bus.publish(edge_priority(claim.record.edge), HangUp(claim.call_id, "error"))
        finally:
            if (held := self._held.get(claim.call_id)) and held.claim is claim:
                del self._held[claim.call_id]
            metrics.CALLS_ACTIVE.labels(claim.pool).set(len(self._held))
            self._freed.set()
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self._ledger.release(claim)

    async def _renew(self) -> None:
        claims = [held.claim for held in self._held.values()]
        for claim in await self._ledger.renew(claims) if claims else ():
            held = self._held.pop(claim.call_id, None)
            if held is not None and held.claim is claim:
                held.task.cancel()
                self._freed.set()

    async def _offer_orphans(self) -> None:
        now = asyncio.get_running_loop().time
        pool, owner = self._options.pool, self._options.owner
        try:
            mine = await self._ledger.may_scan(pool, owner, int(900 * SCAN_SECONDS))
            first = set(await self._ledger.orphans(pool)) if mine else set()
        except KeyRefused:
            raise
        except (ConnectionError, TimeoutError):
            self._trust_until = math.inf
            raise
        if self._trust_until == math.inf:
            # Leases ran out meanwhile, but their owners are as well as we are: they may renew them first.
            self._trust_until = now() + self._options.lease_ms / 1000 + RETRY_SECONDS
        if not first or now() < self._trust_until:
            return
        await asyncio.sleep(SECOND_LOOK_SECONDS)
        for call_id in await self._ledger.orphans(pool):
            if call_id in first:
                self._bus.publish(pool_calls(pool), Offer(call_id))

    async def _beat(self) -> None:
        await self._ledger.beat(self._options.pool, self._options.owner)

    async def _report_room(self) -> None:
        await self._ledger.report_room(self._options.pool, self._options.owner, not self.refusal)

    async def _pass_on(self) -> None:
        """Give every call back and offer it again, so that nobody has to wait for a lease to run out."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self._report_room()
        room = asyncio.Semaphore(CLAIMS_AT_ONCE)
        await asyncio.gather(*(self._give_back(one, room) for one in list(self._held.values())))

    async def _give_back(self, one: _Held, room: asyncio.Semaphore) -> None:
        """As soon as its own session has ended: saying goodbye to a vendor may take others a while."""
        one.task.cancel()
        await asyncio.wait([one.task])
        async with room:
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._ledger.release(one.claim)
                self._bus.publish(pool_calls(one.claim.pool), Offer(one.claim.call_id))
