"""Media past the library's parser: the same bytes, cut anywhere, mean what they mean to the library, and cost less.

The real protocol on a virtual clock; the library's own `ServerProtocol` says what is right.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, cast

import pytest
import uvicorn
from hypothesis import example, given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Event
from websockets.server import ServerProtocol

from edge.media.text_frames import text_frame, whole_text
from edge.media.websocket import EXTENSION, PIECE_BYTES, MediaSocketProtocol
from tests.clock import VirtualLoop
from tests.hypothesis_profile import examples

pytestmark = pytest.mark.fast

BYTES_MAX = 64 * 1024
HANDSHAKE = (
    b"GET /ws/x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MASK = b"\x12\x00\xfe\x81"


def frame(kind: int, payload: bytes, mask: bytes = MASK, size_bytes: int | None = None) -> bytes:
    """A client's frame; `size_bytes` 2 or 8 writes a small length in the long form."""
    size = len(payload)
    if size_bytes is None:
        size_bytes = 0 if size < 126 else 2 if size < 65536 else 8
    seven_bits = {0: size, 2: 126, 8: 127}[size_bytes]
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if mask else payload
    flag = 0x80 if mask else 0
    long_form = size.to_bytes(size_bytes, "big") if size_bytes else b""
    return bytes([kind, flag | seven_bits]) + long_form + mask + masked


@dataclass
class Seen:
    """What became of a stream of bytes."""

    texts: list[bytes] = field(default_factory=list)
    binaries: int = 0
    written: bytes = b""
    """Pongs, and our close frame."""
    close_code: int | None = None
    closes: list[bool | None] = field(default_factory=list)


class Wire(asyncio.Transport):
    """What the edge writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Nothing is read but what a test sends."""

    def resume_reading(self) -> None:
        """Likewise."""


class ByTheLibrary(MediaSocketProtocol):
    """The same socket whose library parses everything."""

    def _take_texts(self, data: bytes) -> int:
        return 0


async def attached(kind: type[MediaSocketProtocol] = MediaSocketProtocol) -> tuple[MediaSocketProtocol, Wire, Seen]:
    seen, wire = Seen(), Wire()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        socket = cast(MediaSocketProtocol, scope["extensions"][EXTENSION])

        def binary() -> None:
            seen.binaries += 1

        socket.attach(seen.texts.append, binary, seen.closes.append)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    config = uvicorn.Config(
        app, ws_max_size=BYTES_MAX, ws_ping_interval=None, ws_per_message_deflate=False, log_config=None
    )
    socket = kind(config, ServerState(), {}, asyncio.get_running_loop())
    socket.connection_made(wire)
    socket.data_received(HANDSHAKE)
    await asyncio.sleep(0.01)
    wire.written.clear()
    return socket, wire, seen


def run(call: Any) -> Any:
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(call)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()


def by_the_edge(pieces: list[bytes], kind: type[MediaSocketProtocol] = MediaSocketProtocol) -> Seen:
    async def call() -> Seen:
        socket, wire, seen = await attached(kind)
        for piece in pieces:
            if not wire.is_closing():
                socket.data_received(piece)
        sent = socket.conn.close_sent
        seen.written, seen.close_code = b"".join(wire.written), sent.code if sent is not None else None
        return seen

    found: Seen = run(call())
    return found


def by_the_reference(stream: bytes) -> Seen:
    """What websockets makes of it, byte by byte: every message before an error counts."""
    reference, seen = ServerProtocol(max_size=BYTES_MAX), Seen()
    reference.receive_data(HANDSHAKE)
    (request,) = reference.events_received()
    assert isinstance(request, Request)
    reference.send_response(reference.accept(request))
    reference.data_to_send()
    message, kind = b"", Opcode.TEXT
    for at in range(len(stream)):
        reference.receive_data(stream[at : at + 1])
        for event in cast(list[Event], reference.events_received()):
            assert isinstance(event, Frame)
            if event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                kind = kind if event.opcode is Opcode.CONT else event.opcode
                message += bytes(event.data)
                if event.fin and kind is Opcode.TEXT:
                    seen.texts.append(message)
                seen.binaries += event.fin and kind is Opcode.BINARY
                message = b"" if event.fin else message
        seen.written += b"".join(reference.data_to_send())
        if reference.close_sent is not None:
            break
    seen.close_code = reference.close_sent.code if reference.close_sent is not None else None
    return seen


PAYLOADS = st.one_of(st.binary(max_size=12), st.integers(100, 700).map(lambda size: b"{" * size))
TEXTS = st.tuples(st.just(0x81), PAYLOADS, st.binary(min_size=4, max_size=4)).map(lambda parts: frame(*parts))
OTHERS = st.one_of(
    PAYLOADS.map(lambda text: frame(0x01, text) + frame(0x80, b"rest")),
    PAYLOADS.map(lambda text: frame(0x01, text) + frame(0x89, b"?") + frame(0x00, b"") + frame(0x80, text)),
    PAYLOADS.map(lambda data: frame(0x82, data)),
    st.binary(max_size=125).map(lambda data: frame(0x89, data)),
    st.binary(max_size=125).map(lambda data: frame(0x8A, data)),
    st.sampled_from([frame(0x81, b"long form", size_bytes=2), frame(0x81, b"longer form", size_bytes=8)]),
)
NESTED = frame(0x81, frame(0x81, b"within"), mask=bytes(4))
"""A text that looks like a frame itself, if the cut falls behind the head."""
BAD = (
    [frame(0x81, b"not masked", mask=b"")],
    [frame(0xC1, b"a reserved bit")],
    [frame(0x83, b"a reserved opcode")],
    [frame(0x80, b"the rest of nothing")],
    [frame(0x89, b"p" * 126)],
    [bytes([0x81, 0xFF]) + (BYTES_MAX + 1).to_bytes(8, "big") + MASK],
    [frame(0x88, b"\x03\xe8")],
    [frame(0x88, b"\x03\xe8\xff")],
    [frame(0x01, b"half"), frame(0x81, b"another one meanwhile")],
)


@st.composite
def cut_streams(draw: st.DrawFn) -> tuple[list[bytes], bool]:
    """A stream, cut anywhere, and whether all of it is good."""
    ends = draw(st.booleans())
    frames = draw(st.lists(st.one_of(TEXTS, TEXTS, OTHERS), max_size=8))
    frames += [*draw(st.sampled_from(BAD)), frame(0x81, b"behind")] if ends else []
    whole, borders = b"".join(frames), [*accumulate(map(len, frames), initial=0)]
    cuts = draw(st.lists(st.sampled_from(borders) | st.integers(0, len(whole)), max_size=8))
    edges = sorted({0, *cuts, len(whole)})
    return [whole[a:b] for a, b in pairwise(edges)], not ends


@given(cut_streams())
@example(([frame(0x81, b"a"), frame(0x81, b"bc")[:3], frame(0x81, b"bc")[3:] + frame(0x81, b"d")], True))
@example(([NESTED[:6], NESTED[6:]], True))
@settings(max_examples=examples(300), deadline=None)
def test_the_same_bytes_cut_anywhere_mean_what_they_mean_to_the_library(stream: tuple[list[bytes], bool]) -> None:
    pieces, good = stream
    right, seen = by_the_reference(b"".join(pieces)), by_the_edge(pieces)
    assert (seen.written, seen.close_code) == (right.written, right.close_code)
    if good:
        assert (seen.texts, seen.binaries) == (right.texts, right.binaries)
        assert seen.closes == []
    else:  # what the library parsed in the piece that ends in an error it does not report
        slow = by_the_edge(pieces, ByTheLibrary)
        assert (seen.written, seen.close_code, seen.closes) == (slow.written, slow.close_code, slow.closes)
        assert len(slow.texts) <= len(seen.texts)
        assert seen.texts == right.texts[: len(seen.texts)]


@given(st.lists(st.binary(max_size=400).map(lambda text: frame(0x81, text)), min_size=1, max_size=40), st.data())
@settings(max_examples=examples(100), deadline=None)
def test_texts_cut_anywhere_arrive_once_and_in_order(frames: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(frames)
    edges = sorted({0, *data.draw(st.lists(st.integers(0, len(whole)), max_size=12)), len(whole)})
    assert by_the_edge([whole[a:b] for a, b in pairwise(edges)]) == by_the_edge(frames)


def test_a_whole_text_does_not_pass_the_library_and_anything_else_does() -> None:
    async def call() -> None:
        socket, _, seen = await attached()
        parsed: list[bytes] = []
        receive = socket.conn.receive_data
        socket.conn.receive_data = lambda data: (parsed.append(bytes(data)), receive(data))[1]  # type: ignore[method-assign]
        ping, whole, large = frame(0x89, b"?"), frame(0x81, b"whole"), frame(0x81, b"l" * 9000)
        socket.data_received(whole + whole + large)
        assert parsed == []
        socket.data_received(whole + ping)
        assert parsed == [ping]
        socket.data_received(whole[:1])  # in the middle of a head the library's buffer is empty, and it is not ready
        socket.data_received(whole[1:2])
        socket.data_received(whole[2:] + whole)
        assert parsed == [ping, whole[:1], whole[1:2], whole[2:] + whole]
        socket.data_received(whole)
        assert len(parsed) == 4
        socket.data_received(frame(0x01, b"be"))
        socket.data_received(frame(0x80, b"gun"))
        assert len(parsed) == 6
        assert seen.texts == [b"whole"] * 2 + [b"l" * 9000] + [b"whole"] * 4 + [b"begun"]

    run(call())


def test_after_the_call_closed_the_socket_the_library_gets_what_is_left() -> None:
    async def call() -> None:
        socket, wire, seen = await attached()
        whole = frame(0x81, b"more")

        def last(text: bytes) -> None:
            seen.texts.append(text)
            socket.end()

        socket.attach(last, lambda: None, seen.closes.append)
        socket.data_received(whole * 3 + frame(0x88, b"\x03\xe8"))
        assert seen.texts == [b"more"]
        assert wire.closed, "the peer's close frame completed the handshake"

    run(call())


@pytest.mark.parametrize("texts", [1, 3, 50])
def test_frames_are_counted_whichever_way_they_go(texts: int) -> None:
    """An empty frame has six bytes: a thousand fit into one read."""
    frames = [frame(0x81, b"")] * 8000
    pieces = [b"".join(frames[at : at + texts]) for at in range(0, len(frames), texts)]
    fast, slow = by_the_edge(pieces), by_the_edge(pieces, ByTheLibrary)
    assert fast.close_code == slow.close_code == 1008
    assert fast.closes == slow.closes == [False]
    assert abs(len(fast.texts) - len(slow.texts)) <= PIECE_BYTES // 6


@given(st.binary(max_size=300), st.integers(0, 3))
def test_a_frame_that_is_not_all_there_is_none(text: bytes, before: int) -> None:
    whole = frame(0x81, text)
    data = bytes(before) + whole
    assert whole_text(data, before, BYTES_MAX) == (text, len(data))
    for end in range(before, len(data)):
        assert whole_text(data[:end], before, BYTES_MAX) is None
    assert whole_text(data, before, len(text) - 1) is None


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 359, 65535, 65536, 70000])
def test_our_frames_are_those_of_the_library(size: int) -> None:
    text = b"t" * size
    assert text_frame(text) == Frame(Opcode.TEXT, text).serialize(mask=False)


def test_messages_that_are_due_together_leave_in_one_write() -> None:
    async def call() -> None:
        socket, wire, _ = await attached()
        socket.send_texts([b"one", b"t" * 300])
        assert wire.written == [text_frame(b"one") + text_frame(b"t" * 300)]
        socket.end()
        wire.written.clear()
        socket.send_texts([b"late"])
        assert wire.written == []

    run(call())
