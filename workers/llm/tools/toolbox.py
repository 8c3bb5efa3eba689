"""Holds the tools that an agent's model is offered, and checks the model's calls of them.  Pure.

A call that cannot be run is refused with a sentence for the model, which may then correct itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from msgspec import ValidationError, convert

from common.agents.model import Agent
from common.agents.tools import Parameter, Tool
from common.call.acts import BUILT_IN_TOOLS
from common.protocol.acts import ToolsOffered
from workers.llm.text.tool_calls import tool_name
from workers.llm.tools.builtin import END_CALL_SCHEMA, TRANSFER_CALL, built_in, function

ARGUMENTS_CHARS_MAX = 32_000
TOOLS_MAX = 100
"""Most tools that a model is offered; those of MCP servers beyond it are left out."""
SCHEMA_CHARS_MAX = 20_000
"""Longest schema of one tool, in characters; a tool with a longer one is left out."""
DEFAULT = Tool()


@dataclass(frozen=True, slots=True)
class CheckedCall:
    """A call of a tool as it may be run.  `refusal` is for the model; empty if the call is in order."""

    name: str
    arguments: str
    refusal: str = ""
    call_id: str = ""
    """The model's own id of the call."""

    @property
    def values(self) -> dict[str, Any]:
        """The arguments; of a refused call perhaps empty."""
        try:
            found = json.loads(self.arguments)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class Toolbox:
    """The tools of one agent in one call."""

    def __init__(self, agent: Agent | None = None) -> None:
        """`agent` None: the model may only end the call."""
        self._agent = agent
        self._options: Mapping[str, Tool] = agent.tools if agent is not None else {}
        self._own = [END_CALL_SCHEMA] if agent is None else [*built_in(agent), *_requests(agent.tools)]
        self._offered: dict[str, list[dict[str, Any]]] = {}
        self._offered_options: dict[str, dict[str, Tool]] = {}
        self._schemas: dict[str, dict[str, Any]] = {}
        self._collect()

    def offer(self, offered: ToolsOffered) -> None:
        """Take the tools that a tools worker offers; they replace the earlier ones of that source."""
        self._offered[offered.source] = _functions(offered.tools)
        self._offered_options[offered.source] = _options(offered.options)
        self._collect()

    def _collect(self) -> None:
        self._schemas = {}
        for schema in [*self._own, *(each for tools in self._offered.values() for each in tools)]:
            if len(self._schemas) < TOOLS_MAX:
                self._schemas.setdefault(schema["function"]["name"], schema)

    @property
    def schemas(self) -> list[dict[str, Any]]:
        """The OpenAI function tools that the model is offered."""
        return list(self._schemas.values())

    @property
    def waits_for_offers(self) -> bool:
        """Whether the agent has tools that only a tools worker knows, and none has offered any yet."""
        agent = self._agent
        return agent is not None and not self._offered and bool(agent.mcp or agent.python)

    def options(self, name: str) -> Tool:
        """The options of a tool: as a tools worker offers it, as the agent's file says, or the defaults."""
        offered = (options[name] for options in self._offered_options.values() if name in options)
        return next(offered, self._options.get(name, DEFAULT))

    def check(self, written_name: str, arguments: str) -> CheckedCall:
        """Check one call of the model."""
        name = self._known(written_name)
        schema = self._schemas.get(name)
        if schema is None:
            known = ", ".join(self._schemas)
            return CheckedCall(name, arguments, f"There is no tool of this name. The tools are: {known}.")
        if len(arguments) > ARGUMENTS_CHARS_MAX:
            return CheckedCall(name, "{}", "The arguments are too long.")
        try:
            values = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            return CheckedCall(name, "{}", "The arguments are no JSON object.")
        if not isinstance(values, dict):
            return CheckedCall(name, "{}", "The arguments are no JSON object.")
        return CheckedCall(name, json.dumps(values, ensure_ascii=False, sort_keys=True), _mistake(schema, values))

    def _known(self, written: str) -> str:
        meant = tool_name(written)
        return next((name for name in self._schemas if name.lower() == meant.lower()), meant[:64])

    def is_warm(self, call: CheckedCall) -> bool:
        """Whether the call is of a transfer in which the person is asked first."""
        target = self._agent.transfer.get(str(call.values.get("target"))) if self._agent is not None else None
        return call.name == TRANSFER_CALL and target is not None and target.mode == "warm"

    def transfer_announcement(self, call: CheckedCall) -> str:
        """The agent's own announcement of a transfer; empty if it has none."""
        if call.name != TRANSFER_CALL or self._agent is None:
            return ""
        target = self._agent.transfer.get(str(call.values.get("target")))
        return target.announcement if target is not None else ""


def _requests(tools: Mapping[str, Tool]) -> list[dict[str, Any]]:
    """The tools that are HTTP requests."""
    return [
        function(
            name,
            tool.description,
            {each: _property(parameter) for each, parameter in tool.parameters.items()},
            *(each for each, parameter in tool.parameters.items() if parameter.required),
        )
        for name, tool in tools.items()
        if tool.http is not None
    ]


def _property(parameter: Parameter) -> dict[str, Any]:
    described = {"type": parameter.type, "description": parameter.description}
    return {**described, "enum": list(parameter.choices)} if parameter.choices else described


def _functions(tools: str) -> list[dict[str, Any]]:
    """The usable tools in the JSON text of an offer; built-in names are taken."""
    try:
        found = json.loads(tools)
    except (ValueError, RecursionError):
        return []
    usable = [each for each in found if _usable(each)] if isinstance(found, list) else []
    return [each for each in usable if each["function"]["name"] not in BUILT_IN_TOOLS]


def _options(options: str) -> dict[str, Tool]:
    """Tool -> its options in an offer; what is no option of this release is left out."""
    try:
        found = json.loads(options or "{}")
        return {str(name): convert(each, Tool) for name, each in found.items()} if isinstance(found, dict) else {}
    except (ValueError, RecursionError, ValidationError):
        return {}


def _usable(tool: Any) -> bool:
    if not isinstance(tool, dict) or not isinstance(made := tool.get("function"), dict):
        return False
    parameters = made.get("parameters", {})
    if not isinstance(made.get("name"), str) or not isinstance(parameters, dict):
        return False
    if len(json.dumps(tool)) > SCHEMA_CHARS_MAX:
        return False
    try:
        Draft202012Validator.check_schema(parameters)
    except SchemaError:
        return False
    return True


def _mistake(schema: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """What is wrong with the arguments, without quoting them; empty if nothing is."""
    validator = Draft202012Validator(schema["function"].get("parameters") or {})
    error = best_match(validator.iter_errors(values))
    if error is None:
        return ""
    where = ".".join(map(str, error.absolute_path))
    match error.validator:
        case "required":
            missing = [name for name in error.validator_value if name not in (error.instance or {})]
            return f"The argument {missing[0] if missing else ''} is missing."
        case "type":
            return f"The argument {where} must be of type {error.validator_value}."
        case "enum":
            choices: Sequence[Any] = error.validator_value
            return f"The argument {where} must be one of: {', '.join(map(str, choices))}."
        case "additionalProperties":
            return "There is an argument too many."
        case other:
            return f"The argument {where} is wrong: its {other} is {str(error.validator_value)[:100]}."
