"""Speech that is news stops the agent; speech that is history does not."""

import asyncio
from typing import Any

import pytest

from common.protocol.messages import SpeechEnded, SpeechStarted
from edge.session.late_speech import HOLD_SECONDS, LateSpeechFilter
from tests.clock import VirtualLoop

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualLoop}


def began(utterance: int, position_ms: int) -> SpeechStarted:
    return SpeechStarted("call", 1, utterance, position_ms)


def over(utterance: int) -> SpeechEnded:
    return SpeechEnded("call", 1, utterance, 0)


async def test_fresh_news_is_told_at_once() -> None:
    told: list[SpeechStarted] = []
    LateSpeechFilter(told.append).started(began(1, 5000), 5400)
    assert told == [began(1, 5000)]


async def test_speech_that_is_over_by_the_time_it_is_told_stops_nothing() -> None:
    told: list[SpeechStarted] = []
    onsets = LateSpeechFilter(told.append)
    onsets.started(began(2, 5000), 9000)
    onsets.ended(over(2))
    await asyncio.sleep(2 * HOLD_SECONDS)
    assert told == []


async def test_a_caller_who_still_speaks_when_the_ears_catch_up_is_heard() -> None:
    told: list[SpeechStarted] = []
    onsets = LateSpeechFilter(told.append)
    onsets.started(began(2, 5000), 9000)
    onsets.ended(over(1))  # of the speech before
    assert told == []
    await asyncio.sleep(2 * HOLD_SECONDS)
    assert told == [began(2, 5000)]


async def test_of_late_news_in_a_row_only_the_last_can_still_be_going_on() -> None:
    told: list[SpeechStarted] = []
    onsets = LateSpeechFilter(told.append)
    for utterance in (2, 3):
        onsets.started(began(utterance, 1000 * utterance), 9000)
    await asyncio.sleep(2 * HOLD_SECONDS)
    assert told == [began(3, 3000)]


async def test_ears_that_were_replaced_do_not_hold_the_answer_for_an_end_that_never_comes() -> None:
    told: list[SpeechStarted] = []
    onsets = LateSpeechFilter(told.append)
    onsets.started(SpeechStarted("call", 2, 2, 5000), 9000)
    onsets.ended(SpeechEnded("call", 2, 2, 0))
    onsets.started(SpeechStarted("call", 1, 2, 5000), 9000)  # was on its way while they were replaced
    await asyncio.sleep(2 * HOLD_SECONDS)
    assert told == []


async def test_an_onset_that_is_told_again_after_its_end_is_over() -> None:
    told: list[SpeechStarted] = []
    onsets = LateSpeechFilter(told.append)
    for _ in range(2):
        onsets.started(began(2, 5000), 9000)
        onsets.ended(over(2))
    onsets.started(began(2, 5000), 9000)
    await asyncio.sleep(2 * HOLD_SECONDS)
    assert told == []


async def test_new_ears_count_again_from_the_last_words() -> None:
    told: list[SpeechStarted] = []
    onsets = LateSpeechFilter(told.append)
    for utterance in (2, 3):  # two noises
        onsets.started(began(utterance, 5000), 5100)
        onsets.ended(over(utterance))
    onsets.started(SpeechStarted("call", 2, 2, 8000), 8200)
    assert [speech.token for speech in told] == [1, 1, 2]
    onsets.forget()
    onsets.started(began(1, 9000), 9200)
    assert told[-1] == began(1, 9000)
