"""Serves Vobiz's webhooks: requests for XML and reports about calls.

Every webhook may arrive twice, late, in any order, and at the wrong URL (a hangup falls back to the answer URL); each
is idempotent.  Its event determines its meaning wherever it arrives (webhook_events.py); the URL decides only where the
event is ambiguous.  Its fields are stored with the call (webhook_field_store.py).  For an outbound call the event is
applied first, whatever else is missing, since our own `?dial=` names the call.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from common.agents.model import Agent, CurrentAgents
from common.agents.variables import CallBeginning
from common.call.end_reasons import EndReason
from common.call.once import NotDone, once
from common.protocol.messages import HangUp
from common.protocol.redis_keys import edge_priority
from common.store import CallRecord, CallStore
from common.store.effects import Effect
from common.telemetry import metrics
from edge.agents.call_agent import agent_of_inbound, agent_of_outbound
from edge.agents.on_call import OnCallClient
from edge.http.after_stream import BUSY, END_SECONDS, AfterStream, Ending, agent_of, lost, person_of, turned_away
from edge.http.call_beginning import beginning_of, record_of
from edge.http.call_urls import CallUrls
from edge.http.parameters import query_of, read_body
from edge.http.transfer_routes import TransferRoutes
from edge.http.transfers import TransferWebhooks
from edge.http.webhook_auth import WebhookAuth
from edge.http.webhook_call import Fields, named_call, webhook_parameters
from edge.http.webhook_field_store import WebhookFieldStore
from edge.http.webhook_urls import WebhookUrls
from edge.http.xml_response import xml_response
from edge.outbound.destinations import OperatorLimits
from edge.outbound.dialer import Dialer
from edge.outbound.state import MachineDetected, OutboundCall, OutboundEvent, over_of, sign_of_life
from edge.session.calls import Calls
from edge.vobiz.webhook_events import (
    WebhookEvent,
    call_id_of,
    canonical,
    dial_id_of,
    is_machine,
    is_outbound,
    is_over,
    is_person_done,
    says,
)
from edge.vobiz.xml import Hangup, Speak, Verb, Wait
from edge.vobiz.xml_fields import spoken

log = logging.getLogger(__name__)

BEEP_MS = 2000
"""Silence after which an answering machine's beep counts as over."""

TRANSFER_NAME = re.compile(r"[0-9]{1,10}\.[0-9]{1,10}")
"""The name of a transfer in its call (`Transfer.name`)."""
CUT_OFF = "cut off from Redis"
METHODS = ("GET", "POST", "HEAD", "OPTIONS")
ALLOW = ", ".join(METHODS)
XML_PATHS = frozenset(
    {
        *("/answer", "/fallback", "/hangup", "/voicemail", "/after-stream"),
        *("/dial-status", "/whisper", "/transfer-accept"),
    }
)
"""Paths where the carrier asks for XML, or may: a hangup falls back to the answer URL."""

Serve = Callable[[Request, Fields], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Webhooks:
    """The webhook routes.  `dialer` is None without Vobiz credentials."""

    calls: Calls
    store: CallStore
    agents: CurrentAgents
    auth: WebhookAuth
    dialer: Dialer | None
    public_url: str
    secret: bytes | None
    when_busy: str = "apology"
    """Treatment of a call that is not taken: an "apology", or the carrier's "reject" or "busy"."""
    answer_xml: str = "text"
    """Form of the <Stream>: its URL as "text", or, as Vobiz's guide shows it, in a "connect" element."""
    limits: OperatorLimits = field(default_factory=OperatorLimits)
    on_call: OnCallClient | None = None
    """Asks the webhooks of agents; None: none is asked."""
    field_store: WebhookFieldStore = field(init=False)
    urls: CallUrls = field(init=False)
    transfers: TransferRoutes = field(init=False)

    def __post_init__(self) -> None:
        urls = CallUrls(self.auth, self.public_url, self.secret, self.limits.call_s_max)
        object.__setattr__(self, "urls", urls)
        transfers = TransferWebhooks(self.calls, self.store, self.dialer, urls, self.limits)
        object.__setattr__(self, "transfers", TransferRoutes(transfers, self.answer_xml == "connect"))
        object.__setattr__(self, "field_store", WebhookFieldStore(self.store))

    @property
    def url_check(self) -> WebhookUrls:
        """The check that a webhook's URL was given to the carrier for its call."""
        return WebhookUrls(self.calls, self.store, self.dialer, self.secret)

    @property
    def after(self) -> AfterStream:
        """The look-up of how a call ended."""
        return AfterStream(self.calls, self.store)

    def routes(self) -> list[Route]:
        """All webhooks, each behind the signature check, and each with and without a trailing slash.

        Vobiz calls the URL that somebody typed, and is not known to follow redirects.
        """
        hooks: dict[str, Serve] = {
            "/answer": self.answer,
            "/fallback": self.answer,
            "/hangup": self.hangup,
            "/ring": self.ring,
            "/machine": self.machine,
            "/voicemail": self.voicemail,
            "/after-stream": self.after_stream,
            "/stream-status": self.noted,
            "/dial-status": self.dial_status,
            "/transfer-events": self.transfers.events,
            "/transfer-accept": self.transfers.accept,
            "/whisper": self.transfers.whisper,
            "/record-status": self.noted,
        }
        return [
            Route(spelt, self._hook(path, serve), methods=METHODS)
            for path, serve in hooks.items()
            for spelt in (path, f"{path}/")
        ]

    async def answer(self, request: Request, fields: Fields) -> Response:
        """Answer with the XML that connects the call to its agent, or that refuses it."""
        dial = await self._apply(fields, sign_of_life(fields))  # only the stream's start proves that it was answered
        call_id = named_call(fields, dial)
        if dial is not None and dial.briefing is not None:
            return await self.transfers.brief(request, dial, fields)
        ending = await self.after.ending(call_id)
        known = ending.record
        if known is not None and known.ended_because == EndReason.TRANSFERRED and not ending.over:
            return await self.after_stream(request, fields)  # some carriers ask here what follows a stream
        goes_on = known is None or await self._goes_on(known)
        asks = goes_on and not ending.over and not self.calls.busy(call_id)
        call = beginning_of(call_id, fields, dial)
        agent = await self._agent(call, dial, asks) if known is None else agent_of(known)
        refusal, now_ms = self.calls.busy(call_id) or ("" if agent else "no agent"), 0
        if not refusal and agent is not None:
            self.calls.reserve(call_id)
            try:
                now = await self.store.create(record_of(call, agent, dial, self.secret is not None))
                ending, now_ms = Ending(now.record, now.end_noted), now.now_ms  # Redis's clock, for all edges
            except (ConnectionError, TimeoutError):
                self.calls.cancel_reservation(call_id)
                refusal = CUT_OFF
        person = person_of(agent, fields, self.urls.of_call(request, "/dial-status", call_id), self.limits)
        if refusal != CUT_OFF and (ended := _of_ended(ending, goes_on, person)):
            self.calls.cancel_reservation(call_id)
            return xml_response(*ended)
        if refusal or agent is None:
            metrics.CALLS_REFUSED.labels(refusal).inc()
            return xml_response(*turned_away(self.when_busy, is_outbound(fields), person))
        offer = self.urls.offer(request, call_id, now_ms / 1000, agent.limits.call_s)
        return xml_response(*offer, connect=self.answer_xml == "connect")

    async def hangup(self, request: Request, fields: Fields) -> Response:
        """The call is over; reported before or after its socket closes, once or several times."""
        call_id = named_call(fields, await self._apply(fields, over_of(fields)))
        call = self.calls.get(call_id)
        if call is not None:
            call.end("caller hung up")
        # The record is read behind this, so an /answer at that time finds this end, or its record is found here.
        record = await self._note_end(call_id)
        if call is None and record is not None:
            await self._end_elsewhere(record)
        if record is not None and record.transfer:
            await self.transfers.transfers.caller_gone(call_id)
        return xml_response(Hangup())

    async def ring(self, request: Request, fields: Fields) -> Response:
        """An outbound call rings."""
        dial = await self._apply(fields, sign_of_life(fields))
        if dial is not None and dial.briefing is not None:
            await self.transfers.rings(dial)
        return PlainTextResponse("ok")

    async def machine(self, request: Request, fields: Fields) -> Response:
        """The carrier detected whether a person or a machine answered."""
        machine = is_machine(fields)
        if machine is None:
            return PlainTextResponse("ok")
        dial = await self._apply(fields, MachineDetected(machine))
        call_id = call_id_of(fields) or (dial.call_id if dial else "")
        if machine and call_id and dial is not None and dial.plan.machine == "message":
            await self._leave_message(call_id, self.urls.of_dial(request, "/voicemail", dial.dial_id))
        return PlainTextResponse("ok")

    async def _leave_message(self, call_id: str, url: str) -> None:
        """Transfer the call to the voicemail XML, once: a second transfer would start the message again."""

        async def transfer(key: str) -> str:
            if self.dialer is not None:
                await self.dialer.transfer(call_id, url)
            return "asked for"

        try:
            await once(self.store, Effect(call_id, name="voicemail"), transfer)
        except NotDone:
            log.info("a message is being left already", extra={"call_id": call_id})
        except (ConnectionError, TimeoutError):
            log.warning("no message is left: the call store cannot be reached", extra={"call_id": call_id})

    async def voicemail(self, request: Request, fields: Fields) -> Response:
        """Answer with the XML that leaves the message on an answering machine."""
        dial = await self._dial(fields)
        if dial is None or not spoken(dial.plan.message).strip():
            return xml_response(Hangup())
        return xml_response(Wait(length_s=30, silence=True, min_silence_ms=BEEP_MS), Speak(dial.plan.message), Hangup())

    async def after_stream(self, request: Request, fields: Fields) -> Response:
        """The stream has ended but the call has not: hang up if that was intended, else apologise."""
        call_id = named_call(fields, await self._dial(fields))
        ending = await self.after.over_or_lost(call_id)
        try:
            if not ending.reached and ending.record is None:
                raise ConnectionError
            if ending.record is not None and ending.record.ended_because == EndReason.TRANSFERRED and not ending.over:
                if (answer := await self.transfers.after_stream(request, call_id)) is not None:
                    return answer
                ending = await self.after.ending(call_id)
        except (ConnectionError, TimeoutError):  # the cause is unknown, so no fallback number is rung
            return self.transfers.come_again(request, "/after-stream", call_id, fields)
        if not ending.lost:
            return xml_response(Hangup())
        action = self.urls.of_call(request, "/dial-status", call_id)
        return xml_response(*lost(ending, person_of(agent_of(ending.record), fields, action, self.limits)))

    async def dial_status(self, request: Request, fields: Fields) -> Response:
        """The <Dial> of a transfer, or to the agent's fallback number, has ended or failed."""
        if TRANSFER_NAME.fullmatch(fields.get("attempt", "")):
            return await self.transfers.dial_status(request, fields) or await self.answer(request, fields)
        return xml_response(Hangup()) if is_person_done(fields) else xml_response(Speak(BUSY), Hangup())

    async def noted(self, request: Request, fields: Fields) -> Response:
        """Only the fields of the webhook are stored."""
        return PlainTextResponse("ok")

    # --- parts --------------------------------------------------------------------------------------------------

    def _hook(self, path: str, serve: Serve) -> Callable[[Request], Awaitable[Response]]:
        async def hook(request: Request) -> Response:
            if request.method in ("HEAD", "OPTIONS"):  # probes change nothing
                return Response(status_code=204 if request.method == "OPTIONS" else 200, headers={"allow": ALLOW})
            body = await read_body(request)
            if reason := await self.auth.refusal(request, body):
                code = reason.replace(" ", "_")
                return JSONResponse({"error": {"code": code, "message": f"The signature is refused: {reason}."}}, 403)
            fields = canonical(await webhook_parameters(request, body))
            if reason := await self.url_check.refusal(path, query_of(request), fields):
                self.auth.note_refused(request, reason)
                return JSONResponse({"error": {"code": reason, "message": f"The URL is refused: {reason}."}}, 403)
            meaning = says(fields)
            meant = self._meant(path, meaning, fields)
            if meaning is WebhookEvent.MACHINE and meant is None:  # a report and a request for XML in one
                await self.machine(request, fields)
            response = await (meant or serve)(request, fields)
            if meant not in (None, self.hangup) and path in XML_PATHS:
                response = xml_response()  # the carrier accepts only XML here
            await self.field_store.keep(path, fields)
            return response

        return hook

    def _meant(self, path: str, meaning: WebhookEvent, fields: Fields) -> Serve | None:
        """The handler of an event that arrived at another URL than its own; None: the handler of the URL."""
        match meaning:
            case WebhookEvent.ENDS:
                return self.hangup
            case WebhookEvent.RINGS:
                return self.ring
            case WebhookEvent.MACHINE if path not in ("/answer", "/fallback"):
                return self.machine
            case WebhookEvent.MACHINE if is_over(fields) or self.calls.get(call_id_of(fields)) is not None:
                return self.machine
            case WebhookEvent.PROGRESS if path in ("/answer", "/fallback", "/hangup", "/ring", "/machine"):
                return self.noted
            case WebhookEvent.UNKNOWN if path in ("/answer", "/fallback"):
                return self.noted
        return None

    async def _agent(self, call: CallBeginning, dial: OutboundCall | None, asks: bool) -> Agent | None:
        """The agent of a call that begins; `asks`: its `on_call` is asked if the call comes in."""
        agents = self.agents.current
        if dial is not None:
            return agent_of_outbound(agents, call, dial.sender, dial.agent, dial.variables)
        if call.direction == "outbound":
            return agent_of_outbound(agents, call, call.caller)
        return await agent_of_inbound(agents, call, self.on_call if asks else None)

    async def _apply(self, fields: Fields, event: OutboundEvent) -> OutboundCall | None:
        """Apply the event to its outbound call, named by our id in the URL or else by its CallUUID."""
        dial_id, attempt = dial_id_of(fields), fields.get("attempt", "")
        if self.dialer is None:
            return None
        try:
            if attempt.isdecimal() or not dial_id:
                return await self.dialer.outbound.apply(dial_id, event, int(attempt) if dial_id else None)
            dial = await self.dialer.outbound.read(dial_id)
            if dial is not None and dial.call_id and call_id_of(fields) not in ("", dial.call_id):
                return dial  # the webhook is of another attempt's call
            return await self.dialer.outbound.apply(dial_id, event)
        except (ConnectionError, TimeoutError):
            log.warning("an event of an outbound call could not be written to Redis")
            return None

    async def _dial(self, fields: Fields) -> OutboundCall | None:
        try:
            return await self.dialer.outbound.read(dial_id) if self.dialer and (dial_id := dial_id_of(fields)) else None
        except (ConnectionError, TimeoutError):
            return None

    async def _note_end(self, call_id: str) -> CallRecord | None:
        try:
            return await self.store.note_end(call_id, END_SECONDS)
        except (ConnectionError, TimeoutError):
            log.warning("the end of a call could not be written to Redis", extra={"call_id": call_id})
            return None

    async def _goes_on(self, record: CallRecord) -> bool:
        """Whether a known call may have a stream: it may come back from a `<Redirect>`, or from the fallback number.

        It may not if we ended it or the carrier reported its end: then this webhook is old.
        """
        try:
            return await self.store.reopen(record.call_id)
        except (ConnectionError, TimeoutError):
            return record.status != "ended"

    async def _end_elsewhere(self, record: CallRecord) -> None:
        """End a call that is at another edge, or that was never answered."""
        call_id = record.call_id
        if record.status == "live":
            self.calls.bus.publish(edge_priority(record.edge), HangUp(call_id, "caller hung up", epoch=record.epoch))
        elif record.status == "new":
            self.calls.cancel_reservation(call_id)
            if not await self.after.end_unstarted(call_id, "carrier"):
                log.warning("the end of a call could not be written to the store", extra={"call_id": call_id})


def _of_ended(ending: Ending, goes_on: bool, person: list[Verb]) -> list[Verb]:
    """The XML for a call that has ended already; empty for one that may begin or go on."""
    if ending.over:
        return [Hangup()]
    if goes_on:
        return []
    return lost(ending, person) if ending.lost else [Hangup()]
