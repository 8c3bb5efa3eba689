"""Decides which XML follows when the stream is over or cannot be offered, by how the call ended.

The carrier asks for XML when the stream is over and the call is not, and it may ask at any time: late, twice, or for a
call that ended long ago.  So the answer depends on the call's record as it is now, not on what was expected when the
stream began:

  we ended the call, or the caller did       hang up without a word
  the caller was transferred                 ring the person, or join the two (edge/http/transfers.py)
  the stream broke or never came; an error   an apology, then ring the agent's fallback number if there is one

The fallback number is never rung for a call that is over.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from common.agents.model import Agent, BadAgents, from_document
from common.call.acts import TransferState
from common.call.end_reasons import LOST_ENDS, EndReason
from common.call.transfer import read_transfer
from common.numbers import same_party
from common.protocol.messages import HangUp
from common.protocol.redis_keys import edge_priority
from common.store import CallRecord, CallRecords
from common.telemetry import metrics
from edge.outbound.destinations import NotAllowed, OperatorLimits
from edge.session.calls import Calls
from edge.vobiz.webhook_events import is_outbound
from edge.vobiz.xml import Dial, Hangup, Number, Speak, Verb

log = logging.getLogger(__name__)

CARRIER_CALL_S_MAX = 14_400
"""Vobiz's default limit of a <Dial>, in seconds."""
BUSY = "Sorry, we cannot take your call right now. Please call again in a few minutes."
LOST = "Sorry, we lost the connection."
PERSON_RING_S = 30
"""How long the agent's fallback number may ring, in seconds."""
END_SECONDS = 60
"""How long the carrier's report that a call is over is remembered, whatever else is known of the call."""
CHOSEN = frozenset({"agent hung up", "operator hung up", "silence", "too long"})
"""End reasons of calls that we ended on purpose: nothing follows them."""

_DIALLED = re.compile(r"\+?[0-9]{4,15}")


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known about the end of a call."""

    record: CallRecord | None
    noted: bool = False
    """Whether the carrier reported that the call is over."""
    reached: bool = True
    """False: the store is away, so `record` and `noted` are unknown."""

    @property
    def over(self) -> bool:
        """Whether the call is over and only a hang-up may follow."""
        return self.noted or (self.record is not None and self.record.ended_because in CHOSEN)

    @property
    def lost(self) -> bool:
        """Whether the call has a record and its stream ended unintentionally, or a transfer failed and the caller could
        not come back.
        """
        if self.noted or self.record is None:
            return False
        if self.record.ended_because == EndReason.TRANSFERRED:
            transfer = read_transfer(self.record.transfer)
            return transfer is not None and transfer.state is TransferState.FAILED
        return self.record.ended_because in LOST_ENDS | {""}


@dataclass(frozen=True, slots=True)
class AfterStream:
    """Looks up how calls ended, and ends those whose stream is over."""

    calls: Calls
    store: CallRecords

    async def ending(self, call_id: str) -> Ending:
        """How the call ended.  Never raises; see `Ending.reached`."""
        try:
            known = await self.store.look_up(call_id)
            return Ending(known.record, known.end_noted)
        except (ConnectionError, TimeoutError):
            return Ending(None, reached=False)

    async def over_or_lost(self, call_id: str) -> Ending:
        """As `ending`, for a call whose stream is over; a call without an end is ended now.

        It is not ended by REST, which would end the call before the XML that follows has run.
        """
        call = self.calls.get(call_id)
        if call is not None and (reason := call.lifecycle.reason) and reason != EndReason.TRANSFERRED:
            return Ending(replace(call.record, status="ended", ended_because=reason))
        ending = await self.ending(call_id)
        record = ending.record
        if record is not None and record.ended_because == EndReason.TRANSFERRED:
            if call is not None:
                call.end(EndReason.TRANSFERRED)  # the carrier has left the stream
            return ending
        if call is not None and not ending.over:
            call.end("carrier")
            return Ending(call.record)
        if record is not None and record.status == "live" and not ending.noted:
            self.calls.bus.publish(edge_priority(record.edge), HangUp(call_id, "carrier", epoch=record.epoch))
        elif record is not None and record.status == "new":
            self.calls.cancel_reservation(call_id)
            await self.end_unstarted(call_id, "carrier")
        return ending

    async def end_unstarted(self, call_id: str, reason: str) -> bool:
        """Write the end of a call unless an edge has started it meanwhile; False if the store is away."""
        try:
            await self.store.end(call_id, reason, 0)
        except (ConnectionError, TimeoutError):
            return False
        return True


def lost(ending: Ending, person: list[Verb]) -> list[Verb]:
    """The XML after a stream that ended unintentionally."""
    unserved = ending.record is not None and ending.record.ended_because == "no worker"
    return [Speak(BUSY if unserved else LOST), *person, Hangup()]


def turned_away(when_busy: str, outbound: bool, person: list[Verb]) -> list[Verb]:
    """The XML for a call that is not taken.  With a fallback number, and on outbound calls, there are always words."""
    reasons: dict[str, Literal["rejected", "busy"]] = {"reject": "rejected", "busy": "busy"}
    reason = reasons.get(when_busy)
    if reason is None or person or outbound:
        return [Speak(BUSY), *person, Hangup()]
    return [Hangup(reason)]


def person_of(
    agent: Agent | None, fields: Mapping[str, str], action: str, limits: OperatorLimits | None = None
) -> list[Verb]:
    """The <Dial> of the agent's fallback number; empty if there is none or it may not be dialled.

    `fields` are the webhook's, from which the number to show is taken: one of the account's own, as Vobiz requires.
    """
    if agent is None or not agent.fallback_number:
        return []
    shown = fields.get("From" if is_outbound(fields) else "To", "")
    if same_party(agent.fallback_number, shown):  # our own number: the call would come back to us, at our cost
        return []
    limits = limits or OperatorLimits()
    try:
        limits.destinations.check(agent.fallback_number)
    except NotAllowed as error:
        metrics.DIALS_REFUSED.labels(error.reason).inc()
        log.warning("the agent's fallback_number is not rung: %s", error)
        return []
    person = Dial(
        numbers=(Number(agent.fallback_number),),
        caller_id=shown if _DIALLED.fullmatch(shown) else None,
        timeout_s=PERSON_RING_S,
        time_limit_s=limits.call_s_max if limits.call_s_max < CARRIER_CALL_S_MAX else None,
        action=action,
    )
    return [person]


def agent_of(record: CallRecord | None) -> Agent | None:
    """The agent in a call's record; None if there is none or it cannot be read."""
    try:
        return from_document(record.agent) if record is not None else None
    except BadAgents:
        return None
