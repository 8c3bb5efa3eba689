"""Defines an agent: name, greeting, instructions, and how it listens, speaks and ends a call.

One YAML file is one agent (docs/agents.md).  `load_agents` reads all, `Agents.for_number` finds the one for a number,
and `to_document` makes the copy that travels with a call, which keeps its agent even if the file changes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from msgspec import Meta, to_builtins

from common.agents.acts import BuiltIn, MenuEntry, MenuKey, TargetName, TransferTarget
from common.agents.fields import Problem, like, read
from common.agents.files import Document, read_document
from common.agents.tools import McpServer, Tool, ToolName
from common.numbers import number_key

VERSION_DIGITS = 12
ANY_NUMBER = "*"

GREETING_CHARS_MAX = 1_000
FAREWELL_CHARS_MAX = 500
INSTRUCTIONS_CHARS_MAX = 20_000

SENTENCES = frozenset({"greeting", "farewell", "instructions", "keyterms"})
"""Keys whose values are spoken or recognised: a `#` in them was meant as text, where YAML sees a comment."""
NAMES = frozenset({"voice", "name"})
"""Keys whose values are names: a comment may follow only after a space behind its `#`."""

ADDED = ("tools", "mcp", "transfer", "builtins", "keypad", "python")
"""Keys that a release added: an agent without them keeps the version that it had."""

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z0-9_]{1,64})\s*\}\}")


Name: TypeAlias = Annotated[
    str, like("[a-z0-9][a-z0-9_-]{0,63}", "small letters, digits, '-' and '_', at most 64, such as 'front-desk'")
]
LanguageTag: TypeAlias = Annotated[
    str, like("[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}", "a language tag such as 'en', 'en-IN' or 'hi'")
]
_A_PROVIDER = "vendor/model, such as openai/gpt-4o-mini, or leave it empty for the default"
ProviderSpec: TypeAlias = Annotated[str, like(r"[a-z0-9_-]+/\S+", _A_PROVIDER, noun="provider"), Meta(max_length=128)]
ProviderSpecs: TypeAlias = Annotated[tuple[ProviderSpec, ...], Meta(max_length=5)]
Keyterm: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
_PHONE = {"noun": "phone number", "private": True}
AgentsNumber: TypeAlias = Annotated[
    str,
    like(
        r"\*|\+?[0-9][0-9 ()-]{2,24}|sips?:[^\s<>,;?]{1,250}",
        "digits such as '+911234567890', or '*' for every number",
        **_PHONE,
    ),
]
PersonsNumber: TypeAlias = Annotated[
    str, like(r"(\+?[0-9]([ ()-]*[0-9]){3,14})?", "digits such as '+911234567890', or nothing", **_PHONE)
]
VariableName: TypeAlias = Annotated[str, like("[A-Za-z0-9_]{1,64}", "letters, digits and '_'", noun="name")]
VariableText: TypeAlias = Annotated[str, Meta(max_length=1_000)]
GreetingWait: TypeAlias = Annotated[int, Meta(ge=0, le=10_000)]


class BadAgents(Exception):
    """The agents cannot be used.  The text lists every problem: where it is, what is wrong, what to write instead."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


# --- what a file may say ------------------------------------------------------------------------------------------
#
# Types and bounds, and the sentence below each key, are read by the reader (fields.py) and by the editors' schema
# (agents/agents.schema.json).  After a change: `make generated`.


@dataclass(frozen=True, slots=True)
class ProviderNames:
    """The providers of an agent, as `vendor/model` in failover order.  Empty: the deployment's default."""

    stt: ProviderSpecs = ()
    """Speech to text."""
    llm: ProviderSpecs = ()
    """Language models."""
    tts: ProviderSpecs = ()
    """Text to speech."""


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """How the agent takes turns with the caller."""

    min_interruption_ms: Annotated[int, Meta(ge=40, le=2_000, extra={"former": "onset_ms"})] = 160
    """Speech of this length may interrupt the agent."""
    endpointing_ms: Annotated[int, Meta(ge=100, le=5_000, extra={"former": "endpoint_ms"})] = 500
    """Silence of this length after words ends the caller's turn."""
    eager_endpointing_ms: Annotated[int, Meta(ge=0, le=5_000, extra={"former": "likely_ms"})] = 200
    """Silence of this length after words starts a preemptive reply, held until the turn is over; 0: no such reply."""
    interim_endpointing_ms: Annotated[int, Meta(ge=0, le=2_000)] = 0
    """Starts it after this much silence already, if interim words stood unchanged for as long; 0: does not."""
    interruptible: bool = True
    """False: the agent finishes its reply even if the caller speaks."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The times after which the agent ends the call."""

    call_s: Annotated[int, Meta(ge=10, le=14_400)] = 1_800
    """The longest duration of a call, in seconds."""
    silence_s: Annotated[int, Meta(ge=5, le=600)] = 60
    """The longest time without speech of either side, in seconds."""


@dataclass(frozen=True, slots=True)
class GreetingAfter:
    """How many ms after the caller's first audio frame the greeting is played at the earliest."""

    inbound: GreetingWait = 2_000
    """Of a call that comes in.  On Vobiz a greeting after 0.7 s was reported as not heard, one after 2 s as heard."""
    outbound: GreetingWait = 0
    """Of a call that the agent places: the called person hears at once, they have picked up."""


@dataclass(frozen=True, slots=True)
class AgentFile:
    """One agent: its greeting, what the language model knows, how it listens and speaks, and when the call ends."""

    name: Name
    """How calls and logs name the agent; default: the name of the file."""
    greeting: Annotated[str, Meta(max_length=GREETING_CHARS_MAX)]
    """Spoken when the call is answered; empty: the caller speaks first."""
    instructions: Annotated[str, Meta(min_length=1, max_length=INSTRUCTIONS_CHARS_MAX)]
    """The system prompt: everything that the language model knows about its task."""
    farewell: Annotated[str, Meta(max_length=FAREWELL_CHARS_MAX)] = ""
    """Spoken before a hang-up if the reply has no words of its own; empty: the default of the language."""
    language: LanguageTag = "en"
    """What is spoken, for recognition and voice: a BCP 47 tag such as en, en-IN or hi."""
    voice: Annotated[str, Meta(max_length=128)] = ""
    """The name or id of the voice at the TTS vendor; empty: the vendor's default."""
    providers: ProviderNames = field(default_factory=ProviderNames)
    turn: TurnOptions = field(default_factory=TurnOptions)
    limits: Limits = field(default_factory=Limits)
    greeting_after_ms: Annotated[GreetingAfter, Meta(extra={"one_value": True})] = field(default_factory=GreetingAfter)
    keyterms: Annotated[tuple[Keyterm, ...], Meta(max_length=100)] = ()
    """Names and technical terms that callers use, for STT providers that accept such a list."""
    numbers: Annotated[tuple[AgentsNumber, ...], Meta(max_length=1_000)] = ()
    """The phone numbers that this agent answers, as written in the file; `*` is every number of no other agent."""
    variables: Annotated[Mapping[VariableName, VariableText], Meta(max_length=50)] = field(default_factory=dict)
    """The default value of each `{{name}}` in greeting, farewell and instructions; inbound calls have no other."""
    fallback_number: PersonsNumber = ""
    """A person's number, to which the caller is passed if the agent cannot be reached; empty: an apology."""
    tools: Annotated[Mapping[ToolName, Tool], Meta(max_length=50)] = field(default_factory=dict)
    """Tools that the model may call, by name."""
    mcp: Annotated[Mapping[Name, McpServer], Meta(max_length=10)] = field(default_factory=dict)
    """MCP servers whose tools the model may call, by name."""
    transfer: Annotated[Mapping[TargetName, TransferTarget], Meta(max_length=50)] = field(default_factory=dict)
    """Persons to whom the agent may transfer the caller, by name."""
    builtins: Annotated[tuple[BuiltIn, ...], Meta(max_length=10)] = ()
    """Further built-in tools that the model may use: collect_digits, send_digits, hold."""
    keypad: Annotated[Mapping[MenuKey, MenuEntry], Meta(max_length=12)] = field(default_factory=dict)
    """What the keys of the caller's telephone do; other keys are told to the model."""


@dataclass(frozen=True, slots=True)
class Agent(AgentFile):
    """One agent.  `version` is derived from all other fields: two agents of one version behave alike."""

    version: str = ""
    python: str = ""
    """Digest of the Python file with tools that stands beside the agent's file; empty if there is none."""

    def __post_init__(self) -> None:
        if not self.version:
            object.__setattr__(self, "version", _version(self))


@dataclass(frozen=True, slots=True)
class Agents:
    """All agents of a deployment.  Raises BadAgents if two of them claim one number."""

    by_name: Mapping[str, Agent]
    _by_number: Mapping[str, Agent] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        table: dict[str, Agent] = {}
        for agent in self.by_name.values():
            for number in agent.numbers:
                key = number_key(number)
                if table.setdefault(key, agent) is not agent:
                    names = sorted((agent.name, table[key].name))
                    raise BadAgents([f"agents {names[0]!r} and {names[1]!r} claim the same number; keep it in one"])
        object.__setattr__(self, "_by_number", table)

    def for_number(self, number: str, name: str | None = None) -> Agent | None:
        """The agent that answers a call to `number`, or None.

        In order: the agent `name`, the one with the number or SIP address in any spelling, that of `*`, the only one.
        """
        if name is not None:
            return self.by_name.get(name)
        found = self._by_number.get(number_key(number)) or self._by_number.get(ANY_NUMBER)
        if found is None and len(self.by_name) == 1:
            return next(iter(self.by_name.values()))
        return found


def for_inbound(agent: Agent | None) -> Agent | None:
    """The agent as it answers a call without variables: its own variables fill its texts.  None stays None."""
    return with_variables(agent, {}) if agent is not None else None


# --- files --------------------------------------------------------------------------------------------------------


def load_agents(folder: Path, own_numbers: Iterable[str] = ()) -> Agents:
    """Read every `*.yaml` of `folder`.  Raises one `BadAgents` that lists the problems of all files, by line.

    `own_numbers` are further numbers of the deployment; no agent's `fallback_number` may be one of them.
    """
    return Agents({agent.name: agent for _, agent in read_agents(folder, own_numbers)})


def read_agents(folder: Path, own_numbers: Iterable[str] = ()) -> list[tuple[Document, Agent]]:
    """Every agent of `folder` with its document.  Raises `BadAgents` as `load_agents` does."""
    if not folder.is_dir():
        raise BadAgents([f"{folder}: no such folder; set AGENTS_DIR to the folder of your agent files"])
    problems = [f"{path}:1: would be ignored; rename it to {path.stem}.yaml" for path in sorted(folder.glob("*.yml"))]
    paths = sorted(folder.glob("*.yaml"))
    if not paths and not problems:
        raise BadAgents([f"{folder}: holds no agent; write one, e.g. {folder / 'receptionist.yaml'}"])
    agents: list[tuple[Document, Agent]] = []
    for path in paths:
        document = read_document(path)
        agent, found = None, document.problems
        if document.data is not None:
            agent, wrong = parse(document.data, default_name=path.stem, python=python_digest(path.with_suffix(".py")))
            found = found + wrong + _cut_texts(document)
        found_by_line = sorted((document.line(problem.path), problem.what) for problem in found)
        problems += [f"{path}:{line}: {what}" for line, what in found_by_line]
        if agent is not None:
            agents.append((document, agent))
    problems += _clashes(agents) + _loops(agents, own_numbers)
    if problems:
        raise BadAgents(problems)
    return agents


def python_digest(path: Path) -> str:
    """The digest of an agent's Python file; empty if there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:VERSION_DIGITS] if path.is_file() else ""


def _cut_texts(document: Document) -> list[Problem]:
    """A problem for each text that YAML cut.  A comment after a value that is no sentence is a comment."""
    problems = []
    for cut in document.cuts:
        key = cut.path[0] if cut.path else ""
        if key not in SENTENCES and not (key in NAMES and cut.is_likely_text):
            continue
        if cut.at == "#" and cut.is_empty and not cut.is_likely_text:
            continue  # `greeting:  # none`
        what = "` #` begins a comment" if cut.at == "#" else f"`{cut.at}` at the beginning is not part of the text"
        here = (*cut.path, cut.at)
        document.lines[here] = cut.line
        problems.append(
            Problem(here, f"{key!r} is cut off, since {what}; put the text in quotes, or the comment on its own line")
        )
    return problems


def _clashes(agents: list[tuple[Document, Agent]]) -> list[str]:
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


def _loops(agents: list[tuple[Document, Agent]], own_numbers: Iterable[str]) -> list[str]:
    """A problem for each `fallback_number` of our own: the caller would reach an agent again, and both calls cost."""
    own = {number_key(number) for number in own_numbers if number}
    own |= {number_key(number) for _, agent in agents for number in agent.numbers}
    return [
        f"{document.location(('fallback_number',))}: 'fallback_number' is a number of your own: the caller would come"
        " back to an agent; write the number of a person"
        for document, agent in agents
        if agent.fallback_number and number_key(agent.fallback_number) in own
    ]


# --- documents ----------------------------------------------------------------------------------------------------


def to_document(agent: Agent) -> dict[str, Any]:
    """The agent as JSON-compatible data in the shape of its file, plus `version`."""
    return {**_canonical(agent), "version": agent.version}


def with_variables(agent: Agent, variables: Mapping[str, str]) -> Agent:
    """The agent for one call, with `{{name}}` filled in in its greeting, farewell and instructions.

    Values come from the call's `variables`, else from the agent's; a name without a value becomes empty, so braces are
    never spoken.  The version stays that of the file, because the variables belong to the call.
    """
    values = {**agent.variables, **variables}

    def filled(template: str, chars_max: int) -> str:
        return _VARIABLE.sub(lambda found: values.get(found[1], ""), template)[:chars_max]

    return replace(
        agent,
        greeting=filled(agent.greeting, GREETING_CHARS_MAX),
        farewell=filled(agent.farewell, FAREWELL_CHARS_MAX),
        instructions=filled(agent.instructions, INSTRUCTIONS_CHARS_MAX),
    )


def missing_variables(agent: Agent, variables: Mapping[str, str]) -> list[str]:
    """The names in the agent's texts without a value from the call or the agent, in the order of their use."""
    names = _VARIABLE.findall(f"{agent.greeting}\n{agent.farewell}\n{agent.instructions}")
    return [name for name in dict.fromkeys(names) if name not in variables and name not in agent.variables]


def from_document(document: Mapping[str, Any]) -> Agent:
    """The agent in a document of `to_document`, of this, an older or a newer release.  Raises `BadAgents`.

    Unknown keys are skipped, so that releases can be mixed during a rollout; the version is not computed anew.
    """
    agent, problems = parse(dict(document), strict=False)
    if agent is None or problems:
        raise BadAgents(f"agent document: {problem.what}" for problem in problems)
    return agent


def parse(
    document: Any, *, strict: bool = True, default_name: str = "", python: str = ""
) -> tuple[Agent | None, list[Problem]]:
    """Check a whole document.  Returns (agent, no problems), or (None, every problem found).

    `document` is a YAML file read as text, or JSON.  `strict` reports unknown keys; a document from the bus is not.
    `python`: see `Agent.python`.
    """
    version = ""
    if isinstance(document, dict):
        if not strict and isinstance(document.get("version"), str):
            version = document["version"]
        if not strict and isinstance(document.get("python"), str):
            python = document["python"]
        if default_name:
            document = {"name": default_name, **document}
    return read(AgentFile, document, Agent, strict=strict, version=version, python=python)


def _canonical(agent: Agent) -> dict[str, Any]:
    document: dict[str, Any] = to_builtins(agent)
    del document["version"]
    if not agent.farewell:
        del document["farewell"]  # without it a version stays what it was
    if not agent.turn.interim_endpointing_ms:
        del document["turn"]["interim_endpointing_ms"]  # likewise
    for name in ADDED:
        if not document[name]:
            del document[name]  # likewise
    return document


def _version(agent: Agent) -> str:
    canonical = json.dumps(_canonical(agent), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:VERSION_DIGITS]
