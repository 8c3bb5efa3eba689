"""Routes of REST without live calls: applications, numbers, recordings, call detail records, concurrency."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from simulators.carrier.cdr import detail, page, whole
from simulators.carrier.refusals import Refusal
from simulators.carrier.routes import AccountRequest, ApiReply, reply_body

if TYPE_CHECKING:
    from simulators.carrier.carrier import Carrier

SILENT_WAV = (
    b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00@\x1f\x00\x00\x80>\x00\x00\x02\x00\x10\x00"
    b"data\x00\x00\x00\x00"
)
SEARCH_FILTERS = ("call_direction", "from_number", "hangup_cause", "to_number")
RECORDING_FILTERS = ("call_uuid", "recording_type", "recording_format")
CSV_COLUMNS = ("uuid", "call_direction", "start_time", "duration", "billsec", "total_cost", "hangup_cause_code")


def account_route(carrier: Carrier, asked: AccountRequest) -> ApiReply:
    """Answer a request under `/Account/{id}/` other than `Call/`, and `/auth/me`.  Raises `Refusal`."""
    match asked.kind(0):
        case "application":
            return _application(carrier, asked)
        case "numbers" | "inventory":
            return _numbers(carrier, asked)
        case "recording":
            return _recording(carrier, asked)
        case "cdr" if asked.method == "GET":
            return _cdr(carrier, asked)
        case "concurrency" if asked.method == "GET":
            return _concurrency(carrier)
        case "auth" if asked.method == "GET":
            return ApiReply(200, {"auth_id": carrier.options.auth_id, "name": "Simulated", "status": "active"})
    raise Refusal(404, "not found")


def _application(carrier: Carrier, asked: AccountRequest) -> ApiReply:
    account = carrier.account
    match asked.shape:
        case "POST", _, 1:
            return ApiReply(201, reply_body("created", app_id=account.create(asked.body)))
        case "GET", _, 1:
            return ApiReply(200, _listed(list(account.applications.values()), asked))
        case "GET", _, 2:
            return ApiReply(200, {"api_id": str(uuid.uuid4()), **account.application(asked.segments[1])})
        case "POST", _, 2:
            account.change(asked.segments[1], asked.body)
            return ApiReply(202, reply_body("changed"))
        case "DELETE", _, 2:
            account.delete(asked.segments[1])
            return ApiReply(204)
    raise Refusal(404, "not found")


def _numbers(carrier: Carrier, asked: AccountRequest) -> ApiReply:
    account = carrier.account
    match asked.method, tuple(part.lower() for part in asked.segments):
        case "GET", ("numbers",):
            search = asked.query.get("search", "").lstrip("+ ")
            items = [
                {"e164": number, "application_id": app_id or None, "country": "IN", "status": "active"}
                for number, app_id in account.numbers.items()
                if search in number
            ]
            return ApiReply(200, {"items": items, "total": len(items), "page": 1, "per_page": max(20, len(items))})
        case "GET", ("inventory", "numbers"):
            return ApiReply(200, {"items": [{"e164": "+911234567899", "country": "IN"}], "total": 1})
        case "POST", ("numbers", "purchase-from-inventory"):
            account.buy(str(asked.body.get("e164", "")))
            return ApiReply(201, reply_body("purchased", e164=asked.body["e164"]))
        case "POST", ("numbers", number, "application"):
            account.attach(unquote(number), str(asked.body.get("application_id", "")))
            return ApiReply(204)
        case "DELETE", ("numbers", number, "application"):
            account.detach(unquote(number))
            return ApiReply(204)
        case "DELETE", ("numbers", number):
            account.release(unquote(number))
            return ApiReply(204)
        case "GET", ("numbers", number, "health"):
            account.number(unquote(number))
            return ApiReply(200, {"e164": unquote(number), "is_spam": False, "answer_rate": 1.0})
    raise Refusal(404, "not found")


def _recording(carrier: Carrier, asked: AccountRequest) -> ApiReply:
    shelf = carrier.recordings.shelf
    if asked.shape == ("GET", "recording", 1):
        rows = [recording.to_json() for recording in shelf.values()]
        return ApiReply(200, _listed([row for row in rows if _fits(row, asked.query, RECORDING_FILTERS)], asked))
    if asked.method == "DELETE" and asked.kind(1) == "bulkdelete":
        for recording in list(shelf.values()):
            if _fits(recording.to_json(), {**asked.query, **asked.body}, RECORDING_FILTERS):
                del shelf[recording.recording_id]
        return ApiReply(204)
    name, _, suffix = asked.segments[1].partition(".") if len(asked.segments) == 2 else ("", "", "")
    if name not in shelf:
        raise Refusal(404, "recording not found")
    if asked.method == "DELETE":
        del shelf[name]
        return ApiReply(204)
    if suffix:
        return ApiReply(200, file=SILENT_WAV, media_type="audio/wav" if suffix == "wav" else "audio/mpeg")
    return ApiReply(200, {"api_id": str(uuid.uuid4()), **shelf[name].to_json()})


def _fits(row: Mapping[str, Any], query: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    return all(query.get(name) in (None, "", row[name]) for name in names)


def _cdr(carrier: Carrier, asked: AccountRequest) -> ApiReply:
    rows = [
        detail(call.record, carrier.options.account, call.streams.entries)
        for call in carrier.ended.values()
        if call.record.cause is not None
    ]
    account = carrier.options.auth_id
    match asked.kind(1):
        case "":
            return ApiReply(200, page(account, rows, asked.query))
        case "search":
            filters = {name: asked.query.get(name, "") for name in SEARCH_FILTERS}
            return ApiReply(200, {**page(account, rows, asked.query), "filters": filters})
        case "recent":
            return ApiReply(200, page(account, rows, {"per_page": "20"}))
        case "export":
            lines = [",".join(str(row[column]) for column in CSV_COLUMNS) for row in rows]
            return ApiReply(200, file="\n".join([",".join(CSV_COLUMNS), *lines, ""]).encode(), media_type="text/csv")
    for row in rows:
        if row["uuid"] == asked.segments[1]:
            return ApiReply(200, {"success": True, "data": row}, (row["uuid"],))
    raise Refusal(404, "call not found")


def _concurrency(carrier: Carrier) -> ApiReply:
    live = sum(1 for call in carrier.live.values() if call.record.live)
    most = carrier.options.calls_max
    return ApiReply(
        200,
        {
            "account_id": carrier.options.auth_id,
            "concurrent_calls": live,
            "max_concurrent": most,
            "utilization_pct": round(100 * live / most, 1) if most else 0.0,
            "request_id": str(uuid.uuid4()),
        },
    )


def _listed(objects: list[dict[str, Any]], asked: AccountRequest) -> dict[str, Any]:
    limit, offset = whole(asked.query.get("limit"), 20), whole(asked.query.get("offset"), 0)
    meta = {"limit": limit, "offset": offset, "total_count": len(objects), "next": None, "previous": None}
    return {"api_id": str(uuid.uuid4()), "meta": meta, "objects": objects[offset : offset + limit]}
