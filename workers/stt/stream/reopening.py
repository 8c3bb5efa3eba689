"""When may an ear that failed be opened again?  Pure: times are seconds of any one clock.

A vendor whose ears break again and again is not asked in a rush: every opening is a connection, a handshake, and the
same audio sent and paid for once more.  An ear that lived for a while owes nothing, and is replaced at once.
"""

from __future__ import annotations

from collections import deque

FIRST_S, LONGEST_S = 0.2, 5.0
"""First and longest pause; each is twice the one before."""
STEADY_S = 10.0
"""An ear that heard something and lived for so long was well."""
OPENINGS_PER_MINUTE = 12
"""Of one call, whatever the ears say."""


class Reopening:
    """One session's.  Say `opened` and `failed`, and wait for `pause_s` once every provider was tried."""

    def __init__(self) -> None:
        self._opened: deque[float] = deque(maxlen=OPENINGS_PER_MINUTE)
        self._pause_s = FIRST_S
        self._short = 0  # ears in a row that did not last

    @property
    def count(self) -> int:
        """How many of the last openings are remembered."""
        return len(self._opened)

    def opened(self, now: float) -> None:
        """An ear is opened."""
        self._opened.append(now)

    def failed(self, now: float, heard: bool) -> bool:
        """It failed, and had `heard` something or not.  True: it was well, and may be opened again at once."""
        steady = heard and now - self._opened[-1] >= STEADY_S
        self._short = 0 if steady else self._short + 1
        if steady or (heard and self._short == 1):
            self._pause_s = FIRST_S
            return True
        return False

    def limit_s(self, now: float) -> float:
        """How long to wait before any further opening, for the limit of a minute; 0: not at all."""
        full = len(self._opened) == OPENINGS_PER_MINUTE
        return max(0.0, self._opened[0] + 60.0 - now) if full else 0.0

    def pause_s(self) -> float:
        """How long to wait now that all have failed; the next pause is longer."""
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_S)
        return pause_s
