"""Sends the carrier's HTTP requests of a call: the answer request and the hangup webhook.  Uses no proxies."""

import asyncio
import base64
import hashlib
import hmac
import secrets
import ssl
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from urllib.parse import urlsplit

# httpx imports these two during the first request: 70 ms that would count as the server's latency.
import anyio._backends._asyncio  # noqa: F401
import httpcore  # noqa: F401
import httpx

from simulators.answer import ANSWER_UNREACHABLE, XML_BYTES_MAX, CallDropped, Stream, read_answer

USER_AGENT = "Vobiz"
ACCOUNT = "MA_XXXXXXXX"
HANGUP_DEADLINE_S = 3.0
HANGUP_TRIES = 3
HANGUP_PAUSE_S = 0.5  # doubled after each try
NONCE_DIGITS = 20
IST = timezone(timedelta(hours=5, minutes=30))


@dataclass(frozen=True, slots=True)
class Party:
    """One call as the webhooks describe it; numbers are sent without `+`."""

    call_id: str
    from_number: str
    to_number: str
    started: datetime
    auth_token: str | None = None

    def fields(self, event: str, status: str) -> dict[str, str]:
        """Return the fields that every call webhook has."""
        return {
            "CallUUID": self.call_id,
            "RequestUUID": self.call_id,
            "ALegUUID": self.call_id,
            "From": self.from_number.lstrip("+"),
            "To": self.to_number.lstrip("+"),
            "Direction": "inbound",
            "CallStatus": status,
            "Event": event,
            "ParentAuthID": ACCOUNT,
            "SessionStart": self.started.strftime("%Y-%m-%d %H:%M:%S.%f"),
            "BillRate": "0.00000",
            "TotalCost": "0.00000",
            "STIRVerification": "Not Applicable",
            "STIRAttestation": "Not Applicable",
        }


@dataclass(frozen=True, slots=True)
class AnswerReply:
    """The reply to the answer request and the time it took."""

    status: int
    content_type: str
    took_ms: float
    stream: Stream


@dataclass(frozen=True, slots=True)
class Hangup:
    """The hangup cause in the carrier's terms."""

    code: int
    name: str
    source: str


def signatures(auth_token: str, url: str, *, parent_token: str | None = None) -> dict[str, str]:
    """Return the captured signature headers: V2 and V3 are base64(HMAC-SHA256) over the URL without query, and a nonce.

    The MA headers use the main account's token (the same one unless `parent_token` is given) and the same nonces.
    The documents contradict each other on V1; the carrier's value must not be trusted.
    """
    parts = urlsplit(url)
    base = f"{parts.scheme}://{parts.netloc}{parts.path}"
    headers = {"X-Vobiz-Signature": base64.b64encode(secrets.token_bytes(20)).decode()}
    for version, joint in (("V2", ""), ("V3", ".")):
        nonce = "".join(secrets.choice("0123456789") for _ in range(NONCE_DIGITS))
        for name, token in ((version, auth_token), (f"MA-{version}", parent_token or auth_token)):
            digest = hmac.new(token.encode(), f"{base}{joint}{nonce}".encode(), hashlib.sha256).digest()
            headers[f"X-Vobiz-Signature-{name}"] = base64.b64encode(digest).decode()
        headers[f"X-Vobiz-Signature-{version}-Nonce"] = nonce
    return headers


async def fetch_answer(url: str, party: Party, deadline_s: float) -> AnswerReply:
    """Send the answer request.  Raises `CallDropped` where the carrier would drop the call."""
    try:
        reply = await _post(url, party, party.fields("StartApp", "ringing"), deadline_s)
    except (httpx.HTTPError, TimeoutError) as error:
        raise CallDropped(ANSWER_UNREACHABLE, f"{type(error).__name__} within {deadline_s:g} s") from error
    stream = read_answer(reply.status, reply.content_type, reply.body)
    return AnswerReply(reply.status, reply.content_type, reply.took_ms, stream)


async def report_hangup(url: str, party: Party, answered_s: float, hangup: Hangup) -> int | None:
    """POST the Hangup webhook, up to three times; return the last HTTP status, None without a reply."""
    ended = party.started + timedelta(seconds=answered_s)
    form = party.fields("Hangup", "completed") | {
        "ALegRequestUUID": party.call_id,
        "StartTime": _ist(party.started),
        "AnswerTime": _ist(party.started),
        "EndTime": _ist(ended),
        "Duration": str(round(answered_s)),
        "BillDuration": str(60 * max(1, -(-round(answered_s) // 60))),
        "HangupCause": "NORMAL_CLEARING",
        "HangupCauseCode": str(hangup.code),
        "HangupCauseName": hangup.name,
        "HangupSource": hangup.source,
    }
    status: int | None = None
    for attempt in range(HANGUP_TRIES):
        try:
            status = (await _post(url, party, form, HANGUP_DEADLINE_S)).status
        except (httpx.HTTPError, TimeoutError):
            status = None
        if status == 200:
            break
        if attempt + 1 < HANGUP_TRIES:
            await asyncio.sleep(HANGUP_PAUSE_S * 2**attempt)
    return status


def _ist(moment: datetime) -> str:
    """Return the three times that Vobiz gives in Indian local time (SessionStart is UTC)."""
    return moment.astimezone(IST).strftime("%Y-%m-%d %H:%M:%S")


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    content_type: str
    body: bytes
    took_ms: float


tls_context = cache(ssl.create_default_context)  # reading the certificates takes longer than a fast reply


async def _post(url: str, party: Party, form: dict[str, str], deadline_s: float) -> _Reply:
    """POST a form on a new connection; cut the body just beyond the carrier's limit."""
    headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "gzip"}
    if party.auth_token:
        headers |= signatures(party.auth_token, url)
    verify = tls_context() if url.startswith("https:") else False
    client = httpx.AsyncClient(timeout=deadline_s, trust_env=False, verify=verify)
    began_s = time.monotonic()
    async with (
        asyncio.timeout(deadline_s),
        client,
        client.stream("POST", url, data=form, headers=headers) as reply,
    ):
        body = b""
        async for piece in reply.aiter_bytes():
            body += piece
            if len(body) > XML_BYTES_MAX:
                break
        took_ms = (time.monotonic() - began_s) * 1000
        return _Reply(reply.status_code, reply.headers.get("content-type", ""), body, took_ms)
