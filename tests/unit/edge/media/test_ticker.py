"""One timer for all calls, on a loop that is only a clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from edge.media.ticker import SLOT_MS, Ticker

pytestmark = pytest.mark.fast


@dataclass
class Timer:
    due_s: float
    fire: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Clock:
    """As much of an event loop as a ticker needs.  Time moves when the test says so."""

    now_s: float = 100.0
    timers: list[Timer] = field(default_factory=list)

    def time(self) -> float:
        return self.now_s

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(timer := Timer(when, callback))
        return timer

    @property
    def armed(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.cancelled]

    def run(self, until_s: float, late_s: float = 0.0) -> None:
        """Fire every timer that is due by `until_s`, each `late_s` late."""
        while due := [timer for timer in self.armed if timer.due_s <= until_s + 1e-9]:
            timer = min(due, key=lambda timer: timer.due_s)
            self.timers.remove(timer)
            self.now_s = max(self.now_s, timer.due_s + late_s)
            timer.fire()
        self.now_s = max(self.now_s, until_s)


def start() -> tuple[Clock, Ticker]:
    clock = Clock()
    return clock, Ticker(cast(asyncio.AbstractEventLoop, cast(Any, clock)))


def test_without_a_call_there_is_no_timer() -> None:
    clock, ticker = start()
    assert clock.armed == []
    assert ticker.now_ms() == 100_000


def test_a_call_is_woken_in_the_slot_of_its_time_and_never_before() -> None:
    clock, ticker = start()
    woken: list[float] = []
    slot = ticker.at(100_012, woken.append)
    assert slot == 100_015 // SLOT_MS
    clock.run(100.0149)
    assert woken == []
    clock.run(100.015)
    assert woken == [100_015]
    assert clock.armed == []


def test_calls_of_one_slot_share_one_timer_and_keep_their_order() -> None:
    clock, ticker = start()
    order: list[str] = []
    ticker.at(100_012, lambda now: order.append("first"))
    ticker.at(100_014, lambda now: order.append("second"))
    assert len(clock.armed) == 1
    clock.run(100.1)
    assert order == ["first", "second"]


def test_an_earlier_call_moves_the_timer_forward() -> None:
    clock, ticker = start()
    order: list[str] = []
    ticker.at(100_100, lambda now: order.append("late"))
    ticker.at(100_020, lambda now: order.append("early"))
    assert [timer.due_s for timer in clock.armed] == [100.02]
    clock.run(100.05)
    assert order == ["early"]
    clock.run(100.2)
    assert order == ["early", "late"]


def test_what_is_overdue_is_woken_at_once() -> None:
    clock, ticker = start()
    woken: list[float] = []
    ticker.at(5, woken.append)
    clock.run(100.0)
    assert woken == [100_000]


def test_a_loop_that_was_busy_wakes_everyone_in_order_and_tells_the_true_time() -> None:
    clock, ticker = start()
    woken: list[tuple[str, float]] = []
    ticker.at(100_005, lambda now: woken.append(("a", now)))
    ticker.at(100_025, lambda now: woken.append(("b", now)))
    ticker.at(100_200, lambda now: woken.append(("c", now)))
    clock.run(100.005, late_s=0.04)
    assert woken == [("a", 100_045), ("b", 100_045)]
    assert [timer.due_s for timer in clock.armed] == [100.2]


def test_a_call_that_asks_again_while_it_is_woken_keeps_its_pace() -> None:
    clock, ticker = start()
    woken: list[float] = []

    def wake(now: float) -> None:
        woken.append(now)
        if len(woken) < 5:
            ticker.at(now + 20, wake)

    ticker.at(100_000, wake)
    clock.run(101.0)
    assert woken == [100_000, 100_020, 100_040, 100_060, 100_080]


def test_a_timer_that_fires_a_hair_early_wakes_nobody_twice() -> None:
    clock, ticker = start()
    woken: list[float] = []

    def wake(now: float) -> None:
        woken.append(now)
        if len(woken) < 3:
            ticker.at(now, wake)  # still not due for a moment: ask again

    ticker.at(100_005, wake)
    clock.run(100.1, late_s=-0.0003)
    assert woken == [100_005, 100_010, 100_015]


def test_one_call_that_fails_costs_the_others_nothing() -> None:
    clock, ticker = start()
    woken: list[float] = []

    def broken(now: float) -> None:
        raise RuntimeError("planted")

    ticker.at(100_005, broken)
    ticker.at(100_005, woken.append)
    ticker.at(100_010, woken.append)
    clock.run(100.1)
    assert woken == [100_005, 100_010]


def test_a_closed_ticker_wakes_nobody() -> None:
    clock, ticker = start()
    woken: list[float] = []
    ticker.at(100_005, woken.append)
    ticker.close()
    clock.run(101.0)
    assert woken == []
    assert clock.armed == []
