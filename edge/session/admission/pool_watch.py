"""Watches whether each worker pool has a member that takes calls; asks the store up to four times a second.

While a pool that every call needs has none, no new call is answered (`missing`), as while Redis is away.  A call that
no member of such a pool takes (unserved.py) ends with the spoken apology instead of continuing in silence.  A call that
no member of another pool takes, such as "tools", goes on without it, and is counted: the agent can still talk.
"""

from __future__ import annotations

import asyncio
import logging

from common.process.skipped import skip
from common.protocol.redis_keys import ALL_POOLS, POOLS
from common.store import Presence
from common.telemetry import metrics
from edge.session.admission.unserved import Followed, Unserved, Waits
from edge.session.call import Call
from edge.session.calls import Calls

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Pause between two looks at the pools."""
WAITING_LOOK_SECONDS = 0.25
"""The pause while a call waits for a worker."""


class PoolWatch:
    """Watches the pools for one edge; `run` it as a task."""

    def __init__(self, calls: Calls, store: Presence, waits: Waits) -> None:
        """Makes `calls` refuse new calls while a pool is missing, unless `waits.offer_ms` is 0."""
        self._calls = calls
        self._store = store
        self._unserved = Unserved(waits)
        self._on = waits.offer_ms > 0
        self._ready: set[str] | None = None  # not known before the first look
        calls.missing_pool = self.missing

    def missing(self) -> str:
        """The first pool of POOLS without a member that takes calls; "" if every one has one."""
        if not self._on or (self._ready is not None and self._ready.issuperset(POOLS)):
            return ""
        return next(pool for pool in POOLS if not self._ready or pool not in self._ready)

    async def run(self) -> None:
        """Look at the pools for as long as the process runs; errors are logged and counted."""
        while self._on:
            try:
                waiting = await self.look()
            except (ConnectionError, TimeoutError):
                waiting = False  # other code counts and logs it; the result of the last look stays valid
                self._unserved.redis_away(_now_ms())
            except Exception as error:  # noqa: BLE001 - the watch goes on
                waiting = False
                skip("pool watch", error)
            await asyncio.sleep(WAITING_LOOK_SECONDS if waiting else LOOK_SECONDS)

    async def look(self) -> bool:
        """Look once, and stop the calls that waited too long; True while a call waits.

        Raises ConnectionError or TimeoutError.
        """
        self._note(await self._store.pools_with_room())
        live = {call.call_id: call for call in self._calls.live()}
        self._unserved.follow({call_id: _followed(call) for call_id, call in live.items()})
        if self._calls.bus.away_s():
            self._unserved.redis_away(_now_ms())
        suspects = self._unserved.suspects(self._ready or ())
        unheld = await self._store.unheld(suspects)
        for call_id, pool in self._unserved.look(unheld, suspects, _now_ms()).items():
            if live[call_id].lifecycle.goes_on:
                metrics.CALLS_UNSERVED.labels(pool).inc()
                log.error("no worker takes a call", extra={"call_id": call_id, "pool": pool})
                if pool in POOLS:
                    live[call_id].stop("no worker")
        return self._unserved.waiting

    def _note(self, ready: set[str]) -> None:
        for pool in ALL_POOLS:
            if self._ready is not None and (pool in ready) != (pool in self._ready):
                back = pool in ready
                level, says = (logging.INFO, "takes calls") if back else (logging.WARNING, "takes no new call")
                log.log(level, "%s %s", pool, says, extra={"pool": pool})
            metrics.POOL_HAS_ROOM.labels(pool).set(pool in ready)
        self._ready = ready


def _followed(call: Call) -> Followed:
    return Followed(call.began_ms if call.epoch == 1 else None, call.record.pools)


def _now_ms() -> float:
    return asyncio.get_running_loop().time() * 1000
