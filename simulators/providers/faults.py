"""What goes wrong at a vendor, and when.

A stand-in asks `Faults.next()` once for each connection or request; what it gets decides that one.
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
    "stall",  # nothing more is sent; what arrives is still read
    "half-dead",  # nothing more is sent, and nothing is read
    "malformed",  # a message that is no JSON, or a body that is no audio
    "slow",  # every byte or message takes a second
    "no final",  # everything but the final result
    "wrong rate",  # audio of another sample rate than was asked for
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
        """The HTTP status of a refusal; 0 if it is none."""
        return {"unauthorised": 401, "busy": 429, "broken": 503}.get(self.kind, 0)


@dataclass(slots=True)
class Faults:
    """The faults of the next connections, in order; then `always`, which is None when all is well."""

    coming: deque[Fault | None] = field(default_factory=deque)
    always: Fault | None = None

    def next(self) -> Fault | None:
        """The fault of the connection that was just opened."""
        return self.coming.popleft() if self.coming else self.always
