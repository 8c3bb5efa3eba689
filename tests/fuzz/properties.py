"""What must hold whatever comes: each check takes one input, counts what became of it, and raises if it must not.

Our own refusals (BadFrame, BadToken, BadRequest or a 4xx in JSON) are outcomes; every other exception is a failure.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from starlette.requests import Request
from starlette.types import ASGIApp, Message

from common.bus.memory import MemoryBus
from common.bus.memory import MemoryStreams as Entries
from common.protocol.messages import AudioOut, CallStarted, ReplySynthesized
from common.protocol.redis_keys import CALL_ID, edge_audio
from common.store import CallRecord
from common.store.memory import MemoryCallStore
from edge.http.api import Api
from edge.http.app import EdgeApp
from edge.http.parameters import FIELDS_MAX, VALUE_CHARS_MAX, BadRequest, parameters, read_body
from edge.http.webhook_auth import WebhookAuth
from edge.http.webhooks import Webhooks
from edge.media.stream_token import BadToken, verify
from edge.media.ticker import Ticker
from edge.session.calls import Calls
from edge.session.media_streams import MediaStreams
from edge.vobiz.signatures import Policy
from edge.vobiz.stream_protocol import NAME_CHARS_MAX, PAYLOAD_BYTES_MAX, BadFrame, DtmfMessage, Media, Start, parse
from tests.e2e.loopback_edge import ANY_AGENT, EDGE, Edge, Phone, phone, start_of
from tests.fuzz.inputs import SECRET

HOOKS = ("/answer", "/fallback", "/hangup", "/ring", "/machine", "/voicemail", "/after-stream", "/stream-status",
         "/dial-status", "/record-status")  # fmt: skip
SECONDS = 5.0


@dataclass
class Tally:
    """How many inputs there were, by part, and what became of them."""

    inputs: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)

    def count(self, part: str, outcome: str) -> None:
        self.inputs[part] += 1
        self.outcomes[f"{part}: {outcome}"] += 1


def check_frame(text: bytes, tally: Tally) -> None:
    """The codec: an event within its bounds, or BadFrame."""
    try:
        event = parse(text)
    except BadFrame as error:
        return tally.count("frames", f"BadFrame {error.kind}")
    match event:
        case Media(payload):
            assert len(payload) <= PAYLOAD_BYTES_MAX
        case DtmfMessage(digits):
            assert digits and set(digits) <= set("0123456789*#ABCD")
        case Start(call_id, stream_id):
            assert max(len(call_id), len(stream_id)) <= NAME_CHARS_MAX
    return tally.count("frames", type(event).__name__)


def check_token(token: str, good: str, tally: Tally) -> None:
    """BadToken, or the very token that we made."""
    try:
        found = verify(SECRET, token)
    except BadToken:
        return tally.count("tokens", "BadToken")
    assert token == good
    assert CALL_ID.fullmatch(found.call_id)
    return tally.count("tokens", "good")


async def check_parameters(body: bytes, kind: str, query: bytes, tally: Tally) -> None:
    """Texts within the bounds, or BadRequest with a 4xx."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", kind.encode("latin-1"))] if kind else []
    scope = {"type": "http", "method": "POST", "path": "/answer", "query_string": query, "headers": headers}
    request = Request(scope, receive)
    try:
        found = await parameters(request, await read_body(request))
    except BadRequest as error:
        assert 400 <= error.status < 500
        return tally.count("parameters", f"BadRequest {error.code}")
    assert len(found) <= FIELDS_MAX
    assert all(isinstance(value, str) and len(value) <= VALUE_CHARS_MAX for value in found.values())
    return tally.count("parameters", "understood")


@asynccontextmanager
async def webhooks(policy: Policy) -> AsyncIterator[httpx.AsyncClient]:
    """All routes of an edge, without a socket; an exception in them reaches whoever asks."""
    entries = Entries()
    bus, store = MemoryBus(entries), MemoryCallStore(entries)
    calls, ticker = Calls("edge-a", bus, store, 1000), Ticker(asyncio.get_running_loop())
    streams = MediaStreams(calls, store, bus, ticker, ANY_AGENT, SECRET, 200)
    gate = WebhookAuth(store, policy, ("a token",), "", ("127.0.0.0/8",))
    hooks = Webhooks(calls, store, ANY_AGENT, gate, None, "", SECRET)
    app: ASGIApp = EdgeApp(calls, streams, hooks, Api(ANY_AGENT, store, bus, None, "a token of the API", "")).app()
    await store.create(CallRecord("call-1"))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://edge.example.com") as client:
            yield client
    finally:
        ticker.close()


async def check_webhook(client: httpx.AsyncClient, request: httpx.Request, tally: Tally) -> None:
    """Served, or refused by a 4xx in JSON with a code; never a 5xx."""
    response = await client.send(request)
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        error = response.json()["error"]
        assert set(error) == {"code", "message"}
        return tally.count("webhooks", f"{response.status_code} {error['code']}")
    assert response.status_code == 200
    return tally.count("webhooks", str(response.status_code))


async def check_socket(edge: Edge, other: Phone, call_id: str, frames: list[tuple[bool, bytes]], tally: Tally) -> None:
    """Whatever one socket sends, as (binary, message): the other call goes on, and the sender's own is bounded.

    Two of three sockets begin with a real `start` and an agent who speaks, so that both sides of it are tried.
    """
    errors = await edge.count("voice_session_errors_total", process="edge")
    url = await edge.answer(call_id)
    async with phone(url) as caller:
        if len(frames) % 3:
            caller.take(edge, call_id)
            await caller.send(start_of(call_id))
            await caller.events.until(CallStarted)
            speech = AudioOut(call_id, 1, 1, 1, 0, 0, b"\x22" * 160 * 50, last=True)
            edge.workers.publish(edge_audio(EDGE), speech)
            edge.workers.publish(edge_audio(EDGE), ReplySynthesized(call_id, 1, 1, 1))
        for binary, frame in frames:
            await _send(caller, binary, frame)
            tally.inputs["sockets"] += 1
        async with asyncio.timeout(SECONDS):
            await other.goes_on()
        call = edge.calls.get(call_id)
        tally.outcomes[f"sockets: {'call' if call is not None else 'no call'}"] += 1
    await edge.http.post("/hangup", data={"CallUUID": call_id})
    assert await edge.count("voice_session_errors_total", process="edge") == errors


async def _send(caller: Phone, binary: bool, frame: bytes) -> None:
    """Text of any bytes; a socket that the edge has closed takes no more, which is its right."""
    if caller.socket.state.name == "OPEN":
        await caller.socket.send(frame, text=not binary)
