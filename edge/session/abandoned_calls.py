"""Finds the calls that have no edge any more, by two looks some time apart.  Pure.

An edge gives a sign of life for each of its calls every few seconds (`CallStore.heartbeat_calls`).  An old last sign
may mean that the call is abandoned; but a failover may also have set the server's clock forward, or nobody could reach
the server for a while.  So a call counts as abandoned only if its *last sign is the same* at a second look,
`SECOND_LOOK_MS` later: a living edge would have given several signs meanwhile, whatever any clock says.  Looks must
follow each other closely: after a pause in which this edge could not look, other edges may not have been able to give a
sign either, and the count starts again.
"""

from __future__ import annotations

from collections.abc import Mapping

SECOND_LOOK_MS = 15_000
"""How long a call that seems abandoned is watched before it is ended: three signs of life."""
LOOKS_APART_MS_MAX = 12_000
"""After a longer pause between two looks, earlier looks do not count."""


class AbandonedCalls:
    """The view of one edge.  `now_ms` is of any one monotonic clock."""

    def __init__(self) -> None:
        self._suspects: dict[str, tuple[int, float]] = {}  # call -> (last sign of life, when that was first seen)
        self._looked_ms = float("-inf")

    def look(self, lost: Mapping[str, int], now_ms: float) -> list[str]:
        """`lost` maps call id -> last sign of life, as `CallStore.lost` returns it; returns the ids of the calls to
        end.
        """
        if now_ms - self._looked_ms > LOOKS_APART_MS_MAX:
            self._suspects.clear()
        self._looked_ms = now_ms
        suspects, self._suspects = self._suspects, {}
        for call_id, last_sign in lost.items():
            seen = suspects.get(call_id)
            self._suspects[call_id] = seen if seen is not None and seen[0] == last_sign else (last_sign, now_ms)
        return [call_id for call_id, (_, since) in self._suspects.items() if now_ms - since >= SECOND_LOOK_MS]
