"""`python -m edge`: settings, logs, bus, server; SIGTERM drains and exits 0."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path

from common.agents import Agents, BadAgents, load_agents
from common.bus.redis import BusOptions, RedisBus
from common.ledger.redis import RedisLedger
from common.log import start_logging
from common.node import node_id, run_process
from common.settings import BadSettings, Settings
from edge.app import Front
from edge.calls import Calls
from edge.server import Server, make_server
from edge.stream import Streams
from edge.ticker import Ticker

log = logging.getLogger("edge")


async def serve(settings: Settings, agents: Agents) -> None:
    """Run until SIGTERM or SIGINT, then until the calls have ended or DRAIN_SECONDS are over."""
    edge = node_id("edge")
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    ledger = RedisLedger.connect(settings.redis_url, edge, settings.call_retention_s)
    options = BusOptions(settings.redis_url, edge, settings.bus_flush_ms, settings.bus_pause_ms)
    async with RedisBus.connect(options) as bus, contextlib.aclosing(ledger):
        calls = Calls(edge, bus, ledger, settings.calls_max)
        ticker = Ticker(loop)
        secret = await _secret(settings, ledger, stop)
        streams = Streams(calls, ledger, bus, ticker, agents, secret, settings.playout_lead_ms)
        front = Front(calls, streams, ledger, agents, settings.public_url)
        server = make_server(front.app(), settings.http_host, settings.http_port)
        calls.listen()
        async with asyncio.TaskGroup() as tasks:
            house = tasks.create_task(calls.keep_house(), name="housekeeping")
            serving = tasks.create_task(server.serve(), name="server")
            stopping = tasks.create_task(_drain(stop, calls, server, settings.drain_seconds), name="drain")
            log.info("edge %s is up on %s:%s", edge, settings.http_host, settings.http_port)
            await serving
            house.cancel()
            stopping.cancel()
        ticker.close()
    log.info("edge %s has ended", edge)


async def _drain(stop: asyncio.Event, calls: Calls, server: Server, seconds: int) -> None:
    await stop.wait()
    log.info("draining: no new calls")
    calls.draining = True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await calls.drained()
    calls.end_all("edge drained")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2):
            await calls.drained()
    server.should_exit = True


async def _secret(settings: Settings, ledger: RedisLedger, stop: asyncio.Event) -> bytes | None:
    """The key of the stream tokens: set, or one that all edges of the deployment share, or none."""
    if settings.stream_secret == "off":  # noqa: S105 - it says that there is none
        log.warning("STREAM_SECRET=off: anyone who can reach this port may open a stream")
        return None
    if settings.stream_secret:
        return settings.stream_secret.encode()
    while not stop.is_set():
        try:
            return await ledger.shared_secret()
        except (ConnectionError, TimeoutError):
            log.warning("waiting for Redis at %s", settings.redis_place)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await stop.wait()
    return b""


def main() -> int:
    """Serve; returns the exit code, 2 if the settings or the agents cannot be used."""
    try:
        settings = Settings.from_env()
        agents = load_agents(Path(settings.agents_dir))
    except (BadSettings, BadAgents) as error:
        print(error, file=sys.stderr)  # noqa: T201 - for a person, before there are logs
        return 2
    start_logging(settings.log_level)
    return run_process(serve(settings, agents))


if __name__ == "__main__":
    sys.exit(main())
