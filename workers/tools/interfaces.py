"""Defines what the tools pool and its engines exchange: a tool, one call of it, and how that call fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from common.agents.tools import Tool
from common.call.acts import ToolOutcome

KINDS = ("http", "python", "mcp")
"""The kinds of tools, as labels of metrics."""


class ToolError(Exception):
    """A call of a tool has no result.  `text` is what the model is told; it never quotes a secret."""

    def __init__(self, outcome: ToolOutcome, text: str) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome
        self.text = text


@dataclass(frozen=True, slots=True)
class CallContext:
    """What a tool may know of its call."""

    call_id: str
    agent: str = ""
    caller: str = ""
    called: str = ""
    direction: str = "inbound"
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """One call of a tool, its arguments checked and its secrets filled in."""

    key: str
    """The idempotency key: the same whenever this call is run."""
    arguments: Mapping[str, Any]
    context: CallContext
    say: Callable[[str], None]
    """Has the agent say a sentence while the tool runs."""
    secrets: tuple[str, ...] = ()
    """Values among the arguments that are hidden in the result."""


@dataclass(frozen=True, slots=True)
class CallableTool:
    """A tool that this process can run.

    `run` returns the result as text, and raises ToolError.  It is ended by its deadline, `options.timeout_s`.
    """

    name: str
    kind: str
    """One of KINDS."""
    options: Tool
    description: str
    parameters: Mapping[str, Any]
    """The JSON Schema of the arguments."""
    run: Callable[[ToolRequest], Awaitable[str]] = field(compare=False)
    checks_arguments: bool = False
    """It checks the arguments itself: they are only read."""
