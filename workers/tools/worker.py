"""Runs a process of the tools pool: settings, logs, bus, call store, probes, engines, runner.

It has no providers, hence no failover and nothing to warm but the agents' own Python files.  SIGTERM passes its calls
on; tools that run are finished first, and their results recorded for the next owner.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Iterable, Sequence

from common.agents.model import Agent, BadAgents
from common.bus.redis import BusOptions
from common.bus.shards import connect_bus
from common.process.command_line import no_arguments
from common.process.node import freeze_garbage, node_id, run_process
from common.settings import BadSettings, Settings
from common.store import Claim
from common.store.shards import connect_store
from common.telemetry import metrics
from common.telemetry.log import start_logging
from common.telemetry.probes import Probes
from common.telemetry.traces import exporting
from workers.runtime.agent_check import agents_here
from workers.runtime.runner import Runner, RunnerOptions
from workers.tools.agent_tools import AgentTools, ToolEngines
from workers.tools.environment import nameable
from workers.tools.runs import ToolRuns
from workers.tools.session import ToolProcess, ToolSession, secrets_in
from workers.tools.templates import variables_in

log = logging.getLogger(__name__)

POOL = "tools"
METRICS_PORT = 9104
DRAIN_S = 65.0
"""After SIGTERM: how long tools that run may take to end; above the longest timeout of a tool."""


def missing_variables_of(agents: Iterable[Agent], environment: dict[str, str]) -> list[str]:
    """A warning for each variable that an agent's tools name and this environment does not have."""
    warnings = []
    for agent in agents:
        texts = [
            text
            for tool in agent.tools.values()
            if tool.http
            for text in (tool.http.url, *tool.http.headers.values(), *tool.http.body.values())
        ]
        for server in agent.mcp.values():
            texts += [server.url, *server.headers.values(), *server.env.values(), *server.command]
        for name in sorted(variables_in(*texts) | set(agent.tool_environment)):
            if name not in environment:
                warnings.append(f"agent {agent.name}: its tools name the variable {name}, which is not set here")
    return warnings


async def serve(settings: Settings, agents: Sequence[Agent]) -> None:
    """Run until SIGTERM or SIGINT, then pass the calls on, finish what runs, and return."""
    owner = node_id(POOL)
    metrics.count_tasks(POOL, asyncio.get_running_loop())
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    options = BusOptions(settings.redis_url, owner, settings.bus_flush_ms, settings.bus_pause_ms)
    engines = ToolEngines(nameable(), settings.agents_folder)
    async with (
        contextlib.aclosing(engines),
        connect_bus(options) as bus,
        connect_store(settings.redis_url, owner, settings.call_retention_s, settings.lease_ms) as store,
    ):
        runs = ToolRuns(store)
        process = ToolProcess(
            runs, lambda agent, changed: AgentTools(agent, engines, changed), stop.is_set, secrets_in(store)
        )
        warm = [AgentTools(agent, engines, _nothing) for agent in agents]

        def open_session(claim: Claim) -> ToolSession:
            return ToolSession(claim, bus, store, process)

        limits = RunnerOptions(POOL, owner, settings.calls_max, settings.lease_ms)
        runner = Runner(limits, bus, store, open_session)
        freeze_garbage()
        with (
            exporting(settings.collector, owner),
            Probes(settings.metrics_port or METRICS_PORT, lambda: runner.refusal) as probes,
        ):
            log.info("%s is up, probes on port %s", owner, probes.port)
            await runner.run(stop)
            await runs.drain(DRAIN_S)
        for tools in warm:
            await tools.aclose()
    log.info("%s has ended", owner)


def _nothing() -> None:
    """No call waits for what is warmed at the start."""


def main(argv: Sequence[str] = ()) -> int:
    """The body of `python -m workers.tools`.  Returns 2 if the settings or an agent's file are unusable."""
    no_arguments(
        "python -m workers.tools",
        "A worker of the pool tools: runs the tools of up to CALLS_MAX calls; SIGTERM passes them on.",
        argv,
    )
    try:
        settings = Settings.from_env()
        agents = [agent for _, agent in agents_here(settings)]
    except (BadSettings, BadAgents) as error:
        print(error, file=sys.stderr)  # noqa: T201 - for a person, before there are logs
        return 2
    start_logging(settings.log_level)
    for warning in missing_variables_of(agents, nameable()):
        log.warning("%s", warning)
    return run_process(serve(settings, agents))
