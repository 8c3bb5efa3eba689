"""Routes of REST on calls: make one, list them, and every operation on a live one."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from simulators.answer import L16_8K, L16_16K, MULAW, TRACKS, Stream, read_extra_headers
from simulators.carrier.call_request import BadParameter, read_call_request, read_target, read_whole
from simulators.carrier.conversation import CHARS_PER_S
from simulators.carrier.fields import bare
from simulators.carrier.interpreter import PLAY_S
from simulators.carrier.phone_call import PhoneCall
from simulators.carrier.plan import Target
from simulators.carrier.record import utc_text
from simulators.carrier.recordings import CHANNEL_TYPES
from simulators.carrier.refusals import Refusal
from simulators.carrier.routes import AccountRequest, ApiReply, reply_body

if TYPE_CHECKING:
    from simulators.carrier.carrier import Carrier

QUEUED_MAX = 20
DTMF = re.compile(r"[0-9*#wW]+")
URLS_MAX = 100


def call_route(carrier: Carrier, asked: AccountRequest) -> ApiReply:
    """Answer a request under `/Account/{id}/Call/`.  Raises `Refusal`."""
    try:
        match asked.method, len(asked.segments):
            case "POST", 1:
                return _make(carrier, asked.body)
            case "GET", 1:
                return _list(carrier, asked.query)
            case "GET", 2:
                return _details(carrier, asked)
            case "POST", 2:
                return _transfer(_live(carrier, asked), asked.body)
            case "DELETE", 2:
                return _hang_up(_live(carrier, asked))
            case _, 3 | 4:
                return _on_live(carrier, _live(carrier, asked), asked)
    except BadParameter as error:
        raise Refusal(400, str(error)) from error
    raise Refusal(404, "not found")


def _make(carrier: Carrier, body: Mapping[str, Any]) -> ApiReply:
    wanted = read_call_request(body)
    live = sum(1 for call in carrier.live.values() if call.record.live)
    carrier.limits.admit(len(wanted.to_numbers), live, carrier.now_ms)
    ids = tuple(
        carrier.place_call(wanted.from_number, number, wanted.plan).record.call_id for number in wanted.to_numbers
    )
    return ApiReply(201, reply_body("call fired", request_uuid=ids[0] if len(ids) == 1 else list(ids)), ids)


def _live(carrier: Carrier, asked: AccountRequest) -> PhoneCall:
    call = carrier.live.get(asked.segments[1])
    if call is None or not call.record.live:
        raise Refusal(404, "call not found")
    return call


STANDINGS = {"live": ("in-progress",), "queued": ("queued", "ringing")}
"""Return the `status` under which a call in this state is listed: a ringing call still counts as queued."""


def _standing(query: Mapping[str, str]) -> str:
    status = query.get("status", "")
    if status not in STANDINGS:
        raise Refusal(400, "status is required: live or queued")
    return status


def _list(carrier: Carrier, query: Mapping[str, str]) -> ApiReply:
    status = _standing(query)
    ids = [call_id for call_id, call in carrier.live.items() if call.record.state in STANDINGS[status]]
    return ApiReply(200, {"api_id": str(uuid.uuid4()), "calls": ids if status == "live" else ids[:QUEUED_MAX]})


def _details(carrier: Carrier, asked: AccountRequest) -> ApiReply:
    """Return one call.  Raises `Refusal` 404 also if the call has another status than the one asked for."""
    status = _standing(asked.query)
    call = _live(carrier, asked)
    record = call.record
    if record.state not in STANDINGS[status]:
        raise Refusal(404, "call not found")
    details = {
        "api_id": str(uuid.uuid4()),
        "call_status": record.state if status == "live" else "queued",
        "call_uuid": record.call_id,
        "caller_name": call.plan.caller_name,
        "direction": record.direction,
        "from": bare(record.from_number),
        "to": bare(record.to_number),
        "request_uuid": record.call_id,
    }
    if status == "live":
        more = {"stir_attestation": "Not Applicable", "stir_verification": "Not Applicable"}
        details |= {"session_start": utc_text(record.started), **more}
    return ApiReply(200, details, (record.call_id,))


def _transfer(call: PhoneCall, body: Mapping[str, Any]) -> ApiReply:
    legs = str(body.get("legs", "aleg"))
    if legs not in ("aleg", "bleg", "both"):
        raise Refusal(400, "legs: expected aleg, bleg or both")
    target = read_target(body, "bleg" if legs == "bleg" else "aleg")
    if not target.url:
        raise Refusal(400, f"{'bleg' if legs == 'bleg' else 'aleg'}_url is required")
    if call.record.state != "in-progress":
        raise Refusal(404, "call not found")
    if legs != "bleg":
        call.transfer(target)
    return ApiReply(202, reply_body("call transferred", call_uuid=call.record.call_id), (call.record.call_id,))


def _hang_up(call: PhoneCall) -> ApiReply:
    """End a call.  A second DELETE finds no call, even before the webhooks of the first were sent."""
    if call.ending:
        raise Refusal(404, "call not found")
    call.hang_up(4000 if call.record.state == "in-progress" else 1000, "API Request")
    return ApiReply(204, call_ids=(call.record.call_id,))


def _on_live(carrier: Carrier, call: PhoneCall, asked: AccountRequest) -> ApiReply:
    kind, ids = asked.kind(2), (call.record.call_id,)
    if asked.method == "GET" and kind == "stream":
        return _streams(carrier, call, asked)
    if asked.method == "DELETE":
        if kind == "stream":
            stream_id = asked.segments[3] if len(asked.segments) == 4 else None
            if not call.streams.stop(stream_id, "stopped by REST"):
                raise Refusal(404, "stream not found")
        elif kind == "record":
            _stop_recordings(carrier, call, str(asked.body.get("URL") or asked.body.get("url") or ""))
        elif kind in ("play", "speak"):
            call.quiet(kind)
        else:
            raise Refusal(404, "not found")
        return ApiReply(204, call_ids=ids)
    starts = {"play": _play, "speak": _speak, "dtmf": _dtmf, "stream": _stream}
    if asked.method != "POST" or len(asked.segments) != 3:
        raise Refusal(404, "not found")
    if kind == "record":
        return _record(carrier, call, asked.body)
    if kind not in starts:
        raise Refusal(404, "not found")
    return ApiReply(202, starts[kind](call, asked.body), ids)


def _play(call: PhoneCall, body: Mapping[str, Any]) -> dict[str, Any]:
    urls = body.get("urls")
    listed = urls if isinstance(urls, list) else str(urls or "").split(",")
    files = [str(url).strip() for url in listed if str(url).strip()][:URLS_MAX]
    if not files:
        raise Refusal(400, "urls is required")
    call.sound("play", [(url, PLAY_S) for url in files])
    return reply_body("play started")


def _speak(call: PhoneCall, body: Mapping[str, Any]) -> dict[str, Any]:
    text = str(body.get("text") or "")
    if not text:
        raise Refusal(400, "text is required")
    call.sound("speak", [(text, len(text) / CHARS_PER_S)])
    return reply_body("speak started")


def _dtmf(call: PhoneCall, body: Mapping[str, Any]) -> dict[str, Any]:
    digits = str(body.get("digits") or "")
    if not DTMF.fullmatch(digits):
        raise Refusal(400, "digits: only 0-9, *, #, w and W")
    if str(body.get("leg", "aleg")) not in ("aleg", "bleg", "both"):
        raise Refusal(400, "leg: expected aleg, bleg or both")
    call.record.digits.append(digits)
    return reply_body("digits sent")


def _stream(call: PhoneCall, body: Mapping[str, Any]) -> dict[str, Any]:
    """Start a stream.  As on the real API, only the string "true" makes it two-way; a JSON true does not."""
    url = str(body.get("service_url") or "")
    if not url.startswith(("ws://", "wss://")):
        raise Refusal(400, "service_url is not a valid URL")
    two_way = body.get("bidirectional") == "true"
    track = str(body.get("audio_track") or "both")
    if track not in TRACKS or (two_way and track != "inbound"):
        raise Refusal(400, "audio_track: a bidirectional stream takes only inbound")
    content_type = str(body.get("content_type") or body.get("audio_format") or L16_8K).replace(" ", "")
    if content_type not in (MULAW, L16_8K, L16_16K):
        raise Refusal(400, "content_type is not supported")
    status = read_target(body, "status_callback")
    stream = Stream(
        url=url,
        bidirectional=two_way,
        keep_call_alive=False,
        content_type=content_type,
        stream_timeout_s=read_whole(body, "stream_timeout", 1, 86_400, 86_400),
        max_retries=0,
        status_callback_url=status.url or None,
        verbs_before=(),
        verbs_after=(),
        status_callback_method=status.method,
        extra_headers=read_extra_headers(str(body.get("extra_headers") or "")),
    )
    entry = call.streams.new(stream)
    call.aside(call.interpreter.beside(entry), "stream by REST")
    return reply_body("audio streaming started", stream_id=entry.stream_id)


def _streams(carrier: Carrier, call: PhoneCall, asked: AccountRequest) -> ApiReply:
    objects = [entry.to_json(carrier.options.auth_id, call.record.call_id) for entry in call.streams.entries]
    if len(asked.segments) == 4:
        for stream in objects:
            if stream["stream_id"] == asked.segments[3]:
                return ApiReply(200, {"api_id": str(uuid.uuid4()), **stream})
        raise Refusal(404, "stream not found")
    meta = {"limit": 20, "offset": 0, "total_count": len(objects), "next": None, "previous": None}
    return ApiReply(200, {"api_id": str(uuid.uuid4()), "meta": meta, "objects": objects})


def _record(carrier: Carrier, call: PhoneCall, body: Mapping[str, Any]) -> ApiReply:
    file_format = str(body.get("file_format") or "mp3")
    if file_format not in ("mp3", "wav"):
        raise Refusal(400, "file_format: expected mp3 or wav")
    channel_type = str(body.get("record_channel_type") or "mono")
    if channel_type not in CHANNEL_TYPES:
        raise Refusal(400, "record_channel_type: expected mono or stereo")
    limit_s = read_whole(body, "time_limit", 1, 86_400, 60)
    callback: Target = read_target(body, "callback")
    recording = carrier.recordings.start(call.record, file_format, callback, limit_s, channel_type, by_rest=True)
    ids = (call.record.call_id,)
    return ApiReply(200, reply_body("recording started", recording_id=recording.recording_id, url=recording.url), ids)


def _stop_recordings(carrier: Carrier, call: PhoneCall, url: str) -> None:
    """Return the running recording with this URL, or all running ones if no URL is given."""
    running = [
        recording
        for recording in carrier.recordings.running(call.record)
        if recording.by_rest and url in ("", recording.url)
    ]
    if not running:
        raise Refusal(404, "recording not found")
    for recording in running:
        carrier.recordings.stop(recording, "StoppedByRequest")
        carrier.recordings.report_stop(call.record, recording, call.reports.put)
