"""A pool of connections to Redis is as large as its busiest moment only for as long as that is needed."""

from typing import Any

import pytest
from redis.asyncio import Connection

from common.store.idle import IDLE_SECONDS, IdleClosingPool

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


class Line(Connection):
    """A connection that only says whether it is open."""

    open = False

    async def connect(self) -> None:
        self.open = True

    async def disconnect(self, *args: Any, **options: Any) -> None:
        self.open = False

    async def can_read(self, *args: Any) -> bool:
        return False


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def test_what_a_busy_moment_needed_is_closed_when_it_is_over():
    clock = Clock()
    pool = IdleClosingPool(now=clock, connection_class=Line)
    busy = [await pool.get_connection() for _ in range(12)]
    for line in busy:
        await pool.release(line)
    assert sum(line.open for line in busy) == 12
    for _ in range(40):  # one command a second, as in a quiet hour
        clock.now_s += 1
        await pool.release(await pool.get_connection())
    assert sum(line.open for line in busy) == 1
    assert len(pool._available_connections) == len(pool._released_s) == 1


async def test_connections_that_are_needed_now_and_then_stay():
    clock = Clock()
    pool = IdleClosingPool(now=clock, connection_class=Line)
    for _ in range(10):
        clock.now_s += IDLE_SECONDS / 2
        busy = [await pool.get_connection() for _ in range(5)]
        for line in busy:
            await pool.release(line)
    assert sum(line.open for line in busy) == 5
