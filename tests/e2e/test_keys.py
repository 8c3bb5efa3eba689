"""What is left in Redis: nothing that docs/bus.md does not list, with the bound and the expiry that stand there.

Real edge, real workers, a real server; calls that end well and badly, and then everything is started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from common.bus.redis import BusOptions
from common.bus.shards import connect_bus
from common.call.transcript import CallTranscript
from common.protocol import redis_keys
from common.protocol.messages import AudioIn, AudioOut, CallEnded, DtmfReceived, HangUp, Message, ReplyPlayed, UserTurn
from common.settings import Settings
from common.store import CallRecord
from common.store.dials import RedisOutboundQueue
from common.store.effects import Effect
from common.store.shards import connect_store
from common.telemetry import metrics
from edge.session.admission.redis_health import RedisWatch
from edge.session.log_compaction import LogCompaction
from tests.conftest import server_url
from tests.deadlines import WAIT_S
from tests.e2e.edge_process import edge_process
from tests.e2e.redis_call import Office, open_office

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

ROOT = Path(__file__).resolve().parents[2]
NAMES = {"{sNN}": r"\{s[0-9]{2}\}", "{value}": "[^:]+", "{dials}": r"\{dials\}", "{agents}": r"\{agents\}",
         "<pool>": "(stt|llm|tts|tools)", "<kind>": "(edge|stt|llm|tts|tools)", "<id>": "[^:]+", "<edge>": "[^:]+",
         "<name>": "[^:]+", "<key>": ".+"}  # fmt: skip
TRIMMED_ABOUT = 200
"""Redis trims a stream by whole nodes."""
GONE = -2
"""What Redis says of a key that has expired meanwhile."""


@dataclass(frozen=True)
class Listed:
    """A row of the table of keys."""

    name: str
    type: str
    entries: int | None
    seconds: float | None
    """The longest that it may have before it expires; None: it need not."""

    def matches(self, key: str) -> bool:
        parts = re.split(r"(\{\w+\}|<\w+>)", self.name)
        return re.fullmatch("".join(NAMES.get(part, re.escape(part)) for part in parts), key) is not None


def listed() -> Iterator[Listed]:
    """docs/bus.md, as people read it."""
    settings = Settings()
    page = (ROOT / "docs/bus.md").read_text("utf-8")
    (table,) = re.findall(r"^\| key \| type .*\n\| --- .*\n((?:\|.*\n)+)", page, re.MULTILINE)
    for line in table.splitlines():
        key, kind, _, _, _, bound, expires = (cell.strip() for cell in line.split("|")[1:-1])
        numbers = [int(found.replace(",", "")) for found in re.findall(r"([\d,]+) (?:entries|fields)", bound)]
        spelt = expires.replace("`CALL_RETENTION_S`", f"{settings.call_retention_s} s")
        spelt = spelt.replace("`LEASE_MS`", f"{settings.lease_ms} ms")
        seconds = [
            float(amount.replace(",", "")) / (1000 if unit == "ms" else 1)
            for amount, unit in re.findall(r"([\d,]+) (ms|s)\b", spelt)
        ]
        assert seconds or expires in ("never", "never there") or "within" in expires, f"{key}: when does it expire?"
        yield Listed(
            key.strip("`"), kind.split(",")[0], numbers[0] if numbers else None, sum(seconds) if seconds else None
        )


LISTED = list(listed())


def unlisted(server: redis.Redis) -> list[str]:
    """Everything in the server that the table does not say."""
    problems = []
    for raw in server.scan_iter("*", count=1000):
        key = raw.decode()
        kind = {"zset": "sorted set"}.get(found := server.type(raw).decode(), found)
        rows = [row for row in LISTED if row.matches(key)]
        if kind == "none":
            continue  # it has expired meanwhile
        row = next((row for row in reversed(rows) if row.type == kind), None)
        if row is None:
            problems.append(f"{key} ({kind}) is in no row")
            continue
        count = {"stream": server.xlen, "hash": server.hlen, "sorted set": server.zcard}.get(kind, lambda name: 0)(raw)
        if row.entries is not None and count > row.entries + TRIMMED_ABOUT * (kind == "stream"):
            problems.append(f"{key} has {count}; at most {row.entries}")
        ms = server.pttl(raw)
        if row.seconds is not None and ms != GONE and not 0 <= ms <= 1000 * row.seconds:
            problems.append(f"{key} expires in {ms} ms; {row.seconds} s are listed")
    return problems


@contextlib.contextmanager
def looking(url: str) -> Iterator[redis.Redis]:
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        yield client


async def nothing_else(url: str) -> None:
    for part in url.split(","):
        with looking(part) as server:
            assert await asyncio.to_thread(unlisted, server) == []


@pytest.fixture(params=["valkey", "redis-7"])
def url(request: pytest.FixtureRequest) -> str:
    return server_url(request)


# --- how each call ends ------------------------------------------------------------------------------------------


async def hung_up(office: Office, call_id: str) -> None:
    """The carrier says so, as it does; and its webhooks once more."""
    caller = await office.phone(call_id)
    await caller.hears("Hello.")
    for _ in range(2):
        await office.http.post("/hangup", data={"CallUUID": call_id, "Event": "Hangup", "HangupCause": "NORMAL"})
    await office.store.end(call_id, "caller hung up")


async def edge_killed(office: Office, call_id: str) -> None:
    """In the middle of its call: nobody says that it is over."""
    caller = await office.phone(call_id)
    await caller.hears("Hello.")


async def refused(office: Office, call_id: str) -> None:
    """Answered, and nobody ever came."""
    await office.http.post("/answer", data={"CallUUID": call_id, "From": "911234567890", "To": "1"})
    await office.store.end(call_id, "refused")


async def never_started(office: Office, call_id: str) -> None:
    await office.http.post("/answer", data={"CallUUID": call_id, "From": "911234567890", "To": "1"})


async def unknown(office: Office, call_id: str) -> None:
    """Webhooks of a call that nobody knows."""
    await office.http.post("/hangup", data={"CallUUID": call_id, "Event": "Hangup", "HangupCause": "NORMAL"})
    await office.http.post("/stream-status", data={"CallUUID": call_id, "Event": "StopStream"})
    await office.store.end(call_id, "caller hung up")


async def broken_at_its_start(office: Office, call_id: str) -> None:
    """The edge died between two commands: the record says live, and nothing else does."""
    await office.store.create(CallRecord(call_id))
    await office.store.start(call_id, "edge-dead")
    with looking(office.url) as server:
        server.zrem(redis_keys.CALLS_LIVE, call_id)


async def buried(office: Office, call_id: str) -> None:
    """Its edge died before it wrote an event; another edge ends the call, and says so in its log."""
    await office.store.create(CallRecord(call_id))
    await office.store.start(call_id, "edge-dead")
    with looking(office.url) as server:
        server.zadd(redis_keys.CALLS_LIVE, {call_id: 1})
    await office.calls._end_abandoned_call(call_id)  # what its house-keeping does every 5 s


async def written_too_late(office: Office, call_id: str) -> None:
    """An edge that was frozen until all was forgotten goes on; so do a voice, an ear and an API."""
    gone = f"edge-gone-{call_id}"
    messages: list[tuple[str, Message]] = [
        (redis_keys.call_audio(call_id), AudioIn(1, 0, 0, b"\\xff" * 160)),
        (redis_keys.call_events(call_id), DtmfReceived("1", 1)),
        (redis_keys.call_events(call_id), CallEnded(1, "carrier", 1)),
        (redis_keys.edge_audio(gone), AudioOut(call_id, 1, 1, 1, 0, 0, b"\\xff" * 160)),
        (redis_keys.edge_priority(gone), HangUp(call_id, "operator hung up")),
    ]
    for stream, message in messages:
        office.bus.publish(stream, message)


async def taken_over_and_fenced(office: Office, call_id: str) -> None:
    """A worker goes on after the end: what it writes then goes with the rest."""
    await office.store.create(CallRecord(call_id))
    await office.store.start(call_id, "edge-dead")
    claim = await office.store.claim("llm", call_id, "llm-dead")
    assert claim is not None
    await office.store.begin_effect(Effect(call_id, 1), claim)
    await office.store.end(call_id, "error")
    assert await office.store.append(claim, [ReplyPlayed(1)])
    await office.store.finish_effect(Effect(call_id, 1), "done", claim)
    await office.store.add_webhook_fields(call_id, {"Hangup.HangupCause": "NORMAL"})


async def lost_and_written_again(office: Office, call_id: str) -> None:
    """Redis had lost it; then its edge died, too."""
    record = CallRecord(call_id, epoch=2, edge="edge-dead")
    assert await office.store.restore(record, {"token:llm": "3"}, [ReplyPlayed(1)])


async def outbound_failed(office: Office, call_id: str) -> None:
    """The carrier refuses the account, and later the call."""
    async with contextlib.aclosing(RedisOutboundQueue.connect(office.url, "edge-a", 86_400)) as queue:
        dial_id = await queue.add(f"out-{call_id}", {"to": "x"}, 0, f"key-{call_id}")
        entry = await queue.read(dial_id)
        assert entry is not None
        await queue.lead("edge-a", 3000)
        await queue.pause("credit")
        assert await queue.write(dial_id, entry.version, entry.body, "closed", 0, [call_id])


ENDS = (hung_up, edge_killed, refused, never_started, unknown, broken_at_its_start, buried, written_too_late,
        taken_over_and_fenced, lost_and_written_again, outbound_failed)  # fmt: skip


@pytest.mark.parametrize("how", ENDS)
async def test_however_a_call_ends_all_that_it_leaves_is_listed_and_expires(url: str, how: Any):
    async with open_office(url) as office:
        await how(office, "call-1")
        await asyncio.sleep(0.1)
        await nothing_else(url)
    await nothing_else(url)


async def test_after_two_hundred_calls_and_a_restart_of_everything_nothing_else_is_left(valkey_url: str):
    url = valkey_url
    for generation in range(2):
        async with open_office(url, generation=generation, places=60) as office:
            for first in range(0, 100, 50):
                kinds = [ENDS[number % len(ENDS)] for number in range(50)]
                await asyncio.gather(
                    *(how(office, f"{generation}-{first + number}") for number, how in enumerate(kinds))
                )
    await nothing_else(url)
    with looking(url) as server:
        ended = server.zcard(redis_keys.CALLS_ENDED)
        assert ended >= 60  # those that began
        assert server.zcard(redis_keys.CALLS_TO_COMPACT) == ended


async def test_calls_are_shortened_and_tell_the_same(url: str):
    async with connect_bus(BusOptions(url, "edge-a")) as bus, connect_store(url, "edge-a", 86_400) as store:
        for number in range(50):
            await store.create(CallRecord(f"c-{number}", {"name": "desk", "instructions": "x" * 2000}))
            await store.start(f"c-{number}", "edge-a")
            claim = await store.claim("llm", f"c-{number}", "llm-1")
            assert claim is not None
            await store.append(claim, [UserTurn(1, "are you open", (1, 2, 3))])
            await store.end(f"c-{number}", "agent hung up")
        with looking(url) as server:
            due = {call_id: 1 for call_id, _ in server.zscan_iter(redis_keys.CALLS_TO_COMPACT)}
            assert len(due) == 50
            server.zadd(redis_keys.CALLS_TO_COMPACT, due)
            await LogCompaction(bus, store).look()
            assert server.zcard(redis_keys.CALLS_TO_COMPACT) == 0
        async with contextlib.aclosing(RedisWatch.connect(url, "edge-a")) as watch:
            await watch.look()
        assert "voice_calls_retained" + '{server="0"} 50.0' in metrics.exposition().decode()
        record = await store.read("c-7")
        assert record is not None
        assert (record.agent, record.status, record.ended_because) == ({"name": "desk"}, "ended", "agent hung up")
        transcript = CallTranscript()
        for _, message in await bus.read(redis_keys.call_events("c-7")):
            transcript.receive(message)
        assert [one.understood for one in transcript.exchanges] == ["are you open"]
    await nothing_else(url)


async def test_an_edge_process_shortens_ended_calls_by_itself(valkey_url: str, tmp_path: Path):
    async with connect_store(valkey_url, "edge-a", 86_400) as store:
        await store.create(CallRecord("c-1", {"name": "desk", "instructions": "x" * 2000}))
        await store.start("c-1", "edge-a")
        await store.end("c-1", "agent hung up")
        with looking(valkey_url) as server:
            server.zadd(redis_keys.CALLS_TO_COMPACT, {"c-1": 1})
            async with edge_process(valkey_url, tmp_path), asyncio.timeout(WAIT_S):
                while server.zcard(redis_keys.CALLS_TO_COMPACT):
                    await asyncio.sleep(0.1)
        record = await store.read("c-1")
        assert record is not None
        assert record.agent == {"name": "desk"}


def test_a_key_that_nobody_listed_would_be_seen(url: str):
    with looking(url) as server:
        server.set("forgotten", "1")
        server.xadd(redis_keys.call_events("c-1"), {"d": "x"})
        server.hset(redis_keys.call_effects("c-1"), mapping={str(number): "b" for number in range(501)})
        server.expire(redis_keys.call_effects("c-1"), 10)
        server.set(redis_keys.call_end("c-1"), "", ex=61)
        server.set(redis_keys.call_state("c-1"), "", ex=5)
        found = "\n".join(sorted(unlisted(server)))
    for problem in ("effects has 501", "events expires in -1", "ended expires in", "state (string) is in no row",
                    "forgotten (string) is in no row"):  # fmt: skip
        assert problem in found
    assert found.count("\n") == 4
