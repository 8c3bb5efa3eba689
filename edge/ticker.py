"""One ticker paces all calls: 5 ms slots on absolute deadlines, no task or timer per call.

A call asks to be woken at a time; the ticker wakes it in that time's slot.  It sleeps while no call asks.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from math import ceil

from common import metrics

SLOT_MS = 5


class Ticker:
    """Wakes callables with the current loop time in ms.  A wake that came too late is done at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, list[Callable[[float], None]]] = defaultdict(list)
        self._timer: asyncio.TimerHandle | None = None
        self._armed_slot = 0

    def now_ms(self) -> float:
        return self._loop.time() * 1000

    def at(self, due_ms: float, wake: Callable[[float], None]) -> int:
        """Call `wake(now_ms)` in the slot of `due_ms`; returns the slot, for the caller to compare."""
        slot = max(ceil(due_ms / SLOT_MS), ceil(self.now_ms() / SLOT_MS))
        self._slots[slot].append(wake)
        if self._timer is None or slot < self._armed_slot:
            self._arm(slot)
        return slot

    def close(self) -> None:
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
        metrics.LOOP_LAG_SECONDS.observe(max(0.0, now / 1000 - self._armed_slot * SLOT_MS / 1000))
        self._timer = None
        for slot in sorted(slot for slot in self._slots if slot * SLOT_MS <= now + 0.5):
            for wake in self._slots.pop(slot):
                wake(now)
        if self._slots and self._timer is None:
            self._arm(min(self._slots))
