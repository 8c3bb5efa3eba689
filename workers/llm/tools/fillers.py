"""Decides when a sentence is spoken while a tool runs.  Pure."""

from __future__ import annotations

from collections.abc import Sequence

PAUSE_MS = 5_000
"""Silence before the second sentence and each further one."""
FILLERS_MAX = 6
"""Most sentences while the tools of one round run; then the caller waits in silence for the rest of the time."""


class Fillers:
    """The sentences of one round of tools.  `now_ms` is of any one monotonic clock."""

    def __init__(self, sentences: Sequence[str], after_ms: int, now_ms: float) -> None:
        """`after_ms` 0: never.""" ""
        self._sentences = sentences
        self._after_ms = after_ms
        self._quiet_since_ms = now_ms
        self._count = 0

    def silent(self, now_ms: float) -> None:
        """What was said so far was heard to its end."""
        self._quiet_since_ms = max(self._quiet_since_ms, now_ms)

    @property
    def due_ms(self) -> float | None:
        """When the next sentence is due if the agent is silent until then; None: never."""
        if not self._after_ms or not self._sentences or self._count >= FILLERS_MAX:
            return None
        return self._quiet_since_ms + (PAUSE_MS if self._count else self._after_ms)

    def next(self) -> str:
        """The next sentence; the same ones again once all were said."""
        self._count += 1
        return self._sentences[(self._count - 1) % len(self._sentences)]
