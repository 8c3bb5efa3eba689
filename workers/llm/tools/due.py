"""Decides what is due for the built-in tools of a call, by its replies: orders to the edge, and results.  Pure.

The log alone decides, so a worker that takes the call over orders what is still due; the edge does each thing once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from common.call.acts import ToolOutcome
from common.call.reply_state import Reply, ReplyState
from common.call.tool_rounds import OpenCall
from common.protocol.acts import AgentChanged, ToolReturned
from workers.llm.tools.builtin import HOLD, SEND_DIGITS, TRANSFER_CALL, TRANSFER_TO

INTERRUPTED = "Not done: the caller interrupted you before. Answer them; call it again if it is still wanted."
YOURS = "You are {} and have the call now; another agent spoke until here. Say who you are, and go on with it."
UNDECIDED = (ReplyState.PREEMPTIVE, ReplyState.DISCARDED)
"""States of a reply beside which the one before it may still go on."""
HOLD_OVER = "The music has ended. Go on with the conversation."


@dataclass(frozen=True, slots=True)
class TransferDue:
    """Order the edge to transfer the caller."""

    turn: int
    n: int
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class KeysDue:
    """Order the edge to send keys."""

    turn: int
    n: int
    keys: str


@dataclass(frozen=True, slots=True)
class HandOffDue:
    """From the next reply on, the agent `name` has the call."""

    turn: int
    n: int
    name: str


Due: TypeAlias = TransferDue | KeysDue | HandOffDue | ToolReturned
"""An order to the edge, a hand-off, or a result to write."""


def handed_off(each: HandOffDue, turn: int) -> list[AgentChanged | ToolReturned]:
    """The events of a hand-off; `turn` is the next reply, which the other agent has."""
    return [AgentChanged(turn, each.name), ToolReturned(each.turn, each.n, ToolOutcome.DONE, YOURS.format(each.name))]


def due(replies: Iterable[Reply]) -> Iterator[Due]:
    """What is due now, in order."""
    known = list(replies)
    newest = max((each.turn for each in known if each.state not in UNDECIDED), default=0)
    for reply in known:
        for call in reply.tools.open():
            if (found := _due(reply, call, newest)) is not None:
                yield found


def _due(reply: Reply, call: OpenCall, newest: int) -> Due | None:
    """`newest`: the newest reply that the caller may hear; the ones before it do not go on."""
    if reply.preemptive:
        return None
    arguments = _values(call.arguments)
    match call.name:
        case name if name == SEND_DIGITS:
            return KeysDue(reply.turn, call.n, str(arguments.get("digits", "")))
        case name if name == TRANSFER_CALL:
            if _was_heard(reply, call):
                return TransferDue(reply.turn, call.n, str(arguments["target"]), str(arguments.get("reason", "")))
        case name if name == TRANSFER_TO:
            if _was_heard(reply, call):
                return HandOffDue(reply.turn, call.n, str(arguments["agent"]))
        case name if name == HOLD:
            if reply.state is ReplyState.PLAYED:
                return ToolReturned(reply.turn, call.n, ToolOutcome.DONE, HOLD_OVER)
        case _:
            return None
    if reply.state is ReplyState.INTERRUPTED or reply.turn < newest:
        return ToolReturned(reply.turn, call.n, ToolOutcome.CANCELLED, INTERRUPTED)
    return None


def _was_heard(reply: Reply, call: OpenCall) -> bool:
    """Whether the caller has heard all that precedes the call."""
    if reply.state is ReplyState.PLAYED:
        return True
    before = next((each.spoken_clauses for each in reply.tools.rounds if call.n < each.first + len(each.calls)), 0)
    return reply.begun and reply.played_clause >= before - 1


def _values(arguments: str) -> dict[str, Any]:
    """The arguments, which were checked before they were written."""
    values = json.loads(arguments)
    return values if isinstance(values, dict) else {}
