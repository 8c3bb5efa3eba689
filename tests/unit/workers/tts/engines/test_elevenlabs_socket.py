"""One clause at ElevenLabs' socket: what it keeps for its listener, and when it stops keeping."""

from __future__ import annotations

import asyncio

import pytest

from tests.deadlines import WAIT_S
from workers.providers.interfaces import CharTimings, Down
from workers.tts.engines.elevenlabs_messages import Alignment, SocketMessage
from workers.tts.engines.elevenlabs_socket import AUDIO_BYTES_MAX, ClauseContext

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

HI = Alignment(("H", "i"), (0, 50), 100)


def context() -> ClauseContext:
    return ClauseContext("7", "Hi", fresh=False)


async def test_marks_come_before_their_audio_and_the_end_after_all() -> None:
    one = context()
    one.receive(SocketMessage("7", b"\x01" * 800, HI), "x")
    one.receive(SocketMessage("7", final=True), "x")
    assert [await one.next(1), await one.next(1), await one.next(1)] == [
        CharTimings(((0, 0), (1, 50))),
        b"\x01" * 800,
        None,
    ]


async def test_what_came_before_an_error_is_heard_first_and_nothing_after_it() -> None:
    one = context()
    one.receive(SocketMessage("7", b"\x01"), "x")
    one.end(Down("it broke"))
    one.receive(SocketMessage("7", b"\x02"), "x")
    assert await one.next(1) == b"\x01"
    with pytest.raises(Down, match="it broke"):
        await one.next(1)


async def test_a_clause_that_nobody_wants_keeps_nothing() -> None:
    one = context()
    one.left_at = 1.0
    one.receive(SocketMessage("7", b"\x01"), "x")
    one.receive(SocketMessage("7", final=True), "x")
    assert await one.next(1) is None


async def test_a_voice_without_an_end_is_cut() -> None:
    one = context()
    second = b"\x01" * 8000
    for _ in range(2 * AUDIO_BYTES_MAX // len(second)):
        one.receive(SocketMessage("7", second), "x")
    heard = 0
    with pytest.raises(Down, match="does not come to an end"):
        while sound := await one.next(1):
            heard += len(sound) if isinstance(sound, bytes) else 0
    assert heard <= AUDIO_BYTES_MAX + len(second)


async def test_messages_without_sound_buy_no_time() -> None:
    one = context()

    async def chatter() -> None:
        while True:
            one.receive(SocketMessage("7"), "x")
            await asyncio.sleep(0.001)

    chatting = asyncio.create_task(chatter())
    async with asyncio.timeout(WAIT_S):  # for a faulty one
        with pytest.raises(TimeoutError):
            await one.next(0.02)
    assert not chatting.done()
    chatting.cancel()
    await asyncio.wait([chatting])
