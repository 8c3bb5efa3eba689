"""Reserves capacity for calls that were answered and whose stream has not arrived yet.  Pure.

Without reservations a burst of calls would find the same free capacity, all would be answered, and most would be
refused at the socket, where the caller only learns that the connection was lost.  The stream may arrive at another
edge, so a reservation lasts no longer than a stream normally takes.
"""

from __future__ import annotations

RESERVATION_MS = 3000
"""How long a reservation lasts."""


class Reservations:
    """Call ids with the ends of their reservations.  The edge bounds them: it checks its capacity first."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}  # ordered by end, since all last equally long

    def make(self, call_id: str, now_ms: float) -> None:
        """Reserve for a call that was answered."""
        self._until.pop(call_id, None)
        self._until[call_id] = now_ms + RESERVATION_MS

    def drop(self, call_id: str) -> None:
        """Remove the reservation: the stream arrived, or will not."""
        self._until.pop(call_id, None)

    def others(self, call_id: str, now_ms: float) -> int:
        """The number of reservations at `now_ms` for calls other than this one."""
        while self._until:
            oldest = next(iter(self._until))
            if self._until[oldest] > now_ms:
                break
            del self._until[oldest]
        return len(self._until) - (call_id in self._until)
