"""What the carrier said about a call in its webhooks, kept field by field.  Pure.

Webhooks come late, twice and in any order; a fact is therefore named by its event and field, and saying it again
changes nothing.  Times are made comparable: StartTime, AnswerTime and EndTime are Indian time, SessionStart and
Timestamp are UTC (Vobiz says neither in the value).  Costs in webhooks are always zero; the call detail record has
the real ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

IST = timezone(timedelta(hours=5, minutes=30), "IST")
_ZONES = {"StartTime": IST, "AnswerTime": IST, "EndTime": IST, "SessionStart": UTC, "Timestamp": UTC}
_COSTS = frozenset({"BillRate", "TotalCost"})
_SECRET = frozenset({"auth_id", "auth-token", "parent-auth-token", "ServiceURL"})
"""Not kept: credentials, and the stream's URL, which holds its token."""


def facts(event: str, fields: Mapping[str, str]) -> dict[str, str]:
    """The fields of one webhook as facts: "Hangup.HangupCause" -> "NORMAL_CLEARING".  Empty fields say nothing."""
    known: dict[str, str] = {}
    for name, value in fields.items():
        if not value or name in _SECRET or name == "Event":
            continue
        known[f"{event or 'StartApp'}.{name}"] = _labelled(name, value)
    return known


def _labelled(name: str, value: str) -> str:
    if name in _COSTS:
        return f"{value} (always zero in webhooks)"
    zone = _ZONES.get(name)
    if zone is None:
        return value
    try:
        return datetime.fromisoformat(value).replace(tzinfo=zone).isoformat()
    except ValueError:
        return value
