"""When each stage of an answer was done, as the histograms and the call's events have it."""

import pytest

from common.store import CallRecord
from edge.session.latency import TurnLatency

pytestmark = pytest.mark.fast


def test_work_done_ahead_of_the_end_of_the_turn_took_none_of_the_callers_time():
    times = TurnLatency(CallRecord("call-1"))
    times.released(2, (1000, 1500, 1510))
    times.arrived(2, (1000, 1200, 1200, 1300, 1310, 1600))
    assert times.started(2, 1, 1620) == (1000, 1500, 1510, 1510, 1510, 1600, 1620)


def test_a_reply_keeps_its_own_stamps_if_another_one_was_released():
    times = TurnLatency(CallRecord("call-1"))
    times.released(2, (1000, 1500, 1510))
    times.arrived(3, (5000, 5500, 5510, 5600, 5610, 5700))
    assert times.started(3, 2, 5720) == (5000, 5500, 5510, 5600, 5610, 5700, 5720)


def test_stamps_that_are_not_all_there_or_are_of_another_reply_are_none():
    times = TurnLatency(CallRecord("call-1"))
    times.arrived(2, (1000, 1200, 1200))
    assert times.started(2, 1, 1620) == ()
    times.arrived(2, (1000, 1200, 1200, 1300, 1310, 1600))
    times.arrived(2, ())
    assert times.started(3, 2, 1620) == ()
    assert times.started(2, 1, 1620)[-1] == 1620, "audio without stamps takes none away"
