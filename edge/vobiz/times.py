"""The carrier's times.  Pure.

Webhooks write StartTime, AnswerTime and EndTime in Indian time without saying so; call records write UTC with a "Z".
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo

IST = timezone(timedelta(hours=5, minutes=30), "IST")
"""Where the carrier is: its times without a zone are of here, whatever the zone of this machine."""


def moment_ms(text: object, zone: tzinfo = IST) -> float | None:
    """Unix ms of a time as the carrier writes it; None if it is none.  `zone` is meant where the text names none."""
    try:
        moment = datetime.fromisoformat(str(text).strip())
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
        return moment.timestamp() * 1000
    except (ValueError, OverflowError):
        return None
