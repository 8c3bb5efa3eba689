"""Exports what each Redis server reports of itself as metrics: memory, load, replicas, lengths of shared streams.

Each edge asks each server of REDIS_URL every few seconds on a connection of its own, so that a deployment without
redis_exporter can still watch its one shared part.  All edges report the same of a server; dashboards take the maximum.
A server is named by its position in REDIS_URL ("0", "1", …), so that addresses are no labels.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.process.skipped import skip
from common.protocol.redis_keys import ALL_POOLS, CALLS_ENDED, edge_audio, edge_priority, pool_calls
from common.redis.inspection import Inspection
from common.redis.url import RedisTarget, parse_redis_url
from common.telemetry import metrics

log = logging.getLogger(__name__)

WATCH_SECONDS = 5.0
"""Pause between two queries: half of a usual scrape interval."""


@dataclass(frozen=True, slots=True)
class Health:
    """One server's report.  `run` is its run id, which changes with the process; numbers not reported are 0."""

    run: str
    memory_bytes: int
    memory_max_bytes: int
    ops_per_second: float
    cpu_seconds: float
    replicas: int


def health(info: Mapping[str, Any]) -> Health:
    """Parse the fields of INFO.  Without `maxmemory`, the machine's memory is the bound."""

    def number(name: str) -> float:
        value = info.get(name, 0)
        return float(value) if isinstance(value, int | float) else 0.0

    return Health(
        str(info.get("run_id", "")),
        int(number("used_memory")),
        int(number("maxmemory") or number("total_system_memory")),
        number("instantaneous_ops_per_sec"),
        number("used_cpu_user") + number("used_cpu_sys"),
        int(number("connected_slaves")),
    )


def shared_streams(edge: str) -> dict[str, str]:
    """Metric label -> key of the streams that are not about one call."""
    offers = {f"offers:{pool}": pool_calls(pool) for pool in ALL_POOLS}
    return offers | {"edge audio": edge_audio(edge), "edge priority": edge_priority(edge)}


class RedisWatch:
    """Queries every server; `run` it as a task, `aclose` it at the end."""

    def __init__(self, edge: str, servers: Sequence[Inspection]) -> None:
        """`aclose` closes them, too."""
        self._servers = servers
        self._streams = shared_streams(edge)
        self._runs = [""] * len(servers)
        for number in range(len(servers)):
            metrics.REDIS_CHANGES.labels(str(number))
            metrics.REDIS_UP.labels(str(number)).set(0)
        for label in self._streams:
            metrics.STREAM_ENTRIES.labels(label).set(0)

    @classmethod
    def connect(cls, url: str, edge: str) -> RedisWatch:
        """A watch with one lazily connected client for each server.  Raises BadRedisUrl."""
        targets: tuple[RedisTarget, ...] = parse_redis_url(url)
        return cls(edge, [Inspection(target, f"{edge}:watch") for target in targets])

    async def aclose(self) -> None:
        """Close all connections."""
        for server in self._servers:
            await server.aclose()

    async def run(self) -> None:
        """Query every WATCH_SECONDS for as long as the process runs; a server that is away is asked again."""
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - no gauge is worth the calls of this edge
                skip("redis watch", error)
            await asyncio.sleep(WATCH_SECONDS)

    async def look(self) -> None:
        """Query every server once, and set the metrics."""
        entries = await asyncio.gather(*(self._ask(number) for number in range(len(self._servers))))
        for position, label in enumerate(self._streams):
            metrics.STREAM_ENTRIES.labels(label).set(sum(lengths[position] for lengths in entries if lengths))

    async def _ask(self, number: int) -> list[int]:
        """Record the server's health; returns the lengths of its streams, nothing if it is away."""
        server = str(number)
        try:
            seen = await self._servers[number].look(self._streams.values(), CALLS_ENDED)
        except ConnectionError:
            metrics.REDIS_UP.labels(server).set(0)
            return []
        metrics.REDIS_UP.labels(server).set(1)
        if seen.info:
            self._note(number, health(seen.info))
        metrics.CALLS_RETAINED.labels(server).set(seen.set_size)
        return seen.stream_lengths

    def _note(self, number: int, seen: Health) -> None:
        server = str(number)
        metrics.REDIS_MEMORY_BYTES.labels(server).set(seen.memory_bytes)
        metrics.REDIS_MEMORY_MAX_BYTES.labels(server).set(seen.memory_max_bytes)
        metrics.REDIS_OPS_PER_SECOND.labels(server).set(seen.ops_per_second)
        metrics.REDIS_CPU_SECONDS.labels(server).set(seen.cpu_seconds)
        metrics.REDIS_REPLICAS.labels(server).set(seen.replicas)
        known, self._runs[number] = self._runs[number], seen.run or self._runs[number]
        if known and seen.run and known != seen.run:
            metrics.REDIS_CHANGES.labels(server).inc()
            log.warning("a Redis server has another run id: a failover or a restart", extra={"server": server})
