"""A vendor's WebSocket, frame by frame: whatever it sends, the owner gets whole messages or an end with a code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clock import VirtualLoop
from tests.unit.workers.providers.vendor_end import VendorEnd, frame
from workers.providers.vendor_socket import (
    CLOSE_SECONDS,
    MESSAGES_WAITING_MAX,
    PINGS_MAX,
    UNSENT_BYTES_MAX,
    WRITABLE_BYTES,
    SocketClosed,
)
from workers.providers.websocket import answers_ping

pytestmark = pytest.mark.fast

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
SMALL = 1000
"""The longest message of tests about too long ones."""


def run(call: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(call)


def phone(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Runs an async test on the virtual clock."""

    def whole() -> None:
        run(test())

    whole.__name__, whole.__doc__ = test.__name__, test.__doc__
    return whole


class Owner:
    """Listens by callbacks, and notes what it gets."""

    def __init__(self, vendor: VendorEnd) -> None:
        self.messages: list[str | bytes] = []
        self.ends: list[SocketClosed] = []
        self.writable = 0
        vendor.socket.listen(self.messages.append, self.ends.append, self._count)

    def _count(self) -> None:
        self.writable += 1


async def ended_by(data: bytes, message_bytes_max: int = SMALL) -> tuple[list[str | bytes], int | None, int]:
    """What an owner gets of these bytes, the code it is closed with, and the code that the vendor gets."""
    vendor = VendorEnd(message_bytes_max).accept()
    owner = Owner(vendor)
    vendor.bytes(data)
    assert len(owner.ends) <= 1
    return owner.messages, vendor.closed_with, owner.ends[0].code if owner.ends else 0


@phone
async def test_messages_come_as_they_were_sent_and_none_is_lost_before_the_owner_listens() -> None:
    vendor = VendorEnd(headers={"Authorization": "Token k"}).accept()
    vendor.sends("early", b"\x00\xff")
    owner = Owner(vendor)
    vendor.sends("", "später", b"", bytes(SMALL))
    assert owner.messages == ["early", b"\x00\xff", "", "später", b"", bytes(SMALL)]
    assert vendor.request is not None and vendor.request.headers["Authorization"] == "Token k"
    assert vendor.request.headers["Host"] == "vendor" and "Sec-WebSocket-Extensions" not in vendor.request.headers


@phone
async def test_control_frames_between_the_fragments_of_a_message_are_answered_and_part_nothing() -> None:
    vendor = VendorEnd().accept()
    owner = Owner(vendor)
    vendor.bytes(
        frame(TEXT, "ü".encode()[:1], fin=False)  # a letter that is cut in two
        + frame(PING, b"still there?")
        + frame(CONT, "ü".encode()[1:], fin=False)
        + frame(PONG, b"unasked")
        + frame(CONT, b"", fin=False)
        + frame(CONT, b"ber")
        + frame(BINARY, b"a", fin=False)
        + frame(CONT, b"b")
    )
    assert owner.messages == ["über", b"ab"] and vendor.pongs == [b"still there?"]


BREACHES = {
    "a masked frame": (frame(TEXT, b"x", mask=True), 1002),
    "the first reserved bit": (frame(TEXT, b"x", reserved=4), 1002),
    "the second reserved bit": (frame(BINARY, b"x", reserved=2), 1002),
    "the third reserved bit": (frame(PING, b"x", reserved=1), 1002),
    "a reserved opcode": (frame(3, b"x"), 1002),
    "a reserved control opcode": (frame(11, b"x"), 1002),
    "a continuation of nothing": (frame(CONT, b"x"), 1002),
    "a message within a message": (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
    "a ping in fragments": (frame(PING, b"x", fin=False), 1002),
    "a long ping": (frame(PING, bytes(126)), 1002),
    "a close within a message": (frame(TEXT, b"x", fin=False) + frame(CLOSE, b"\x03\xe8"), 1002),
    "a close of one byte": (frame(CLOSE, b"\x03"), 1002),
    "a close code that does not exist": (frame(CLOSE, (999).to_bytes(2, "big")), 1002),
    "a close reason that is no UTF-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    "text that is no UTF-8": (frame(TEXT, b"\xff"), 1007),
    "text that is no UTF-8 in fragments": (frame(TEXT, b"\xc3", fin=False) + frame(CONT, b"x"), 1007),
    "a message that is too long": (frame(BINARY, bytes(SMALL + 1)), 1009),
    "fragments that are too long": (
        frame(BINARY, bytes(SMALL), fin=False) + frame(CONT, b"", fin=False) + frame(CONT, b"x"),
        1009,
    ),
    "a length beyond all memory": (b"\x82\x7f" + (2**62).to_bytes(8, "big"), 1009),
}


@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_of_the_protocol_ends_the_socket_and_what_came_before_it_counts(name: str) -> None:
    async def call() -> None:
        breach, code = BREACHES[name]
        messages, told, code_for_owner = await ended_by(frame(TEXT, b"before") + breach + frame(TEXT, b"after"))
        assert messages == ["before"] and told == code
        assert code_for_owner in ({1000, 1006} if name == "a close within a message" else {1006})

    run(call())


@phone
async def test_the_vendors_close_comes_after_its_last_message_with_code_and_reason() -> None:
    vendor = VendorEnd().accept()
    owner = Owner(vendor)
    vendor.bytes(frame(TEXT, b"last") + frame(CLOSE, (1013).to_bytes(2, "big") + b"busy") + frame(TEXT, b"after"))
    assert owner.messages == ["last"] and [(end.code, end.reason) for end in owner.ends] == [(1013, "busy")]
    assert vendor.closed_with == 1013, "the close is answered"
    with pytest.raises(SocketClosed, match="1013"):
        vendor.socket.send("more")
    await asyncio.sleep(CLOSE_SECONDS + 0.1)
    assert vendor.cut, "the vendor left the connection open"
    await asyncio.sleep(0.1)
    assert len(owner.ends) == 1


@pytest.mark.parametrize("dies", [VendorEnd.ends, VendorEnd.abort])
def test_a_connection_that_ends_without_a_close_ends_with_1006(dies: Callable[[VendorEnd], None]) -> None:
    async def call() -> None:
        vendor = VendorEnd().accept()
        owner = Owner(vendor)
        vendor.bytes(frame(TEXT, b"half a message")[:-3])
        dies(vendor)
        await asyncio.sleep(0.1)
        assert owner.messages == [] and [end.code for end in owner.ends] == [1006]
        assert not vendor.socket.is_open

    run(call())


@phone
async def test_a_reader_gets_what_came_before_the_end_and_then_the_end() -> None:
    vendor = VendorEnd().accept()
    vendor.sends("one")
    vendor.bytes(frame(CLOSE))
    assert await vendor.socket.recv() == "one"
    for _ in range(2):
        with pytest.raises(SocketClosed) as end:
            await vendor.socket.recv()
        assert end.value.code == 1005, "the vendor's close had no code"


@phone
async def test_a_reader_that_waits_is_woken_by_a_message_and_by_the_end_and_may_be_cancelled() -> None:
    vendor = VendorEnd().accept()
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await vendor.socket.recv()
    reading = asyncio.create_task(vendor.socket.recv())
    await asyncio.sleep(0.1)
    vendor.sends("one", "two")
    assert await reading == "one" and await vendor.socket.recv() == "two"
    reading = asyncio.create_task(vendor.socket.recv())
    await asyncio.sleep(0.1)
    vendor.socket.abort()
    with pytest.raises(SocketClosed):
        await reading


@phone
async def test_a_vendor_that_is_ahead_of_its_reader_is_not_read_any_more() -> None:
    vendor = VendorEnd().accept()
    for number in range(MESSAGES_WAITING_MAX):
        assert not vendor.paused
        vendor.sends(str(number))
    assert vendor.paused
    for number in range(MESSAGES_WAITING_MAX):
        assert await vendor.socket.recv() == str(number)
    assert not vendor.paused


@phone
async def test_a_vendor_that_takes_nothing_is_known_and_then_cut() -> None:
    vendor = VendorEnd().accept()
    owner = Owner(vendor)
    vendor.reads = False
    vendor.socket.send(bytes(WRITABLE_BYTES - 100))
    assert vendor.socket.writable
    vendor.socket.send(bytes(200))
    assert not vendor.socket.writable and vendor.socket.unsent_bytes > WRITABLE_BYTES
    vendor.reads_again()
    assert vendor.socket.writable and owner.writable == 1 and len(vendor.received) == 2
    vendor.reads = False
    sent = 0
    with pytest.raises(SocketClosed):
        while sent <= 2 * UNSENT_BYTES_MAX:
            vendor.socket.send(bytes(10_000))
            sent += 10_000
    assert sent <= UNSENT_BYTES_MAX + 10_000 and vendor.cut
    await asyncio.sleep(0.1)
    assert [end.code for end in owner.ends] == [1006]


@phone
async def test_a_vendor_that_pings_and_takes_no_pong_is_cut() -> None:
    vendor = VendorEnd().accept()
    Owner(vendor)
    vendor.reads = False
    pings = 0
    while not vendor.cut:
        vendor.bytes(frame(PING, bytes(125)))
        pings += 1
        assert pings <= UNSENT_BYTES_MAX // 125 + 1
    assert vendor.socket.unsent_bytes <= UNSENT_BYTES_MAX + 200


@phone
async def test_a_message_that_must_leave_waits_for_room_until_its_deadline_or_the_end() -> None:
    vendor = VendorEnd().accept()
    await vendor.socket.send_within("at once", 1.0)
    vendor.reads = False
    with pytest.raises(TimeoutError):
        await vendor.socket.send_within(bytes(WRITABLE_BYTES + 1), 1.0)
    waits = [asyncio.create_task(vendor.socket.send_within(text, 5.0)) for text in ("one", "two")]
    await asyncio.sleep(0.1)
    vendor.reads_again()
    await asyncio.gather(*waits)
    assert vendor.received[-2:] == ["one", "two"]
    vendor.reads = False
    wait = asyncio.create_task(vendor.socket.send_within(bytes(WRITABLE_BYTES + 1), 5.0))
    await asyncio.sleep(0.1)
    vendor.abort()
    with pytest.raises(SocketClosed):
        await wait


@phone
async def test_pings_are_answered_by_their_own_pongs_and_by_the_end() -> None:
    vendor = VendorEnd().accept()
    answers: list[tuple[int, bool]] = []
    for number in range(PINGS_MAX + 1):
        vendor.socket.ping(lambda answered, number=number: answers.append((number, answered)))  # type: ignore[misc]
    assert answers == [(0, False)], "of more the oldest is given up"
    vendor.bytes(frame(PONG, b"another's") + frame(PONG, vendor.pings[2]) + frame(PONG, vendor.pings[2]))
    assert answers == [(0, False), (2, True)]
    vendor.ends()
    await asyncio.sleep(0.1)
    assert sorted(answers[2:]) == [(number, False) for number in (1, 3, 4, 5, 6, 7, 8)]
    with pytest.raises(SocketClosed):
        vendor.socket.ping(lambda answered: None)
    assert not await answers_ping(vendor.socket)


@phone
async def test_closing_says_goodbye_and_waits_for_a_vendor_no_longer_than_a_second() -> None:
    now = asyncio.get_running_loop().time
    for polite in (True, False):
        vendor = VendorEnd().accept()
        owner = Owner(vendor)
        began = now()
        closing = asyncio.create_task(vendor.socket.close())
        await asyncio.sleep(0.1)
        assert vendor.closed_with == 1000
        vendor.sends("too late")
        if polite:
            vendor.bytes(frame(CLOSE, b"\x03\xe8"))
            vendor.ends()
        await closing
        assert now() - began == pytest.approx(0.1 if polite else CLOSE_SECONDS, abs=0.05) and vendor.cut
        assert owner.messages == [] and owner.ends == [], "who closes hears nothing more"
        await vendor.socket.close()


# --- any bytes ------------------------------------------------------------------------------------------------------

SIZES = (125, 126, 65535, 65536)
"""Where the length of a frame takes another form."""
MESSAGES = st.lists(st.text(max_size=300) | st.binary(max_size=300) | st.sampled_from(SIZES).map(bytes), max_size=8)


@dataclass(frozen=True, slots=True, repr=False)
class Cut:
    """Messages, and their bytes in pieces."""

    messages: list[str | bytes]
    pieces: list[bytes]

    def __repr__(self) -> str:
        """Short, whatever the messages: hypothesis prints them."""
        return f"<{[message[:50] for message in self.messages]} in {[len(piece) for piece in self.pieces]}>"


@st.composite
def chunked(draw: st.DrawFn) -> Cut:
    """Messages, in fragments with pings between them; and their bytes in pieces of any size."""
    messages, data = draw(MESSAGES), b""
    for message in messages:
        payload = message.encode() if isinstance(message, str) else message
        ends = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3)))
        bounds = list(pairwise([0, *ends, len(payload)]))
        for number, (start, end) in enumerate(bounds):
            opcode = CONT if number else TEXT if isinstance(message, str) else BINARY
            data += frame(opcode, payload[start:end], fin=number == len(bounds) - 1)
            data += draw(st.sampled_from([b"", frame(PING, b"?"), frame(PONG)]))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=20)))
    return Cut(messages, [data[start:end] for start, end in pairwise([0, *cuts, len(data)])])


@given(chunked())
def test_messages_are_the_same_however_their_bytes_are_cut(sent: Cut) -> None:
    async def call() -> None:
        vendor = VendorEnd().accept()
        owner = Owner(vendor)
        for piece in sent.pieces:
            vendor.bytes(piece)
        assert owner.messages == sent.messages and owner.ends == [] and vendor.closed_with is None
        vendor.ends()
        await asyncio.sleep(0)
        assert [end.code for end in owner.ends] == [1006]

    run(call())


@given(
    st.lists(st.binary(max_size=40) | st.builds(frame, st.integers(0, 15), st.binary(max_size=130), fin=st.booleans()))
)
def test_garbage_ends_the_socket_once_or_is_messages_and_raises_nothing(chunks: list[bytes]) -> None:
    async def call() -> None:
        whole, pieces = VendorEnd(SMALL).accept(), VendorEnd(SMALL).accept()
        owners = Owner(whole), Owner(pieces)
        whole.bytes(b"".join(chunks))
        for chunk in chunks:
            for at in range(0, len(chunk), 7):
                pieces.bytes(chunk[at : at + 7])
        assert owners[0].messages == owners[1].messages and len(owners[0].ends) == len(owners[1].ends) <= 1
        # Of two breaches in one segment the later may be told: the parser is ahead of the decoding of texts.
        assert (whole.closed_with is None) == (pieces.closed_with is None)

    run(call())


@given(st.text(max_size=200) | st.binary(max_size=200) | st.sampled_from(SIZES))
def test_what_is_sent_arrives(sent: str | bytes | int) -> None:
    async def call() -> None:
        message = bytes(sent) if isinstance(sent, int) else sent
        vendor = VendorEnd().accept()
        vendor.socket.send(message)
        assert vendor.received == [message], "whole, masked, in one frame"

    run(call())


@given(st.binary(max_size=200), st.booleans())
def test_an_answer_that_is_no_handshake_is_refused(data: bytes, is_http: bool) -> None:
    async def call() -> None:
        vendor = VendorEnd()
        vendor.socket.connection_made(vendor)
        vendor.bytes((b"HTTP/1.1 101 Switching Protocols\r\n" if is_http else b"") + data)
        vendor.ends()
        await asyncio.sleep(0)
        assert vendor.socket.opened.done() and vendor.socket.opened.exception() is not None
        assert not vendor.socket.is_open

    run(call())
