"""A socket breaks in the agent's sentence, and the carrier comes back: the edge says how far the caller had heard."""

from __future__ import annotations

import pytest

from common.protocol.fields import HeardPosition
from common.protocol.messages import (
    AudioIn,
    AudioOut,
    CallStarted,
)
from common.protocol.redis_keys import edge_audio
from tests.e2e.loopback_edge import EDGE, Phone, phone, running_edge, start_of

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

FRAME = bytes([16]) * 160


async def hears_for(caller: Phone, ms: int) -> HeardPosition:
    """Speak in the agent's time, which proves that the line lives, until the frames say that so much was heard."""
    heard: HeardPosition = ()
    frames = 0
    while len(heard) != 3 or heard[2] < ms:
        await caller.until("playAudio")
        await caller.say(FRAME)
        frames += 1
        heard = (await caller.audio.until(AudioIn, frames))[-1].heard
    return heard


async def test_the_next_connection_begins_with_what_was_heard_on_the_last() -> None:
    async with running_edge() as edge, edge.call("c-1") as caller:
        for seq in range(0, 500, 10):
            edge.workers.publish(edge_audio(EDGE), AudioOut("c-1", 1, 1, 1, 0, seq, FRAME * 10, last=seq == 490))
        heard = await hears_for(caller, 200)
        caller.socket.transport.abort()
        async with phone(caller.url) as again:
            again.take(edge, "c-1")
            await again.send(start_of("c-1"))
            started = (await again.events.until(CallStarted, 2))[-1]
            assert started.epoch == 2
            assert started.heard[:2] == heard[:2] == (1, 0)
            assert started.heard[2] >= heard[2]
            edge.hangup("c-1")
