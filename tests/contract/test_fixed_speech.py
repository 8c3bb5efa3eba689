"""Audio of fixed sentences is kept whole, for all workers, and within its bounds: in memory, one server and two."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from common.bus.memory import MemoryStreams
from common.protocol import redis_keys
from common.redis.client import Client
from common.redis.url import parse_redis_url
from common.store import CallStore
from common.store.fixed_speech import SENTENCE_BYTES_MAX, SENTENCES_MAX, SPEECH_SECONDS, FixedSentence
from common.store.memory import MemoryCallStore
from common.store.shards import connect_store
from tests.conftest import server_url

pytestmark = [pytest.mark.servers, pytest.mark.anyio]

HELLO = FixedSentence(b"\x7f" * 4_000, ((0, 0), (6, 240)))


@pytest.fixture(params=["memory", "valkey", "redis-7", "two shards"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[CallStore]:
    if request.param == "memory":
        yield MemoryCallStore(MemoryStreams())
        return
    async with connect_store(server_url(request), "test", 60) as connected:
        yield connected


@pytest.fixture(params=["valkey", "redis-7"])
def url(request: pytest.FixtureRequest) -> str:
    return server_url(request)


async def test_what_one_worker_keeps_another_reads(store: CallStore) -> None:
    assert await store.fixed_speech.read("hello") is None
    await store.fixed_speech.keep("hello", HELLO)
    assert await store.fixed_speech.read("hello") == HELLO
    assert await store.fixed_speech.read("another") is None


async def test_the_newer_audio_of_a_sentence_counts(store: CallStore) -> None:
    await store.fixed_speech.keep("hello", HELLO)
    await store.fixed_speech.keep("hello", FixedSentence(b"\x00" * 160))
    assert await store.fixed_speech.read("hello") == FixedSentence(b"\x00" * 160)


async def test_a_long_sentence_is_not_kept(store: CallStore) -> None:
    await store.fixed_speech.keep("hello", FixedSentence(b"\x00" * (SENTENCE_BYTES_MAX + 1)))
    assert await store.fixed_speech.read("hello") is None


async def test_above_the_bound_the_sentence_that_was_used_the_longest_ago_goes(store: CallStore) -> None:
    if len(getattr(store, "_shards", ())) > 1:
        pytest.skip("the bound is of each server")
    short = FixedSentence(b"\x00" * 160)
    for number in range(SENTENCES_MAX):
        await store.fixed_speech.keep(f"s{number:03}", short)
    assert await store.fixed_speech.read("s000") == short  # it is the newest now
    for number in range(SENTENCES_MAX, SENTENCES_MAX + 20):
        await store.fixed_speech.keep(f"s{number:03}", short)
    kept = [number for number in range(SENTENCES_MAX + 20) if await store.fixed_speech.read(f"s{number:03}")]
    assert len(kept) == SENTENCES_MAX
    assert kept[0] == 0
    assert SENTENCES_MAX + 19 in kept


async def test_both_keys_expire_and_what_is_no_sentence_is_a_miss(url: str) -> None:
    (target,) = parse_redis_url(url)
    client = Client(target, "test")
    async with connect_store(url, "test", 60) as store:
        await store.fixed_speech.keep("hello", HELLO)
        for key in (redis_keys.fixed_sentence("hello"), redis_keys.FIXED_SENTENCES):
            assert 0 < await client.call("TTL", key) <= SPEECH_SECONDS
        for foreign in (b"no msgpack", b"\x91\xc4\x00", b"\x92\xc4\x01a\x01"):
            await client.call("SET", redis_keys.fixed_sentence("hello"), foreign)
            assert await store.fixed_speech.read("hello") is None
    await client.aclose()
