"""Defines the fault scenarios and carries them out."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.chaos.fleet import MODELS, Fleet
from benchmarks.chaos.shop import STAGES
from benchmarks.chaos.switchboard import Switchboard
from benchmarks.chaos.transfers import STAGES as TRANSFER_STAGES
from common.protocol.redis_keys import POOLS
from common.store.suspicion import CRASHES_MAX

RESTART_S = 1.0
"""Time after which a killed process is restarted, as by Kubernetes."""
REPLICA_RESTART_S = 5.0
"""The same for the primary of a Sentinel set: later than the failover, or there would be none."""
FROZEN_S = 3.0
BAD_MINUTE_S = 10.0
CUT_OFF_S = 8.0
POISON_S = 20.0
"""Time for which dead workers are counted and restarted; then the call must be over."""
EVERYONE = "*"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario: `--only` names its `group`; calls of `pool` are hit (`EVERYONE`: all)."""

    group: str
    title: str
    pool: str
    fault: str
    bar_ms: float
    """Largest added wait in ms for 95 of 100 hit turns."""
    window_ms: float
    """Time from the fault on; turns that overlap it are hit."""
    strikes_s: tuple[float, ...] = (6.0, 13.0)
    asks_s: float = 19.0
    """Time at which the callers stop asking."""
    calls: float = 1.0
    """Factor on --calls."""


WORKERS = {"stt": "speech to text", "llm": "language model", "tts": "text to speech"}
SCENARIOS = (
    *(Scenario(pool, f"{name}: kill -9", pool, "kill", 1500, 2000) for pool, name in WORKERS.items()),
    *(Scenario(pool, f"{name}: frozen 3 s", pool, "freeze", 1500, 3000) for pool, name in WORKERS.items()),
    Scenario("edge", "edge: kill -9", "edge", "kill", 1500, 2000),
    Scenario("edge", "edge: frozen 3 s", "edge", "freeze", 4000, 3000),
    Scenario("redis", "Redis: kill -9", EVERYONE, "kill primary", 4000, 2500),
    Scenario("redis", "Redis: frozen 3 s", EVERYONE, "freeze primary", 4000, 3500),
    Scenario("rolling", "rolling restart of all workers, twice", EVERYONE, "roll workers", 300, 1500, (6.0,), 0.0),
    Scenario("rolling", "rolling restart of the edges, twice", "edge", "roll edges", 300, 1500, (6.0,), 0.0),
    Scenario("sentinel", "Sentinel primary: kill -9", EVERYONE, "kill primary", 4000, 4000, (6.0,), 17.0),
    Scenario("sentinel", "Sentinel primary: frozen 3 s", EVERYONE, "freeze primary", 4000, 4000, (6.0,), 17.0),
    Scenario(
        "vendor", "a vendor down for 10 s of every 20", EVERYONE, "vendor", 1500, 3000, (5.0, 25.0, 45.0), 60.0, 2.5
    ),
    *(
        Scenario("tools", f"a tool that costs money: {pool} kill -9, {stages}", pool, f"kill: {stages}", 4500, 3000)
        for pool in ("tools", "llm", "edge")
        for stages in ("asked and placed", "answered and at rest")
    ),
    *(
        Scenario("transfers", f"a transfer: {pool} kill -9, {stages}", pool, f"kill: {stages}", 4500, 3000)
        for pool in ("edge", "llm", "tts", "stt")
        for stages in ("announced and left", "ringing and coming back")
    ),
    Scenario("grey", "language model: a worker without a way out", "llm", "grey", 1500, 3000, (6.0,), 19.0),
    Scenario("poison", "language model: a call that kills its workers", "llm", "poison", 8000, 4000, (6.0,), 30.0, 0.5),
)


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that happened.  `node` is the victim's id on the bus ("" if it has none)."""

    at_ms: float
    victim: str
    node: str
    until_ms: float


@dataclass(slots=True)
class Hand:
    """Carries one scenario out on a fleet; `strikes` are its faults, `trouble` the problems."""

    fleet: Fleet
    scenario: Scenario
    strikes: list[Strike] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    poison: Callable[[], None] = lambda: None
    """Makes one caller say the word that kills a worker."""
    switchboard: Switchboard | None = None

    async def act(self, began_s: float) -> None:
        """Carry out all faults of the scenario at their times after `began_s` (loop clock)."""
        acts: dict[str, Callable[[int], Coroutine[Any, Any, None]]] = {
            "kill": self._kill,
            "freeze": self._freeze,
            "kill primary": self._kill_primary,
            "freeze primary": self._freeze_primary,
            "roll workers": lambda number: self._roll([*self.fleet.pools]),
            "roll edges": lambda number: self._roll(["edge"]),
            "vendor": self._bad_minute,
            "grey": self._cut_off,
            "poison": self._poison,
            "kill: asked and placed": self._kill_at_work,
            "kill: announced and left": self._kill_in_transfer,
            "kill: ringing and coming back": lambda number: self._kill_in_transfer(number + 2),
            "kill: answered and at rest": lambda number: self._kill_at_work(number + 2),
        }
        loop = asyncio.get_running_loop()
        for number, at_s in enumerate(self.scenario.strikes_s):
            await asyncio.sleep(max(0.0, began_s + at_s - loop.time()))
            await acts[self.scenario.fault](number)

    def _struck(self, victim: str, window_ms: float | None = None) -> None:
        now = time.time() * 1000
        node = self.fleet.node(victim) if victim in self.fleet.members() else ""
        self.strikes.append(Strike(now, victim, node, now + (window_ms or self.scenario.window_ms)))

    async def _kill(self, number: int) -> None:
        """Kill a member of the scenario's pool, or of each pool in turn."""
        pools = self.fleet.pools
        pool = pools[number % len(pools)] if self.scenario.pool == EVERYONE else self.scenario.pool
        await self._kill_member(await self.fleet.victim(pool))

    async def _kill_member(self, victim: str) -> None:
        self._struck(victim)
        self.fleet.children.signal(victim, signal.SIGKILL)
        await asyncio.sleep(RESTART_S)
        self.fleet.start(victim)

    async def _kill_at_work(self, number: int) -> None:
        """Kill a member when a tool somewhere comes to this stage: asked, placed, answered; after these at any time."""
        if number < len(STAGES):
            await self.fleet.shop_reaches(STAGES[number])
        await self._kill(number)

    async def _kill_in_transfer(self, number: int) -> None:
        """Kill a member in the moment in which a transfer comes to this stage; the one before it is back by then."""
        assert self.switchboard is not None
        await self.fleet.ready()
        victim = await self.fleet.victim(self.scenario.pool)
        await self.switchboard.reached(TRANSFER_STAGES[number])
        await self._kill_member(victim)

    async def _freeze(self, number: int) -> None:
        victim = await self.fleet.victim(self.scenario.pool)
        self._struck(victim)
        await self._frozen(victim)

    async def _frozen(self, victim: str) -> None:
        self.fleet.children.signal(victim, signal.SIGSTOP)
        try:
            await asyncio.sleep(FROZEN_S)
        finally:
            if not self.fleet.children.ended(victim):
                self.fleet.children.signal(victim, signal.SIGCONT)

    async def _kill_primary(self, number: int) -> None:
        server = await self.fleet.store.primary()
        self._struck(server.name)
        self.fleet.children.signal(server.name, signal.SIGKILL)
        await asyncio.sleep(REPLICA_RESTART_S if self.fleet.store.sentinel else RESTART_S)
        self.fleet.store.restart(server)

    async def _freeze_primary(self, number: int) -> None:
        server = await self.fleet.store.primary()
        self._struck(server.name)
        await self._frozen(server.name)

    async def _roll(self, kinds: list[str]) -> None:
        """Restart the members one after the other by SIGTERM, twice; each is ready before the next stops."""
        for _ in range(2):
            for name in (name for kind in kinds for name in self.fleet.members(kind)):
                self._struck(name)
                killed = await self.fleet.children.stop([name])
                ended_ms = time.time() * 1000  # an edge hands its calls over only at the end of its drain
                self.strikes[-1] = replace(self.strikes[-1], until_ms=ended_ms + self.scenario.window_ms)
                if killed:
                    self.trouble.append(f"{name} did not end after SIGTERM and was killed")
                elif self.fleet.children.code(name) != 0:
                    self.trouble.append(f"{name} ended with code {self.fleet.children.code(name)} after SIGTERM")
                self.fleet.start(name)
                await self.fleet.ready([name])

    async def _bad_minute(self, number: int) -> None:
        pool = POOLS[number % len(POOLS)]
        self._struck(f"{pool} vendor", BAD_MINUTE_S * 1000)
        await self.fleet.break_down(MODELS[pool][0])
        try:
            await asyncio.sleep(BAD_MINUTE_S)
        finally:
            await self.fleet.break_down()

    async def _cut_off(self, number: int) -> None:
        """Cut one member off from its vendors; it must give its calls away and take none."""
        victim = await self.fleet.victim(self.scenario.pool)
        self._struck(victim)
        self.fleet.ways_out[victim].cut()
        await asyncio.sleep(CUT_OFF_S)
        held = (await self.fleet.calls_held())[victim]
        if held:
            self.trouble.append(f"{victim} still holds {held} calls, {CUT_OFF_S:.0f} s after it was cut off")
        await self.fleet.ways_out[victim].open()

    async def _poison(self, number: int) -> None:
        """Have a caller say the word that kills a worker; restart dead workers as Kubernetes would."""
        loop, deaths = asyncio.get_running_loop(), 0
        self.poison()
        until = loop.time() + POISON_S
        restarts: list[tuple[float, str]] = []
        while loop.time() < until or restarts:
            down = {name for _, name in restarts}
            for name in self.fleet.members(self.scenario.pool):
                if name not in down and self.fleet.children.ended(name):
                    deaths += 1
                    self._struck(name)
                    restarts.append((loop.time() + RESTART_S, name))
            for due, name in [one for one in restarts if one[0] <= loop.time()]:
                self.fleet.start(name)
                restarts.remove((due, name))
            await asyncio.sleep(0.05)
        if not 1 <= deaths <= CRASHES_MAX:
            self.trouble.append(f"{deaths} workers died of one call; at most {CRASHES_MAX} may")
