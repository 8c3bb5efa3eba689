"""Where a vendor lives: remembered, and asked again as soon as nobody answers there."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tools.ports import free_port
from workers.providers.interfaces import Down
from workers.providers.websocket import Addresses, open_socket

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


class MovingLoop(asyncio.SelectorEventLoop):
    """Its name server answers what `places` says next, and then not at all."""

    places: list[str]
    asked = 0

    async def getaddrinfo(self, host: str, port: int, **hints: int) -> list[tuple]:  # type: ignore[override]
        self.asked += 1
        if not self.places:
            raise OSError("no name server")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.places.pop(0), port))]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": MovingLoop}


async def test_an_address_is_asked_for_once_and_again_when_it_is_in_doubt() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, MovingLoop)
    loop.places, addresses = ["192.0.2.1", "192.0.2.2"], Addresses()
    assert [await addresses.find("vendor", 443, 1.0) for _ in range(3)] == ["192.0.2.1"] * 3 and loop.asked == 1
    addresses.doubt("vendor", 443)
    assert await addresses.find("vendor", 443, 1.0) == "192.0.2.2"
    addresses.doubt("vendor", 443)
    assert await addresses.find("vendor", 443, 1.0) == "192.0.2.2", "a stale answer is better than none"
    with pytest.raises(OSError):
        await addresses.find("another", 443, 1.0)
    addresses.doubt("nobody", 443)


async def test_a_vendor_that_moved_is_found_at_the_second_try() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, MovingLoop)
    loop.places, addresses = ["127.0.0.1", "127.0.0.1"], Addresses()
    port = free_port()
    for expected in (1, 2):
        with pytest.raises(Down, match="cannot be reached"):
            await open_socket("vendor/x", f"ws://vendor:{port}/", {}, 1.0, "KEY", addresses)
        assert loop.asked == expected
