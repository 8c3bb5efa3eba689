"""What Vobiz asks and tells over HTTP, and what it is answered.

Every webhook may come twice, late, in any order, and to the wrong URL (a hangup falls back to the answer URL); each is
idempotent.  What it says is kept with the call, field by field (facts.py).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from common import metrics
from common.agents import Agent, Agents, BadAgents, for_inbound, from_document, to_document, with_variables
from common.ledger import CallRecord, Ledger
from common.ledger.effects import Effect
from common.messages import HangUp
from common.once import NotDone, once
from common.streams import edge_priority
from edge.calls import Calls
from edge.dialer import Dialer
from edge.dialing import Answered, Dial, MachineHeard, News, Over, Rang
from edge.facts import facts
from edge.gate import Gate
from edge.parameters import BadRequest, parameters, read_body
from edge.tokens import mint
from edge.xml import Dial as DialVerb
from edge.xml import Hangup, Number, Redirect, Speak, Stream, Verb, Wait, render

log = logging.getLogger(__name__)

CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
BUSY = "Sorry, we cannot take your call right now. Please call again in a few minutes."
LOST = "Sorry, we lost the connection."
STREAM_RETRIES = 3
STREAM_GRACE_S = 60
"""The stream may last this much longer than the agent's longest call: we end it, not the carrier."""
BEEP_MS = 2000
"""Silence that an answering machine makes before its beep is over."""

Fields = dict[str, str]
Serve = Callable[[Request, Fields], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Webhooks:
    """The routes that Vobiz calls.  `dialer` is None without Vobiz credentials."""

    calls: Calls
    ledger: Ledger
    agents: Agents
    gate: Gate
    dialer: Dialer | None
    public_url: str
    secret: bytes | None
    when_busy: str = "apology"
    """What a caller meets whom we cannot take: an "apology", or the carrier's "reject" or "busy"."""
    answer_xml: str = "text"
    """How the stream is written: its URL as "text", or as Vobiz's guide has it, in a "connect" element."""

    def routes(self) -> list[Route]:
        """All webhooks, each behind the gate."""
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
            "/record-status": self.noted,
        }
        return [Route(path, self._hook(serve), methods=["GET", "POST"]) for path, serve in hooks.items()]

    async def answer(self, request: Request, fields: Fields) -> Response:
        """What to do with a call: connect it to its agent."""
        if fields.get("Event") == "Hangup":  # hangup_url falls back to answer_url: never a <Stream> for it
            return await self.hangup(request, fields)
        call_id = _call_id(fields)
        dial = await self._tell(fields, Answered(call_id))
        agent = self._agent(fields, dial)
        refusal = self.calls.busy(call_id) or ("" if agent else "no agent")
        if not refusal and agent is not None:
            self.calls.promise(call_id)
            try:
                await self.ledger.create(_record(call_id, fields, agent, dial))
            except (ConnectionError, TimeoutError):
                self.calls.break_promise(call_id)
                refusal = "cut off from Redis"
        if refusal or agent is None:
            metrics.CALLS_REFUSED.labels(refusal).inc()
            return _xml(*self._turned_away(request, fields, agent))
        stream = Stream(
            self._stream_url(request, call_id),
            stream_timeout_s=agent.limits.call_s + STREAM_GRACE_S,
            max_retries=STREAM_RETRIES,
            status_callback_url=self._url(request, "/stream-status"),
        )
        return _xml(stream, *self._after(request, agent, fields), connect=self.answer_xml == "connect")

    async def hangup(self, request: Request, fields: Fields) -> Response:
        """A call is over; said before or after its socket closes, once or three times."""
        call_id = _call_id(fields)
        await self._tell(fields, Over(fields.get("HangupCauseCode") or fields.get("HangupCause") or "unknown"))
        call = self.calls.get(call_id)
        if call is not None:
            call.end("caller hung up")
        else:
            await self._end_elsewhere(call_id)
        return _xml(Hangup())

    async def ring(self, request: Request, fields: Fields) -> Response:
        """An outbound call rings at the other end."""
        await self._tell(fields, Rang(_call_id(fields)))
        return PlainTextResponse("ok")

    async def machine(self, request: Request, fields: Fields) -> Response:
        """The carrier has decided whether a person or a machine answered."""
        call_id = _call_id(fields)
        machine = fields.get("Machine", "").lower() == "true"
        dial = await self._tell(fields, MachineHeard(machine))
        if machine and dial is not None and dial.plan.machine == "message":
            await self._leave_message(call_id, f"{self._url(request, '/voicemail')}?dial={dial.dial_id}")
        return PlainTextResponse("ok")

    async def _leave_message(self, call_id: str, url: str) -> None:
        """Once, however often the carrier says that a machine answered: a second transfer would begin anew."""

        async def transfer(key: str) -> str:
            if self.dialer is not None:
                await self.dialer.transfer(call_id, url)
            return "asked for"

        try:
            await once(self.ledger, Effect(call_id, name="voicemail"), transfer)
        except NotDone:
            log.info("a message is being left already", extra={"call_id": call_id})
        except (ConnectionError, TimeoutError):
            log.warning("no message is left: the ledger cannot be reached", extra={"call_id": call_id})

    async def voicemail(self, request: Request, fields: Fields) -> Response:
        """What is left on an answering machine."""
        dial = await self._dial(fields)
        if dial is None or not dial.plan.message:
            return _xml(Hangup())
        return _xml(Wait(length_s=30, silence=True, min_silence_ms=BEEP_MS), Speak(dial.plan.message), Hangup())

    async def after_stream(self, request: Request, fields: Fields) -> Response:
        """The stream has ended but the call has not: hang up if we ended it, else say that something broke."""
        record = await self._record(_call_id(fields))
        if record is None or record.ended_because not in ("", "error"):
            return _xml(Hangup())
        return _xml(*_lost(self._person(request, fields, _agent_of(record))))

    async def dial_status(self, request: Request, fields: Fields) -> Response:
        """A call to a person (the agent's fallback number) has ended or failed."""
        if fields.get("DialStatus") in (None, "", "completed"):
            return _xml(Hangup())
        return _xml(Speak(BUSY), Hangup())

    async def noted(self, request: Request, fields: Fields) -> Response:
        """Nothing to do but to remember it."""
        return PlainTextResponse("ok")

    # --- parts --------------------------------------------------------------------------------------------------

    def _hook(self, serve: Serve) -> Callable[[Request], Awaitable[Response]]:
        async def hook(request: Request) -> Response:
            body = await read_body(request)
            if reason := await self.gate.refusal(request, body):
                code = reason.replace(" ", "_")
                return JSONResponse({"error": {"code": code, "message": f"The signature is refused: {reason}."}}, 403)
            fields = await parameters(request, body)
            response = await serve(request, fields)
            await self._keep(request.url.path, fields)
            return response

        return hook

    async def _keep(self, path: str, fields: Fields) -> None:
        call_id = fields.get("CallUUID") or fields.get("call_uuid", "")
        if not CALL_ID.fullmatch(call_id):
            return
        event = fields.get("Event") or path.strip("/")
        try:
            await self.ledger.add_facts(call_id, facts(event, {k: v for k, v in fields.items() if k not in _OURS}))
        except (ConnectionError, TimeoutError):
            log.warning("what the carrier said could not be kept", extra={"call_id": call_id})

    def _agent(self, fields: Fields, dial: Dial | None) -> Agent | None:
        if dial is not None:
            agent = self.agents.for_number(dial.sender, dial.agent or None)
            return with_variables(agent, dial.variables) if agent is not None else None
        inbound = fields.get("Direction", "inbound") != "outbound"
        return for_inbound(self.agents.for_number(fields.get("To" if inbound else "From", "")))

    async def _tell(self, fields: Fields, news: News) -> Dial | None:
        """News of an outbound call, by the id that we put into its URLs."""
        dial_id, attempt = fields.get("dial", ""), fields.get("attempt", "")
        if self.dialer is None or not dial_id or not attempt.isdecimal():
            return None
        try:
            return await self.dialer.tell(dial_id, news, int(attempt))
        except (ConnectionError, TimeoutError):
            log.warning("news of an outbound call could not be written down")
            return None

    async def _dial(self, fields: Fields) -> Dial | None:
        return await self.dialer.read(fields["dial"]) if self.dialer is not None and fields.get("dial") else None

    async def _record(self, call_id: str) -> CallRecord | None:
        try:
            return await self.ledger.read(call_id)
        except (ConnectionError, TimeoutError):
            return None

    async def _end_elsewhere(self, call_id: str) -> None:
        """The call is at another edge, or was never answered."""
        record = await self._record(call_id)
        if record is not None and record.status == "live":
            self.calls.bus.publish(edge_priority(record.edge), HangUp(call_id, "caller hung up"))
        elif record is not None and record.status == "new":
            self.calls.break_promise(call_id)
            try:
                await self.ledger.end(call_id, "carrier")
            except (ConnectionError, TimeoutError):
                log.warning("the end of a call could not be written down", extra={"call_id": call_id})

    def _after(self, request: Request, agent: Agent, fields: Fields) -> list[Verb]:
        """What the carrier does once the stream has ended.

        With REST credentials we end a call by REST, and whatever follows the stream is only ever reached when the
        stream broke, or when we gave up (an "error"): it can be said without asking us.  Without, we end it by `stop`,
        and must be asked which it was.
        """
        if self.dialer is not None:
            return _lost(self._person(request, fields, agent))
        return [Redirect(self._url(request, "/after-stream"))]

    def _turned_away(self, request: Request, fields: Fields, agent: Agent | None) -> list[Verb]:
        """A person who helps out is better than any tone; and whom we called, we do not turn away without a word."""
        person = self._person(request, fields, agent)
        reasons: dict[str, Literal["rejected", "busy"]] = {"reject": "rejected", "busy": "busy"}
        reason = reasons.get(self.when_busy)
        if reason is None or person or fields.get("Direction") == "outbound":
            return [Speak(BUSY), *person, Hangup()]
        return [Hangup(reason)]

    def _person(self, request: Request, fields: Fields, agent: Agent | None) -> list[Verb]:
        """Somebody who can help, if the agent's file names one; they are shown our number, which Vobiz allows."""
        if agent is None or not agent.fallback_number:
            return []
        shown = fields.get("From" if fields.get("Direction") == "outbound" else "To", "")
        person = DialVerb(
            numbers=(Number(agent.fallback_number),),
            caller_id=shown if _DIALLED.fullmatch(shown) else None,
            timeout_s=PERSON_RING_S,
            action=self._url(request, "/dial-status"),
        )
        return [person]

    def _url(self, request: Request, path: str) -> str:
        return (self.public_url or self.gate.base_url(request)).rstrip("/") + path

    def _stream_url(self, request: Request, call_id: str) -> str:
        public = urlsplit(self.public_url or self.gate.base_url(request))
        scheme = "wss" if public.scheme == "https" else "ws"
        path = public.path.rstrip("/") + "/ws"
        if self.secret is not None:
            path += "/" + mint(self.secret, call_id, time.time())
        return f"{scheme}://{public.netloc}{path}"


_DIALLED = re.compile(r"\+?[0-9]{4,15}")
PERSON_RING_S = 30
"""How long the phone of the person who helps out may ring."""
_OURS = frozenset({"dial", "attempt"})
"""Parameters that we put into our own URLs."""


def _record(call_id: str, fields: Fields, agent: Agent, dial: Dial | None) -> CallRecord:
    return CallRecord(
        call_id,
        agent=to_document(agent),
        from_number=fields.get("From", ""),
        to_number=fields.get("To", ""),
        direction="outbound" if dial is not None or fields.get("Direction") == "outbound" else "inbound",
        dial_id=dial.dial_id if dial is not None else "",
    )


def _call_id(fields: Fields) -> str:
    call_id = fields.get("CallUUID", "")
    if not CALL_ID.fullmatch(call_id):
        raise BadRequest(400, "bad_call_uuid", "CallUUID is missing or not an id.")
    return call_id


def _agent_of(record: CallRecord) -> Agent | None:
    try:
        return from_document(record.agent)
    except BadAgents:
        return None


def _lost(person: list[Verb]) -> list[Verb]:
    return [Speak(LOST), *person, Hangup()]


def _xml(*verbs: Verb, connect: bool = False) -> Response:
    return Response(render(*verbs, connect=connect), media_type="application/xml")
