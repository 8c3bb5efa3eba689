"""Calls that were answered and whose stream is not here yet: they take a place, for a moment.  Pure.

Without them a burst of calls would find the same free place, all be answered, and most be refused at the socket, where
the caller can only be told that the connection was lost.  The stream may come to another edge; so a promise is kept
for no longer than a stream normally takes.
"""

from __future__ import annotations

RESERVATION_MS = 3000


class Reservations:
    """Call ids by the time at which their promise ends.  As many as the edge has places, and a few: it asks first."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}  # in the order of their ends, for all last equally long

    def make(self, call_id: str, now_ms: float) -> None:
        """The call was told to come here."""
        self._until.pop(call_id, None)
        self._until[call_id] = now_ms + RESERVATION_MS

    def drop(self, call_id: str) -> None:
        """It came, or it will not."""
        self._until.pop(call_id, None)

    def others(self, call_id: str, now_ms: float) -> int:
        """How many places are promised now to other calls than this one."""
        while self._until:
            oldest = next(iter(self._until))
            if self._until[oldest] > now_ms:
                break
            del self._until[oldest]
        return len(self._until) - (call_id in self._until)
