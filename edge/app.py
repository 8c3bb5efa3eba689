"""The edge's HTTP face: Vobiz's webhooks, the media WebSocket, and the probes.

The way of a frame: `media_stream` here ─▶ stream.py (token, start) ─▶ live_call.py (the call) ─▶ the bus; and back:
calls.py (from the bus) ─▶ live_call.py ─▶ playout.py (when) ─▶ socket.py (the caller's ear).
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from common import metrics
from common.agents import Agents, to_document
from common.ledger import CallRecord, Ledger
from common.messages import HangUp
from common.streams import edge_priority
from edge.calls import Calls
from edge.stream import Streams
from edge.tokens import CALL_ID, mint
from edge.webhooks import BadRequest, StreamXml, apology_xml, hangup_xml, parameters

log = logging.getLogger(__name__)

APOLOGY = "Sorry, we cannot take your call right now. Please call again in a few minutes."


@dataclass(frozen=True, slots=True)
class Front:
    """The routes and what they need."""

    calls: Calls
    streams: Streams
    ledger: Ledger
    agents: Agents
    public_url: str

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/answer", self.answer, methods=["GET", "POST"]),
                Route("/hangup", self.hangup, methods=["GET", "POST"]),
                WebSocketRoute("/ws", self.media_stream),
                WebSocketRoute("/ws/{token}", self.media_stream),
                Route("/healthz", _alive),
                Route("/readyz", self.ready),
                Route("/metrics", _metrics),
            ],
            exception_handlers={BadRequest: _bad_request, HTTPException: _http_error, Exception: _server_error},
        )

    async def answer(self, request: Request) -> Response:
        """Vobiz asks what to do with a call: connect it to an agent."""
        fields = await parameters(request)
        if fields.get("Event") == "Hangup":  # hangup_url falls back to answer_url
            await self._hung_up(fields)
            return _xml(hangup_xml())
        call_id = _call_id(fields)
        if refusal := self.calls.refusal():
            metrics.CALLS_REFUSED.labels(refusal).inc()
            return _xml(apology_xml(APOLOGY))
        inbound = fields.get("Direction", "inbound") != "outbound"
        agent = self.agents.for_number(fields.get("To" if inbound else "From", ""))
        if agent is None:
            metrics.CALLS_REFUSED.labels("no agent").inc()
            return _xml(apology_xml(APOLOGY))
        record = CallRecord(
            call_id,
            agent=to_document(agent),
            from_number=fields.get("From", ""),
            to_number=fields.get("To", ""),
            direction="inbound" if inbound else "outbound",
        )
        try:
            await self.ledger.create(record)
        except (ConnectionError, TimeoutError):
            metrics.CALLS_REFUSED.labels("cut off from Redis").inc()
            return _xml(apology_xml(APOLOGY))
        return _xml(StreamXml(self._stream_url(request, call_id)).render())

    async def hangup(self, request: Request) -> Response:
        """Vobiz says that a call is over; said before or after the socket closed, once or three times."""
        await self._hung_up(await parameters(request))
        return PlainTextResponse("ok")

    async def media_stream(self, websocket: WebSocket) -> None:
        """Vobiz opens the stream that /answer asked for."""
        await self.streams.serve(websocket, websocket.path_params.get("token", ""))

    async def ready(self, request: Request) -> Response:
        """Does this edge take new calls?"""
        refusal = self.calls.refusal()
        return PlainTextResponse(f"not ready: {refusal}\n", 503) if refusal else PlainTextResponse("ready\n")

    async def _hung_up(self, fields: dict[str, str]) -> None:
        call_id = _call_id(fields)
        call = self.calls.get(call_id)
        if call is not None:
            call.end("caller hung up")
            return
        try:
            record = await self.ledger.read(call_id)
            if record is not None and record.status == "live":
                self.streams.bus.publish(edge_priority(record.edge), HangUp(call_id, "caller hung up"))
            elif record is not None and record.status == "new":
                await self.ledger.end(call_id, "carrier")
        except (ConnectionError, TimeoutError):
            log.warning("a hangup could not be written down", extra={"call_id": call_id})

    def _stream_url(self, request: Request, call_id: str) -> str:
        public = urlsplit(self.public_url or str(request.base_url))
        scheme = "wss" if public.scheme == "https" else "ws"
        path = public.path.rstrip("/") + "/ws"
        if self.streams.secret is not None:
            path += "/" + mint(self.streams.secret, call_id, time.time())
        return f"{scheme}://{public.netloc}{path}"


def _call_id(fields: dict[str, str]) -> str:
    call_id = fields.get("CallUUID", "")
    if not CALL_ID.fullmatch(call_id):
        raise BadRequest(400, "bad_call_uuid", "CallUUID is missing or not an id.")
    return call_id


def _xml(document: bytes) -> Response:
    return Response(document, media_type="application/xml")


async def _alive(request: Request) -> Response:
    return PlainTextResponse("alive\n")


async def _metrics(request: Request) -> Response:
    return Response(metrics.exposition(), headers={"content-type": metrics.CONTENT_TYPE})


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)


async def _bad_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, BadRequest)
    metrics.BAD_INPUT.labels("webhook").inc()
    return _error(error.status, error.code, str(error))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, error.detail.lower().replace(" ", "_"), error.detail)


async def _server_error(request: Request, error: Exception) -> Response:
    return _error(500, "internal", "Something went wrong here; it was logged.")
