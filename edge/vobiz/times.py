"""Parses the carrier's times.  Pure.

Webhooks give StartTime, AnswerTime and EndTime in Indian time without a zone; call records give UTC with a "Z".
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo

IST = timezone(timedelta(hours=5, minutes=30), "IST")
"""The carrier's zone, in which its times without a zone are, whatever the zone of this machine."""


def moment_ms(text: object, zone: tzinfo = IST) -> float | None:
    """Unix ms of a time as the carrier writes it; None if it is none.  `zone` applies if the text names none."""
    try:
        moment = datetime.fromisoformat(str(text).strip())
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
        return moment.timestamp() * 1000
    except (ValueError, OverflowError):
        return None
