"""Defines the built-in tools: those that act on the call itself.  Pure.

Their results come from different places:

    end_call         nowhere: the call ends once the reply was heard
    transfer_call    the edge, if the person cannot be reached; until then the caller is with them
    send_digits      the edge
    collect_digits   the LLM worker, when the caller has entered the digits
    hold             the LLM worker, at once
    transfer_to      the LLM worker, at once: another agent has the call from the next reply on
"""

from __future__ import annotations

from typing import Any

from common.agents.model import Agent
from common.call.key_entry import KEYS_MAX

END_CALL = "end_call"
TRANSFER_CALL = "transfer_call"
SEND_DIGITS = "send_digits"
COLLECT_DIGITS = "collect_digits"
HOLD = "hold"
TRANSFER_TO = "transfer_to"
BY_EDGE = frozenset({TRANSFER_CALL, SEND_DIGITS})
"""Tools that the call's edge runs, by order of the LLM worker."""
AFTER_REPLY = frozenset({END_CALL, TRANSFER_CALL, COLLECT_DIGITS, HOLD, TRANSFER_TO})
"""Tools that take effect once the reply was heard: the reply does not wait for their result."""


def function(name: str, description: str, properties: dict[str, Any] | None = None, *required: str) -> dict[str, Any]:
    """An OpenAI function tool."""
    parameters: dict[str, Any] = {"type": "object", "properties": properties or {}}
    if required:
        parameters["required"] = list(required)
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


END_CALL_SCHEMA = function(END_CALL, "Hang up after your reply. Say goodbye in the same reply.")


def built_in(agent: Agent) -> list[dict[str, Any]]:
    """The built-in tools that this agent's model is offered."""
    offered = [END_CALL_SCHEMA]
    if agent.transfer:
        offered.append(_transfer_call(agent))
    if agent.transfer_to:
        offered.append(_transfer_to(agent))
    for name in agent.builtins:
        offered.append(_OPTIONAL[name])
    return offered


def _transfer_call(agent: Agent) -> dict[str, Any]:
    targets = "; ".join(
        f"{name}: {target.description}" if target.description else name for name, target in agent.transfer.items()
    )
    return function(
        TRANSFER_CALL,
        "Connect the caller to a person. Say in the same reply that you do so; the caller is connected once they have"
        f" heard it. If nobody can be reached, you are told and go on. Persons: {targets}",
        {
            "target": {"type": "string", "enum": list(agent.transfer), "description": "Who is to be reached."},
            "reason": {"type": "string", "description": "One sentence for the person: who calls, and what about."},
        },
        "target",
    )


def _transfer_to(agent: Agent) -> dict[str, Any]:
    return function(
        TRANSFER_TO,
        "Hand the caller to another agent, who knows all that was said and goes on. Say so in the same reply.",
        {"agent": {"type": "string", "enum": list(agent.transfer_to), "description": "Who is to have the call."}},
        "agent",
    )


_DIGITS = {"type": "integer", "minimum": 1, "maximum": KEYS_MAX}
_OPTIONAL = {
    COLLECT_DIGITS: function(
        COLLECT_DIGITS,
        "Let the caller enter digits on the keys of their telephone, such as a PIN, a customer number or a date. Say in"
        " the same reply what to enter; you are told the digits once they are complete. Spoken digits count, too,"
        " unless secret. Afterwards read the digits back one by one and ask whether they are right, unless secret.",
        {
            "name": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,31}$", "description": "What it is: 'pin'."},
            "length": {**_DIGITS, "description": "How many digits, if that is known."},
            "min": {**_DIGITS, "description": "Fewest digits, without a length."},
            "max": {**_DIGITS, "description": "Most digits, without a length."},
            "secret": {
                "type": "boolean",
                "description": "You are not told the digits; pass the placeholder that you get to another tool.",
            },
            "finish_key": {"type": "string", "enum": ["#", "*", ""], "description": "Ends the entry; default '#'."},
            "timeout_s": {"type": "integer", "minimum": 2, "maximum": 60, "description": "Time until the first key."},
            "spoken_too": {"type": "boolean", "description": "False: only keys count. Default true."},
        },
        "name",
    ),
    SEND_DIGITS: function(
        SEND_DIGITS,
        "Press keys of the telephone for the other side, such as in the menu of an answering machine.",
        {"digits": {"type": "string", "description": "Keys 0-9 * #; w waits half a second, W a second. At most 64."}},
        "digits",
    ),
    HOLD: function(
        HOLD,
        "Put the caller on hold with music after your reply, for instance while you wait for something.",
        {"seconds": {"type": "integer", "description": "How long at most, 5 to 60."}},
    ),
}
