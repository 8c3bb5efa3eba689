"""The reading side of a lane, at a connection by hand: what it asks, when, and what becomes of a silent server."""

import asyncio
from collections.abc import Callable
from typing import Any

import hiredis
import pytest

from common.bus.reader import ANSWER_SECONDS, BLOCK_MS, READ_COUNT, LaneSubscription, Reader
from common.protocol.codec import encode
from common.protocol.messages import DtmfReceived, Message
from common.redis.connection import pack

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


class Server:
    """A connection by hand: notes the requests, answers when told to."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.aborted = False
        self._answer: Callable[[Any], None] | None = None

    def promise(self) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    def forget(self, promised: asyncio.Future[Any]) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True

    def send(self, packed: bytes, on_reply: Callable[[Any], None], replies: int) -> None:
        assert self._answer is None, "one request at a time"
        self.requests.append(packed)
        self._answer = on_reply

    def answers(self, reply: Any) -> None:
        answer, self._answer = self._answer, None
        assert answer is not None, "nothing was asked"
        answer(reply)


def digits(stream: bytes, *entries: tuple[bytes, str]) -> list[Any]:
    return [stream, [(entry_id, [b"d", encode(DtmfReceived(digit, 1))]) for entry_id, digit in entries]]


def xread(*streams_and_positions: bytes) -> bytes:
    return pack("XREAD", "COUNT", READ_COUNT, "BLOCK", BLOCK_MS, "STREAMS", *streams_and_positions)


class Heard:
    def __init__(self, reader: Reader, stream: bytes, then: Callable[[], None] = lambda: None) -> None:
        self.digits: list[str] = []
        self._then = then
        self.subscription = LaneSubscription(reader, stream, self._receive, lambda error: None, b"0-0")
        reader.add(self.subscription)

    def _receive(self, entry_id: str, message: Message) -> None:
        assert isinstance(message, DtmfReceived)
        self.digits.append(message.digit)
        self._then()


async def reading(reader: Reader, server: Server) -> asyncio.Task[None]:
    task = asyncio.create_task(reader.run(server))  # type: ignore[arg-type]
    await asyncio.sleep(0.0001)
    return task


async def test_it_asks_for_every_stream_behind_what_it_has_at_once() -> None:
    reader, server = Reader(pause_ms=10), Server()
    one, two = Heard(reader, b"call:1"), Heard(reader, b"call:2")
    task = await reading(reader, server)
    assert server.requests == [xread(b"call:1", b"call:2", b"0-0", b"0-0")]
    server.answers([digits(b"call:1", (b"5-0", "1"), (b"5-1", "2"))])
    assert (one.digits, two.digits) == (["1", "2"], [])
    assert server.requests[1:] == [xread(b"call:1", b"call:2", b"5-1", b"0-0")]
    server.answers(None)  # nothing came while it blocked
    assert len(server.requests) == 3
    task.cancel()


async def test_in_a_busy_process_it_pauses_between_two_reads() -> None:
    reader, server = Reader(pause_ms=10), Server()
    Heard(reader, b"call:1")
    task = await reading(reader, server)
    server.answers(None)
    await asyncio.sleep(0.2)
    server.answers([digits(b"call:1", *((b"5-%d" % number, "1") for number in range(2000)))])
    await asyncio.sleep(0.055)
    assert len(server.requests) == 2
    await asyncio.sleep(0.01)
    assert server.requests[2:] == [xread(b"call:1", b"5-1999")]
    task.cancel()


async def test_a_call_that_begins_while_another_is_read_is_in_the_next_request() -> None:
    reader, server = Reader(pause_ms=10), Server()
    later: list[Heard] = []
    Heard(reader, b"call:1", then=lambda: later.append(Heard(reader, b"call:2")))
    task = await reading(reader, server)
    server.answers([digits(b"call:1", (b"5-0", "1"))])
    assert server.requests[1:] == [xread(b"call:1", b"call:2", b"5-0", b"0-0")]
    task.cancel()


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    reader, server = Reader(pause_ms=1), Server()
    Heard(reader, b"call:1")
    task = await reading(reader, server)
    await asyncio.sleep(ANSWER_SECONDS - 0.5)
    assert not task.done()
    await asyncio.sleep(1)
    assert isinstance(task.exception(), TimeoutError)
    assert server.aborted


async def test_a_server_that_answers_late_each_time_is_kept() -> None:
    reader, server = Reader(pause_ms=1), Server()
    Heard(reader, b"call:1")
    task = await reading(reader, server)
    for _ in range(4):
        await asyncio.sleep(BLOCK_MS / 1000 + 1)
        server.answers(None)
        await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()


async def test_a_server_that_cannot_serve_now_ends_the_reading() -> None:
    reader, server = Reader(pause_ms=1), Server()
    Heard(reader, b"call:1")
    task = await reading(reader, server)
    server.answers(hiredis.ReplyError("LOADING Redis is loading the dataset in memory"))
    await asyncio.sleep(0.001)
    assert isinstance(task.exception(), hiredis.ReplyError)


async def test_without_a_call_nothing_is_asked() -> None:
    reader, server = Reader(pause_ms=1), Server()
    task = await reading(reader, server)
    await asyncio.sleep(10)
    assert server.requests == []
    Heard(reader, b"call:1").subscription.close()
    server.answers(None)
    await asyncio.sleep(10)
    assert len(server.requests) == 1
    task.cancel()
