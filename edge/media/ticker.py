"""Wakes all calls of a process from one timer: 5 ms slots on absolute deadlines, no task or timer per call.

A call asks to be woken at a time; the ticker wakes it in the slot of that time.  It sleeps while no call asks.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from math import ceil

from common.telemetry import metrics

log = logging.getLogger(__name__)

SLOT_MS = 5
PULSE_MS = 100
"""With a watcher of the event loop's lag, the ticker wakes at least this often, with or without calls."""


class Ticker:
    """Calls callables with the current loop time in ms.  A wake whose time has passed is done in the next slot."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, list[Callable[[float], None]]] = defaultdict(list)
        self._timer: asyncio.TimerHandle | None = None
        self._armed_slot = 0
        self._lagged: Callable[[float, float], None] | None = None
        self._fired_slot = 0  # a wake for this slot or an earlier one comes in the next: no slot fires twice

    def now_ms(self) -> float:
        """The event loop's time in ms."""
        return self._loop.time() * 1000

    def at(self, due_ms: float, wake: Callable[[float], None]) -> int:
        """Call `wake(now_ms)` in the slot of `due_ms`; returns the slot's number."""
        slot = max(ceil(due_ms / SLOT_MS), ceil(self.now_ms() / SLOT_MS), self._fired_slot + 1)
        self._slots[slot].append(wake)
        if self._timer is None or slot < self._armed_slot:
            self._arm(slot)
        return slot

    def watch(self, lagged: Callable[[float, float], None]) -> None:
        """Call `lagged(now_ms, lag_ms)` at every wake from now on, and wake at least every `PULSE_MS` for it."""
        self._lagged = lagged
        self._pulse(self.now_ms())

    def _pulse(self, now_ms: float) -> None:
        self.at(now_ms + PULSE_MS, self._pulse)

    def close(self) -> None:
        """Cancel all wakes."""
        if self._timer is not None:
            self._timer.cancel()
        self._slots.clear()

    def _arm(self, slot: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_slot = slot
        self._timer = self._loop.call_at(slot * SLOT_MS / 1000, self._fire)

    def _fire(self) -> None:
        now = self.now_ms()
        lag_ms = max(0.0, now - self._armed_slot * SLOT_MS)
        metrics.LOOP_LAG_SECONDS.observe(lag_ms / 1000)
        if self._lagged is not None:
            self._lagged(now, lag_ms)
        self._timer = None
        for slot in sorted(slot for slot in self._slots if slot * SLOT_MS <= now + 0.5):
            self._fired_slot = slot
            for wake in self._slots.pop(slot):
                self._wake(wake, max(now, slot * SLOT_MS))  # timers may fire a hair early
        if self._slots and (self._timer is None or min(self._slots) < self._armed_slot):
            self._arm(min(self._slots))

    def _wake(self, wake: Callable[[float], None], now: float) -> None:
        """Call `wake`; an error of one call must not cost the other calls of the slot their wake."""
        try:
            wake(now)
        except Exception:
            log.exception("a call could not be woken")
            metrics.SESSION_ERRORS.labels("edge").inc()
