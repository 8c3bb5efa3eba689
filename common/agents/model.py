"""What an agent is: a name, a greeting, instructions, and how it listens, speaks and ends.

One YAML file is one agent; `docs/agents.md` is the user's page.  Here is the shape with its bounds, and the answers to
three questions: which agents are there (`load_agents`), which one answers this number (`Agents.for_number`), and what
travels with the call (`to_document`): a call keeps the agent that it started with, whatever happens to the file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from common.agents.fields import (
    Problem,
    Shape,
    bounded,
    flag,
    mapping,
    name_text,
    named_texts,
    pattern,
    per_direction,
    specs,
    text,
    texts,
)
from common.agents.files import Document, read_document
from common.numbers import number_key

VERSION_DIGITS = 12
ANY_NUMBER = "*"

GREETING_CHARS_MAX = 1_000
FAREWELL_CHARS_MAX = 500
INSTRUCTIONS_CHARS_MAX = 20_000
VOICE_CHARS_MAX = 128
PROVIDERS_MAX = 5
NUMBERS_MAX = 1_000
KEYTERMS_MAX = 100
KEYTERM_CHARS_MAX = 64
VARIABLES_MAX = 50
VARIABLE_CHARS_MAX = 1_000

SENTENCES = frozenset({"greeting", "farewell", "instructions", "keyterms"})
"""Keys whose values are said or heard: what YAML takes for a comment there was meant to be text."""
NAMES = frozenset({"voice", "name"})
"""Keys whose values are names: a comment may follow, but not without a space after its `#`."""

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z0-9_]{1,64})\s*\}\}")


class BadAgents(Exception):
    """The agents cannot be used.  The text lists every problem: where, what is wrong, what to write instead."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class ProviderNames:
    """Who does the work, as `vendor/model` in failover order.  Empty means the deployment's default."""

    stt: tuple[str, ...] = ()
    llm: tuple[str, ...] = ()
    tts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """How the agent shares the line with the caller."""

    min_interruption_ms: int = 160
    """Speech this long may interrupt the agent."""
    endpointing_ms: int = 500
    """Silence this long after words ends the caller's turn."""
    eager_endpointing_ms: int = 200
    """Silence this long after words begins the answer, unheard until the turn is over; 0: wait for that."""
    interruptible: bool = True
    """False: the agent finishes what it says, whoever talks."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When the agent ends the call by itself."""

    call_s: int = 1_800
    """The longest call."""
    silence_s: int = 60
    """The longest time in which nobody says anything."""


@dataclass(frozen=True, slots=True)
class GreetingAfter:
    """So many milliseconds after the caller's first media the greeting may be played; before, nobody may hear it."""

    inbound: int = 2_000
    """Others saw on Vobiz that a greeting 0.7 s after the connect was not heard, and that one after 2 s was."""
    outbound: int = 0
    """Whom we call hears at once: they have picked up."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent.  `version` is derived from all the rest: two agents of one version behave alike."""

    name: str
    greeting: str
    """Said when the call is answered; empty means that the caller speaks first."""
    instructions: str
    """The system prompt: everything that the language model knows about its task."""
    farewell: str = ""
    """Said before the agent hangs up without a word of its own; empty means the default of its language."""
    language: str = "en"
    """BCP 47 tag."""
    voice: str = ""
    """The voice's name at the text-to-speech vendor; empty means the vendor's default."""
    keyterms: tuple[str, ...] = ()
    """Names and words of the trade that callers use, for speech-to-text providers that can be told."""
    providers: ProviderNames = field(default_factory=ProviderNames)
    turn: TurnOptions = field(default_factory=TurnOptions)
    limits: Limits = field(default_factory=Limits)
    greeting_after_ms: GreetingAfter = field(default_factory=GreetingAfter)
    numbers: tuple[str, ...] = ()
    """The phone numbers that this agent answers, as written in the file; `*` is every number nobody else has."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What `{{name}}` is in greeting and instructions when a call brings no value of its own: on every inbound call."""
    fallback_number: str = ""
    """A person's number, for when the agent cannot be reached; empty means that the call ends with an apology."""
    version: str = ""

    def __post_init__(self) -> None:
        if not self.version:
            object.__setattr__(self, "version", _version(self))


@dataclass(frozen=True, slots=True)
class Agents:
    """All agents of a deployment."""

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
        """Who answers a call to `number`?  None if nobody does.

        An agent asked for by `name` wins.  Then the one that has the number or SIP address, in whatever spelling
        (numbers.py); then the one that has `*`; then the only one there is.
        """
        if name is not None:
            return self.by_name.get(name)
        found = self._by_number.get(number_key(number)) or self._by_number.get(ANY_NUMBER)
        if found is None and len(self.by_name) == 1:
            return next(iter(self.by_name.values()))
        return found


def for_inbound(agent: Agent | None) -> Agent | None:
    """The agent as it answers a call that brings no variables: its own fill its texts."""
    return with_variables(agent, {}) if agent is not None else None


# --- files --------------------------------------------------------------------------------------------------------


def load_agents(folder: Path, own_numbers: Iterable[str] = ()) -> Agents:
    """Read every `*.yaml` of `folder`.  Raises one `BadAgents` that lists all problems of all files, by line.

    `own_numbers` are the deployment's besides those of the files: no agent may hand a caller on to one of them.
    """
    return Agents({agent.name: agent for _, agent in read_agents(folder, own_numbers)})


def read_agents(folder: Path, own_numbers: Iterable[str] = ()) -> list[tuple[Document, Agent]]:
    """Every agent of `folder` with the document that it was read from.  Raises `BadAgents` as `load_agents`."""
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
            agent, wrong = parse(document.data, default_name=path.stem)
            found = found + wrong + _cut_texts(document)
        told = sorted((document.line(problem.path), problem.what) for problem in found)
        problems += [f"{path}:{line}: {what}" for line, what in told]
        if agent is not None:
            agents.append((document, agent))
    problems += _clashes(agents) + _loops(agents, own_numbers)
    if problems:
        raise BadAgents(problems)
    return agents


def _cut_texts(document: Document) -> list[Problem]:
    """Texts of which YAML took a part away.  A comment after a value that is no sentence is only a comment."""
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
    """Names and numbers that two agents claim.  Numbers are pointed at by line, never quoted."""
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
    """A caller who is handed on to a number of ours comes back to an agent, and we pay for both calls."""
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
    """The agent as JSON-able data, in the shape of its file, plus `version`."""
    return {**_canonical(agent), "version": agent.version}


def with_variables(agent: Agent, variables: Mapping[str, str]) -> Agent:
    """The agent for one call: `{{name}}` in its greeting, farewell and instructions is filled in.

    By the call's own `variables`, else by the agent's; a name without a value vanishes, braces are never spoken.  The
    version stays the file's: the variables are the call's.
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
    """The names in the agent's texts that neither the call nor the agent has a value for, in their order."""
    names = _VARIABLE.findall(f"{agent.greeting}\n{agent.farewell}\n{agent.instructions}")
    return [name for name in dict.fromkeys(names) if name not in variables and name not in agent.variables]


def from_document(document: Mapping[str, Any]) -> Agent:
    """The agent that `to_document` wrote, here or in an older or newer release; raises `BadAgents`.

    Keys that this release does not know are skipped, so that pods roll in any order; the version stays what it was.
    """
    agent, problems = parse(dict(document), strict=False)
    if agent is None or problems:
        raise BadAgents(f"agent document: {problem.what}" for problem in problems)
    return agent


def parse(document: Any, *, strict: bool = True, default_name: str = "") -> tuple[Agent | None, list[Problem]]:
    """Check a whole document: the agent, or None with every problem found.

    `document` is a YAML file read as text only (numbers and flags are still strings) or a JSON document.
    `strict` reports unknown keys; a document that came by the bus is not strict.
    """
    problems: list[Problem] = []
    values = mapping(AGENT, document, (), problems, strict=strict)
    if "name" not in values and default_name:
        values["name"] = name_text(default_name, ("name",), problems)
    for key in ("name", "greeting", "instructions"):
        if isinstance(document, dict) and key not in values and key not in document:
            problems.append(Problem((), f"{key!r} is missing; write `{key}: …`"))
    if problems:
        return None, problems
    version = document.get("version", "") if not strict else ""
    return Agent(**values, version=version if isinstance(version, str) else ""), []


def _canonical(agent: Agent) -> dict[str, Any]:
    turn, limits, providers, after = agent.turn, agent.limits, agent.providers, agent.greeting_after_ms
    return {
        "name": agent.name,
        "greeting": agent.greeting,
        "instructions": agent.instructions,
        **({"farewell": agent.farewell} if agent.farewell else {}),  # without it a version stays what it was
        "language": agent.language,
        "voice": agent.voice,
        "providers": {"stt": list(providers.stt), "llm": list(providers.llm), "tts": list(providers.tts)},
        "turn": {
            "min_interruption_ms": turn.min_interruption_ms,
            "endpointing_ms": turn.endpointing_ms,
            "eager_endpointing_ms": turn.eager_endpointing_ms,
            "interruptible": turn.interruptible,
        },
        "limits": {"call_s": limits.call_s, "silence_s": limits.silence_s},
        "greeting_after_ms": {"inbound": after.inbound, "outbound": after.outbound},
        "keyterms": list(agent.keyterms),
        "numbers": list(agent.numbers),
        "variables": dict(agent.variables),
        "fallback_number": agent.fallback_number,
    }


def _version(agent: Agent) -> str:
    canonical = json.dumps(_canonical(agent), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:VERSION_DIGITS]


def _number(value: str) -> str | None:
    """What is wrong with one entry of `numbers`.  Never quotes it: phone numbers stay out of error texts."""
    if value == ANY_NUMBER or re.fullmatch(r"\+?[0-9][0-9 ()-]{2,24}|sips?:[^\s<>,;?]{1,250}", value):
        return None
    return "is no phone number; write digits such as '+911234567890', or '*' for every number"


def _keyterm(entry: str) -> str | None:
    """What is wrong with one entry of `keyterms`."""
    return None if 0 < len(entry) <= KEYTERM_CHARS_MAX else f"must have 1 to {KEYTERM_CHARS_MAX} characters"


PROVIDERS: Shape = {
    "stt": specs(PROVIDERS_MAX),
    "llm": specs(PROVIDERS_MAX),
    "tts": specs(PROVIDERS_MAX),
}
TURN: Shape = {
    "min_interruption_ms": bounded(40, 2_000),
    "endpointing_ms": bounded(100, 5_000),
    "eager_endpointing_ms": bounded(0, 5_000),
    "onset_ms": "min_interruption_ms",
    "endpoint_ms": "endpointing_ms",
    "likely_ms": "eager_endpointing_ms",
    "interruptible": flag,
}
LIMITS: Shape = {
    "call_s": bounded(10, 14_400),
    "silence_s": bounded(5, 600),
}
AGENT: Shape = {
    "name": name_text,
    "greeting": text(0, GREETING_CHARS_MAX),
    "instructions": text(1, INSTRUCTIONS_CHARS_MAX),
    "farewell": text(0, FAREWELL_CHARS_MAX),
    "language": pattern(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}", "a language tag such as 'en', 'en-IN' or 'hi'"),
    "voice": text(0, VOICE_CHARS_MAX),
    "providers": (PROVIDERS, ProviderNames),
    "turn": (TURN, TurnOptions),
    "limits": (LIMITS, Limits),
    "greeting_after_ms": per_direction(bounded(0, 10_000), GreetingAfter),
    "keyterms": texts(KEYTERMS_MAX, _keyterm),
    "numbers": texts(NUMBERS_MAX, _number),
    "variables": named_texts(VARIABLES_MAX, VARIABLE_CHARS_MAX),
    "fallback_number": pattern(
        r"(\+?[0-9]([ ()-]*[0-9]){3,14})?", "a phone number such as '+911234567890', or nothing"
    ),
}
