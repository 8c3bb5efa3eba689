"""Sends a worker's order to end its call to the edge, with the claim that entitles to it."""

from __future__ import annotations

from dataclasses import dataclass

from common.bus import Bus
from common.call.end_reasons import EndReason
from common.protocol.messages import HangUp
from common.protocol.redis_keys import edge_priority
from common.store import Claim


@dataclass(frozen=True, slots=True)
class Connection:
    """The edge that has the call, and which of the call's connections that is."""

    edge: str
    epoch: int


def hang_up(bus: Bus, claim: Claim, reason: EndReason, at: Connection) -> None:
    """Ask the edge to end the call; it ignores the order if another member or connection has the call by now."""
    order = HangUp(claim.call_id, reason.value, claim.token, at.epoch, claim.pool)
    bus.publish(edge_priority(at.edge), order)
