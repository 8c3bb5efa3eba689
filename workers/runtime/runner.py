"""Runs a member of a pool: it takes calls by free capacity, owns them while it renews its lease, and passes them on.

    offered ──claim──▶ held ──one lease for all, renewed every third of its life──▶ over
                        │
                        ├── lost: another member has a newer token; drop it, write nothing
                        └── SIGTERM: release and offer again; another member has it in milliseconds

The lease is kept by workers/runtime/member_lease.py; any member offers calls without an owner again
(workers/runtime/orphan_scan.py).  A call that seems to kill its owners
is held alone, and ended after a few (common/store/suspicion.py).  A member that can reach no provider passes its calls
on (workers/runtime/provider_health.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from common.bus import Bus
from common.process.skipped import skip
from common.redis.refusals import KeyRefused
from common.store import CallStore, Claim
from common.store.suspicion import Left, Suspect, Take
from common.telemetry import metrics
from workers.providers.failover import PassOn
from workers.runtime.event_session import Fenced
from workers.runtime.held_call import HeldCall, trial_left_s
from workers.runtime.member_lease import MemberLease
from workers.runtime.orphan_scan import OrphanScan
from workers.runtime.provider_health import ProviderHealth, never
from workers.runtime.quarantine import QuarantinedCall

log = logging.getLogger(__name__)

TAKE_BLOCK_MS = 500
"""How long a read of offers blocks: no longer than a lease lives on, or a member that stands still would be handed the
calls that it has just lost.
"""
CLAIMS_AT_ONCE = 8
"""Calls that are claimed or given back at a time, each of which needs a connection to the call store."""
HEARTBEAT_SECONDS = 5.0
RETRY_SECONDS = 0.5
"""Pause after the call store could not be reached."""
HEALTH_SECONDS = 0.1
"""How often the health of the providers is checked while calls are held."""
IDLE_HEALTH_SECONDS = 0.5
"""How often without calls, when only a probe can change it."""
PASS_ON_SECONDS = 1.0
"""A call that was passed on, and has no owner after this time, is taken back."""
SUSPECT_SECONDS = 0.3
"""A suspect that may not be claimed yet is not offered again for so long."""
STAND_BACK_SECONDS = 0.2
"""How long a member takes no offers after one that another member should have."""
UNRELEASED_MAX = 1_000
"""Most calls that could not be given back while Redis was away, and are when it is there again."""


class Session(Protocol):
    """The part of one pool in one call."""

    async def run(self) -> None:
        """Run until the call is over; cancelled when the call is lost or passed on.  Raises `Fenced` if it is lost."""


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """The pool, this member's name, how many calls it holds at once, and the life of a lease without renewal."""

    pool: str
    owner: str
    calls_max: int
    lease_ms: int


class Runner:
    """A member of a pool; `run` it until it is stopped."""

    def __init__(
        self,
        options: RunnerOptions,
        bus: Bus,
        store: CallStore,
        open_session: Callable[[Claim], Session],
        failing: Callable[[], bool] = never,
    ) -> None:
        """`failing()`: whether none of this process's providers can be reached."""
        self._options = options
        self._bus = bus
        self._store = store
        self._open = open_session
        self._held: dict[str, HeldCall] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._scan = OrphanScan(store, options.pool, options.lease_ms / 1000 + RETRY_SECONDS)
        self._lease = MemberLease(store, options.pool, options.owner, options.lease_ms, self._scan)
        self._health = ProviderHealth(store, options.pool, options.owner, failing)
        self._was_failing = False
        self._passing: set[str] = set()  # calls that were passed on, and are for another member
        self._stand_back_until = 0.0
        self._trials = asyncio.Lock()  # suspects are claimed one at a time
        self._unreleased: deque[tuple[Claim, Left]] = deque(maxlen=UNRELEASED_MAX)
        self._claiming: set[str] = set()
        self._unclear: set[str] = set()  # claims without an answer: Redis may have this member as the owner
        self._freed = asyncio.Event()
        self.draining = False
        metrics.begin(options.pool, options.calls_max)

    @property
    def refusal(self) -> str:
        """Why this member takes no call now; "" if it does."""
        if self.draining:
            return "draining"
        if not self._bus.connected:
            return "cut off from Redis"
        if self._health.failing:
            return "no provider can be reached"
        return "full" if self._full else ""

    @property
    def _full(self) -> bool:
        return len(self._held) >= self._options.calls_max

    async def elsewhere(self, call_id: str) -> bool:
        """Whether another member should have this call, for which no provider works here (`Failover.elsewhere`)."""
        held = self._held.get(call_id)
        if held is None or self.draining:
            return False
        with contextlib.suppress(ConnectionError, TimeoutError):
            return await self._health.somebody_better(held.claim, _now() - held.since_s)
        return False

    async def run(self, stop: asyncio.Event) -> None:
        """Hold calls until `stop` is set, then pass them on and return."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            steps: dict[str, tuple[Callable[[], Awaitable[None]], float]] = {
                "take": (self._take, 0.0),
                "report": (self._report, 0.0),
                "scan": (self._scan.run, 0.0),
                "heartbeat": (self._heartbeat, HEARTBEAT_SECONDS),
                "health": (self._watch_health, 0.0),
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
            await self._give_all_back()

    async def _forever(self, name: str, step: Callable[[], Awaitable[None]], seconds: float) -> None:
        away = False
        while True:
            if seconds:
                await asyncio.sleep(seconds)
            try:
                await step()
                away = False
            except (ConnectionError, TimeoutError) as error:
                if not away:
                    log.warning("the call store cannot be reached (%s)", error)
                away = True
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - an error with one item must not end the pool
                skip(name, error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _take(self) -> None:
        """Take as many calls as there is room for; nothing else balances the load."""
        pool, owner = self._options.pool, self._options.owner
        free = self._options.calls_max - len(self._held)
        if free <= 0:
            self._freed.clear()
            await self._freed.wait()
            return
        if self._health.steps_aside or _now() < self._stand_back_until:
            await asyncio.sleep(min(STAND_BACK_SECONDS, max(self._stand_back_until - _now(), 0.05)))
            return
        offers = await self._store.take_offers(pool, owner, free, TAKE_BLOCK_MS)
        for at in range(0, len(offers), CLAIMS_AT_ONCE):
            some = [self._accept(*offer) for offer in offers[at : at + CLAIMS_AT_ONCE]]
            for error in await asyncio.gather(*some, return_exceptions=True):
                if error is not None:
                    raise error

    async def _accept(self, offer_id: str, call_id: str) -> None:
        pool = self._options.pool
        for_another = self._health.steps_aside or call_id in self._passing
        back_in_s, refused = STAND_BACK_SECONDS, False
        try:
            if not for_another:
                refused = not await self._claim(call_id)
        except Exception as error:
            if isinstance(error, ConnectionError | TimeoutError) and not isinstance(error, KeyRefused):
                raise  # the call store is away, and the offer stays
            skip("take", error, call_id)  # it concerns this call's keys, and no other call
        if refused and (trial_s := self._trial_s) > 0:
            for_another, back_in_s = True, trial_s  # it takes no other call beside a suspect that may kill it
        elif refused:
            assert self._tasks is not None
            self._tasks.create_task(self._ack_later(offer_id), name=f"{pool} suspect")
            return
        await self._store.ack_offer(pool, offer_id)
        if for_another:
            self._stand_back_until = _now() + back_in_s
            await self._store.offer(pool, [call_id])

    @property
    def _trial_s(self) -> float:
        return trial_left_s(self._held.values(), self._options.lease_ms, _now())

    async def _ack_later(self, offer_id: str) -> None:
        await asyncio.sleep(SUSPECT_SECONDS)
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self._store.ack_offer(self._options.pool, offer_id)
        self._scan.ask()

    async def _claim(self, call_id: str) -> bool:
        """Own the call, unless another member does or it is over.  False: it is a suspect, and must wait."""
        if call_id in self._held or call_id in self._claiming:
            return True
        self._claiming.add(call_id)
        try:
            return await self._claim_once(call_id)
        except (ConnectionError, TimeoutError) as error:
            if not isinstance(error, KeyRefused):
                self._unclear.add(call_id)
            raise
        finally:
            self._claiming.discard(call_id)

    async def _claim_once(self, call_id: str) -> bool:
        pool, owner = self._options.pool, self._options.owner
        try:
            self._hold(await self._store.claim(pool, call_id, owner))
        except Suspect as suspect:
            async with self._trials:
                risky = self._trial_s > 0 or (self._held and await self._health.last_one(str(suspect)))
                take = Take.BESIDE if risky else Take.ALONE
                if take is Take.BESIDE and _now() < self._stand_back_until:
                    return False
                try:
                    self._hold(await self._store.claim(pool, call_id, owner, take))
                except Suspect:
                    return False
                self._stand_back_until = _now() + STAND_BACK_SECONDS  # the next one is for another member
        return True

    def _hold(self, claim: Claim | None) -> None:
        if claim is None:
            return
        assert self._tasks is not None
        call_id, pool = claim.call_id, claim.pool
        if claim.token > 1:
            metrics.TAKEOVERS.labels(pool).inc()
            log.info("call taken over", extra={"call_id": call_id, "pool": pool})
        if claim.trial_ms:
            metrics.CALLS_SUSPECT.labels(pool).inc()
            log.warning("a call whose last owners were lost is tried alone", extra={"call_id": call_id, "pool": pool})
        task = self._tasks.create_task(self._carry(claim), name=f"{pool} {call_id}")
        self._held[call_id] = HeldCall(claim, task, _now())
        metrics.CALLS_ACTIVE.labels(pool).set(len(self._held))
        if len(self._held) == 1:
            self._lease.wake()

    async def _carry(self, claim: Claim) -> None:
        """Run one session to its end; its exceptions are handled here."""
        left: Left | None = Left.CLEAN
        try:
            await self._session(claim).run()
        except Fenced:
            left = Left.CLEAN if self._lease.cut_off else None
            metrics.LEASES_LOST.labels(claim.pool).inc()
            log.warning("call lost to a newer owner", extra={"call_id": claim.call_id, "pool": claim.pool})
        except PassOn:
            left = Left.PASSED_ON
        except (ConnectionError, TimeoutError):
            log.warning("Redis went away during a session", extra={"call_id": claim.call_id, "pool": claim.pool})
        except Exception:
            left = Left.FAILED
            metrics.SESSION_ERRORS.labels(claim.pool).inc()
            log.exception("a session failed", extra={"call_id": claim.call_id, "pool": claim.pool})
        finally:
            if (held := self._held.get(claim.call_id)) and held.claim is claim:
                del self._held[claim.call_id]
            metrics.CALLS_ACTIVE.labels(claim.pool).set(len(self._held))
            self._freed.set()
        if left is Left.PASSED_ON:
            await self._pass_on(claim)
        elif left is not None:
            await self._release(claim, left)
        if left is Left.FAILED:
            self._scan.ask()

    def _session(self, claim: Claim) -> Session:
        return QuarantinedCall(claim, self._bus, self._store) if claim.condemned else self._open(claim)

    async def _release(self, claim: Claim, left: Left) -> None:
        """Give the lease back, at the latest when Redis is there again, since a loss counts against the call."""
        try:
            await self._store.release(claim, left)
        except (ConnectionError, TimeoutError):
            self._unreleased.append((claim, left))

    async def _report(self) -> None:
        """Renew the lease and report, then wait until that is due again."""
        await self._renew()
        await self._lease.pause(bool(self._held))

    async def _renew(self) -> None:
        for _ in range(len(self._unreleased)):
            await self._release(*self._unreleased.popleft())
        takes = not (self.draining or not self._bus.connected or self._full or self._health.steps_aside)
        claims = [held.claim for held in self._held.values()]
        for claim in await self._lease.renew(claims, takes, not self._health.failing):
            held = self._held.get(claim.call_id)
            if held is not None and held.claim.token == claim.token:  # it may have been claimed again by now
                del self._held[claim.call_id]
                held.task.cancel()
                self._freed.set()
            if self._lease.cut_off:  # Redis was away, so the call is not to blame
                await self._release(claim, Left.CLEAN)
        self._lease.cut_off = False
        if self._health.failing:
            await self._health.look()
        while self._unclear and not self.draining:
            await self._claim(self._unclear.pop())

    async def _heartbeat(self) -> None:
        await self._store.heartbeat(self._options.pool, self._options.owner)

    async def _watch_health(self) -> None:
        """Report at once when no provider can be reached, or one can again, and pass calls on meanwhile."""
        await asyncio.sleep(HEALTH_SECONDS if self._held else IDLE_HEALTH_SECONDS)
        failing, pool = self._health.failing, self._options.pool
        if failing != self._was_failing:
            self._was_failing = failing
            metrics.PROVIDERS_FAILING.labels(pool).set(failing)
            log.log(*((logging.ERROR, "no provider can be reached") if failing else (logging.INFO, "providers work")))
            await self._renew()
            await self._renew()  # the first one has looked at the others, on which it depends
        if not self._health.steps_aside:
            return
        assert self._tasks is not None
        for held in [held for held in self._held.values() if not held.passing][:CLAIMS_AT_ONCE]:
            if await self._health.somebody_better(held.claim, _now() - held.since_s):
                held.passing = True
                self._tasks.create_task(self._move(held), name=f"{pool} pass on")

    async def _move(self, held: HeldCall) -> None:
        held.task.cancel()
        await asyncio.wait([held.task])
        await self._pass_on(held.claim)

    async def _pass_on(self, claim: Claim) -> None:
        """Give the call to another member; if none takes it soon, continue with it."""
        pool, call_id = claim.pool, claim.call_id
        metrics.CALLS_PASSED_ON.labels(pool).inc()
        log.warning("a call is passed on: no provider can be reached", extra={"call_id": call_id, "pool": pool})
        self._passing.add(call_id)
        try:
            await self._release(claim, Left.PASSED_ON)
            await self._store.offer(pool, [call_id])
            await asyncio.sleep(PASS_ON_SECONDS)
            if not self.draining:
                await self._claim(call_id)
        except (ConnectionError, TimeoutError):
            log.warning("the call store cannot be reached; a scan will find the call", extra={"call_id": call_id})
        finally:
            self._passing.discard(call_id)

    async def _give_all_back(self) -> None:
        """Give every call back and offer it again, so that none waits for its lease to expire."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self._renew()
        room = asyncio.Semaphore(CLAIMS_AT_ONCE)
        await asyncio.gather(*(self._give_back(one, room) for one in list(self._held.values())))

    async def _give_back(self, one: HeldCall, room: asyncio.Semaphore) -> None:
        """Give one call back as soon as its own session has ended; closing a vendor's socket may take others longer."""
        one.task.cancel()
        await asyncio.wait([one.task])
        async with room:
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._store.release(one.claim)
                await self._store.offer(one.claim.pool, [one.claim.call_id])


def _now() -> float:
    return asyncio.get_running_loop().time()
