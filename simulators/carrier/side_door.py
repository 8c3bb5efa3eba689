"""Serves the tester's routes on the same port, without credentials: callees, faults, inbound calls, records.

POST /_callees    {"number": "+91...", "does": "busy"}, or a list of such; several for a number are used in turn
POST /_faults     {"kind": "429", "next": 3, "path": "Call"}; kinds: see `refusals.FAULTS`
POST /_phone_in   {"answer_url": "http://..."} or {"to": "+91..."}, "from", "hangup_url", "script": [steps]
GET  /_calls      every call, with requests, webhooks, spoken texts and stream results; /_calls/{id} for one
GET  /_load       CPU per stream, and the carrier's lateness
GET  /_requests   every REST request
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from simulators.carrier.people import BadCallee, Callee, read_callee
from simulators.carrier.refusals import Refusal, RequestFault
from simulators.carrier.routes import ApiReply
from simulators.script import BadScript
from simulators.wav import BadWav

if TYPE_CHECKING:
    from simulators.carrier.carrier import Carrier


def side_door(carrier: Carrier, method: str, segments: tuple[str, ...], body: Mapping[str, Any]) -> ApiReply:
    """Answer one request of the tester.  Raises `Refusal`."""
    try:
        match method, segments:
            case "POST", ("_callees",):
                return _callees(carrier, body)
            case "POST", ("_faults",):
                return _faults(carrier, body)
            case "POST", ("_phone_in",):
                return _phone_in(carrier, body)
            case "GET", ("_calls",):
                return ApiReply(200, {"calls": [call.to_json() for call in carrier.calls.values()]})
            case "GET", ("_calls", call_id) if call_id in carrier.calls:
                return ApiReply(200, carrier.calls[call_id].to_json())
            case "GET", ("_load",):
                return ApiReply(200, carrier.load())
            case "GET", ("_requests",):
                return ApiReply(200, {"requests": [asdict(request) for request in carrier.requests]})
    except (BadCallee, BadScript, BadWav) as error:
        raise Refusal(400, str(error)) from error
    raise Refusal(404, "not found")


def _callees(carrier: Carrier, body: Mapping[str, Any]) -> ApiReply:
    table: defaultdict[str, list[Callee]] = defaultdict(list)
    for entry in body.get("list") or [body]:
        if not isinstance(entry, Mapping) or not entry.get("number"):
            raise Refusal(400, "every callee needs a number (or * for all others)")
        table[str(entry["number"])].append(read_callee(entry))
    for number, callees in table.items():
        if number == "*":
            carrier.people.default = callees[-1]
        else:
            carrier.people.put(number, callees)
    return ApiReply(204)


def _faults(carrier: Carrier, body: Mapping[str, Any]) -> ApiReply:
    shape, retry_after = body.get("shape"), body.get("retry_after", 1)
    if shape not in (None, 0, 1, 2) or not isinstance(retry_after, int | None):
        raise Refusal(400, "shape: 0, 1 or 2; retry_after: seconds or null")
    times = body.get("next", 1)
    if not isinstance(times, int):
        raise Refusal(400, "next: how many requests")
    kind, path, method, message = (str(body.get(name, "")) for name in ("kind", "path", "method", "message"))
    fault = RequestFault(kind, path, method.upper(), shape, retry_after, message)
    carrier.faults.add(fault, times)
    return ApiReply(204)


def _phone_in(carrier: Carrier, body: Mapping[str, Any]) -> ApiReply:
    person = read_callee({key: body[key] for key in body if key not in PHONE_IN})
    record = carrier.phone(
        str(body.get("answer_url", "")),
        from_number=str(body.get("from", "+911234567891")),
        to_number=str(body.get("to", "")),
        hangup_url=str(body.get("hangup_url", "")),
        callee=person,
    )
    return ApiReply(201, {"call_uuid": record.call_id})


PHONE_IN = frozenset({"answer_url", "from", "to", "hangup_url"})
