"""components/redis-sentinel with real servers: who is the primary is never guessed, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from common.redis.primary import open_primary
from common.redis.url import parse_redis_url
from common.store import CallRecord
from common.store.shards import connect_store
from simulators.redis_servers import until
from tests.deploy.k8s_redis_set import SENTINELS, SERVERS, RedisSet, certify

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.anyio]

PATIENCE_SECONDS = 30.0


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[RedisSet]:
    pods = RedisSet(tmp_path)
    try:
        yield pods
    finally:
        pods.kill_all()


async def whole(pods: RedisSet) -> str:
    """Wait until all is well; the primary."""
    await until(pods.whole, "a primary with two replicas", PATIENCE_SECONDS)
    await until(pods.sentinels_know_all, "sentinels that know each other", PATIENCE_SECONDS)
    return pods.primary()


async def begun(pods: RedisSet) -> str:
    pods.start(*SERVERS, *SENTINELS)
    primary = await whole(pods)
    with pods.client(primary) as client:
        client.set("call", "is live")
    return primary


def told(pods: RedisSet, name: str) -> str | None:
    with pods.client(name) as client:
        return client.get("call")  # type: ignore[return-value]


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisSet]:
    """The set without TLS, and with it."""
    pods = RedisSet(tmp_path, request.param)
    try:
        yield pods
    finally:
        pods.kill_all()


async def test_the_first_start_makes_one_primary_and_all_are_ready(either: RedisSet) -> None:
    assert await begun(either) == SERVERS[0]
    assert [either.run(name, "ready.sh") for name in SERVERS] == [0, 0, 0]
    assert [either.run(name, "sentinel-ready.sh") for name in SENTINELS] == [0, 0, 0]


async def test_each_role_finds_the_primary_with_its_own_user_and_a_stranger_finds_nothing(either: RedisSet) -> None:
    first = await begun(either)
    for role in ("edge", "stt", "llm", "tts", "tools"):
        async with connect_store(either.url(role), f"{role}-1", 60) as store:
            if role == "edge":
                await store.create(CallRecord("c-1"))
                assert await store.start("c-1", "edge-1")
            else:
                assert await store.claim(role, "c-1", f"{role}-1")
            await store.heartbeat(role, f"{role}-1")
        (place,) = parse_redis_url(either.url(role))
        wire = await open_primary(place, f"{role}-1")
        try:
            stream = "edge:edge-1:priority" if role != "tools" else "call:{s00}:c-1:events"
            assert await wire.call("XADD", stream, "*", "d", "x")
        finally:
            wire.close()
    for name in (*SERVERS, *SENTINELS):
        for user in ("default", "edge"):
            with either.client(name, user, "a guess") as client, pytest.raises(redis.AuthenticationError):
                client.ping()
    with either.client(first, "probe") as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.get("call")
    with either.client(SENTINELS[0], "stt") as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command("SENTINEL", "FAILOVER", "voice")


async def test_with_tls_nobody_is_served_without_it_or_by_another_authority(tmp_path: Path) -> None:
    pods = RedisSet(tmp_path, tls=True)
    try:
        await begun(pods)
        certify(tmp_path / "others", SERVERS)
        for tls, ca in ((False, None), (True, tmp_path / "others" / "ca.crt")):
            pods.tls, pods.ca = tls, ca or pods.ca
            with pods.client(SERVERS[0]) as client, pytest.raises(redis.ConnectionError):
                client.ping()
    finally:
        pods.kill_all()


async def test_a_killed_primary_comes_back_as_a_replica(either: RedisSet) -> None:
    first = await begun(either)
    either.kill(first)
    await until(lambda: either.primary() not in ("", first), "another primary", PATIENCE_SECONDS)
    either.start(first)
    second = await whole(either)
    assert second != first and either.role(first) == "slave"
    assert told(either, second) == "is live"


async def test_a_primary_that_is_stopped_steps_down_first(pods: RedisSet) -> None:
    first = await begun(pods)
    assert pods.run(SERVERS[1], "step-down.sh") == 0  # a replica just goes
    assert pods.primary() == first
    assert pods.run(first, "step-down.sh") == 0
    assert pods.primary() not in ("", first)
    pods.kill(first)
    pods.start(first)
    assert await whole(pods) != first


async def test_after_the_loss_of_all_pods_the_last_primary_is_the_primary(pods: RedisSet) -> None:
    first = await begun(pods)
    pods.kill(first)
    await until(lambda: pods.primary() not in ("", first), "another primary", PATIENCE_SECONDS)
    pods.start(first)
    last = await whole(pods)
    with pods.client(last) as client:
        client.set("call", "goes on")
    pods.kill_all()  # kill -9 takes no write from an append-only file: the kernel has it

    pods.start(*SERVERS, *SENTINELS)
    assert await whole(pods) == last
    assert told(pods, last) == "goes on"


async def test_a_primary_that_lost_its_disk_does_not_empty_the_others(pods: RedisSet) -> None:
    first = await begun(pods)
    pods.kill(first)
    pods.lose_disk(first)
    pods.start(first)  # before the sentinels have noticed
    second = await whole(pods)
    assert second != first
    assert told(pods, second) == "is live"


async def test_a_new_sentinel_believes_the_others_and_not_its_first_configuration(pods: RedisSet) -> None:
    first = await begun(pods)
    pods.kill(first)
    await until(lambda: pods.primary() not in ("", first), "another primary", PATIENCE_SECONDS)
    second = pods.primary()
    pods.kill(SENTINELS[0])
    pods.lose_disk(SENTINELS[0])
    pods.start(SENTINELS[0])

    def named() -> str:
        with pods.client(SENTINELS[0]) as client:
            return pods.named_by(client)

    await until(named, "the new sentinel", PATIENCE_SECONDS)
    assert named() == second
