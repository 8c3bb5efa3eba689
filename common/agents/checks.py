"""Checks what the keys of an agent's file say together, and what the files of a folder say together.

fields.py has checked each value by itself before.  Each function of `FILE_CHECKS` takes an agent and returns a
`Problem` for each mistake; reading.py adds the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from common.agents.fields import Problem
from common.agents.files import Document
from common.agents.keypad_check import of_keypad
from common.agents.model import ANY_NUMBER, Agent
from common.agents.tools import Tool
from common.agents.transfer_checks import transfer_problems
from common.agents.variables import names_without_value
from common.call.acts import BUILT_IN_TOOLS
from common.numbers import number_key

AgentAndFile: TypeAlias = tuple[Document, Agent]
FileCheck: TypeAlias = Callable[[Agent], Iterable[Problem]]

CANARY = ".canary"
"""The end of the name of a file with a second version of an agent, before `.yaml`."""
_ARGUMENT = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


# --- one file -----------------------------------------------------------------------------------------------------


def of_file(agent: Agent) -> list[Problem]:
    """Every mistake of one agent's file."""
    return [problem for check in FILE_CHECKS for problem in check(agent)]


def of_tools(agent: Agent) -> Iterator[Problem]:
    """Names that are taken, tools that nothing runs, and arguments of HTTP requests that do not exist."""
    for name, tool in agent.tools.items():
        here = ("tools", name)
        if name in BUILT_IN_TOOLS:
            yield Problem(here, f"{name!r} is a tool that every agent has; choose another name")
        if tool.http is not None:
            yield from _of_request(name, tool)
        elif not agent.python and not agent.mcp:
            yield Problem(
                here,
                f"'tools.{name}' has nothing to run: write `http:` below it, a function {name} in {agent.name}.py"
                " beside the file, or a server under `mcp:`",
            )


def _of_request(name: str, tool: Tool) -> Iterator[Problem]:
    assert tool.http is not None
    for key, texts in {"url": [tool.http.url], "body": tool.http.body.values()}.items():
        here = ("tools", name, "http", key)
        for argument in dict.fromkeys(found for text in texts for found in _ARGUMENT.findall(_without_env(text))):
            if argument not in tool.parameters:
                yield Problem(here, f"{{{argument}}} is no parameter; write it under `tools.{name}.parameters`")
            elif key == "url" and not tool.parameters[argument].required and _is_in_path(tool.http.url, argument):
                yield Problem(
                    ("tools", name, "parameters", argument),
                    f"{{{argument}}} is part of the URL's path, so it cannot be left out; remove `required: false`",
                )
    if _ARGUMENT.search(_without_env(urlsplit(tool.http.url).netloc)):
        yield Problem(("tools", name, "http", "url"), "an argument cannot be part of the host; write the host as it is")


def _without_env(text: str) -> str:
    """The text without `${NAME}`, which is a variable of the environment and no argument."""
    return re.sub(r"\$\{[^}]*\}", "", text)


def _is_in_path(url: str, argument: str) -> bool:
    return f"{{{argument}}}" in urlsplit(url).path


def of_mcp(agent: Agent) -> Iterator[Problem]:
    """Servers without an address, or with two."""
    for name, server in agent.mcp.items():
        if bool(server.url) == bool(server.command):
            which = "both `url` and `command`; keep one" if server.url else "no address; write `url:` or `command:`"
            yield Problem(("mcp", name), f"'mcp.{name}' has {which}")


def of_timezone(agent: Agent) -> Iterator[Problem]:
    """A time zone that does not exist."""
    try:
        ZoneInfo(agent.timezone or "UTC")
    except (KeyError, OSError, ValueError):
        if agent.timezone:
            what = f"'timezone' {agent.timezone!r} is not known; write a name such as Asia/Kolkata or Europe/Paris"
            yield Problem(("timezone",), what)


def of_variables(agent: Agent) -> Iterator[Problem]:
    """Names in the texts of an agent that answers calls for which no value can come."""
    if not agent.numbers or agent.on_call is not None:
        return
    for key in ("greeting", "farewell", "instructions"):
        for name in names_without_value(getattr(agent, key), agent.variables):
            yield Problem(
                (key,),
                f"{{{{{name}}}}} has no value in calls that come in; write {{{{{name}|…}}}} with a value behind `|`,"
                f" or one under `variables: {name}:`",
            )


FILE_CHECKS: tuple[FileCheck, ...] = (of_tools, of_mcp, of_keypad, of_timezone, of_variables)


# --- the folder ---------------------------------------------------------------------------------------------------


def of_folder(agents: list[AgentAndFile], canaries: list[AgentAndFile], own_numbers: Iterable[str]) -> list[str]:
    """Every mistake that is seen only in all files together, each with its file and line."""
    return [
        *_clashes(agents),
        *_clashes(canaries),
        *_loops([*agents, *canaries], own := tuple(own_numbers)),
        *transfer_problems([*agents, *canaries], own),
        *_of_canaries(agents, canaries),
    ]


def _clashes(agents: list[AgentAndFile]) -> list[str]:
    """A problem for each name or number that two agents claim.  A number is named by its line and never quoted."""
    problems: list[str] = []
    names: dict[str, str] = {}
    numbers: dict[str, tuple[Document, str]] = {}
    for document, agent in agents:
        location = document.location(("name",))
        first_name = names.setdefault(agent.name, location)
        if first_name != location:
            problems.append(f"{location}: the name {agent.name!r} is taken at {first_name}; choose another")
        for index, number in enumerate(agent.numbers):
            location, key = document.location(("numbers", index)), number_key(number)
            owner, first = numbers.setdefault(key, (document, location))
            if owner is not document:
                which = "'*'" if key == ANY_NUMBER else "this number"
                problems.append(f"{location}: {which} is claimed at {first} too; keep it in one agent")
    return problems


def _loops(agents: list[AgentAndFile], own_numbers: Iterable[str]) -> list[str]:
    """A problem for each `fallback_number` of our own: the caller would reach an agent again, and both calls cost."""
    own = {number_key(number) for number in own_numbers if number}
    own |= {number_key(number) for _, agent in agents for number in agent.numbers}
    return [
        f"{document.location(('fallback_number',))}: 'fallback_number' is a number of your own: the caller would come"
        " back to an agent; write the number of a person"
        for document, agent in agents
        if agent.fallback_number and number_key(agent.fallback_number) in own
    ]


def _of_canaries(agents: list[AgentAndFile], canaries: list[AgentAndFile]) -> list[str]:
    """A problem for each canary of no agent or with numbers of its own, and for `canary` in the file of an agent."""
    by_name = {agent.name: agent for _, agent in agents}
    problems = [
        f"{document.location(('canary',))}: 'canary' belongs into {document.path.stem}{CANARY}.yaml, the file with the"
        " second version of this agent; remove it here"
        for document, agent in agents
        if agent.canary
    ]
    for document, canary in canaries:
        stable = by_name.get(canary.name)
        if stable is None:
            problems.append(
                f"{document.location(('name',))}: a second version of the agent {canary.name!r}, which is not there;"
                f" write {canary.name}.yaml, or rename this file"
            )
        elif {number_key(number) for number in canary.numbers} - {number_key(number) for number in stable.numbers}:
            problems.append(
                f"{document.location(('numbers',))}: 'numbers' are those of the agent's other file; remove them here"
            )
    return problems
