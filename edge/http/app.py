"""Routes of the edge: Vobiz's webhooks, the media WebSocket, the REST API, and the probes.

The way of the caller's frame: `media_stream` here ─▶ session/media_streams.py (token, `start`) ─▶
session/stream_events.py (one message) ─▶ session/call.py ─▶ media/uplink.py ─▶ the bus.  The way of the agent's frame:
session/calls.py (from the bus) ─▶ session/downlink.py ─▶ media/playout.py (when to send) ─▶ media/websocket.py.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from common.telemetry import metrics
from edge.http.api import Api
from edge.http.limits.rate_limit import Buckets, Limited
from edge.http.parameters import BadRequest
from edge.http.webhooks import Webhooks
from edge.session.calls import UNWRITABLE, Calls
from edge.session.media_streams import MediaStreams

CLIENT_CLOSED = 499
"""Status, as nginx uses it, for a request whose sender closed the connection."""


@dataclass(frozen=True, slots=True)
class EdgeApp:
    """All routes of an edge."""

    calls: Calls
    streams: MediaStreams
    webhooks: Webhooks
    api: Api
    failures: Buckets = field(default_factory=Buckets)

    def app(self) -> ASGIApp:
        """The ASGI application."""
        routed = Starlette(
            routes=[
                *self.webhooks.routes(),
                *self.api.routes(),
                *(WebSocketRoute(path, self.media_stream) for path in ("/ws", "/ws/", "/ws/{token}", "/ws/{token}/")),
                *(Route(path, _alive) for path in ("/healthz", "/healthz/")),
                *(Route(path, self.ready) for path in ("/readyz", "/readyz/")),
                *(Route(path, _metrics) for path in ("/metrics", "/metrics/")),
            ],
            exception_handlers={
                BadRequest: _bad_request,
                ClientDisconnect: _sender_gone,
                HTTPException: _http_error,
                Exception: _server_error,
            },
        )
        routed.router.redirect_slashes = False  # it would redirect to the host and scheme in the request's headers
        return Limited(routed, self.failures, self.webhooks.auth.proxies, time.monotonic)

    async def media_stream(self, websocket: WebSocket) -> None:
        """Serve Vobiz's WebSocket, from its token to its end."""
        await self.streams.serve(websocket, websocket.path_params.get("token", ""))

    async def ready(self, request: Request) -> Response:
        """Answer 200 if this edge takes new calls, else 503.  Waiting outbound calls do not make it unready."""
        refusal = self.calls.busy()
        if refusal == UNWRITABLE:
            refusal = f"{refusal} ({self.calls.unwritable})"
        if refusal:
            return PlainTextResponse(f"not ready: {refusal}\n", 503)
        dialer = self.webhooks.dialer
        waits = f"outbound calls wait: {dialer.waits}\n" if dialer is not None and dialer.waits else ""
        return PlainTextResponse(f"ready\n{waits}")


async def _alive(request: Request) -> Response:
    return PlainTextResponse("alive\n")


async def _metrics(request: Request) -> Response:
    return Response(metrics.exposition(), headers={"content-type": metrics.CONTENT_TYPE})


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)


async def _bad_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, BadRequest)
    metrics.BAD_INPUT.labels("request").inc()
    return _error(error.status, error.code, str(error))


async def _sender_gone(request: Request, error: Exception) -> Response:
    """The sender is gone, so nobody reads the answer; it counts neither as the peer's failure nor as our error."""
    metrics.BAD_INPUT.labels("sender went away").inc()
    return Response(status_code=CLIENT_CLOSED)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = _error(error.status_code, error.detail.lower().replace(" ", "_"), error.detail)
    response.headers.update(error.headers or {})  # `Allow` of a 405
    return response


async def _server_error(request: Request, error: Exception) -> Response:
    return _error(500, "internal", "An internal error occurred; it was logged.")
