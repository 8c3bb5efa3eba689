"""Makes the record of a call from the first webhook about it."""

from __future__ import annotations

import time
from collections.abc import Mapping

from common.agents.model import Agent, to_document
from common.agents.needs import more_pools
from common.agents.variables import CallBeginning
from common.store import CallRecord
from edge.outbound.state import OutboundCall
from edge.vobiz.webhook_events import is_outbound

NUMBER_CHARS_MAX = 256
"""Maximum length of a number or SIP address in a call's record; no real one is longer."""


def beginning_of(call_id: str, fields: Mapping[str, str], dial: OutboundCall | None) -> CallBeginning:
    """What the first webhook of a call says of it, with the time by this host's clock, which only people are shown."""
    return CallBeginning(
        call_id,
        (fields.get("From") or (dial.sender if dial is not None else ""))[:NUMBER_CHARS_MAX],
        (fields.get("To") or (dial.to if dial is not None else ""))[:NUMBER_CHARS_MAX],
        "outbound" if dial is not None or is_outbound(fields) else "inbound",
        time.time(),
    )


def record_of(call: CallBeginning, agent: Agent, dial: OutboundCall | None, signed_urls: bool) -> CallRecord:
    """The record of a call that begins."""
    return CallRecord(
        call.call_id,
        agent=to_document(agent),
        from_number=call.caller,
        to_number=call.called,
        direction=call.direction,
        dial_id=dial.dial_id if dial is not None else "",
        signed_urls=int(signed_urls),
        more_pools=more_pools([agent]),
    )
