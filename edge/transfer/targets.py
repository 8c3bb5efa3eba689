"""Decides whether a transfer target may be rung for a call, and how.  Pure."""

from __future__ import annotations

from common.agents.acts import TransferTarget
from common.agents.model import BadAgents, from_document
from common.call.transfer import Transfer
from common.numbers import same_party
from common.store import CallRecord
from edge.outbound.destinations import NotAllowed, OperatorLimits
from edge.transfer.state import Failure


def our_number(record: CallRecord) -> str:
    """The number of ours that the call came to, or from which it was placed; empty if it is not known."""
    return record.from_number if record.direction == "outbound" else record.to_number


def wanted_transfer(
    record: CallRecord, turn: int, n: int, target: str, agent: str, limits: OperatorLimits
) -> Transfer | Failure:
    """The transfer to `target` of the agent `agent` (empty: that with which the call began), or why there is none."""
    found = _target_of(record, target, agent)
    if found is None:
        return Failure.NO_TARGET
    rung, language = found
    if not may_ring(rung.number, record, limits):
        return Failure.NOT_ALLOWED
    return Transfer(
        turn,
        n,
        target,
        rung.number,
        rung.mode,
        rung.ring_s,
        rung.whisper,
        language,
    )


def may_ring(number: str, record: CallRecord, limits: OperatorLimits) -> bool:
    """Whether the number may be rung now.  One of our own would bring the caller back to us, at our cost."""
    if same_party(number, our_number(record)):
        return False
    try:
        limits.destinations.check(number)
    except NotAllowed:
        return False
    return True


def _target_of(record: CallRecord, target: str, name: str) -> tuple[TransferTarget, str] | None:
    """The target and the language of its agent; None if there is none, or the agent cannot be read."""
    try:
        first = from_document(record.agent)
    except BadAgents:
        return None
    agent = {**first.others, first.name: first}.get(name or first.name)
    if agent is None or target not in agent.transfer:
        return None
    return agent.transfer[target], agent.language
