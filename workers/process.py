"""A worker process, whatever its pool: settings, logs, bus, ledger, probes, runner; SIGTERM passes its calls on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from common.agents import Agent, from_document
from common.bus import Bus
from common.bus.redis import BusOptions, RedisBus
from common.ledger import Claim, Ledger
from common.ledger.redis import RedisLedger
from common.log import start_logging
from common.node import node_id, run_process
from common.probes import Probes
from common.settings import BadSettings, Settings
from workers.runner import Runner, RunnerOptions, Session

log = logging.getLogger(__name__)

METRICS_PORTS = {"stt": 9101, "llm": 9102, "tts": 9103}


class Provider(Protocol):
    """What all three shapes have in common."""

    async def warm(self) -> None: ...

    async def aclose(self) -> None: ...


P = TypeVar("P", bound=Provider)
Build = Callable[[str, Mapping[str, str]], P]
OpenSession = Callable[[Claim, Agent, Bus, Ledger, tuple[str, P]], Session]
"""(claim, agent, bus, ledger, (spec, provider)) -> the session."""


class Providers(Generic[P]):
    """One provider per "vendor/model" and process, shared by all calls; warmed at the start or at first use."""

    def __init__(self, build: Build[P], environ: Mapping[str, str]) -> None:
        self._build = build
        self._environ = environ
        self._built: dict[str, P] = {}

    def get(self, spec: str) -> P:
        """Raises ValueError for a spec or a key that cannot work."""
        if spec not in self._built:
            self._built[spec] = self._build(spec, self._environ)
        return self._built[spec]

    async def aclose(self) -> None:
        """Free every provider that was built."""
        for provider in self._built.values():
            await provider.aclose()


async def serve(pool: str, settings: Settings, providers: Providers[P], open_session: OpenSession[P]) -> None:
    """Run until SIGTERM or SIGINT, then pass the calls on and return."""
    owner = node_id(pool)
    stop = _stop_signal()
    ledger = RedisLedger.connect(settings.redis_url, owner, settings.call_retention_s, settings.lease_ms)
    options = BusOptions(settings.redis_url, owner, settings.bus_flush_ms, settings.bus_pause_ms)
    default = settings.providers(pool)

    async with _ready(providers, default[0]), RedisBus.connect(options) as bus, contextlib.aclosing(ledger):

        def open_one(claim: Claim) -> Session:
            agent = from_document(claim.record.agent)
            spec = settings.providers(pool, getattr(agent.providers, pool))[0]
            return open_session(claim, agent, bus, ledger, (spec, providers.get(spec)))

        runner = Runner(RunnerOptions(pool, owner, settings.calls_max, settings.lease_ms), bus, ledger, open_one)
        with Probes(settings.metrics_port or METRICS_PORTS[pool], lambda: runner.refusal) as probes:
            log.info("%s is up with %s, probes on port %s", owner, default[0], probes.port)
            await runner.run(stop)
    log.info("%s has ended", owner)


@contextlib.asynccontextmanager
async def _ready(providers: Providers[Any], spec: str) -> AsyncIterator[None]:
    try:
        await providers.get(spec).warm()
        yield
    finally:
        await providers.aclose()


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def main(pool: str, build: Build[P], open_session: OpenSession[P]) -> int:
    """The whole of a worker's `__main__`.  2 if the settings cannot be used."""
    # Before numpy is imported: its OpenBLAS joins its threads in every fork, and was seen to wait for ever there.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    providers = Providers(build, os.environ)
    try:
        settings = Settings.from_env()
        providers.get(settings.providers(pool)[0])
    except (BadSettings, ValueError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - for a person, before there are logs
        return 2
    start_logging(settings.log_level)
    return run_process(serve(pool, settings, providers, open_session))
