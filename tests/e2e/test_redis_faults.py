"""Redis dies in every way it knows, and the caller stays on the line."""

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from common.protocol.messages import CallStarted, UserTurn
from common.protocol.redis_keys import call_state, shard_index
from simulators.redis_servers import Network, RedisServer, SentinelSet, until
from tests.deadlines import SOON_S
from tests.e2e.redis_call import Caller, Office, open_office

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

ANSWERS = {"one": "First.", "two": "Second.", "three": "Third."}
AOF = ("--appendonly", "yes", "--appendfsync", "everysec")


async def goes_on(caller: Caller) -> None:
    """The whole conversation after the outage: the caller is heard and answered."""
    await caller.asks("three", "Third.")
    assert not caller.call.lifecycle.over


async def greeted(office: Office, call_id: str = "call-1") -> Caller:
    caller = await office.phone(call_id)
    await caller.hears("Hello.")
    return caller


async def turns(caller: Caller) -> list[str]:
    return [message.text for message in await caller.transcript() if isinstance(message, UserTurn)]


async def test_a_restart_in_the_middle_of_a_word_loses_nothing(tmp_path: Path):
    async with RedisServer(tmp_path / "redis", *AOF) as redis, open_office(redis.url, **ANSWERS) as office:
        caller = await greeted(office)
        caller.starts_saying("two")
        await asyncio.sleep(0.1)  # "t" is on its way
        await redis.restart(signal.SIGTERM)
        await caller.hears("Second.")
        assert await turns(caller) == ["two"]
        await goes_on(caller)
        assert caller.line.heard() == "Hello.Second.Third."


async def test_kill_9_with_an_append_only_file_loses_nothing_and_repeats_nothing(tmp_path: Path):
    async with RedisServer(tmp_path / "redis", *AOF) as redis, open_office(redis.url, **ANSWERS) as office:
        caller = await greeted(office)
        await caller.asks("one", "First.")
        redis.kill()
        caller.starts_saying("two")
        await asyncio.sleep(1.5)
        assert caller.line.heard() == "Hello.First."
        await redis.start()
        await caller.hears("Second.")
        await goes_on(caller)
        assert caller.line.heard() == "Hello.First.Second.Third."
        assert [repeated for repeated, times in Counter(await turns(caller)).items() if times > 1] == []


async def test_a_sentinel_set_fails_over_and_the_call_follows(tmp_path: Path):
    async with SentinelSet(tmp_path) as redis, open_office(redis.url, **ANSWERS) as office:
        caller = await greeted(office)
        await caller.asks("one", "First.")
        dead = redis.primary
        dead.kill()
        caller.starts_saying("two")
        await caller.hears("Second.")
        assert redis.primary is not dead
        await goes_on(caller)
        assert caller.line.heard() == "Hello.First.Second.Third."

        await dead.start()  # it still takes itself for a primary, until the sentinels demote it
        await caller.asks("one", "First.")
        assert b":media" not in dead.ask("CLIENT", "LIST")


async def test_a_primary_that_is_demoted_under_us_is_left_at_once(tmp_path: Path):
    """A manual failover: nobody dies, but writes to the old primary are refused with READONLY."""
    async with SentinelSet(tmp_path) as redis, open_office(redis.url, **ANSWERS) as office:
        caller = await greeted(office)
        old, others = redis.primary, redis.servers[1:]
        redis.fail_over()
        await until(lambda: any(server.ask("ROLE")[0] == b"master" for server in others), "another primary")
        new = next(server for server in others if server.ask("ROLE")[0] == b"master")
        old.ask("REPLICAOF", "127.0.0.1", str(new.port))  # as the sentinels will, some ten seconds later
        await caller.asks("two", "Second.")
        await goes_on(caller)
        assert caller.line.heard() == "Hello.Second.Third."


async def test_a_read_only_server_counts_as_away_until_it_is_a_primary_again(tmp_path: Path):
    async with RedisServer(tmp_path / "redis") as redis, open_office(redis.url, **ANSWERS) as office:
        caller = await greeted(office)
        redis.ask("REPLICAOF", "127.0.0.1", "1")
        caller.starts_saying("two")
        await until_async(lambda: office.ready(), False)
        assert await office.answers("call-2") == "Speak"
        assert not caller.call.lifecycle.over
        redis.ask("REPLICAOF", "NO", "ONE")
        await caller.hears("Second.")
        await goes_on(caller)
        assert await office.ready()
        assert await office.answers("call-2") == "Stream"


async def test_out_of_memory_counts_as_away_and_passes(tmp_path: Path):
    async with RedisServer(tmp_path / "redis") as redis, open_office(redis.url, **ANSWERS) as office:
        caller = await greeted(office)
        redis.ask("CONFIG", "SET", "maxmemory", "1")
        caller.starts_saying("two")
        await until_async(lambda: office.ready(), False)
        assert await office.answers("call-2") == "Speak"
        assert all(not runner.refusal or runner.refusal == "cut off from Redis" for runner in office.runners.values())
        redis.ask("CONFIG", "SET", "maxmemory", "0")
        await caller.hears("Second.")
        await goes_on(caller)
        assert await office.answers("call-2") == "Stream"


async def test_a_network_that_swallows_everything_is_noticed_by_deadlines(tmp_path: Path):
    async with (
        RedisServer(tmp_path / "redis") as redis,
        Network(redis.port) as network,
        open_office(network.url, **ANSWERS) as office,
    ):
        caller = await greeted(office)
        made = network.connections
        network.cut()
        cut_at = asyncio.get_running_loop().time()
        caller.starts_saying("two")
        await until_async(lambda: office.ready(), False)
        assert asyncio.get_running_loop().time() - cut_at < SOON_S
        assert await office.answers("call-2") == "Speak"
        assert {runner.refusal for runner in office.runners.values()} == {"cut off from Redis"}
        await asyncio.sleep(1.0)
        assert network.connections > made, "the old connections were given up"
        assert not caller.call.lifecycle.over
        network.mend()
        await caller.hears("Second.")
        await goes_on(caller)
        assert caller.line.heard() == "Hello.Second.Third."
        assert await office.ready()
        assert await office.answers("call-2") == "Stream"


async def test_a_redis_that_lost_everything_is_told_of_the_call_and_its_whole_story(tmp_path: Path):
    async with RedisServer(tmp_path / "redis") as redis, open_office(redis.url, **ANSWERS) as office:
        caller = await greeted(office)
        await caller.asks("one", "First.")
        await asyncio.sleep(1.5)  # a look of the edge: notes and story are copied
        await redis.restart()
        assert redis.ask("EXISTS", call_state("call-1")) == 0
        await caller.until(lambda: caller.call.epoch == 2, "the call to be written again")
        await caller.asks("two", "Second.")
        assert caller.line.heard() == "Hello.First.Second."  # no second greeting, nothing twice
        assert office.mind.asked[-1][1:] == [
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "First."},
            {"role": "user", "content": "two"},
        ]
        begun = [m.epoch for m in await caller.transcript() if isinstance(m, CallStarted)]
        assert begun == [1, 2]


async def test_a_flushed_redis_is_told_in_the_middle_of_a_reply(tmp_path: Path):
    async with RedisServer(tmp_path / "redis") as redis, open_office(redis.url, **ANSWERS) as office:
        office.mind.answers["tale"] = "Once upon a time. There was a king. The end."
        caller = await greeted(office)
        caller.starts_saying("tale")
        await caller.until(lambda: "Once" in caller.line.heard(), "the tale to begin")
        redis.ask("FLUSHALL")
        await caller.until(lambda: caller.call.epoch == 2, "the call to be written again")
        await caller.hears("The end.")
        assert caller.line.heard() == "Hello.Once upon a time.There was a king.The end."
        await goes_on(caller)


async def test_one_shard_down_hurts_only_its_calls(tmp_path: Path):
    async with RedisServer(tmp_path / "a") as first, RedisServer(tmp_path / "b") as second:
        here, there = (next(f"call-{n}" for n in range(99) if shard_index(f"call-{n}", 2) == index) for index in (0, 1))
        async with open_office(f"{first.url},{second.url}", **ANSWERS) as office:
            lucky, hurt = await greeted(office, here), await greeted(office, there)
            second.kill()
            await lucky.asks("one", "First.")
            await until_async(lambda: office.answers(f"{there}"), "Speak")
            assert await office.answers(here) == "Stream"
            assert await office.ready()
            await goes_on(lucky)
            assert not hurt.call.lifecycle.over
            hurt.starts_saying("two")
            await second.start()
            await hurt.hears("Second.")
            await goes_on(hurt)
            assert await office.answers(there) == "Stream"


async def until_async(asked: Callable[[], Awaitable[object]], wanted: object) -> None:
    """Ask until the answer is the wanted one."""
    async with asyncio.timeout(10):
        while await asked() != wanted:
            await asyncio.sleep(0.05)
