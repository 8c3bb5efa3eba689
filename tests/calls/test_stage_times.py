"""The stages of an answer add up to what the caller's own clock says, from their last word to the agent's first.

The caller's clock: the last frame of speech is whole at the edge, and the first frame of the answer leaves it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from common.protocol.fields import STAGES
from common.protocol.messages import (
    PlaybackStarted,
)
from tests.calls.phone import Phone
from tests.host_clock import loop_clock
from workers.providers.interfaces import ListenOptions

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

ACCURACY_MS = 5
TEXT = "May I come today"
ANSWER = "Yes, of course you may, and we are glad of it. We are here until six."
PREEMPTIVE = ListenOptions()
NOT_PREEMPTIVE = ListenOptions(eager_endpointing_ms=0)


class TimedPhone(Phone):
    """Notes when the last frame of speech was there, and when each frame of the agent's left."""

    def next_frame(self) -> bytes | None:
        speaks = bool(self.speech)
        frame = super().next_frame()
        if speaks:
            self.spoke_s = asyncio.get_running_loop().time()
        return frame

    def first_frame_s(self) -> float:
        """When the first frame of the answer reached the line."""
        return min(start for start, _ in self.line._queue if start > self.spoke_s)


@asynccontextmanager
async def call(listen: ListenOptions, word_s: float = 0.02, voice_s: float = 0.05) -> AsyncIterator[TimedPhone]:
    phone = TimedPhone(listen=listen)
    phone.mind.answers[TEXT] = ANSWER
    phone.mind.word_seconds, phone.mouth.first_chunk_seconds = word_s, voice_s
    with loop_clock():
        await phone.start()
        try:
            await phone.silence()
            yield phone
        finally:
            await phone.close()


async def stages(phone: TimedPhone, text: str = TEXT) -> dict[str, float]:
    """Ask, and return the time of each stage in ms after the caller's last word."""
    begun = len(phone.events)
    await phone.says(text)
    await phone.hears("until six.")
    (started,) = [event for event in phone.events[begun:] if isinstance(event, PlaybackStarted)]
    assert len(started.stage_ms) == len(STAGES)
    return {stage: at_ms - 1000 * phone.spoke_s for stage, at_ms in zip(STAGES, started.stage_ms, strict=True)} | {
        "heard": 1000 * (phone.first_frame_s() - phone.spoke_s)
    }


@pytest.mark.parametrize("listen", [PREEMPTIVE, NOT_PREEMPTIVE], ids=["preemptive", "not preemptive"])
@pytest.mark.parametrize(("word_s", "voice_s"), [(0.02, 0.05), (0.1, 0.2), (0.001, 0.003)])
async def test_the_stages_add_up_to_what_the_caller_waits(listen: ListenOptions, word_s: float, voice_s: float) -> None:
    async with call(listen, word_s, voice_s) as phone:
        found = await stages(phone)
        assert abs(found["speech_end"]) <= ACCURACY_MS
        assert abs(found["first_frame"] - found["heard"]) <= ACCURACY_MS
        assert abs((found["first_frame"] - found["speech_end"]) - found["heard"]) <= ACCURACY_MS
        times = [found[stage] for stage in STAGES]
        assert times == sorted(times), "no stage takes less than no time, so they add up to the whole"


async def test_the_stages_show_who_was_slow() -> None:
    async with call(NOT_PREEMPTIVE, word_s=0.1, voice_s=0.2) as phone:
        found = await stages(phone)
        assert found["endpoint"] - found["speech_end"] == pytest.approx(500, abs=40)
        assert found["first_token"] - found["transcript"] == pytest.approx(100, abs=40)
        assert found["first_audio"] - found["first_clause"] == pytest.approx(200, abs=40)


async def test_a_reply_that_was_begun_early_costs_no_time_of_the_model_or_the_voice() -> None:
    async with call(PREEMPTIVE, word_s=0.01, voice_s=0.05) as phone:
        found = await stages(phone)
        assert found["first_audio"] - found["transcript"] == pytest.approx(0, abs=ACCURACY_MS)
        assert found["first_frame"] == pytest.approx(500, abs=60)
