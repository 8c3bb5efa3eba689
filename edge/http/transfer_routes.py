"""Answers the requests of the carrier about transfers, also while Redis is away (transfers.py has what is answered)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from edge.http.after_stream import LOST
from edge.http.transfers import TransferWebhooks
from edge.http.webhook_call import Fields, named_call
from edge.http.xml_response import xml_response
from edge.outbound.state import OutboundCall
from edge.transfer.briefing import caller_is_gone
from edge.vobiz.webhook_events import dial_id_of, is_person_done
from edge.vobiz.xml import Hangup, Speak, Verb


@dataclass(frozen=True, slots=True)
class TransferRoutes:
    """The handlers; `connect` is the form of a <Stream> (`edge.vobiz.xml.render`)."""

    transfers: TransferWebhooks
    connect: bool

    async def after_stream(self, request: Request, call_id: str) -> Response | None:
        """What follows the stream of a call that was transferred; None if it cannot come back.

        Raises ConnectionError or TimeoutError.
        """
        verbs = await self.transfers.follow(request, call_id)
        return self._document(verbs) if verbs is not None else None

    def come_again(self, request: Request, path: str, call_id: str, fields: Fields) -> Response:
        """The store is away: ask the carrier to come again, and give up with an apology after some times."""
        again = self.transfers.later(request, path, call_id, fields)
        return xml_response(*(again or [Speak(LOST), Hangup()]))

    async def dial_status(self, request: Request, fields: Fields) -> Response | None:
        """What follows the <Dial> of a transfer; None if Redis has lost the call, and the caller begins anew."""
        call_id = named_call(fields)
        try:
            verbs = await self.transfers.dial_status(request, call_id, fields)
        except (ConnectionError, TimeoutError):
            return self.come_again(request, "/dial-status", call_id, fields)
        if verbs is None and not is_person_done(fields):
            return None
        return self._document(verbs or [Hangup()])

    async def events(self, request: Request, fields: Fields) -> Response:
        """A report of the <Dial> or <Conference> of a transfer."""
        with contextlib.suppress(ConnectionError, TimeoutError):  # what follows the <Dial> is asked for later
            await self.transfers.report(named_call(fields), fields)
        return PlainTextResponse("ok")

    async def rings(self, dial: OutboundCall) -> None:
        """The telephone of a person who is to take over a caller rings."""
        with contextlib.suppress(ConnectionError, TimeoutError):  # the person's answer says it, too
            await self.transfers.rings(dial)

    async def brief(self, request: Request, dial: OutboundCall, fields: Fields) -> Response:
        """A person who is to take over a caller picked up."""
        try:
            return self._document(await self.transfers.brief(request, dial, fields.get("attempt", "")))
        except (ConnectionError, TimeoutError):
            return self._gone(dial)

    async def accept(self, request: Request, fields: Fields) -> Response:
        """The answer of a person who is to take over a caller."""
        dialer, dial_id = self.transfers.dialer, dial_id_of(fields)
        try:
            dial = await dialer.outbound.read(dial_id) if dialer is not None and dial_id else None
        except (ConnectionError, TimeoutError):
            dial = None
        if dial is None:
            return xml_response(Hangup())
        try:
            return self._document(await self.transfers.accept(request, dial, fields))
        except (ConnectionError, TimeoutError):
            return self._gone(dial)

    async def whisper(self, request: Request, fields: Fields) -> Response:
        """What a person hears before a caller is connected to them."""
        try:
            return xml_response(*await self.transfers.whisper(named_call(fields), fields))
        except (ConnectionError, TimeoutError):
            return xml_response()

    def _gone(self, dial: OutboundCall) -> Response:
        return self._document(caller_is_gone(dial.briefing.language if dial.briefing else ""))

    def _document(self, verbs: list[Verb]) -> Response:
        """The XML for somebody who is connected already."""
        return xml_response(*verbs, connect=self.connect, answered=True)
