"""Measures the cost of one XADD of a caller's frame (redis-py awaited, redis-py in a pipeline, RedisBus), and of one
awaited append to a call's event log (redis-py, the call store's client), alone and ten at once.

CPU time matters (an edge has other work while it waits); elapsed time is given, too.  The rounds of the variants are
interleaved and their medians compared.  Every variant encodes each message and trims the stream.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import redis.asyncio

from benchmarks.hops import broken, connected
from common.bus.redis import FIELD, BusOptions, RedisBus
from common.process.node import run_process
from common.protocol.codec import encode
from common.protocol.messages import AudioIn, DtmfReceived
from common.protocol.redis_keys import call_audio, call_events, call_state, maxlen
from common.redis.client import Client
from common.redis.url import parse_redis_url
from common.store import scripts

PIPELINE = 100
AT_ONCE = 10
"""Sessions that append in the same turn of the event loop."""
SCRIPTS_SHARE = 10
"""One awaited script for so many frames: it costs so much more."""
FEW = 3
"""Frames per millisecond with 50 calls: the real batch size of an edge."""
ROUND_SECONDS = 60.0
_MULAW = bytes(range(160))


@dataclass(frozen=True, slots=True)
class AppendCost:
    """Medians over the rounds, in microseconds for one message."""

    way: str
    cpu_us: float
    elapsed_us: float


def appends_main(url: str, run: str, count: int, rounds: int, pipe: Connection) -> None:
    run_process(_measure(url, run, count, rounds, pipe))


async def _measure(url: str, run: str, count: int, rounds: int, pipe: Connection) -> None:
    batched, eager = BusOptions(url, f"{run}-append"), BusOptions(url, f"{run}-append-eager", flush_ms=0)
    (target,) = parse_redis_url(url)
    async with (
        aclosing(redis.asyncio.Redis.from_url(url)) as client,
        aclosing(Client(target, f"{run}-script")) as store_client,
        RedisBus.connect(batched) as bus,
        RedisBus.connect(eager) as eager_bus,
    ):
        await connected(bus)
        await connected(eager_bus)
        stream = call_audio(run)
        state, events = call_state(f"{run}-append"), call_events(f"{run}-append")
        await client.hset(state, mapping={"token:stt": "1", "owner:stt": "w-1", "status": "live"})
        registered = client.register_script(scripts.APPEND)
        keys, claim = [state, events], ["stt", 1, "w-1", 600]

        def by_redis_py(message: bytes) -> Awaitable[Any]:
            return registered(keys=keys, args=[*claim, message])

        def by_client(message: bytes) -> Awaitable[Any]:
            return store_client.insist(scripts.APPEND, keys, [*claim, message])

        few = count // SCRIPTS_SHARE
        ways: dict[str, tuple[int, Callable[[], Awaitable[None]]]] = {
            "redis-py, awaited xadd": (count, lambda: _awaited(client, stream, count)),
            f"redis-py, pipeline of {PIPELINE}": (count, lambda: _pipelined(client, stream, count, PIPELINE)),
            f"redis-py, pipeline of {FEW}": (count, lambda: _pipelined(client, stream, count, FEW)),
            "RedisBus.publish, written every ms": (count, lambda: _published(bus, run, stream, count, PIPELINE)),
            f"RedisBus.publish, {FEW} a write": (count, lambda: _published(eager_bus, run, stream, count, FEW)),
            "append, redis-py": (few, lambda: _appended(by_redis_py, few, 1)),
            "append, Client.insist": (few, lambda: _appended(by_client, few, 1)),
            f"append, redis-py, {AT_ONCE} at once": (few, lambda: _appended(by_redis_py, few, AT_ONCE)),
            f"append, Client.insist, {AT_ONCE} at once": (few, lambda: _appended(by_client, few, AT_ONCE)),
        }
        spent: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, (_, append) in ways.items():
                async with asyncio.timeout(ROUND_SECONDS):
                    cpu_s, elapsed_s = time.process_time(), time.monotonic()
                    await append()
                    spent[way].append((time.process_time() - cpu_s, time.monotonic() - elapsed_s))
        await client.delete(state, events)
    pipe.send([_cost(way, ways[way][0], seconds) for way, seconds in spent.items()])


def _cost(way: str, count: int, seconds: list[tuple[float, float]]) -> AppendCost:
    cpu, elapsed = (statistics.median(column) * 1e6 / count for column in zip(*seconds, strict=True))
    return AppendCost(way, cpu, elapsed)


def _frame(number: int) -> AudioIn:
    return AudioIn(1, 20 * number, 1_700_000_000_000 + 20 * number, _MULAW)


async def _awaited(client: redis.asyncio.Redis, stream: str, count: int) -> None:
    bound = maxlen(stream)
    for number in range(count):
        await client.xadd(stream, {FIELD: encode(_frame(number))}, maxlen=bound, approximate=True)


async def _pipelined(client: redis.asyncio.Redis, stream: str, count: int, size: int) -> None:
    bound = maxlen(stream)
    for first in range(0, count, size):
        pipeline = client.pipeline(transaction=False)
        for number in range(first, min(first + size, count)):
            pipeline.xadd(stream, {FIELD: encode(_frame(number))}, maxlen=bound, approximate=True)
        await pipeline.execute()


async def _appended(append: Callable[[bytes], Awaitable[Any]], count: int, sessions: int) -> None:
    """Append the events; each session awaits its own before the next, as sessions do."""

    async def session() -> None:
        for number in range(count // sessions):
            await append(encode(DtmfReceived("1", number)))

    await asyncio.gather(*(session() for _ in range(sessions)))


async def _published(bus: RedisBus, run: str, stream: str, count: int, size: int) -> None:
    """Publish the frames; return when a last message, written behind them, has come back."""
    arrived = asyncio.Event()
    marks = call_events(run)
    entries = await bus.read(marks)
    subscription = bus.subscribe(
        marks, lambda entry_id, message: arrived.set(), broken, after=entries[-1][0] if entries else "0-0"
    )
    for first in range(0, count, size):
        for number in range(first, min(first + size, count)):
            bus.publish(stream, _frame(number))
        await asyncio.sleep(0)
    bus.publish(marks, DtmfReceived("#", 0))
    await arrived.wait()
    subscription.close()
