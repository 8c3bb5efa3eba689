"""Builds the parameters of every webhook, as captured or documented.  All values are text, without `+`.  Pure."""

from collections.abc import Mapping
from typing import Any

from simulators.carrier.causes import Cause
from simulators.carrier.record import CallRecord, ist_text, utc_text

STIR = {"STIRVerification": "Not Applicable", "STIRAttestation": "Not Applicable"}


def call_fields(call: CallRecord, account: str, event: str, status: str) -> dict[str, str]:
    """Return the fields that every webhook of a call has."""
    fields = {
        "CallUUID": call.call_id,
        "RequestUUID": call.call_id,
        "ALegUUID": call.call_id,
        "From": bare(call.from_number),
        "To": bare(call.to_number),
        "Direction": call.direction,
        "CallStatus": status,
        "Event": event,
        "ParentAuthID": account,
        "SessionStart": utc_text(call.started),
        "BillRate": "0.00000",
        "TotalCost": "0.00000",
        **STIR,
    }
    if call.direction == "outbound":
        fields["ALegRequestUUID"] = call.call_id
    return fields


def ring_fields(call: CallRecord) -> dict[str, str]:
    return {
        "Event": "Ring",
        "CallStatus": "ringing",
        "From": bare(call.from_number),
        "To": bare(call.to_number),
        "RequestUUID": call.call_id,
        "ALegRequestUUID": call.call_id,
        "CallUUID": call.call_id,
        "Direction": call.direction,
        "SessionStart": utc_text(call.started),
        "STIRAttestation": "Not Applicable",
    }


def machine_fields(call: CallRecord, machine: bool, if_machine: str) -> dict[str, str]:
    return {
        "From": bare(call.from_number),
        "To": bare(call.to_number),
        "Machine": str(machine).lower(),
        "RequestUUID": call.call_id,
        "ALegRequestUUID": call.call_id,
        "CallUUID": call.call_id,
        "ALegUUID": call.call_id,
        "IfMachine": if_machine,
        "Direction": call.direction,
        "Event": "MachineDetection",
        "CallStatus": "in-progress",
    }


def hangup_fields(call: CallRecord, account: str, cause: Cause) -> dict[str, str]:
    """Return the fields of the Hangup webhook; `ended_ms` must be set."""
    assert call.ended_ms is not None
    ended = call.moment(call.ended_ms)
    seconds = round(call.answered_s)
    fields = call_fields(call, account, "Hangup", cause.status) | {
        "ALegRequestUUID": call.call_id,
        "StartTime": ist_text(call.started),
        "EndTime": ist_text(ended),
        "Duration": str(seconds),
        "BillDuration": str(billed_s(call)),
        "HangupCause": cause.text,
        "HangupCauseCode": str(cause.code),
        "HangupCauseName": cause.name,
        "HangupSource": cause.source,
    }
    if call.answered_ms is not None:
        fields["AnswerTime"] = ist_text(call.moment(call.answered_ms))
    return fields


def billed_s(call: CallRecord) -> int:
    """Return the answered time in s, rounded up to whole minutes."""
    return 60 * max(1, -(-round(call.answered_s) // 60)) if call.answered_ms is not None else 0


def stream_fields(call: CallRecord, account: str, event: str, stream: Mapping[str, Any], at: str) -> dict[str, str]:
    """Return the fields of a stream status callback.

    `stream` has stream_id, service_url, url, method, extra_headers, name and error.
    """
    fields = {
        "Event": event,
        "CallUUID": call.call_id,
        "StreamID": stream["stream_id"],
        "From": bare(call.from_number),
        "To": bare(call.to_number),
        "ParentAuthID": account,
        "status_callback_url": stream["url"],
        "status_callback_method": stream["method"],
        "Timestamp": at,
        "Error": stream.get("error", ""),
    }
    if event == "StartStream":
        fields["ServiceURL"] = stream["service_url"]
    if event == "PlayedStream":
        fields["Name"] = stream["name"]
    return fields | {f"X-VH-{key}": value for key, value in stream["extra_headers"]}


def dial_fields(call: CallRecord, leg: Mapping[str, Any], event: str) -> dict[str, str]:
    """Return the fields of a `<Dial>` callback about the B leg: DialAnswer, DialConnected or DialHangup."""
    fields = {
        "Event": event,
        "CallUUID": call.call_id,
        "DialALegUUID": call.call_id,
        "DialBLegUUID": leg["uuid"],
        "DialBLegStatus": {"DialAnswer": "answer", "DialConnected": "connected", "DialHangup": "hangup"}[event],
        "DialBLegFrom": bare(leg["from"]),
        "DialBLegTo": bare(leg["to"]),
        "DialBLegPosition": "1",
    }
    if event == "DialHangup":
        ended: Cause = leg["cause"]
        fields |= {
            "DialBLegDuration": str(round(leg["seconds"])),
            "DialBLegBillDuration": str(60 * -(-round(leg["seconds"]) // 60)),
            "DialBLegHangupCause": ended.text,
            "DialBLegHangupCauseCode": str(ended.code),
            "DialBLegHangupCauseName": ended.name,
            "DialBLegHangupSource": ended.source,
        }
    return fields


def recording_fields(call: CallRecord, recording: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of the `RecordStop` callback of `<Record>`, which its action gets, too."""
    duration_ms = recording["duration_ms"]
    return {
        "Event": "RecordStop",
        "CallUUID": call.call_id,
        "RecordingID": recording["recording_id"],
        "RecordFile": recording["recording_url"],
        "RecordUrl": recording["recording_url"],
        "RecordingDuration": str(round(duration_ms / 1000)),
        "RecordingDurationMs": str(round(duration_ms)),
        "RecordingStartMs": str(round(recording["start_ms"])),
        "RecordingEndMs": str(round(recording["start_ms"] + duration_ms)),
        "RecordingEndReason": recording["end_reason"],
    }


def rest_recording_fields(call: CallRecord, recording: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of the callback of a recording started by REST: the same values in snake_case."""
    duration_ms = recording["duration_ms"]
    return {
        "api_id": recording["api_id"],
        "call_uuid": call.call_id,
        "recording_id": recording["recording_id"],
        "record_url": recording["recording_url"],
        "recording_duration": str(round(duration_ms / 1000)),
        "recording_duration_ms": str(round(duration_ms)),
        "recording_start_ms": str(round(recording["start_ms"])),
        "recording_end_ms": str(round(recording["start_ms"] + duration_ms)),
    }


def bare(number: str) -> str:
    return number.lstrip("+")
