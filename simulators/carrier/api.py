"""Serves the REST API: authentication, ordered faults and error bodies; and the tester's side door.

Paths are taken with or without the last slash and in any case (`/Account/{id}/Call/`, `/account/{id}/call`), because
the documents write both.  Authentication is by X-Auth headers or HTTP Basic.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulators.carrier.account_routes import account_route
from simulators.carrier.call_routes import call_route
from simulators.carrier.record import ApiRequest
from simulators.carrier.refusals import MESSAGES, SHAPES, Refusal, RequestFault, error_body
from simulators.carrier.routes import AccountRequest, ApiReply
from simulators.carrier.side_door import side_door

if TYPE_CHECKING:
    from simulators.carrier.carrier import Carrier

BODY_BYTES_MAX = 1_000_000
HOLD_S_MAX = 60.0
"""Time for which a request that times out is held, unless the client disconnects before."""
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def application(carrier: Carrier) -> Starlette:
    """Return the ASGI application of this carrier."""
    front = Front(carrier)
    return Starlette(
        routes=[
            Route("/_{path:path}", front.side, methods=METHODS),
            Route("/{path:path}", front.rest, methods=METHODS),
        ]
    )


class Front:
    """Takes requests, passes them to the routes, and records both request and reply."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._refusals = 0

    async def rest(self, request: Request) -> Response:
        """Answer one request of the account's owner."""
        fault = self._carrier.faults.take(request.method, request.url.path)
        if fault is not None and fault.kind == "timeout-before":
            return await _hold(request)
        body: dict[str, Any] = {}
        call_ids: tuple[str, ...] = ()
        try:
            if fault is not None and fault.kind.isdigit():
                raise _made_to_order(fault)
            asked = await self._asked(request)
            body = asked.body
            reply = await self._answer(asked)
            call_ids = reply.call_ids
            response = _rendered(reply)
        except Refusal as refusal:
            response = self._refused(refusal)
        path = request.url.path
        self._carrier.note(ApiRequest(self._carrier.now_ms, request.method, path, body, response.status_code), call_ids)
        if fault is not None and fault.kind == "timeout-after":
            return await _hold(request)
        if fault is not None and fault.kind == "malformed":
            return Response(b'{"api_id": "half a', response.status_code, media_type="application/json")
        return response

    async def side(self, request: Request) -> Response:
        """Answer one request of the tester, which needs no credentials."""
        segments = tuple(part for part in request.url.path.split("/") if part)
        try:
            body = await _body(request)
            return _rendered(side_door(self._carrier, request.method, segments, body))
        except Refusal as refusal:
            return JSONResponse({"error": refusal.message}, refusal.status)

    async def _asked(self, request: Request) -> AccountRequest:
        """Authenticate and parse.  Raises `Refusal`: credentials, another account, a body that is no object."""
        segments = tuple(part for part in request.url.path.split("/") if part)
        if segments[:2] == ("api", "v1"):
            segments = segments[2:]
        elif segments[:1] == ("v1",):
            segments = segments[1:]  # as in resource URIs and media URLs
        self._authenticate(request)
        if tuple(part.lower() for part in segments) == ("auth", "me"):
            return AccountRequest(request.method, ("auth", "me"), dict(request.query_params), {})
        if len(segments) < 3 or segments[0].lower() != "account":
            raise Refusal(404, "not found")
        if segments[1] != self._carrier.options.auth_id:
            raise Refusal(401, "invalid credentials", shape=1)
        body = await _body(request)
        return AccountRequest(request.method, segments[2:], dict(request.query_params), body)

    def _authenticate(self, request: Request) -> None:
        options = self._carrier.options
        given = (request.headers.get("x-auth-id", ""), request.headers.get("x-auth-token", ""))
        scheme, _, basic = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                auth_id, _, token = base64.b64decode(basic, validate=True).decode().partition(":")
            except (binascii.Error, ValueError):
                auth_id = token = ""
            given = (auth_id, token)
        right = (options.auth_id, options.auth_token)
        if not all(hmac.compare_digest(a.encode(), b.encode()) for a, b in zip(given, right, strict=True)):
            raise Refusal(401, "invalid credentials", shape=1)

    async def _answer(self, asked: AccountRequest) -> ApiReply:
        kind = asked.kind(0)
        if kind == "call":
            return call_route(self._carrier, asked)
        return account_route(self._carrier, asked)

    def _refused(self, refusal: Refusal) -> Response:
        """Return the error in the requested shape; otherwise 429 in the first, 401 in the second, others in turn."""
        shape = refusal.shape if refusal.shape is not None else self._carrier.options.error_shape
        if shape is None:
            shape = 0 if refusal.status == 429 else self._refusals % SHAPES
            self._refusals += 1
        timestamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return JSONResponse(error_body(refusal, shape, timestamp), refusal.status, headers=refusal.headers)


def _made_to_order(fault: RequestFault) -> Refusal:
    details = {"limitType": "cps", "limit": 1, "current": 2} if fault.kind == "429" else {}
    if fault.retry_after_s is not None and fault.kind in ("429", "503"):
        details |= {"retryAfter": fault.retry_after_s}
    message = fault.message or MESSAGES.get(int(fault.kind), "a fault made to order")
    return Refusal(int(fault.kind), message, details, fault.shape)


def _rendered(reply: ApiReply) -> Response:
    if reply.file is not None:
        return Response(reply.file, reply.status, media_type=reply.media_type)
    if reply.body is None:
        return Response(status_code=reply.status)
    return JSONResponse(reply.body, reply.status)


async def _body(request: Request) -> dict[str, Any]:
    """Read a JSON object or a form; empty without a body.  Raises `Refusal` 400."""
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > BODY_BYTES_MAX:
            raise Refusal(400, "the body is too large")
    if not raw.strip():
        return {}
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the body is not JSON") from error
    if isinstance(body, list):
        return {"list": body}
    if not isinstance(body, dict):
        raise Refusal(400, "the body is not a JSON object")
    return body


async def _hold(request: Request) -> Response:
    """Send nothing until the client has given up."""
    try:
        async with asyncio.timeout(HOLD_S_MAX):
            while (await request.receive())["type"] != "http.disconnect":
                continue
    except TimeoutError:
        return Response(status_code=504)
    return Response(status_code=499)
