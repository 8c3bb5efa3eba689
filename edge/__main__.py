"""Runs an edge: `python -m edge` reads the settings, connects to Redis and serves; SIGTERM drains it and exits 0."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from common.agents.folder import AgentFolder
from common.agents.model import Agents, BadAgents
from common.bus import Bus
from common.bus.redis import BusOptions
from common.bus.shards import connect_bus
from common.process.command_line import no_arguments
from common.process.node import freeze_garbage, node_id, run_process
from common.settings import BadSettings, Settings
from common.store import CallStore
from common.store.dials import RedisOutboundQueue
from common.store.shards import connect_store
from common.telemetry import metrics
from common.telemetry.log import start_logging
from common.telemetry.traces import exporting
from edge.agents.live_agents import LiveAgents
from edge.agents.on_call import OnCallClient
from edge.http import api_token
from edge.http.api import Api
from edge.http.app import EdgeApp
from edge.http.server import Server, make_server
from edge.http.webhook_auth import WebhookAuth
from edge.http.webhooks import Webhooks
from edge.media.ticker import Ticker
from edge.outbound.destinations import Destinations, OperatorLimits
from edge.outbound.dialer import Dialer, DialerOptions
from edge.session.admission.overload import Overload
from edge.session.admission.pool_watch import PoolWatch
from edge.session.admission.redis_health import RedisWatch
from edge.session.admission.unserved import Waits
from edge.session.call_backup import BACKUP_PAUSE_MS, CallBackups
from edge.session.calls import Calls
from edge.session.log_compaction import LogCompaction
from edge.session.media_streams import MediaStreams
from edge.transfer.orders import CallOrders
from edge.vobiz.rest.client import VobizClient
from edge.vobiz.rest.transport import CarrierOptions
from edge.vobiz.signatures import Policy

log = logging.getLogger("edge")


async def serve(settings: Settings, folder: AgentFolder) -> None:
    """Serve until SIGTERM or SIGINT, then until all calls have ended or DRAIN_SECONDS are over."""
    edge = node_id("edge")
    loop = asyncio.get_running_loop()
    metrics.count_tasks("edge", loop)
    stop, reload = asyncio.Event(), asyncio.Event()
    for number, event in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (signal.SIGHUP, reload)):
        loop.add_signal_handler(number, event.set)
    options = BusOptions(settings.redis_url, edge, settings.bus_flush_ms, settings.bus_pause_ms)
    async with (
        contextlib.AsyncExitStack() as stack,
        connect_bus(options) as bus,
        connect_bus(replace(options, name=f"{edge}:copies", pause_ms=BACKUP_PAUSE_MS)) as slow_bus,
        connect_store(settings.redis_url, edge, settings.call_retention_s) as store,
    ):
        stack.enter_context(exporting(settings.collector, edge))
        calls = Calls(edge, bus, store, settings.calls_max)
        ticker, overload = Ticker(loop), Overload(settings.shed_lag_ms)
        calls.overloaded = lambda: overload.overloaded(ticker.now_ms())
        secret = await _secret(settings, store, stop)
        limits = OperatorLimits(
            Destinations.of(settings.dial_prefixes, settings.vobiz_from_number), settings.call_s_max
        )
        agents = LiveAgents(folder, store.agent_versions)
        on_call = await stack.enter_async_context(OnCallClient(settings.on_call_secret.encode()))
        _warn(settings, agents.current, limits)
        dialer = None
        if settings.can_dial:
            dialer = await stack.enter_async_context(_dialer(settings, edge, limits, secret or None))
        limits_of_streams = (settings.playout_lead_ms, dialer, settings.call_s_max)
        streams = MediaStreams(calls, store, bus, ticker, agents, secret, *limits_of_streams)
        webhook_auth = WebhookAuth(
            store, Policy(settings.signature_policy), _tokens(settings), settings.public_url, _proxies(settings)
        )
        more = (settings.public_url, secret, settings.when_busy, settings.answer_xml, limits, on_call)
        webhooks = Webhooks(calls, store, agents, webhook_auth, dialer, *more)
        calls.order = (await stack.enter_async_context(_orders(bus, store, dialer, limits))).receive
        api = Api(agents, store, bus, dialer, await _api_token(settings, store, secret), settings.vobiz_from_number)
        app = EdgeApp(calls, streams, webhooks, api).app()
        server = make_server(app, settings.http_host, settings.http_port, settings.http_keepalive_s)
        waits = Waits(settings.offer_wait_ms, settings.takeover_wait_ms)
        backups = CallBackups(calls, store, (bus, slow_bus), None if settings.stream_secret else secret)
        redis_watch = await stack.enter_async_context(contextlib.aclosing(RedisWatch.connect(settings.redis_url, edge)))
        calls.listen()
        ticker.watch(overload.feed)
        freeze_garbage()
        loops = {
            "housekeeping": calls.housekeeping(),
            "call backups": backups.run(),
            "pool watch": PoolWatch(calls, store, waits).run(),
            "redis watch": redis_watch.run(),
            "agents": agents.run(reload),
            "log compaction": LogCompaction(slow_bus, store).run(),
            "drain": _drain(stop, calls, server, settings.drain_seconds),
            **({"dialer": dialer.run()} if dialer is not None else {}),
        }
        log.info("edge %s is up on %s:%s", edge, settings.http_host, settings.http_port)
        await _serve_with(server, loops)
        ticker.close()
    log.info("edge %s has ended", edge)


async def _serve_with(server: Server, loops: Mapping[str, Coroutine[Any, Any, None]]) -> None:
    """Serve until the server ends, with these loops beside it."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(loop, name=name) for name, loop in loops.items()]
        await tasks.create_task(server.serve(), name="server")
        for task in running:
            task.cancel()


@contextlib.asynccontextmanager
async def _dialer(settings: Settings, edge: str, limits: OperatorLimits, secret: bytes | None) -> AsyncIterator[Dialer]:
    account = CarrierOptions(settings.vobiz_auth_id, settings.vobiz_auth_token, settings.vobiz_api_url)
    queue = RedisOutboundQueue.connect(settings.redis_url, edge, settings.call_retention_s)
    options = DialerOptions(
        settings.public_url,
        settings.vobiz_calls_per_second,
        settings.vobiz_calls_at_once,
        limits.destinations,
        settings.dials_per_day,
        limits.call_s_max,
        secret,
    )
    once = replace(account, attempts_max=1)  # the dialer decides itself when to repeat
    async with contextlib.aclosing(queue), VobizClient(account) as client, VobizClient(once) as placing:
        yield Dialer(edge, queue, (client, placing), options)


def _orders(
    bus: Bus, store: CallStore, dialer: Dialer | None, limits: OperatorLimits
) -> contextlib.aclosing[CallOrders]:
    return contextlib.aclosing(CallOrders(bus, store, dialer, limits))


def _warn(settings: Settings, agents: Agents, limits: OperatorLimits) -> None:
    """Log what the settings leave open or forbid, one line each."""
    match settings.signature_policy:
        case "off":
            log.warning(
                "webhooks are not verified: whoever reaches this port can answer and end calls; "
                "set VOBIZ_AUTH_TOKEN, or WEBHOOK_SIGNATURES=required with it"
            )
        case "if-present":
            log.warning(
                "webhooks without a signature are believed: whoever reaches this port can answer and end calls; "
                "set WEBHOOK_SIGNATURES=required"
            )
    for name, agent in sorted(agents.by_name.items()):
        if agent.on_call is not None and not settings.on_call_secret:
            log.warning("agent %s: its on_call is never asked, because ON_CALL_SECRET is not set", name)
        if agent.fallback_number and not limits.destinations.allows(agent.fallback_number):
            log.warning("agent %s: its fallback_number is never rung, because DIAL_PREFIXES does not allow it", name)
        for target, person in sorted(agent.transfer.items()):
            if not limits.destinations.allows(person.number):
                log.warning("agent %s: %r is never rung, because DIAL_PREFIXES does not allow its number", name, target)
            elif person.mode == "warm" and not settings.can_dial:
                log.warning("agent %s: %r is never rung: a warm transfer needs VOBIZ_AUTH_ID and others", name, target)


async def _api_token(settings: Settings, store: CallStore, secret: bytes | None) -> str:
    """API_TOKEN; else a derived one, if strangers may reach the edge or calls cost money; else none ("")."""
    if not api_token.is_needed(settings):
        return settings.api_token
    token = api_token.token_of(secret or await store.shared_secret())
    print(api_token.announcement(settings, token), flush=True)  # noqa: T201 - for a person, and not for the log
    return token


def _tokens(settings: Settings) -> tuple[str, ...]:
    return tuple(token for token in (settings.vobiz_auth_token, settings.vobiz_parent_auth_token) if token)


def _proxies(settings: Settings) -> tuple[str, ...]:
    return tuple(network.strip() for network in settings.trusted_proxies.split(",") if network.strip())


async def _drain(stop: asyncio.Event, calls: Calls, server: Server, seconds: int) -> None:
    await stop.wait()
    under_way = len(calls.live())
    waits = f"{under_way} under way are served to their end, {seconds} s at most" if under_way else "none is under way"
    log.info("draining: no new calls; %s", waits)
    calls.draining = True
    metrics.DRAINING.labels("edge").set(1)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await calls.drained()
    await calls.hand_over_between_turns()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2):
            await calls.drained()
    server.should_exit = True


async def _secret(settings: Settings, store: CallStore, stop: asyncio.Event) -> bytes | None:
    """The secret of the stream tokens: STREAM_SECRET, or the one that all edges share in Redis; None if it is "off".

    Waits for Redis; returns b"" if the edge is stopped meanwhile.
    """
    if settings.stream_secret == "off":  # noqa: S105 - it says that there is none
        log.warning("STREAM_SECRET=off: anyone who can reach this port may open a stream")
        return None
    if settings.stream_secret:
        return settings.stream_secret.encode()
    logged = ""
    while not stop.is_set():
        try:
            return await store.shared_secret()
        except (ConnectionError, TimeoutError) as error:
            if str(error) != logged:
                log.warning("waiting for Redis at %s (%s)", settings.redis_target, error)
            logged = str(error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await stop.wait()
    return b""


def main(argv: Sequence[str] = ()) -> int:
    """Serve; returns the exit status: 0, or 2 if the settings or the agents cannot be used."""
    no_arguments(
        "python -m edge",
        "The edge: takes the carrier's webhooks and media streams, serves the REST API; SIGTERM drains it.",
        argv,
    )
    try:
        settings = Settings.from_env()
        folder = AgentFolder(settings.agents_folder, (settings.vobiz_from_number,))
    except (BadSettings, BadAgents) as error:
        print(error, file=sys.stderr)  # noqa: T201 - for a person, before there are logs
        return 2
    start_logging(settings.log_level)
    return run_process(serve(settings, folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
