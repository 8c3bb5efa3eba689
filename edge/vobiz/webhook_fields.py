"""What the carrier said about a call in its webhooks, kept field by field.  Pure.

Webhooks come late, twice and in any order; a fact is therefore named by its event and field, and saying it again
changes nothing.  Times are made comparable: a value that names its zone is believed; of the others, StartTime,
AnswerTime and EndTime are Indian time, SessionStart and Timestamp are UTC (Vobiz says neither in the value).  Costs in
webhooks are always zero; the call detail record has the real ones.
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
"""Not kept: credentials, and the stream's URL, which holds its token."""


def webhook_fields(event: str, fields: Mapping[str, str]) -> dict[str, str]:
    """The fields of one webhook as facts: "Hangup.HangupCause" -> "NORMAL_CLEARING".  Empty fields say nothing."""
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
    """The time with its zone; empty if it is none that we can read."""
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
