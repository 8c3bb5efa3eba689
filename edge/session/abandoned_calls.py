"""Which calls have no edge any more: what two looks, some time apart, agree on.  Pure.

An edge renews a heartbeat for each of its calls every few seconds (`CallStore.heartbeat_calls`).  A call whose last
heartbeat is old may be abandoned; or a failover set the server's clock forward; or nobody reached the server for a
while.  So a call counts as abandoned only if its *last heartbeat is the same* at a second look, `SECOND_LOOK_MS`
later: an edge that lives would have sent several meanwhile, whatever any clock says.  Looks must follow each other:
after a pause in which this edge could not look, others could perhaps not give a sign either, and the counting begins
anew.
"""

from __future__ import annotations

from collections.abc import Mapping

SECOND_LOOK_MS = 15_000
"""How long a call that seems lost is watched before it is ended: three signs of life."""
LOOKS_APART_MS_MAX = 12_000
"""Longer without a look, and what was seen before counts for nothing."""


class AbandonedCalls:
    """One edge's view.  `now_ms` is of any one monotonic clock."""

    def __init__(self) -> None:
        self._suspects: dict[str, tuple[int, float]] = {}  # call -> (last sign of life, when that was first seen)
        self._looked_ms = float("-inf")

    def look(self, lost: Mapping[str, int], now_ms: float) -> list[str]:
        """`lost` as the ledger has it now; returns the calls to end."""
        if now_ms - self._looked_ms > LOOKS_APART_MS_MAX:
            self._suspects.clear()
        self._looked_ms = now_ms
        suspects, self._suspects = self._suspects, {}
        for call_id, last_sign in lost.items():
            seen = suspects.get(call_id)
            self._suspects[call_id] = seen if seen is not None and seen[0] == last_sign else (last_sign, now_ms)
        return [call_id for call_id, (_, since) in self._suspects.items() if now_ms - since >= SECOND_LOOK_MS]
