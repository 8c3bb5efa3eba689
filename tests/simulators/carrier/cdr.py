"""Call detail records, as REST shows them after the call.  Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.simulators.carrier.fields import bare, billed_s
from tests.simulators.carrier.media import StreamEntry
from tests.simulators.carrier.record import CallRecord, iso_text

PAISE_PER_MINUTE = 65
PER_PAGE = 20
PER_PAGE_MAX = 100
FILTERS = {"call_direction": "call_direction", "from_number": "caller_id_number", "to_number": "destination_number"}


def detail(call: CallRecord, account_id: str, streams: Sequence[StreamEntry]) -> dict[str, Any]:
    """The record of a call that is over."""
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


def page(rows: Sequence[Mapping[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """The envelope of a list: filtered, newest first, one page of it."""
    for name, key in FILTERS.items():
        if name in query:
            rows = [row for row in rows if str(row[key]) == query[name].lstrip("+ ")]
    rows = rows[::-1]
    number = max(1, _whole(query.get("page"), 1))
    per_page = min(PER_PAGE_MAX, max(1, _whole(query.get("per_page"), PER_PAGE)))
    pages = -(-len(rows) // per_page)
    return {
        "success": True,
        "data": list(rows[(number - 1) * per_page : number * per_page]),
        "pagination": {
            "page": number,
            "per_page": per_page,
            "total": len(rows),
            "pages": pages,
            "has_next": number < pages,
            "has_prev": number > 1,
        },
        "summary": {"total_calls": len(rows), "total_cost": round(sum(row["total_cost"] for row in rows), 2)},
    }


def _whole(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() else default
