"""Decides when a stream that failed may be opened again.  Pure: times are seconds of any one clock.

Streams that break again and again are reopened with growing pauses: every opening is a connection, a handshake, and
the same audio sent and paid for once more.  A stream that lived for a while is replaced at once.
"""

from __future__ import annotations

from collections import deque

from common.process.backoff import Backoff

PAUSES = Backoff(first_s=0.2, longest_s=5.0)
"""Pauses in seconds; each is twice the one before."""
STEADY_S = 10.0
"""A stream that had events and lived for this long was steady."""
OPENINGS_PER_MINUTE = 12
"""The limit of one call, whatever the streams do."""


class Reopening:
    """The back-off of one session.  Call `opened` and `failed`; wait for `pause_s` once every provider was tried."""

    def __init__(self) -> None:
        self._opened: deque[float] = deque(maxlen=OPENINGS_PER_MINUTE)
        self._pauses = 0  # since a stream was steady
        self._short = 0  # streams in a row that did not last

    @property
    def count(self) -> int:
        """How many of the last openings are remembered."""
        return len(self._opened)

    def opened(self, now: float) -> None:
        """Take note that a stream is opened."""
        self._opened.append(now)

    def failed(self, now: float, has_events: bool) -> bool:
        """Take note that it failed.  True: it was steady, or the first that was not; open the next at once."""
        steady = has_events and now - self._opened[-1] >= STEADY_S
        self._short = 0 if steady else self._short + 1
        if steady or (has_events and self._short == 1):
            self._pauses = 0
            return True
        return False

    def limit_s(self, now: float) -> float:
        """Seconds to wait before any further opening, for the limit of a minute; 0: none."""
        full = len(self._opened) == OPENINGS_PER_MINUTE
        return max(0.0, self._opened[0] + 60.0 - now) if full else 0.0

    def pause_s(self) -> float:
        """Seconds to wait now that every provider has failed; the next pause is longer."""
        self._pauses += 1
        return PAUSES.pause_s(self._pauses - 1)
