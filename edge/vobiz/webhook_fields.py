"""Converts the fields of webhooks to the form in which they are stored with their call.  Pure.

Webhooks arrive late, twice and in any order; each field is therefore named by its event and name, and repeating it
changes nothing.  Times are made comparable: a value with a zone is taken as it is; of the others, StartTime, AnswerTime
and EndTime are Indian time, SessionStart and Timestamp are UTC (the values do not say so).  Costs in webhooks are
always zero; the call detail record has the real ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo

IST = timezone(timedelta(hours=5, minutes=30), "IST")
_ZONES = {"StartTime": IST, "AnswerTime": IST, "EndTime": IST, "SessionStart": UTC, "Timestamp": UTC}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]")
_EPOCH = re.compile(r"[0-9]{10}([0-9]{3})?(\.[0-9]{1,9})?")
_NAMED_UTC = re.compile(r"\s*(Z|UTC|GMT)$", re.IGNORECASE)
_COSTS = frozenset({"BillRate", "TotalCost"})
_SECRET = frozenset({"auth_id", "auth-token", "parent-auth-token", "auth_token", "serviceurl"})
"""Not stored: credentials, and the stream's URL, which contains its token."""


def webhook_fields(event: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Fields of a webhook by event and name: "Hangup.HangupCause" -> "NORMAL_CLEARING".  Empty ones are omitted."""
    known: dict[str, str] = {}
    for name, value in fields.items():
        if not value or name.lower() in _SECRET or name == "Event":
            continue
        known[f"{event or 'StartApp'}.{name}"] = _labelled(name, value)
    return known


def _labelled(name: str, value: str) -> str:
    if name in _COSTS:
        return f"{value} (always zero in webhooks)"
    zone = _ZONES.get(name)
    return value if zone is None else _in_zone(value.strip(), zone) or value


def _in_zone(value: str, zone: tzinfo) -> str:
    """The time with its zone in ISO 8601; empty if it cannot be parsed."""
    try:
        if _EPOCH.fullmatch(value):  # seconds, or with three digits more milliseconds
            seconds = float(value) / (1000 if len(value.partition(".")[0]) == 13 else 1)
            return datetime.fromtimestamp(seconds, UTC).isoformat()
        if not _DATE.match(value):
            return ""
        time = datetime.fromisoformat(_NAMED_UTC.sub("+00:00", value))
        return (time if time.tzinfo is not None else time.replace(tzinfo=zone)).isoformat()
    except (ValueError, OverflowError, OSError):
        return ""
