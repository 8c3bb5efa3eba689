"""A provider that fails while its user is being cancelled: the cancellation is what the user learns."""

import asyncio

import pytest

from workers.providers.failover import Failover, Source
from workers.providers.interfaces import Busy, Down, Rejected

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


def two_providers() -> Failover[str]:
    return Failover([Source("stt", name, name, 0, lambda: 0.0) for name in ("test/first", "test/second")])


async def asks_until_one_works(sources: Failover[str], error: Exception, asked: list[str]) -> None:
    """What each pool does: the next provider when one has failed."""
    tried: set[str] = set()
    while source := sources.choose(tried):
        tried.add(source.spec)
        try:
            with source.use():
                asked.append(source.spec)
                try:
                    await asyncio.sleep(60)
                finally:
                    raise error
        except (Down, Busy, Rejected, TimeoutError):
            continue


@pytest.mark.parametrize(
    "error", [Down("gone"), Busy("full"), Rejected("no"), TimeoutError()], ids=lambda e: type(e).__name__
)
async def test_nobody_else_is_asked_for_a_call_that_is_over(error: Exception):
    sources, asked = two_providers(), []
    asking = asyncio.create_task(asks_until_one_works(sources, error, asked))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking], timeout=5)
    assert asking.cancelled()
    assert asked == ["test/first"]
    assert [source.failing for source in sources.sources] == [False, False]


async def test_a_deadline_of_ones_own_is_no_cancellation():
    sources, asked = two_providers(), []

    async def asks() -> None:
        tried: set[str] = set()
        while source := sources.choose(tried):
            tried.add(source.spec)
            try:
                with source.use():
                    asked.append(source.spec)
                    async with asyncio.timeout(0):
                        await asyncio.sleep(60)
            except TimeoutError:
                continue

    await asyncio.create_task(asks())
    assert asked == ["test/first", "test/second"]
