"""Makes call detail records as REST returns them after the call.  Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from simulators.carrier.fields import bare, billed_s
from simulators.carrier.media import StreamEntry
from simulators.carrier.record import CallRecord, iso_text
from simulators.carrier.refusals import Refusal

PAISE_PER_MINUTE = 65
PER_PAGE = 20
PER_PAGE_MAX = 100
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
NUMBERS = {"from_number": "caller_id_number", "to_number": "destination_number"}
"""Filters on a number, by the field of the record; a part of the digits matches."""
EXACT = ("call_direction", "hangup_cause")


def detail(call: CallRecord, account_id: str, streams: Sequence[StreamEntry]) -> dict[str, Any]:
    """Return the record of a call that is over."""
    assert call.cause is not None
    assert call.ended_ms is not None
    ended = call.moment(call.ended_ms)
    cost = billed_s(call) // 60 * PAISE_PER_MINUTE / 100
    ring_ms = (call.answered_ms or call.ended_ms) - call.began_ms
    return {
        "uuid": call.call_id,
        "account_id": account_id,
        "call_direction": call.direction,
        "caller_id_number": bare(call.from_number),
        "destination_number": bare(call.to_number),
        "start_time": iso_text(call.started),
        "answer_time": iso_text(call.moment(call.answered_ms)) if call.answered_ms is not None else None,
        "end_time": iso_text(ended),
        "duration": round((call.ended_ms - call.began_ms) / 1000),
        "billsec": round(call.answered_s),
        "ring_time": round(ring_ms / 1000),
        "cost": cost,
        "streaming_cost": 0.0,
        "total_cost": cost,
        "currency": "INR",
        "codec": "PCMU",
        "mos": 4.4,
        "jitter": 0.0,
        "packet_loss": 0.0,
        "hangup_cause": call.cause.text,
        "hangup_cause_code": call.cause.code,
        "hangup_cause_name": call.cause.name,
        "hangup_disposition": "",
        "hangup_source": call.cause.source,
        "bridge_uuid": call.dialled[-1]["uuid"] if call.dialled else None,
        "stream_cdrs": [
            {
                "stream_id": entry.stream_id,
                "start_time": iso_text(entry.started),
                "end_time": iso_text(entry.ended),
                "stream_termination_reason": entry.reason,
            }
            for entry in streams
        ],
    }


def page(account_id: str, rows: Sequence[Mapping[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """Return one page of the filtered records, newest first, in its envelope.  Raises `Refusal` 400."""
    rows = [row for row in rows if _is_asked_for(row, query)][::-1]
    number = max(1, whole(query.get("page"), 1))
    per_page = min(PER_PAGE_MAX, max(1, whole(query.get("per_page"), PER_PAGE)))
    pages = -(-len(rows) // per_page)
    data = list(rows[(number - 1) * per_page : number * per_page])
    return {
        "success": True,
        "account_id": account_id,
        "count": len(data),
        "data": data,
        "pagination": {
            "page": number,
            "per_page": per_page,
            "total": len(rows),
            "pages": pages,
            "has_next": number < pages,
            "has_prev": number > 1,
        },
        "summary": _summary(rows),
    }


def _is_asked_for(row: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    """Return the records that match all filters; the two dates are only valid together.  Raises `Refusal` 400."""
    wanted = all(_digits(query.get(name, "")) in _digits(str(row[key])) for name, key in NUMBERS.items())
    wanted &= all(query.get(name) in (None, "", row[name]) for name in EXACT)
    wanted &= int(row["duration"]) >= whole(query.get("min_duration"), 0)
    first, last = (_day(query, name) for name in ("start_date", "end_date"))
    if (first is None) != (last is None):
        raise Refusal(400, "start_date and end_date are required together")
    return wanted and (first is None or last is None or first <= row["start_time"][:10] <= last)


def _day(query: Mapping[str, str], name: str) -> str | None:
    day = query.get(name)
    if day and not DAY.fullmatch(day):
        raise Refusal(400, f"{name}: expected YYYY-MM-DD")
    return day or None


def _summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summarise all matching records, not only the page."""
    answered = sum(1 for row in rows if row["answer_time"])
    seconds = sum(int(row["duration"]) for row in rows)
    return {
        "totalCalls": len(rows),
        "answeredCalls": answered,
        "answerRate": round(100 * answered / len(rows)) if rows else 0,
        "avgCallDuration": f"{round(seconds / len(rows)) if rows else 0}s",
        "total_duration_seconds": seconds,
        "total_billable_seconds": sum(int(row["billsec"]) for row in rows),
        "total_cost": round(sum(row["total_cost"] for row in rows), 2),
        "last_call_at": rows[0]["start_time"] if rows else None,
    }


def _digits(number: str) -> str:
    return "".join(char for char in number if char.isdigit())


def whole(text: str | None, default: int) -> int:
    """Return the number of a query parameter, or the default if it is none."""
    return int(text) if text and text.isdigit() else default
