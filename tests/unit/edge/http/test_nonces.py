"""Nonces of webhooks: remembered for a day, while Redis is away, and after it has lost what it knew."""

import asyncio

import pytest

from common.bus.memory import MemoryStreams
from common.store.memory import MemoryCallStore
from edge.http.nonces import NONCE_SECONDS, Nonces

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


class Forgetful(MemoryCallStore):
    """A ledger that is away at will, and comes back without what it knew."""

    away = False
    answers_after_s = 0.0

    async def remember_nonce(self, nonce: str, digest: str, seconds: int) -> bool:
        if self.away:
            await asyncio.sleep(self.answers_after_s)
            raise ConnectionError("unreachable")
        return await super().remember_nonce(nonce, digest, seconds)


async def test_a_nonce_is_good_for_one_webhook_for_a_day() -> None:
    assert NONCE_SECONDS >= 24 * 3600
    nonces = Nonces(MemoryCallStore(MemoryStreams()))
    assert await nonces.is_new("n", "one", 0.0)
    assert await nonces.is_new("n", "one", 1.0)  # the carrier's own repeat
    assert not await nonces.is_new("n", "two", 86_399.0)


async def test_another_edge_knows_it_for_a_day_too_and_no_longer() -> None:
    store = Forgetful(MemoryStreams())
    nonces, other, now = Nonces(store), Nonces(store), asyncio.get_running_loop().time
    assert await nonces.is_new("before", "one", now())
    store.away = True
    assert await nonces.is_new("during", "one", now())
    store.away = False
    assert await nonces.is_new("after", "one", now())
    await asyncio.sleep(86_399)
    for nonce in ("before", "during", "after"):
        assert not await other.is_new(nonce, "two", now())
    await asyncio.sleep(2)
    assert await other.is_new("before", "two", now())


async def test_while_redis_is_away_it_is_remembered_here() -> None:
    store = Forgetful(MemoryStreams())
    nonces, other = Nonces(store), Nonces(store)
    assert await nonces.is_new("before", "one", 0.0)
    store.away = True
    assert not await nonces.is_new("before", "two", 1.0)
    assert await nonces.is_new("during", "one", 2.0)
    assert await nonces.is_new("during", "one", 3.0)
    assert not await nonces.is_new("during", "two", 4.0)
    store.away = False
    assert await nonces.is_new("after", "one", 5.0)  # and what came in the meantime is written down
    assert not await other.is_new("during", "two", 6.0)


async def test_of_two_webhooks_that_wait_for_redis_with_one_nonce_one_is_accepted() -> None:
    store = Forgetful(MemoryStreams())
    store.away, store.answers_after_s = True, 2.0
    nonces = Nonces(store)
    same = await asyncio.gather(*(nonces.is_new("n", "one", 0.0) for _ in range(2)))
    assert same == [True, True]  # the carrier's own repeat
    other = await asyncio.gather(nonces.is_new("m", "one", 1.0), nonces.is_new("m", "two", 1.0))
    assert sorted(other) == [False, True]


async def test_a_server_that_comes_back_empty_is_no_help_to_a_replay() -> None:
    nonces = Nonces(MemoryCallStore(MemoryStreams()))
    assert await nonces.is_new("n", "one", 0.0)
    nonces.store = MemoryCallStore(MemoryStreams())
    assert not await nonces.is_new("n", "two", 1.0)
    assert not await nonces.is_new("n", "two", 86_399.0)
    assert await nonces.is_new("n", "two", 86_401.0)


async def test_at_the_bound_the_oldest_is_forgotten() -> None:
    store = Forgetful(MemoryStreams())
    store.away = True
    nonces = Nonces(store, most=3)
    for number in range(5):
        assert await nonces.is_new(f"n{number}", "one", float(number))
    assert not await nonces.is_new("n4", "two", 9.0)
    assert await nonces.is_new("n0", "two", 9.0)  # only while Redis is away, and only here
