"""What a caller meets when the agent is not, or no longer, on the line: which XML, and for which end.

The carrier asks for it when the stream is over and the call is not, and may ask for a call at any time: late, twice,
or for a call that ended long ago.  So it is decided from what the call's record says now, never from what was to be
expected when the stream began:

  we ended the call, or the caller did       hang up, without a word
  the stream broke, or never came; an error  say so, and ring the agent's person if there is one

Nobody is rung for a call that is over.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from common.agents.model import Agent, BadAgents, from_document
from common.call.end_reasons import LOST_ENDS
from common.numbers import same_party
from common.protocol.messages import HangUp
from common.protocol.redis_keys import edge_priority
from common.store import END_REASONS, CallRecord, CallStore
from common.telemetry import metrics
from edge.outbound.destinations import NotAllowed, OperatorLimits
from edge.session.call import Call
from edge.session.calls import Calls
from edge.vobiz.webhook_events import is_outbound
from edge.vobiz.xml import Dial, Hangup, Number, Speak, Verb

log = logging.getLogger(__name__)

CARRIER_CALL_S_MAX = 14_400
"""How long the carrier lets a <Dial> last if it is not told."""
BUSY = "Sorry, we cannot take your call right now. Please call again in a few minutes."
LOST = "Sorry, we lost the connection."
PERSON_RING_S = 30
"""How long the phone of the person who helps out may ring."""
END_SECONDS = 60
"""How long it is remembered that the carrier said that a call is over, whatever else is known of the call."""
CHOSEN = frozenset({"agent hung up", "operator hung up", "silence", "too long"})
"""Ends that are ours, by decision: nothing follows them."""

_DIALLED = re.compile(r"\+?[0-9]{4,15}")


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known of how a call ended, or that it has not."""

    record: CallRecord | None
    noted: bool = False
    """The carrier said that the call is over."""
    reached: bool = True
    """False: the ledger is away, so `record` and `noted` say nothing."""

    @property
    def over(self) -> bool:
        """The call is over, and nothing is left to say."""
        return self.noted or (self.record is not None and self.record.ended_because in CHOSEN)

    @property
    def lost(self) -> bool:
        """The call has a record, and the stream is over though nobody wanted it to be."""
        return not self.noted and self.record is not None and self.record.ended_because in LOST_ENDS | {""}


@dataclass(frozen=True, slots=True)
class AfterStream:
    """Looks up how calls ended."""

    calls: Calls
    store: CallStore

    async def ending(self, call_id: str) -> Ending:
        """How the call ended; never raises."""
        try:
            noted = await self.store.end_noted(call_id)
            return Ending(await self.store.read(call_id), noted)
        except (ConnectionError, TimeoutError):
            return Ending(None, reached=False)

    async def over_or_lost(self, call_id: str) -> Ending:
        """As `ending`, of a call whose stream is over: one that nobody has ended yet, is ended now.

        Not by REST, which would take the call from under the words that follow.
        """
        call = self.calls.get(call_id)
        if call is not None and (reason := _reason(call)):
            return Ending(replace(call.record, status="ended", ended_because=reason))
        ending = await self.ending(call_id)
        if call is not None and not ending.over:
            call.end("carrier")
            return Ending(call.record)
        record = ending.record
        if record is not None and record.status == "live" and not ending.noted:
            self.calls.bus.publish(edge_priority(record.edge), HangUp(call_id, "carrier", epoch=record.epoch))
        elif record is not None and record.status == "new":
            self.calls.cancel_reservation(call_id)
            await self.end_unstarted(call_id, "carrier")
        return ending

    async def end_unstarted(self, call_id: str, reason: str) -> bool:
        """Write down the end of a call that no edge has started (meanwhile, either); False if the ledger is away."""
        try:
            await self.store.end(call_id, reason, 0)
        except (ConnectionError, TimeoutError):
            return False
        return True


def _reason(call: Call) -> str:
    """Why the call at this edge is over, or is to be over; empty if it goes on."""
    reasons = [future.result() for future in (call.ended, call.stopping) if future.done()]
    return next((reason for reason in reasons if reason in END_REASONS), "")


def lost(ending: Ending, person: list[Verb]) -> list[Verb]:
    """The stream is over and nobody wanted it to be."""
    unserved = ending.record is not None and ending.record.ended_because == "no worker"
    return [Speak(BUSY if unserved else LOST), *person, Hangup()]


def turned_away(when_busy: str, outbound: bool, person: list[Verb]) -> list[Verb]:
    """A person who helps out is better than any tone; and whom we called, we do not turn away without a word."""
    reasons: dict[str, Literal["rejected", "busy"]] = {"reject": "rejected", "busy": "busy"}
    reason = reasons.get(when_busy)
    if reason is None or person or outbound:
        return [Speak(BUSY), *person, Hangup()]
    return [Hangup(reason)]


def person_of(
    agent: Agent | None, fields: Mapping[str, str], action: str, limits: OperatorLimits | None = None
) -> list[Verb]:
    """Somebody who can help, if the agent's file names one whom we may dial; they are shown our number, which Vobiz
    allows.
    """
    if agent is None or not agent.fallback_number:
        return []
    shown = fields.get("From" if is_outbound(fields) else "To", "")
    if same_party(agent.fallback_number, shown):  # our own number: the caller would come back to us, at our cost
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
    """The agent of a call; None if nobody can read it (any more)."""
    try:
        return from_document(record.agent) if record is not None else None
    except BadAgents:
        return None
