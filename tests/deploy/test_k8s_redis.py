"""components/redis-sentinel with real servers: who is the primary is never guessed, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.k8s_redis_set import SENTINELS, SERVERS, RedisSet
from tests.simulators.redis_servers import until

pytestmark = [pytest.mark.anyio, pytest.mark.redis]

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


async def test_the_first_start_makes_one_primary_and_all_are_ready(pods: RedisSet) -> None:
    assert await begun(pods) == SERVERS[0]
    assert [pods.run(name, "ready.sh") for name in SERVERS] == [0, 0, 0]


async def test_a_killed_primary_comes_back_as_a_replica(pods: RedisSet) -> None:
    first = await begun(pods)
    pods.kill(first)
    await until(lambda: pods.primary() not in ("", first), "another primary", PATIENCE_SECONDS)
    pods.start(first)
    second = await whole(pods)
    assert second != first and pods.role(first) == "slave"
    assert told(pods, second) == "is live"


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
