"""Answers the carrier about transfers: what follows the stream, how a <Dial> ended, the briefing of the person.

    /after-stream ──▶ <Dial> (cold) or <Conference> (warm); <Stream> again if the transfer has failed meanwhile
    /dial-status ──▶ <Hangup> after a talk; <Stream> if there was none: the caller is back with the agent
    /transfer-events, /whisper   reports of the <Dial> or <Conference>; what the person hears before a cold transfer
    /answer?dial=…, /transfer-accept   the briefing of the person, and their answer

Any edge serves each of them; the state is in the call's record (edge/transfer/records.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from secrets import token_urlsafe

from starlette.requests import Request

from common.call.acts import TransferState
from common.call.end_reasons import EndReason
from common.call.transfer import Transfer, read_transfer
from common.process.skipped import skip
from common.protocol.messages import HangUp
from common.protocol.redis_keys import edge_priority
from common.store import REOPEN_SECONDS, CallRecord, CallStore
from edge.http.after_stream import CARRIER_CALL_S_MAX, agent_of
from edge.http.call_urls import CallUrls
from edge.http.parameters import query_of
from edge.outbound.destinations import OperatorLimits
from edge.outbound.dialer import Dialer
from edge.outbound.state import Answered, OutboundCall
from edge.session.calls import Calls
from edge.transfer.briefing import (
    PersonsAnswer,
    answer_of,
    asks,
    caller_is_gone,
    connected,
    declined,
    failure_of,
    joins,
    why_closed,
)
from edge.transfer.records import Applied, TransferRecords
from edge.transfer.state import (
    CallerGone,
    CallerLeft,
    Failure,
    Joined,
    NotReached,
    PersonAccepted,
    PersonAnswered,
    PersonRings,
    TalkEnded,
)
from edge.transfer.targets import may_ring, our_number
from edge.vobiz.webhook_events import call_id_of, is_person_done
from edge.vobiz.xml import Dial, Hangup, Number, Redirect, Speak, Verb, Wait

log = logging.getLogger(__name__)

AGAIN_MAX, AGAIN_S = 8, 1
"""How often the carrier is asked to come again while Redis is away, and after how many seconds each time."""
SECOND_WAY_SECONDS = 2.0
"""How long after the person left the caller may still be in their room, until REST takes them out of it."""
ROOM_BYTES = 18
"""Random bytes in the name of a conference room: whoever knows it could join."""
_ANSWERS = frozenset({"dialanswer", "answer"})
_JOINS = frozenset({"dialconnected", "connected", "conferenceenter"})

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TransferWebhooks:
    """The webhooks of transfers.  `dialer` is None without Vobiz credentials.

    Methods raise ConnectionError or TimeoutError while the store is away, unless they say otherwise.
    """

    calls: Calls
    store: CallStore
    dialer: Dialer | None
    urls: CallUrls
    limits: OperatorLimits
    _asides: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.dialer is not None:
            self.dialer.outbound.briefing_closed = self.person_gone

    @property
    def records(self) -> TransferRecords:
        """The transfers in the store."""
        return TransferRecords(self.store)

    # --- the caller ---------------------------------------------------------------------------------------------------

    async def follow(self, request: Request, call_id: str) -> list[Verb] | None:
        """What follows the stream of a call that was transferred; None if it was not, or cannot come back any more."""
        applied = await self.records.apply(call_id, CallerLeft())
        if applied is None or applied.record.ended_because != EndReason.TRANSFERRED:
            return None
        known = applied.transfer
        if known.mode == "cold" and known.under_way and known.state is not TransferState.JOINED:
            if may_ring(known.number, applied.record, self.limits):
                return [self._dial(request, call_id, applied.record, known)]
            return await self._after(request, call_id, NotReached(Failure.NOT_ALLOWED), known)
        left_room = query_of(request).get("attempt") == known.name
        if known.mode == "warm" and known.under_way and not left_room:  # the same request again has the same answer
            again = Redirect(self.urls.of_call(request, "/after-stream", call_id, known.name))
            return [*self._conference(request, call_id, known), again]
        return await self._after(request, call_id, TalkEnded(), known)

    async def dial_status(self, request: Request, call_id: str, fields: Fields) -> list[Verb] | None:
        """What follows the <Dial> of a transfer, named by `attempt`; None if its call is not known any more."""
        name = fields["attempt"]
        known = await self.records.find(call_id)
        if known is None:
            return None if await self.store.read(call_id) is None else [Hangup()]
        if known.name != name:
            return [Hangup()]  # a late copy about an earlier transfer
        if is_person_done(fields) or known.state is TransferState.JOINED:
            return await self._after(request, call_id, TalkEnded(), known) or [Hangup()]
        why = failure_of(fields.get("DialStatus", ""), fields.get("DialHangupCause", ""))
        return await self._after(request, call_id, NotReached(why), known) or [Hangup()]

    async def _after(
        self, request: Request, call_id: str, event: TalkEnded | NotReached, known: Transfer
    ) -> list[Verb] | None:
        """What follows when the person has left, or was not reached; None if it is too late to come back."""
        applied = await self.records.apply(call_id, event, known.name)
        if applied is not None and applied.changed and known.dial_id and self.dialer is not None:
            self._aside(self.dialer.cancel(known.dial_id))
        if applied is None or applied.transfer.state is not TransferState.FAILED:
            return [Hangup()]
        return await self._back(request, call_id)

    async def _back(self, request: Request, call_id: str) -> list[Verb] | None:
        """The stream by which the caller is with the agent again."""
        known = await self.store.look_up(call_id)
        record, agent = known.record, agent_of(known.record)
        transfer = read_transfer(record.transfer) if record is not None else None
        if record is None or agent is None or transfer is None or known.end_noted:
            return None
        if record.status == "ended" and known.now_ms - transfer.settled_ms > 1000 * REOPEN_SECONDS:
            return None
        self.calls.reserve(call_id)
        return self.urls.offer(request, call_id, known.now_ms / 1000, agent.limits.call_s)

    async def caller_gone(self, call_id: str) -> None:
        """The carrier has ended the caller's call: nobody is rung for it any more.  Never raises."""
        try:
            known = await self.records.find(call_id)
            if known is None or not known.under_way:
                return
            await self.records.apply(call_id, CallerGone(), known.name)
            if known.dial_id and self.dialer is not None:
                await self.dialer.cancel(known.dial_id)
        except (ConnectionError, TimeoutError):
            log.warning("the end of a transfer could not be written", extra={"call_id": call_id})

    def later(self, request: Request, path: str, call_id: str, fields: Fields) -> list[Verb] | None:
        """What to answer while the store is away: come again; None if the carrier has done so often enough."""
        tried = fields.get("again", "0")
        if not tried.isdecimal() or int(tried[:4]) >= AGAIN_MAX:
            return None
        about = {name: fields[name] for name in ("DialStatus", "DialHangupCause") if fields.get(name)}
        again = str(int(tried) + 1)
        url = self.urls.of_call(request, path, call_id, fields.get("attempt", ""), again=again, **about)
        return [Wait(length_s=AGAIN_S), Redirect(url)]

    # --- the person ---------------------------------------------------------------------------------------------------

    async def brief(self, request: Request, dial: OutboundCall, attempt: str) -> list[Verb]:
        """What a person hears who picked up for a caller.  That the carrier asks does not prove that they did."""
        briefing = dial.briefing
        assert briefing is not None
        known = await self.records.find(briefing.call_id, briefing.transfer)
        if known is None or not known.under_way:
            return caller_is_gone(briefing.language)
        if known.room:
            return self._person_joins(known)
        await self.records.apply(briefing.call_id, PersonAnswered(), briefing.transfer)
        return asks(briefing, self.urls.of_dial(request, "/transfer-accept", dial.dial_id, attempt))

    async def accept(self, request: Request, dial: OutboundCall, fields: Fields) -> list[Verb]:
        """The person's answer."""
        briefing, attempt = dial.briefing, fields.get("attempt", "")
        if briefing is None or self.dialer is None:
            return [Hangup()]
        if attempt.isdecimal():
            await self.dialer.outbound.apply(dial.dial_id, Answered(call_id_of(fields)), int(attempt))
        answer = answer_of(fields.get("Digits", ""), fields.get("Speech", ""))
        if answer is PersonsAnswer.UNCLEAR and fields.get("again") is None:
            action = self.urls.of_dial(request, "/transfer-accept", dial.dial_id, attempt, again="1")
            return asks(briefing, action, again=True)
        if answer is not PersonsAnswer.TAKES:
            await self.records.apply(briefing.call_id, NotReached(Failure.DECLINED), briefing.transfer)
            return declined(briefing.language)
        applied = await self.records.apply(
            briefing.call_id, PersonAccepted(token_urlsafe(ROOM_BYTES)), briefing.transfer
        )
        if applied is None or not applied.transfer.room or not applied.transfer.under_way:
            return caller_is_gone(briefing.language)
        self._call_away(applied)
        return self._person_joins(applied.transfer)

    async def rings(self, dial: OutboundCall) -> None:
        """The person's telephone rings."""
        if dial.briefing is not None:
            await self.records.apply(dial.briefing.call_id, PersonRings(), dial.briefing.transfer)

    async def person_gone(self, dial: OutboundCall) -> None:
        """The call to a person is over.  Never raises; the edge of the caller notices it, too."""
        briefing = dial.briefing
        assert briefing is not None
        try:
            known = await self.records.find(briefing.call_id, briefing.transfer)
            if known is None or not known.under_way:
                return
            event = TalkEnded() if known.left else NotReached(why_closed(dial))
            applied = await self.records.apply(briefing.call_id, event, briefing.transfer)
            if applied is not None and applied.changed and known.left:
                self._aside(self._take_out(briefing.call_id))
        except (ConnectionError, TimeoutError):
            log.warning("the end of a call to a person could not be written", extra={"call_id": briefing.call_id})

    async def report(self, call_id: str, fields: Fields) -> None:
        """A report of the caller's <Dial> or <Conference>."""
        name, event = fields.get("attempt", ""), fields.get("Event", "").lower()
        if event in _ANSWERS:
            applied = await self.records.apply(call_id, PersonAnswered(), name)
            if applied is None or applied.transfer.whisper:
                return
        if event in _JOINS or event in _ANSWERS:  # without a whisper they hear each other at once
            await self.records.apply(call_id, Joined(), name)

    async def whisper(self, call_id: str, fields: Fields) -> list[Verb]:
        """What the person hears before a cold transfer."""
        known = await self.records.find(call_id, fields.get("attempt", ""))
        if known is None or not known.whisper.strip():
            return []
        return [Speak(known.whisper, language=known.language if "-" in known.language else None)]

    # --- parts --------------------------------------------------------------------------------------------------------

    def _dial(self, request: Request, call_id: str, record: CallRecord, known: Transfer) -> Dial:
        limit_s = self.limits.call_s_max
        shown = our_number(record)
        whisper = self.urls.of_call(request, "/whisper", call_id, known.name) if known.whisper.strip() else None
        return Dial(
            numbers=(Number(known.number),),
            caller_id=shown if shown.lstrip("+").isdecimal() else None,
            timeout_s=known.ring_s,
            time_limit_s=limit_s if limit_s < CARRIER_CALL_S_MAX else None,
            action=self.urls.of_call(request, "/dial-status", call_id, known.name),
            callback_url=self.urls.of_call(request, "/transfer-events", call_id, known.name),
            confirm_sound=whisper,
        )

    def _conference(self, request: Request, call_id: str, known: Transfer) -> list[Verb]:
        callback = self.urls.of_call(request, "/transfer-events", call_id, known.name)
        return joins(known.room, callback, self.limits.call_s_max)

    def _person_joins(self, known: Transfer) -> list[Verb]:
        words = connected(known.language)
        return [*joins(known.room, None, self.limits.call_s_max, words, known.language), Hangup()]

    def _call_away(self, applied: Applied) -> None:
        """Ask the caller's edge to end the stream; if the order is lost, the edge notices the end in the store."""
        record = applied.record
        order = HangUp(record.call_id, EndReason.TRANSFERRED.value, epoch=record.epoch)
        self.calls.bus.publish(edge_priority(record.edge), order)

    async def _take_out(self, call_id: str) -> None:
        """The second way out of a room that the person has left: the carrier should have ended it for both."""
        await asyncio.sleep(SECOND_WAY_SECONDS)
        known = await self.store.look_up(call_id)
        record = known.record
        transfer = read_transfer(record.transfer) if record is not None else None
        if record is None or transfer is None or self.dialer is None or known.end_noted:
            return
        if (record.status, record.ended_because) != ("ended", EndReason.TRANSFERRED) or not transfer.left_ms:
            return
        if transfer.state is TransferState.FAILED:
            await self.dialer.continue_at(call_id, "/after-stream")
        else:
            await self.dialer.hang_up(call_id)

    def _aside(self, work: Awaitable[None]) -> None:
        """Do this beside the webhook, whose answer must not wait for it."""

        async def guarded() -> None:
            try:
                await work
            except (ConnectionError, TimeoutError):
                log.warning("the second way of a transfer was not taken: the call store is away")
            except Exception as error:  # noqa: BLE001 - it is a second way, or is repeated
                skip("orders", error)

        task = asyncio.create_task(guarded(), name="transfer")
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)
