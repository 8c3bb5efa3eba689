"""Runs a worker process of any pool: settings, logs, bus, call store, probes, runner.  SIGTERM passes its calls on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from common.agents.model import Agent, BadAgents, from_document
from common.bus import Bus
from common.bus.redis import BusOptions
from common.bus.shards import connect_bus
from common.process.command_line import no_arguments
from common.process.node import freeze_garbage, node_id, run_process
from common.process.tasks import cancel
from common.settings import BadSettings, Settings
from common.store import CallStore, Claim
from common.store.shards import connect_store
from common.telemetry import metrics
from common.telemetry.log import start_logging
from common.telemetry.probes import Probes
from common.telemetry.traces import exporting
from workers.providers.catalog import Catalog, Unfit
from workers.providers.failover import Failover, Source
from workers.providers.interfaces import Down, ProviderError
from workers.runtime.agent_check import AgentFile, BadProviders, agents_here, check_pool
from workers.runtime.agent_watch import AgentWatch
from workers.runtime.provider_health import probe_for_ever
from workers.runtime.runner import Runner, RunnerOptions, Session

log = logging.getLogger(__name__)

NOTICES_MAX = 1_000
"""Most different warnings that are logged once; beyond it they are logged each time."""
METRICS_PORTS = {"stt": 9101, "llm": 9102, "tts": 9103, "tools": 9104}


class Provider(Protocol):
    """The methods that providers of all three kinds have."""

    async def warm(self) -> None: ...

    async def aclose(self) -> None: ...


P = TypeVar("P", bound=Provider)
Build = Callable[[str, Mapping[str, str]], P]


@dataclass(frozen=True, slots=True)
class Assignment:
    """A call that this process has claimed, with what its session needs."""

    claim: Claim
    agent: Agent
    bus: Bus
    store: CallStore
    settings: Settings
    choose: Callable[[Agent], Failover[Any]] | None = None
    """The providers of another agent of the call, to which it may be handed; None: those of the first."""


OpenSession = Callable[[Assignment, Failover[P]], Session]
"""(assignment, providers in failover order) -> the session."""


class ProviderPool(Generic[P]):
    """One provider per "vendor/model" and process, shared by all calls; warmed at the start or at the first use."""

    def __init__(self, pool: str, build: Build[P], environ: Mapping[str, str]) -> None:
        self._pool = pool
        self._build = build
        self._environ = environ
        self._sources: dict[str, Source[P]] = {}
        self.concurrency_max: Mapping[str, int] = {}
        """Vendor -> how often it may be used at once in this process."""
        self.unfit: Callable[[str, str, str], Unfit | None] = lambda spec, language, voice: None
        """(spec, language, voice) -> why it cannot serve the language: `Catalog.unfit`."""
        self._warned: set[str] = set()

    def failing(self, default: Sequence[str]) -> bool:
        """Whether no provider works, of those of the deployment and of any other that was used."""
        counted = [source for spec, source in self._sources.items() if spec in default or source.asked]
        return bool(counted) and all(source.failing for source in counted)

    def sources(self) -> list[Source[P]]:
        """The sources of all providers that were built."""
        return list(self._sources.values())

    def choose(self, specs: Sequence[str]) -> Failover[P]:
        """The providers of these specs.  One that cannot be used here (a key is missing) is left out, with a warning.

        Raises ValueError, with what is wrong with the first, if none is left.
        """
        sources: list[Source[P]] = []
        problems: list[ValueError] = []
        for spec in specs:
            try:
                sources.append(self._source(spec))
            except ValueError as error:
                problems.append(error)
                self._warn_once(f"a provider is left out: {error}")
        if not sources:
            raise problems[0]
        return Failover(tuple(sources))

    def choose_for(self, agent: Agent, default: Sequence[str]) -> Failover[P]:
        """The agent's own providers, or the deployment's if it names none or none of its own can serve its calls.

        The warning about the latter is logged once for each list, not for each call.
        """
        own = getattr(agent.providers, self._pool)
        if not own:
            return self.choose(default)
        unfits = [self.unfit(spec, agent.language, agent.voice) for spec in own]
        try:
            if all(unfit is not None and unfit.certain for unfit in unfits):
                raise ValueError("none knows the language")
            return self.choose(own)
        except ValueError as error:
            self._warn_once(
                f"{', '.join(own)} cannot be used by agent {agent.name} ({error}); {', '.join(default)} takes over"
            )
            return self.choose(default)

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            log.warning("%s", text)
            if len(self._warned) < NOTICES_MAX:
                self._warned.add(text)

    def check(self, specs: Sequence[str]) -> None:
        """Raises ValueError for the first spec or key that cannot work; used at the start, which is strict."""
        for spec in specs:
            self._source(spec)

    async def warm(self, specs: Sequence[str]) -> None:
        """Warm the providers, all at once, each within its own deadline.

        Raises Rejected (a wrong key) or, if no other is left, Down.  Any other exception of a provider counts as Down.
        """
        sources = self.choose(specs).sources
        for error in await asyncio.gather(*(_warmed(source) for source in sources)):
            if isinstance(error, Down) and len(sources) > 1:
                log.warning("a provider is not ready: %s", error)
            elif error is not None:
                raise error

    def _source(self, spec: str) -> Source[P]:
        if spec not in self._sources:
            provider = self._build(spec, self._environ)
            limit = self.concurrency_max.get(spec.partition("/")[0], 0)
            self._sources[spec] = Source(self._pool, spec, provider, limit, time.monotonic)
        return self._sources[spec]

    async def aclose(self) -> None:
        """Close every provider that was built."""
        for source in self._sources.values():
            await source.provider.aclose()


async def _warmed(source: Source[Any]) -> ProviderError | None:
    """The error that kept the provider from getting ready, or None."""
    try:
        await source.provider.warm()
    except ProviderError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a start never ends in a traceback; the first call shows the error
        return Down(f"{source.spec} could not get ready ({type(error).__name__})")
    return None


async def serve(
    pool: str,
    settings: Settings,
    providers: ProviderPool[P],
    open_session: OpenSession[P],
    agents: Sequence[AgentFile] = (),
    watch: AgentWatch | None = None,
) -> None:
    """Run until SIGTERM or SIGINT, then pass the calls on and return.  Raises a ProviderError if none gets ready."""
    owner = node_id(pool)
    metrics.count_tasks(pool, asyncio.get_running_loop())
    stop = _stop_signal()
    options = BusOptions(settings.redis_url, owner, settings.bus_flush_ms, settings.bus_pause_ms)
    default = settings.providers(pool)
    own = {spec: None for _, agent in agents for spec in getattr(agent.providers, pool) if spec not in default}

    async with (
        contextlib.AsyncExitStack() as stack,
        _ready(providers, default, list(own), stop),
        connect_bus(options) as bus,
        connect_store(settings.redis_url, owner, settings.call_retention_s, settings.lease_ms) as store,
    ):
        stack.enter_context(exporting(settings.collector, owner))

        def choose(agent: Agent) -> Failover[P]:
            return replace(providers.choose_for(agent, default), elsewhere=runner.elsewhere)

        def open_one(claim: Claim) -> Session:
            agent = from_document(claim.record.agent)
            return open_session(Assignment(claim, agent, bus, store, settings, choose), choose(agent))

        def failing() -> bool:
            return providers.failing(default)

        limits = RunnerOptions(pool, owner, settings.calls_max, settings.lease_ms)
        runner = Runner(limits, bus, store, open_one, failing)
        probing = asyncio.create_task(probe_for_ever(lambda: providers.sources() if failing() else ()), name="probe")
        stack.push_async_callback(cancel, probing)
        if watch is not None:
            stack.push_async_callback(cancel, asyncio.create_task(watch.run(), name="agents"))
        freeze_garbage()
        with Probes(settings.metrics_port or METRICS_PORTS[pool], lambda: runner.refusal) as probes:
            log.info("%s is up with %s, probes on port %s", owner, ", ".join(default), probes.port)
            await runner.run(stop)
    log.info("%s has ended", owner)


async def _warm_all(providers: ProviderPool[Any], default: Sequence[str], own: Sequence[str]) -> None:
    await providers.warm(default)
    for spec in own:
        try:
            await providers.warm([spec])
        except ProviderError as error:
            log.error("%s, which an agent names, is not ready: %s", spec, error)


@contextlib.asynccontextmanager
async def _ready(
    providers: ProviderPool[Any], default: Sequence[str], own: Sequence[str], stop: asyncio.Event
) -> AsyncIterator[None]:
    """Warm the deployment's providers, and as far as possible those that only some agents name.

    Stops waiting if the process is asked to stop meanwhile, as warming may take a minute.
    """
    warming = asyncio.create_task(_warm_all(providers, default, own), name="warm")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait([warming, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if warming.done():
            warming.result()
        else:
            await cancel(warming)
        yield
    finally:
        warming.cancel()
        stopping.cancel()
        await providers.aclose()


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def main(
    pool: str,
    catalog: Catalog[P],
    open_session: OpenSession[P],
    argv: Sequence[str] = (),
    at_start: Callable[[Settings], None] | None = None,
) -> int:
    """The body of a worker's `__main__`.  Returns 2 if the settings, an agent's file or the only provider is unusable.

    `at_start` is called once the logs are set up, and may warn of what it finds.
    """
    no_arguments(
        f"python -m workers.{pool}",
        f"A worker of the pool {pool} ({catalog.shape}): holds up to CALLS_MAX calls; SIGTERM passes them on.",
        argv,
    )
    # Before the import of numpy: its OpenBLAS joins its threads at every fork, and was seen to wait for ever there.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        settings = Settings.from_env()
        agents = agents_here(settings)
        found = check_pool(pool, catalog, agents, settings)
        if found.mistakes:
            raise BadProviders(found.mistakes)
    except (BadSettings, BadAgents, BadProviders) as error:
        print(error, file=sys.stderr)  # noqa: T201 - for a person, before there are logs
        return 2
    start_logging(settings.log_level)
    for warning in found.warnings:
        log.warning("%s", warning)
    if at_start is not None:
        at_start(settings)
    providers = ProviderPool(pool, catalog.build, settings.as_environment())
    providers.concurrency_max, providers.unfit = settings.concurrency_max, catalog.unfit
    try:
        watch = AgentWatch(pool, catalog, settings) if settings.agents_folder.is_dir() else None
        return run_process(serve(pool, settings, providers, open_session, agents, watch))
    except ProviderError as error:
        log.error("cannot start: %s. Set a vendor's key, or %s_PROVIDER (docs/providers.md)", error, pool.upper())
        return 2
