"""What Vobiz was seen to send, with placeholders for what belongs to somebody."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from xml.etree import ElementTree

import httpx

from edge.http.webhook_urls import GIVEN_ONLY
from tests.e2e.loopback_edge import FROM, SECONDS, TO, Edge, given

ACCOUNT = "MA_XXXXXXXX"
AGENT = {"User-Agent": "Vobiz", "Accept": "*/*", "Accept-Encoding": "gzip"}


def answer(call_id: str, **more: str) -> dict[str, str]:
    """The answer request of an outbound call, 469 bytes as a form (15 January 2026)."""
    return {
        "CallUUID": call_id,
        "RequestUUID": call_id,
        "ALegUUID": call_id,
        "ALegRequestUUID": call_id,
        "From": TO,
        "To": FROM,
        "Direction": "outbound",
        "CallStatus": "in-progress",
        "Event": "StartApp",
        "ParentAuthID": ACCOUNT,
        "SessionStart": "2026-01-15 06:19:42.652502",
        "BillRate": "0.00000",
        "STIRVerification": "Not Applicable",
        "STIRAttestation": "Not Applicable",
        **more,
    }


def hangup(call_id: str, **more: str) -> dict[str, str]:
    """The Hangup webhook (21 July 2026)."""
    return {
        **answer(call_id),
        "CallStatus": "completed",
        "Event": "Hangup",
        "StartTime": "2026-07-21 13:38:38",
        "AnswerTime": "2026-07-21 13:38:41",
        "EndTime": "2026-07-21 13:38:45",
        "SessionStart": "2026-07-21 08:08:38.662991",
        "Duration": "4",
        "BillDuration": "60",
        "TotalCost": "0.00000",
        "HangupCause": "NORMAL_CLEARING",
        "HangupCauseCode": "4000",
        "HangupCauseName": "Normal Hangup",
        "HangupSource": "Callee",
        **more,
    }


def stream_status(call_id: str, event: str, **more: str) -> dict[str, str]:
    """A stream status callback (documented; 6 November 2025)."""
    return {
        "Event": event,
        "CallUUID": call_id,
        "StreamID": f"stream-of-{call_id}",
        "From": TO,
        "To": FROM,
        "ParentAuthID": ACCOUNT,
        "status_callback_url": "https://voice.example.com/stream-status",
        "status_callback_method": "POST",
        "Timestamp": "2025-11-06 09:58:40",
        "Error": "",
        **more,
    }


def start(call_id: str, encoding: str = "audio/x-mulaw", rate: int = 8000) -> dict[str, Any]:
    """Today's `start`, as captured."""
    body = {
        "callId": call_id,
        "streamId": f"stream-of-{call_id}",
        "accountId": "500025",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": encoding, "sampleRate": rate},
    }
    return {"sequenceNumber": 0, "event": "start", "start": body, "extra_headers": "{}"}


def media(payload: str, **more: Any) -> dict[str, Any]:
    """Today's `media`, as captured; `payload` is base64, `more` goes into its body."""
    body = {"track": "inbound", "timestamp": "1778597597091", "chunk": 2, "payload": payload, **more}
    return {"sequenceNumber": 2, "streamId": "s", "event": "media", "media": body, "extra_headers": "{}"}


def text(audio: bytes) -> str:
    """Audio as a `media` message has it."""
    return base64.b64encode(audio).decode()


async def post(edge: Edge, path: str, fields: dict[str, str], **more: Any) -> httpx.Response:
    """A webhook as Vobiz sends it; it must be answered with 200."""
    url = given(path, fields["CallUUID"]) if path in GIVEN_ONLY and "CallUUID" in fields else path
    response = await edge.http.post(url, data=fields, headers=AGENT, **more)
    assert response.status_code == 200, response.text
    return response


def verbs(response: httpx.Response) -> list[ElementTree.Element]:
    """The verbs of an XML reply that Vobiz can read."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].partition(";")[0] == "application/xml"
    assert len(response.content) <= 100_000
    root = ElementTree.fromstring(response.content)
    assert root.tag == "Response"
    return list(root)


def tags(response: httpx.Response) -> list[str]:
    return [verb.tag for verb in verbs(response)]


async def shown(edge: Edge, call_id: str) -> dict[str, Any]:
    """What `GET /v1/calls/<id>` says."""
    response = await edge.http.get(f"/v1/calls/{call_id}")
    assert response.status_code == 200, response.text
    return dict(response.json())


async def facts(edge: Edge, call_id: str) -> dict[str, str]:
    """What the carrier said about the call, as the API shows it."""
    return dict((await shown(edge, call_id))["carrier"])


async def until_ended(edge: Edge, call_id: str) -> None:
    """The end is written down just after it is told."""
    async with asyncio.timeout(SECONDS):
        while (await shown(edge, call_id))["state"] != "ended":
            await asyncio.sleep(0.001)
