"""Why a call ended: a closed set, as metrics count it and logs name it.

A reason travels as text (`HangUp`, `CallEnded`, the record of a call).  Text of another release, or of whoever else
writes to the bus, may be anything, a phone number included; `EndReason.of` makes `OTHER` of all that is not known.
"""

from __future__ import annotations

from enum import StrEnum


class EndReason(StrEnum):
    """The values are what stands on the bus, in metrics, logs and the API; they are never changed."""

    CALLER_HUNG_UP = "caller hung up"
    AGENT_HUNG_UP = "agent hung up"
    OPERATOR_HUNG_UP = "operator hung up"
    SILENCE = "silence"
    TOO_LONG = "too long"
    CARRIER = "carrier"
    """The connection is gone, and nobody said why."""
    REFUSED = "refused"
    NO_WORKER = "no worker"
    """No member of a pool took it for too long."""
    ERROR = "error"
    OTHER = "other"
    """A reason that this release does not know."""

    @classmethod
    def of(cls, text: object) -> EndReason:
        """The reason that `text` names; `OTHER` for anything else, whatever its type."""
        return _KNOWN.get(text, cls.OTHER) if isinstance(text, str) else cls.OTHER


_KNOWN: dict[str, EndReason] = {reason.value: reason for reason in EndReason}

LOST_ENDS = frozenset({"error", "no worker", "carrier", "refused"})
"""Ends after which the caller may still be on the line, and does not know why nobody speaks."""
