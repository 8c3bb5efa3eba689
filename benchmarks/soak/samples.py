"""Samples each process by /proc and its /metrics, and Redis by its commands."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from benchmarks.chaos.fleet import Fleet
from benchmarks.soak.verdict import REDIS, ProcessSample, RedisSample, Sample
from common.protocol.redis_keys import ALL_POOLS

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SCAN_COUNT = 1000
CLOSE_WAIT = "08"
TIMEOUT_S = 5.0
_CALL = re.compile(r"^call:\{s\d\d\}:.+?:(audio|events|state|facts|effects|ended)$")
_NODE = re.compile(r"\b(edge|stt|llm|tts)-[A-Za-z0-9-]+-[0-9a-f]{8}\b")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{24,}")


def kind_of(key: str) -> str:
    """Return the key without the parts that differ between calls and between processes."""
    if found := _CALL.match(key):
        return f"call:*:{found[1]}"
    return _ID.sub("*", _NODE.sub(r"\1-*", key))


class Looker:
    """Samples a fleet whose Redis is one server."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        port = fleet.store.servers[0].port
        self._redis = Redis(
            host="127.0.0.1", port=port, decode_responses=True, socket_timeout=TIMEOUT_S, single_connection_client=True
        )

    async def aclose(self) -> None:
        await self._redis.aclose()

    async def look(self, at_s: float) -> Sample:
        """Take one sample of all processes and Redis."""
        names = self._fleet.members()
        processes = {name: await self._process(name) for name in names}
        processes[REDIS] = self._from_proc(REDIS, tasks=-1, calls=-1)
        return Sample(at_s, processes, await self._store())

    async def _process(self, name: str) -> ProcessSample:
        text = await self._fleet.metrics(name)
        return self._from_proc(name, _value(text, "voice_tasks"), _value(text, "voice_calls_active"))

    def _from_proc(self, name: str, tasks: int, calls: int) -> ProcessSample:
        if self._fleet.children.ended(name):
            return ProcessSample()
        folder = Path("/proc") / str(self._fleet.children.pid(name))
        rss = int((folder / "statm").read_text().split()[1]) * PAGE_BYTES
        threads = re.search(r"^Threads:\s+(\d+)", (folder / "status").read_text(), re.MULTILINE)
        descriptors = len(_open(folder))
        return ProcessSample(rss, descriptors, int(threads[1]) if threads else -1, tasks, calls)

    async def _store(self) -> RedisSample:
        memory: dict[str, Any] = await self._redis.info("memory")
        clients: dict[str, Any] = await self._redis.info("clients")
        kinds: Counter[str] = Counter()
        bounded = 0
        async for key in self._redis.scan_iter(count=SCAN_COUNT):
            if re.fullmatch(r"pool:\w+:scan", key):
                continue  # exists for a tenth of a second at a time, so its count flickers
            kinds[kind_of(key)] += 1
            if key.startswith("edge:") or re.fullmatch(r"pool:\w+:calls", key):
                bounded += await self._redis.memory_usage(key, samples=0) or 0
        consumers, pending = await self._groups()
        return RedisSample(
            int(memory["used_memory"]), bounded, int(clients["connected_clients"]), consumers, pending, dict(kinds)
        )

    async def _groups(self) -> tuple[int, int]:
        consumers = pending = 0
        for pool in ALL_POOLS:
            key = f"pool:{pool}:calls"
            for group in await self._redis.xinfo_groups(key) if await self._redis.exists(key) else []:
                consumers += int(group["consumers"])
                pending += int(group["pending"])
        return consumers, pending


def _open(folder: Path) -> list[str]:
    """Count the open files of a process, without sockets closed by the peer: a pool closes these at its next use."""
    rows = [line.split() for line in (folder / "net" / "tcp").read_text().splitlines()[1:]]
    left = {f"socket:[{row[9]}]" for row in rows if row[3] == CLOSE_WAIT}
    found = []
    for link in (folder / "fd").iterdir():
        with contextlib.suppress(OSError):  # closed in the meantime
            found.append(str(link.readlink()))
    return [target for target in found if target not in left]


def _value(text: str, metric: str) -> int:
    """Return the sum of a metric's samples; -1 if the metric is missing."""
    found = re.findall(rf"^{metric}(?:\{{.*\}})? ([0-9.e+]+)$", text, re.MULTILINE)
    return round(sum(map(float, found))) if found else -1
