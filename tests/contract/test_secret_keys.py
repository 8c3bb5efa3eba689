"""Digits that only tools may know: kept once each, for the call's own connection, within bounds, and not for long."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from common.bus.memory import MemoryStreams
from common.protocol import redis_keys
from common.redis.client import Client
from common.redis.url import parse_redis_url
from common.store import CallRecord, CallStore
from common.store.memory import MemoryCallStore
from common.store.secret_keys import SECRET_DIGITS_MAX, SECRET_NAMES_MAX, SECRET_SECONDS, SecretKey
from common.store.shards import connect_store
from tests.conftest import server_url

pytestmark = [pytest.mark.servers, pytest.mark.anyio]

CALL = "c-1"


@pytest.fixture(params=["memory", "valkey", "redis-7", "two shards"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[CallStore]:
    if request.param == "memory":
        made = MemoryCallStore(MemoryStreams())
        await begun(made)
        yield made
        return
    async with connect_store(server_url(request), "test", 60) as connected:
        await begun(connected)
        yield connected


async def begun(store: CallStore) -> None:
    await store.create(CallRecord(CALL))
    assert await store.start(CALL, "edge-1") is not None


def key(number: int, digit: str, name: str = "pin", epoch: int = 1, call_id: str = CALL) -> SecretKey:
    return SecretKey(call_id, epoch, number, name, digit)


async def entered(store: CallStore, digits: str, name: str = "pin", begin: int = 1) -> None:
    for number, digit in enumerate(digits, begin):
        assert await store.add_secret_key(key(number, digit, name))


async def test_digits_are_read_in_their_order_by_name(store: CallStore) -> None:
    await entered(store, "0317")
    await entered(store, "99", "card", begin=5)
    assert await store.read_secret(CALL, "pin") == "0317"
    assert await store.read_secret(CALL, "card") == "99"
    assert await store.read_secret(CALL, "other") == ""
    assert await store.read_secret("c-2", "pin") == ""


async def test_a_digit_that_is_written_again_counts_once(store: CallStore) -> None:
    await entered(store, "33")
    assert await store.add_secret_key(key(2, "3"))
    assert await store.read_secret(CALL, "pin") == "33"


async def test_an_entry_goes_on_on_the_next_connection_and_not_on_the_one_before(store: CallStore) -> None:
    await entered(store, "31")
    assert await store.start(CALL, "edge-2") is not None
    assert not await store.add_secret_key(key(3, "9"))
    assert await store.add_secret_key(key(1, "7", epoch=2))
    assert await store.read_secret(CALL, "pin") == "317"


async def test_an_entry_and_their_number_are_bounded(store: CallStore) -> None:
    await entered(store, "1" * SECRET_DIGITS_MAX)
    assert await store.add_secret_key(key(100, "2"))
    for number in range(1, SECRET_NAMES_MAX):
        assert await store.add_secret_key(key(100 + number, "1", f"n{number}"))
    assert not await store.add_secret_key(key(200, "1", "one too many"))
    assert await store.read_secret(CALL, "pin") == "1" * SECRET_DIGITS_MAX


async def test_a_digit_more_than_is_wanted_is_not_kept(store: CallStore) -> None:
    await entered(store, "0317")
    assert await store.add_secret_key(SecretKey(CALL, 1, 5, "pin", "9", 4))
    assert await store.add_secret_key(SecretKey(CALL, 1, 6, "pin", "9", 0))
    assert await store.read_secret(CALL, "pin") == "0317"


async def test_all_is_gone_with_the_call_and_nothing_is_kept_for_one_that_is_over(store: CallStore) -> None:
    await entered(store, "0317")
    await store.end(CALL, "caller hung up")
    assert await store.read_secret(CALL, "pin") == ""
    assert not await store.add_secret_key(key(5, "1"))
    assert not await store.add_secret_key(key(1, "1", call_id="unknown"))


async def test_the_end_of_an_old_connection_takes_nothing_away(store: CallStore) -> None:
    await store.start(CALL, "edge-2")
    assert await store.add_secret_key(key(1, "7", epoch=2))
    assert not await store.end(CALL, "carrier", 1)
    assert await store.read_secret(CALL, "pin") == "7"


def test_a_digit_is_in_no_text_about_it() -> None:
    assert "7" not in repr(key(1, "7"))


@pytest.fixture(params=["valkey", "redis-7"])
def url(request: pytest.FixtureRequest) -> str:
    return server_url(request)


async def test_the_key_expires_and_no_other_type_keeps_a_call_out(url: str) -> None:
    client = Client(parse_redis_url(url)[0], "test")
    async with connect_store(url, "test", 60) as store:
        await begun(store)
        await entered(store, "31")
        assert 0 < await client.call("TTL", redis_keys.call_secrets(CALL)) <= SECRET_SECONDS
        await client.call("SET", redis_keys.call_secrets(CALL), "no hash")
        with pytest.raises(ConnectionError):
            await store.add_secret_key(key(3, "7"))
        assert await store.mend("edge-1", [CALL]) >= 1
        assert await store.add_secret_key(key(3, "7"))
    await client.aclose()
