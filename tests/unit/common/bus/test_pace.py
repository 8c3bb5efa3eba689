"""How long a lane gathers messages: one call waits for nobody, a hundred share a write."""

import pytest

from common.bus.pace import BUSY_PER_S, LoadPace
from common.bus.redis import gather_of
from common.bus.writer import Gathering
from common.protocol.messages import AudioIn, AudioOut, AudioStarted, ReplySynthesized

pytestmark = pytest.mark.fast


def paced(per_s: float, seconds: float, pace: LoadPace, begin_s: float = 0.0) -> float:
    for step in range(1, int(100 * seconds) + 1):
        pace.passed(round(per_s / 100), begin_s + step / 100)
    return 1000 * pace.delay_s


def test_the_frames_of_five_calls_are_not_gathered_and_those_of_ten_hardly():
    assert paced(200, 2, LoadPace(1, 6)) == 0
    assert paced(500, 2, LoadPace(1, 6)) == pytest.approx(1.5, abs=0.01)


def test_the_frames_of_a_hundred_calls_for_the_longest_and_of_more_for_no_longer():
    assert paced(BUSY_PER_S, 2, LoadPace(1, 6)) == pytest.approx(6, abs=0.01)
    assert paced(10 * BUSY_PER_S, 2, LoadPace(1, 6)) == pytest.approx(6, abs=0.01)


def test_when_the_calls_are_over_the_next_message_waits_for_nobody():
    pace = LoadPace(1, 6)
    paced(BUSY_PER_S, 2, pace)
    assert paced(0, 0.2, pace, begin_s=2.0) == 0


def test_a_lane_that_gathers_nothing_never_does():
    assert paced(10 * BUSY_PER_S, 2, LoadPace(0, 0)) == 0


def test_only_audio_is_gathered_and_the_first_of_a_reply_is_not():
    first = AudioOut("c-1", 1, 1, 2, 0, 0, b"\xff" * 160)
    assert gather_of(first) is Gathering.NOT
    assert gather_of(AudioOut("c-1", 1, 1, 2, 0, 10, b"\xff" * 160)) is Gathering.BY_LEAD
    assert gather_of(AudioOut("c-1", 1, 1, 2, 1, 0, b"\xff" * 160)) is Gathering.BY_LEAD
    assert gather_of(AudioIn(1, 20, 1, b"\xff" * 160)) is Gathering.BY_LOAD
    assert gather_of(ReplySynthesized("c-1", 1, 1, 2)) is Gathering.NOT
    assert gather_of(AudioStarted(1, "edge-1")) is Gathering.NOT
