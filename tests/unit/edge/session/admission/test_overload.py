"""An edge whose event loop is late turns new calls away before the callers it has can hear it."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from edge.media.ticker import PULSE_MS, Ticker
from edge.session.admission.overload import WINDOW_MS, Overload
from edge.session.admission.reservations import RESERVATION_MS, Reservations
from tests.unit.edge.media.test_ticker import Clock

pytestmark = pytest.mark.fast

LAG_MS_MAX = 50


class Loop:
    """A loop that is woken every `every_ms`, as late as the test says."""

    def __init__(self) -> None:
        self.shedding = Overload(LAG_MS_MAX)
        self.now_ms = 1000.0

    def runs(self, seconds: float, lag_ms: float, every_ms: float = 5.0) -> None:
        until = self.now_ms + 1000 * seconds
        while self.now_ms < until:
            self.now_ms += every_ms + lag_ms
            self.shedding.feed(self.now_ms, lag_ms)

    @property
    def overloaded(self) -> bool:
        return self.shedding.overloaded(self.now_ms)


def test_a_loop_in_time_takes_calls() -> None:
    loop = Loop()
    assert not loop.overloaded
    loop.runs(60, lag_ms=LAG_MS_MAX)
    assert not loop.overloaded


def test_a_loop_that_is_always_a_little_too_late_sheds() -> None:
    loop = Loop()
    loop.runs(5, lag_ms=LAG_MS_MAX + 1)
    assert loop.overloaded


def test_with_one_call_as_with_hundreds() -> None:
    """An idle edge is only woken by the pulse; how late it is counts, not how often it was."""
    for every_ms in (5.0, PULSE_MS):
        loop = Loop()
        loop.runs(5, lag_ms=2 * LAG_MS_MAX, every_ms=every_ms)
        assert loop.overloaded


def test_a_hiccup_sheds_nothing_and_a_standstill_does() -> None:
    loop = Loop()
    loop.runs(5, lag_ms=0)
    loop.shedding.feed(loop.now_ms, 300)
    assert not loop.overloaded
    loop.shedding.feed(loop.now_ms, 250)  # 550 ms of the last 5 s
    assert loop.overloaded


def test_it_takes_calls_again_after_five_calm_seconds_and_not_before() -> None:
    loop = Loop()
    loop.runs(5, lag_ms=100)
    assert loop.overloaded
    loop.runs(4, lag_ms=0)
    assert loop.overloaded
    loop.runs(1.1, lag_ms=0)
    assert not loop.overloaded


def test_between_the_two_limits_it_stays_what_it_was() -> None:
    """Without hysteresis it would take a few calls, be late, refuse a few, and so on."""
    calm, busy = Loop(), Loop()
    busy.runs(5, lag_ms=100)
    assert busy.overloaded
    for loop in (calm, busy):
        loop.runs(20, lag_ms=0.8 * LAG_MS_MAX)
    assert not calm.overloaded
    assert busy.overloaded


def test_it_can_be_turned_off() -> None:
    shedding = Overload(0)
    for now_ms in range(0, 10_000, 100):
        shedding.feed(now_ms, 90)
    assert not shedding.overloaded(10_000)


def test_what_was_late_is_forgotten() -> None:
    shedding = Overload(LAG_MS_MAX)
    shedding.feed(0, 4000)
    assert shedding.overloaded(1)
    assert not shedding.overloaded(WINDOW_MS + 1)


def test_the_ticker_tells_how_late_it_is_although_nobody_asks_to_be_woken() -> None:
    clock, told = Clock(), []
    ticker = Ticker(cast(asyncio.AbstractEventLoop, clock))
    ticker.watch(lambda now_ms, lag_ms: told.append(round(lag_ms)))
    for late_ms in (0, 0, 70, 0):
        (timer,) = clock.armed
        clock.now_s = timer.due_s + late_ms / 1000
        timer.cancelled = True
        timer.fire()
    assert told == [0, 0, 70, 0]


def test_a_promised_place_is_kept_for_its_call_and_only_for_a_moment() -> None:
    promises = Reservations()
    promises.make("c-1", 0)
    promises.make("c-2", 1000)
    assert promises.others("c-3", 1000) == 2
    assert promises.others("c-1", 1000) == 1
    promises.make("c-1", 2000)  # the webhook came again
    assert promises.others("", RESERVATION_MS + 1000) == 1
    promises.drop("c-1")
    assert promises.others("", RESERVATION_MS + 1000) == 0
