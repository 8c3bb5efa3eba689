"""Redis is there and does not let us in: protected mode, too many clients, no right to the command."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from common.bus.redis import BusOptions
from common.bus.shards import connect_bus
from common.store.shards import connect_store

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

AT_ONCE = (
    b"-DENIED Redis is running in protected mode because protected mode is enabled. Set a password.\r\n",
    b"-ERR max number of clients reached\r\n",
)
"""Said to each connection before it has asked, and then it is closed (src/networking.c of Redis)."""
TO_EACH = (
    b"-NOPERM User default has no permissions to run the command\r\n",
    b"-NOAUTH Authentication required.\r\n",
    b"-LOADING Redis is loading the dataset in memory\r\n",
)
"""Said to each command."""


@asynccontextmanager
async def refusing(words: bytes, at_once: bool) -> AsyncIterator[str]:
    """A server that refuses with these words; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if at_once:
                writer.write(words)
                await writer.drain()
                return
            while data := await reader.read(65536):
                writer.write(words * data.count(b"*"))
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


@pytest.mark.parametrize(("words", "at_once"), [*((w, True) for w in AT_ONCE), *((w, False) for w in TO_EACH)])
async def test_a_refusal_is_redis_away_and_not_an_error_of_ours(words: bytes, at_once: bool) -> None:
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
    async with (
        refusing(words, at_once) as url,
        connect_store(url, "test", 60) as store,
        connect_bus(BusOptions(url, "test")) as bus,
    ):
        for question in (store.read("c-1"), store.pools_with_room(), store.take_offers("stt", "s-1", 1, 10)):
            with pytest.raises((ConnectionError, TimeoutError)):
                await question
        assert not bus.connected
    assert errors == []


async def test_what_the_server_says_is_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    async with refusing(AT_ONCE[0], at_once=True) as url, connect_store(url, "test", 60) as store:
        with pytest.raises(ConnectionError, match="no access: DENIED Redis is running in protected mode"):
            await store.read("c-1")
