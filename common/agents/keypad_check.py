"""Checks what an agent's file says about the keys of a telephone (`keypad`)."""

from __future__ import annotations

from collections.abc import Iterator

from common.agents.acts import MenuEntry
from common.agents.fields import Problem
from common.agents.model import Agent

ACTIONS = ("say", "ask", "tool", "transfer")
END_CALL = "end_call"


def of_keypad(agent: Agent) -> Iterator[Problem]:
    """Keys that do nothing or two things at once, and tools and persons that do not exist."""
    for key, entry in agent.keypad.items():
        here = ("keypad", key)
        chosen = [action for action in ACTIONS if getattr(entry, action)]
        if not chosen:
            yield Problem(here, f"key {key!r} does nothing; write one of: {', '.join(ACTIONS)}")
        elif len(chosen) > 1:
            yield Problem(here, f"key {key!r} has {' and '.join(chosen)}; keep one of them")
        if entry.arguments and not entry.tool:
            yield Problem((*here, "arguments"), f"key {key!r} has arguments and no tool; write `tool:`, or remove them")
        if entry.tool and not _is_known(agent, entry):
            known = ", ".join([*agent.tools, END_CALL])
            yield Problem((*here, "tool"), f"there is no tool {entry.tool!r}; the tools are: {known}")
        if entry.transfer and entry.transfer not in agent.transfer:
            known = ", ".join(agent.transfer) or "none; write one under `transfer:`"
            yield Problem((*here, "transfer"), f"there is no person {entry.transfer!r}; the persons are: {known}")


def _is_known(agent: Agent, entry: MenuEntry) -> bool:
    """Whether the tool exists, as far as the file tells: those of Python and MCP servers are known only later."""
    return entry.tool in {*agent.tools, *agent.builtins, END_CALL} or bool(agent.python or agent.mcp)
