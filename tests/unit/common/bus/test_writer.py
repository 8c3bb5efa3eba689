"""The writing side of a lane: what it is given leaves in that order, whatever becomes of the connections."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from common.bus.outbox import OutboxEntry
from common.bus.writer import Gathering, Writer

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


class Line:
    """A connection by hand: remembers what was written, answers when told to, breaks when told to."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self.written = b""
        self._waiting: list[Callable[[Any], None]] = []

    def send(self, packed: bytes, on_reply: Callable[[Any], None], replies: int) -> None:
        if self.lost.is_set():
            raise ConnectionError
        self.written += packed
        self._waiting += [on_reply] * replies

    def answers(self, replies: int) -> None:
        for _ in range(replies):
            self._waiting.pop(0)(b"1-0")


def entries(letters: str) -> list[OutboxEntry]:
    return [OutboxEntry(letter.encode(), "call-1") for letter in letters]


async def test_what_is_written_while_a_connection_breaks_keeps_its_order() -> None:
    writer = Writer(flush_ms=1000, suspect=lambda: None)
    first, second = Line(), Line()
    writer.attach(first)  # type: ignore[arg-type]
    for entry in entries("abc"):
        writer.add(entry)
    writer.flush()
    first.answers(1)
    for entry in entries("de"):
        writer.add(entry)  # these wait for the next flush when the connection breaks
    first.lost.set()
    for entry in entries("fg"):
        writer.add(entry)
    writer.flush()  # its time has come, but there is no connection
    writer.add(entries("h")[0])
    writer.attach(second)  # type: ignore[arg-type]
    assert first.written == b"abc"
    assert second.written == b"bcdefgh"  # b and c were never acknowledged


async def test_a_connection_that_comes_back_before_the_flush_changes_no_order() -> None:
    writer = Writer(flush_ms=1000, suspect=lambda: None)
    first, second = Line(), Line()
    writer.attach(first)  # type: ignore[arg-type]
    writer.add(entries("a")[0])
    first.lost.set()
    writer.add(entries("b")[0])
    writer.attach(second)  # type: ignore[arg-type]
    writer.add(entries("c")[0])
    writer.flush()
    assert second.written == b"abc"


async def test_audio_in_advance_waits_for_other_audio_and_a_clause_for_nothing() -> None:
    writer = Writer(flush_ms=7, suspect=lambda: None)
    line = Line()
    writer.attach(line)  # type: ignore[arg-type]
    first, second, third = entries("abc")
    writer.add(first, Gathering.BY_LEAD)
    await asyncio.sleep(0.01)
    assert line.written == b""
    writer.add(second, Gathering.NOT)
    writer.add(third, Gathering.BY_LEAD)
    await asyncio.sleep(0)
    assert line.written == b"abc"  # what was published before leaves before it, what comes in the same turn with it
    await asyncio.sleep(0.05)
    assert line.written == b"abc"


async def test_audio_in_advance_waits_for_no_longer_because_more_comes() -> None:
    writer = Writer(flush_ms=7, suspect=lambda: None)
    line = Line()
    writer.attach(line)  # type: ignore[arg-type]
    for entry in entries("abcde"):
        writer.add(entry, Gathering.BY_LEAD)
        await asyncio.sleep(0.008)
    assert line.written == b"abc"
    writer.add(entries("f")[0])  # a frame of a caller, in a quiet process
    await asyncio.sleep(0)
    assert line.written == b"abcdef"


async def test_the_frames_of_one_call_leave_in_the_turn_of_the_loop_that_brought_them() -> None:
    writer = Writer(flush_ms=10, suspect=lambda: None)
    line = Line()
    writer.attach(line)  # type: ignore[arg-type]
    for number in range(100):
        writer.add(entries("x")[0])
        await asyncio.sleep(0)
        assert len(line.written) == number + 1
        await asyncio.sleep(0.02)


async def test_a_busy_process_gathers_its_audio_for_longer() -> None:
    writer = Writer(flush_ms=10, suspect=lambda: None)
    line = Line()
    writer.attach(line)  # type: ignore[arg-type]
    for _ in range(60):  # 6,000 frames a second
        for entry in entries("x" * 120):
            writer.add(entry)
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.05)
    line.written = b""
    writer.add(entries("y")[0])
    await asyncio.sleep(0.025)
    assert line.written == b""
    await asyncio.sleep(0.01)
    assert line.written == b"y"
