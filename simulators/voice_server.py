"""A voice server for the carrier's tests: documents by path, an agent on the socket, and a record of all requests.

async with VoiceServer(agent) as server:
    server.documents["/answer"] = server.stream_xml()
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeAlias
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from simulators.loopback_server import LoopbackServer

WAIT_S_MAX = 30.0
EMPTY = "<Response></Response>"
ATTRIBUTES = 'bidirectional="true" keepCallAlive="true" contentType="audio/x-mulaw;rate=8000"'

Document: TypeAlias = str | tuple[int, str]
"""XML, or a status and a body; a list of these is used in turn, and its last item for all later requests."""
Agent: TypeAlias = Callable[[WebSocket], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """One HTTP request of the carrier."""

    path: str
    method: str
    fields: dict[str, str]
    headers: dict[str, str]
    body: bytes
    at_s: float


async def silent(socket: WebSocket) -> None:
    """An agent that only listens."""
    while True:
        await socket.receive_json()


@dataclass(slots=True)
class VoiceServer:
    """The server; `asked` holds every webhook in the order of arrival, `sockets` counts the media sockets."""

    agent: Agent = silent
    documents: dict[str, Document | list[Document]] = field(default_factory=dict)
    asked: list[WebhookRequest] = field(default_factory=list)
    sockets: int = 0
    url: str = ""
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _server: LoopbackServer = field(init=False)

    async def __aenter__(self) -> "VoiceServer":
        app = Starlette(
            routes=[
                WebSocketRoute("/ws", self._socket),
                Route("/{path:path}", self._http, methods=["GET", "POST"]),
            ]
        )
        self._server = LoopbackServer(app, ws="websockets-sansio")
        self.url = self._server.url
        await self._server.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.__aexit__(kind, error, trace)

    def stream_xml(self, attributes: str = ATTRIBUTES, after: str = "", more: str = "") -> str:
        """Return a document with one stream to this server and the elements after it."""
        url = self.url.replace("http", "ws", 1)
        return f"<Response><Stream {attributes} {more}>{url}/ws</Stream>{after}</Response>"

    def of(self, event: str) -> list[WebhookRequest]:
        """Return the webhooks with this `Event`."""
        return [asked for asked in self.asked if asked.fields.get("Event") == event]

    async def until(self, event: str, count: int = 1) -> WebhookRequest:
        """Wait for webhook number `count` with this `Event` and return it."""
        async with asyncio.timeout(WAIT_S_MAX):
            while len(self.of(event)) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.of(event)[count - 1]

    async def _http(self, request: Request) -> Response:
        body = await request.body()
        fields = dict(request.query_params)
        kind = request.headers.get("content-type", "")
        if kind.startswith("application/json"):
            fields |= await request.json()
        elif kind.startswith("multipart/"):
            async with request.form() as form:
                fields |= {name: value for name, value in form.items() if isinstance(value, str)}
        else:
            fields |= dict(parse_qsl(body.decode(), keep_blank_values=True))
        path = request.url.path
        self.asked.append(WebhookRequest(path, request.method, fields, dict(request.headers), body, time.monotonic()))
        self._arrived.set()
        document = self.documents.get(path, EMPTY)
        if isinstance(document, list):
            document = document.pop(0) if len(document) > 1 else document[0]
        status, text = document if isinstance(document, tuple) else (200, document)
        return Response(text, status, media_type="application/xml")

    async def _socket(self, socket: WebSocket) -> None:
        self.sockets += 1
        await socket.accept()
        try:
            await self.agent(socket)
        except WebSocketDisconnect:
            return
