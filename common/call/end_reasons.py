"""Names the reasons for which a call ends: a closed set for metrics, logs and the API.

A reason travels as text (`HangUp`, `CallEnded`, the record of a call).  Text of another release, or of another program
on the bus, may be anything, even a phone number; `EndReason.of` turns every unknown text into `OTHER`.
"""

from __future__ import annotations

from enum import StrEnum


class EndReason(StrEnum):
    """Why a call ended.  The values appear on the bus, in metrics, logs and the API, and are never changed."""

    CALLER_HUNG_UP = "caller hung up"
    AGENT_HUNG_UP = "agent hung up"
    OPERATOR_HUNG_UP = "operator hung up"
    SILENCE = "silence"
    TOO_LONG = "too long"
    CARRIER = "carrier"
    """The connection is gone without a reason from the carrier."""
    REFUSED = "refused"
    NO_WORKER = "no worker"
    """For too long no member of a pool took the call."""
    ERROR = "error"
    TRANSFERRED = "transferred"
    """The caller was passed on to a person; if that fails, the call goes on (common/call/transfer.py)."""
    OTHER = "other"
    """A reason that this release does not know."""

    @classmethod
    def of(cls, text: object) -> EndReason:
        """The reason that `text` names; `OTHER` for anything else, of any type."""
        return _KNOWN.get(text, cls.OTHER) if isinstance(text, str) else cls.OTHER


_KNOWN: dict[str, EndReason] = {reason.value: reason for reason in EndReason}

LOST_ENDS = frozenset({"error", "no worker", "carrier", "refused"})
"""Ends after which the caller may still be connected, in silence and without an explanation."""
