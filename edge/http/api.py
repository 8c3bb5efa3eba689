"""Serves the REST API: place a call, list calls, show one, follow its events, hang it up.

edge/http/api_access.py decides who may use it, edge/outbound/destinations.py which numbers may be dialled.  A call is
named by the id that `POST /v1/calls` returned or by the carrier's CallUUID.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from common.agents.model import CurrentAgents
from common.agents.variables import missing_variables
from common.bus import START, Bus
from common.call.transcript import CallTranscript
from common.protocol.messages import CallEnded, CallStarted, HangUp
from common.protocol.redis_keys import CALL_ID, call_events, edge_priority
from common.store import CallRecord, CallRecords
from common.store.outbound import QueueFull
from common.telemetry import metrics
from common.telemetry.costs import estimate, prices
from edge.http.agents_api import agents_json
from edge.http.api_access import AccessRefused, Asked, body_refusal, headers_of, refusal
from edge.http.event_names import to_event
from edge.http.parameters import BadRequest, read_body
from edge.outbound.calls import DayIsSpent
from edge.outbound.destinations import NotAllowed
from edge.outbound.dialer import Dialer
from edge.outbound.state import CLOSED, Cancelled, OutboundCall, Plan
from edge.session.call import STOP_SECONDS
from edge.vobiz.numbers import dialled
from edge.vobiz.webhook_events import DIAL_ID
from edge.vobiz.xml_fields import spoken

BODY_BYTES_MAX = 16 * 1024
EVENT_ID = re.compile(r"[0-9]{1,20}(-[0-9]{1,20})?")
EVENT_NUMBER_MAX = 2**64 - 1
UNBUFFERED = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""Without the second header nginx buffers events until it has a few kilobytes."""
KEEPALIVE_SECONDS = 15.0
LISTED_MAX = 1000
END_SECONDS = 5.0
"""How long a call's edge may take to confirm the end of the call."""
END_LOOK_SECONDS = 0.05


Serve = Callable[[Request], Awaitable[Response]]


class NewCall(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /v1/calls`."""

    to: str
    sender: str = msgspec.field(default="", name="from")
    agent: str = ""
    variables: dict[str, str] = {}
    ring_timeout_s: int = 45
    attempts_max: int = 1
    retry_after_s: int = 300
    machine: str = ""
    message: str = ""
    call_s_max: int = 0
    """0: CALL_S_MAX."""


@dataclass(frozen=True, slots=True)
class Api:
    """The routes of /v1.  `dialer` is None without Vobiz credentials.  Without a `token` only local programs are
    served.
    """

    agents: CurrentAgents
    store: CallRecords
    bus: Bus
    dialer: Dialer | None
    token: str
    sender: str

    def routes(self) -> list[Route]:
        """All routes, each behind the access check, and each with and without a trailing slash."""
        routes: dict[str, dict[str, Serve]] = {
            "/v1/calls": {"GET": self.list, "POST": self.place_call},
            "/v1/calls/{id}": {"GET": self.show, "DELETE": self.hang_up},
            "/v1/calls/{id}/events": {"GET": self.events},
            "/v1/agents": {"GET": self.list_agents},
        }
        return [
            Route(spelt, self._guarded(methods), methods=[*methods, "OPTIONS"])
            for path, methods in routes.items()
            for spelt in (path, f"{path}/")
        ]

    async def place_call(self, request: Request) -> Response:
        """Queue an outbound call.  `Idempotency-Key` makes a repeated request harmless."""
        if self.dialer is None:
            raise BadRequest(
                503, "no_credentials", "Set VOBIZ_AUTH_ID, VOBIZ_AUTH_TOKEN and PUBLIC_URL to place calls."
            )
        wanted = await _body(request)
        dial = self._dial(wanted, self.dialer.options.call_s_max)
        try:
            self.dialer.options.destinations.check(dial.to)
        except NotAllowed as error:
            metrics.DIALS_REFUSED.labels(error.reason).inc()
            raise BadRequest(422, "destination_refused", f"to: {error}") from None
        key = request.headers.get("idempotency-key", "")
        if len(key) > 128:
            raise BadRequest(400, "bad_key", "Idempotency-Key is longer than 128 characters.")
        try:
            dial = await self.dialer.outbound.enqueue(dial, key)
        except QueueFull as error:
            raise BadRequest(429, "queue_full", str(error)) from None
        except DayIsSpent as error:
            metrics.DIALS_REFUSED.labels("day").inc()
            raise BadRequest(429, "day_is_spent", str(error)) from None
        return JSONResponse(_dial_json(dial), 202)

    async def list(self, request: Request) -> Response:
        """Serve the live calls, at most LISTED_MAX."""
        live = (await self.store.live())[:LISTED_MAX]
        records = [record for call_id in live if (record := await self.store.read(call_id))]
        return JSONResponse({"calls": [_record_json(record) for record in records]})

    async def list_agents(self, request: Request) -> Response:
        """Serve the agents that calls get now, and the problems of their files."""
        return JSONResponse(agents_json(self.agents))

    async def show(self, request: Request) -> Response:
        """Serve all that is known about a call: state, webhook fields, transcript, usage."""
        dial, record = await self._find(request)
        shown: dict[str, Any] = _dial_json(dial) if dial else {}
        if record is not None:
            shown |= _record_json(record)
            shown["carrier"] = await self.store.webhook_fields(record.call_id)
            transcript = CallTranscript(record.agent.get("name", ""))
            for _, message in await self.bus.read(call_events(record.call_id)):
                transcript.receive(message)
            shown["turns"] = _turns_json(transcript)
            shown["usage"] = _usage_json(transcript)
        if dial is not None:
            shown |= {"id": dial.dial_id, "state": dial.state}
        return JSONResponse(shown)

    async def hang_up(self, request: Request) -> Response:
        """End the call, or cancel it before it is placed.  204 confirms the end; an error says that it failed."""
        dial, record = await self._find(request)
        if record is not None and record.status == "live":
            if not await self._is_ended(record):
                raise BadRequest(504, "edge_away", "The call's edge does not answer; the call may go on; try again.")
        elif record is not None and record.status == "new" and dial is None:
            await self.store.end(record.call_id, "operator hung up", epoch=0)
        elif dial is not None and self.dialer is not None and dial.state not in CLOSED:
            dial = await self.dialer.outbound.apply(dial.dial_id, Cancelled()) or dial
            if dial.state in ("dialing", "uncertain"):
                raise BadRequest(409, "being_placed", "The call is being placed now; try again in a moment.")
            if dial.call_id and dial.state not in CLOSED and not await self._hung_up(dial.call_id):
                raise BadRequest(502, "carrier_away", "Vobiz did not confirm the hang-up; try again.")
        return Response(status_code=204)

    async def _is_ended(self, record: CallRecord) -> bool:
        """Order the call's edge to hang up and wait until the call has ended; if it does not end, hang up at the
        carrier.
        """
        informed, call_id = "", record.call_id
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                while record.status == "live":
                    if record.edge != informed:  # the call may just be moving to another edge
                        informed = record.edge
                        self.bus.publish(
                            edge_priority(informed), HangUp(call_id, "operator hung up", epoch=record.epoch)
                        )
                    await asyncio.sleep(END_LOOK_SECONDS)
                    record = await self.store.read(call_id) or replace(record, status="ended")
                return True
        if not await self._hung_up(call_id):
            return False
        await self.store.end(call_id, "operator hung up", record.epoch)
        return True

    async def _hung_up(self, call_id: str) -> bool:
        """Hang up at the carrier, within STOP_SECONDS."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                return self.dialer is not None and await self.dialer.hang_up(call_id)
        return False

    async def events(self, request: Request) -> Response:
        """Serve the call's event log as server-sent events, from its start or after `Last-Event-ID`, until the call
        ends.
        """
        _, record = await self._find(request)
        if record is None:
            raise BadRequest(404, "not_begun", "The call has not been answered yet.")
        after = request.headers.get("last-event-id", START)
        if not EVENT_ID.fullmatch(after) or any(int(part) > EVENT_NUMBER_MAX for part in after.split("-")):
            raise BadRequest(400, "bad_event_id", "Last-Event-ID is not an id that this stream has sent.")
        if request.method == "HEAD":  # a HEAD request must end
            return Response(media_type="text/event-stream", headers=UNBUFFERED)
        return StreamingResponse(
            self._follow(record.call_id, after), media_type="text/event-stream", headers=UNBUFFERED
        )

    async def _follow(self, call_id: str, after: str) -> AsyncIterator[str]:
        """Poll the event log: the bus allows one subscriber per stream, and the API may have several readers."""
        quiet, epoch, over = 0.0, 0, False
        while True:
            page = await self.bus.read(call_events(call_id), after)
            for after, message in page:
                if (event := to_event(message)) is not None:
                    yield f"id: {after}\nevent: {event[0]}\ndata: {event[1]}\n\n"
                if isinstance(message, CallStarted):
                    epoch, over = message.epoch, False  # the carrier may connect again after an end
                elif isinstance(message, CallEnded):
                    over = over or message.epoch == 0 or message.epoch >= epoch
            if over:
                return
            quiet = 0.0 if page else quiet + 0.25
            if quiet >= KEEPALIVE_SECONDS:
                quiet = 0.0
                yield ": nothing new\n\n"
            await asyncio.sleep(0.25)

    def _dial(self, wanted: NewCall, call_s_max: int) -> OutboundCall:
        agents = self.agents.current
        agent = agents.for_number(wanted.sender or self.sender, wanted.agent or None)
        variants = [] if agent is None else [agent, *filter(None, [agents.canaries.get(agent.name)])]
        missing = list(dict.fromkeys(name for one in variants for name in missing_variables(one, wanted.variables)))
        problems = [
            text
            for text, wrong in {
                "to: expected a phone number": not _is_number(wanted.to),
                "from: expected a phone number, or set VOBIZ_FROM_NUMBER": not _is_number(wanted.sender or self.sender),
                "agent: no agent of this name": bool(wanted.agent) and wanted.agent not in agents.by_name,
                "variables: the agent needs " + ", ".join(missing): bool(missing),
                "variables: at most 50, of 1000 characters": len(wanted.variables) > 50
                or any(len(value) > 1000 for value in wanted.variables.values()),
                "ring_timeout_s: 5 to 120": not 5 <= wanted.ring_timeout_s <= 120,
                "attempts_max: 1 to 10": not 1 <= wanted.attempts_max <= 10,
                "retry_after_s: 1 to 86400": not 1 <= wanted.retry_after_s <= 86_400,
                'machine: "", "hangup" or "message"': wanted.machine not in ("", "hangup", "message"),
                "message: needed for machine=message": wanted.machine == "message"
                and not spoken(wanted.message).strip(),
                f"call_s_max: 10 to {call_s_max}, which is CALL_S_MAX": wanted.call_s_max != 0
                and not 10 <= wanted.call_s_max <= call_s_max,
            }.items()
            if wrong
        ]
        if problems:
            raise BadRequest(422, "bad_call", "; ".join(problems))
        plan = msgspec.convert(wanted, Plan, from_attributes=True)
        plan = replace(plan, call_s_max=wanted.call_s_max or call_s_max)
        return OutboundCall(
            "", dialled(wanted.to), dialled(wanted.sender or self.sender), wanted.agent, dict(wanted.variables), plan
        )

    async def _find(self, request: Request) -> tuple[OutboundCall | None, CallRecord | None]:
        name = request.path_params["id"]
        is_dial = self.dialer is not None and DIAL_ID.fullmatch(name)
        dial = await self.dialer.outbound.read(name) if self.dialer is not None and is_dial else None
        call_id = dial.call_id if dial is not None else name
        record = await self.store.read(call_id) if CALL_ID.fullmatch(call_id) else None
        if dial is None and record is None:
            raise BadRequest(404, "no_such_call", "There is no such call, or it was too long ago.")
        return dial, record

    def _guarded(self, methods: Mapping[str, Serve]) -> Serve:
        allow = {"allow": ", ".join([*methods, "HEAD", "OPTIONS"])}

        async def guarded(request: Request) -> Response:
            if request.method == "OPTIONS":
                return Response(status_code=204, headers=allow)
            self._authorise(request)
            serve = methods["GET" if request.method == "HEAD" else request.method]
            try:
                return await serve(request)
            except (ConnectionError, TimeoutError):
                raise BadRequest(503, "no_redis", "The call store cannot be reached; try again.") from None

        return guarded

    def _authorise(self, request: Request) -> None:
        asked = _asked(request)
        if refused := refusal(asked, self.token):
            raise _bad_request(refused)
        if not self.token and request.method == "POST" and (refused := body_refusal(asked)):
            raise _bad_request(refused)


def _asked(request: Request) -> Asked:
    peer = request.client.host if request.client else ""
    return Asked(peer, request.scope.get("http_version", ""), headers_of(request.scope["headers"]))


def _bad_request(refused: AccessRefused) -> BadRequest:
    return BadRequest(refused.status, refused.code, refused.message)


async def _body(request: Request) -> NewCall:
    body = await read_body(request, BODY_BYTES_MAX)
    try:
        given = msgspec.json.decode(body)
        if isinstance(given, dict):  # null counts as absent
            given = {name: value for name, value in given.items() if value is not None}
        return msgspec.convert(given, NewCall)
    except msgspec.DecodeError as error:
        raise BadRequest(422, "bad_call", str(error)) from None
    except (UnicodeDecodeError, RecursionError):
        raise BadRequest(422, "bad_call", "The body is not JSON.") from None


def _is_number(text: str) -> bool:
    try:
        return bool(dialled(text))
    except ValueError:
        return False


def _dial_json(dial: OutboundCall) -> dict[str, Any]:
    return {
        "id": dial.dial_id,
        "state": dial.state,
        "direction": "outbound",
        "to": dial.to,
        "from": dial.sender,
        "agent": dial.agent,
        "call_id": dial.call_id,
        "attempt": dial.attempt,
        "cause": dial.cause,
        "machine": dial.machine,
        "created_ms": dial.created_ms,
        "changed_ms": dial.changed_ms,
    }


def _record_json(record: CallRecord) -> dict[str, Any]:
    return {
        "id": record.call_id,
        "call_id": record.call_id,
        "state": record.status,
        "direction": record.direction,
        "from": record.from_number,
        "to": record.to_number,
        "agent": record.agent.get("name", ""),
        "edge": record.edge,
        "epoch": record.epoch,
        "created_ms": record.created_ms,
        "ended_because": record.ended_because,
    }


def _turns_json(transcript: CallTranscript) -> list[dict[str, Any]]:
    return [
        {
            "agent": exchange.agent,
            "understood": exchange.understood,
            "answered": exchange.answered,
            "heard": exchange.heard,
            "interrupted": exchange.interrupted,
            "tools": [asdict(use) for use in exchange.tools],
            "timings_ms": exchange.timings_ms,
        }
        for exchange in transcript.exchanges
    ]


def _usage_json(transcript: CallTranscript) -> dict[str, Any]:
    """The call's usage of each provider, and its estimated cost by the price table."""
    costs = estimate(transcript.usage, prices())
    used: dict[str, dict[str, int]] = {}
    for (_, provider, unit), amount in sorted(transcript.usage.items()):
        used.setdefault(provider, {})[unit] = amount
    dollars = {pool: round(amount, 6) for pool, amount in costs.dollars.items()}
    return {
        "providers": used,
        "dollars": dollars,
        "dollars_total": round(costs.total, 6),
        "without_price": costs.unpriced,
    }
