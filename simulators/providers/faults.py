"""Defines the faults of a stand-in.

A stand-in calls `Faults.next()` once for each connection or request; the result is the fault of that one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal[
    "close",  # the connection is closed with 1011 (WebSocket), or in the middle of the body (HTTP)
    "unauthorised",  # 401
    "busy",  # 429 with Retry-After: 1
    "broken",  # 503
    "stall",  # nothing more is sent; input is still read
    "half-dead",  # nothing more is sent, and nothing is read
    "malformed",  # a message that is not JSON, or a body that is not audio
    "slow",  # every byte or message takes a second
    "no final",  # everything but the final result
    "wrong rate",  # audio of another sample rate than requested
]
RETRY_AFTER_S = 1
SLOW_S = 1.0


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind` happens after `after` messages (WebSocket) or body chunks (HTTP) were sent; refusals happen at once."""

    kind: Kind
    after: int = 0

    @property
    def status(self) -> int:
        """The HTTP status of a refusal; 0 for other faults."""
        return {"unauthorised": 401, "busy": 429, "broken": 503}.get(self.kind, 0)


@dataclass(slots=True)
class Faults:
    """The faults of the next connections, in order; then `always` (None: no fault)."""

    coming: deque[Fault | None] = field(default_factory=deque)
    always: Fault | None = None

    def next(self) -> Fault | None:
        """Return the fault of the connection that was just opened."""
        return self.coming.popleft() if self.coming else self.always
