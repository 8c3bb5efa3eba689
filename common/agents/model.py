"""Defines an agent: name, greeting, instructions, and how it listens, speaks and ends a call.

One YAML file is one agent (docs/agents.md).  reading.py reads all files of a folder, checks.py what they say together,
variables.py fills in what differs from call to call.  `Agents.for_number` finds the agent of a number, and
`to_document` makes the copy that travels with a call, which keeps its agent even if the file changes.  Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Protocol, TypeAlias

from msgspec import Meta, to_builtins

from common.agents.acts import BuiltIn, MenuEntry, MenuKey, TargetName, TransferTarget
from common.agents.fields import Problem, like, read
from common.agents.handoff import OTHERS_MAX, link, others_of
from common.agents.sounds import SoundFile, SoundName
from common.agents.tools import EnvironmentName, HeaderName, McpServer, Tool, ToolName
from common.numbers import number_key

VERSION_DIGITS = 12
ANY_NUMBER = "*"

GREETING_CHARS_MAX = 1_000
FAREWELL_CHARS_MAX = 500
INSTRUCTIONS_CHARS_MAX = 20_000
VARIABLES_MAX = 50
"""Most variables of one agent; in a call, those of the call come first."""

ADDED = (
    "tools",
    "mcp",
    "tool_environment",
    "transfer",
    "builtins",
    "keypad",
    "transfer_to",
    "sounds",
    "timezone",
    "on_call",
    "python",
)
"""Keys that a release added: an agent without them keeps the version that it had."""
NOT_OF_A_CALL = frozenset({"canary"})
"""Keys that decide which calls an agent gets, and nothing of how it behaves."""

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
TimeZoneName: TypeAlias = Annotated[
    str, like(r"([A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2})?", "a time zone such as 'Asia/Kolkata', or nothing")
]
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
class OnCall:
    """A webhook of yours that is asked, when a call comes in, for variables or for another agent (docs/agents.md)."""

    url: Annotated[str, like(r"https?://\S{1,2000}", "a URL such as https://shop.example.com/on-call")]
    """Its address; it gets a signed POST with the numbers of the call."""
    timeout_ms: Annotated[int, Meta(ge=100, le=2_000)] = 800
    """The caller waits no longer than this; then the call begins without its answer."""
    headers: Annotated[Mapping[HeaderName, Annotated[str, Meta(max_length=1_000)]], Meta(max_length=20)] = field(
        default_factory=dict
    )
    """Headers of the request."""


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
    variables: Annotated[Mapping[VariableName, VariableText], Meta(max_length=VARIABLES_MAX)] = field(
        default_factory=dict
    )
    """The default value of each `{{name}}` in greeting, farewell and instructions."""
    fallback_number: PersonsNumber = ""
    """A person's number, to which the caller is passed if the agent cannot be reached; empty: an apology."""
    tools: Annotated[Mapping[ToolName, Tool], Meta(max_length=50)] = field(default_factory=dict)
    """Tools that the model may call, by name."""
    mcp: Annotated[Mapping[Name, McpServer], Meta(max_length=10)] = field(default_factory=dict)
    """MCP servers whose tools the model may call, by name."""
    tool_environment: Annotated[tuple[EnvironmentName, ...], Meta(max_length=50)] = ()
    """Variables of the environment of the tools workers that the agent's Python file gets, by name."""
    transfer: Annotated[Mapping[TargetName, TransferTarget], Meta(max_length=50)] = field(default_factory=dict)
    """Persons to whom the agent may transfer the caller, by name."""
    builtins: Annotated[tuple[BuiltIn, ...], Meta(max_length=10)] = ()
    """Further built-in tools that the model may use: collect_digits, send_digits, hold."""
    keypad: Annotated[Mapping[MenuKey, MenuEntry], Meta(max_length=12)] = field(default_factory=dict)
    """What the keys of the caller's telephone do; other keys are told to the model."""
    transfer_to: Annotated[tuple[Name, ...], Meta(max_length=OTHERS_MAX)] = ()
    """Names of other agents of the folder to which this one may hand the call over."""
    sounds: Annotated[Mapping[SoundName, SoundFile], Meta(max_length=10)] = field(default_factory=dict)
    """Sounds by name, as files beside this one: `hold` is what a caller on hold hears."""
    timezone: TimeZoneName = ""
    """The time zone of `{{now}}`, `{{today}}` and `{{time}}`; empty: India's for your Indian numbers, else UTC."""
    on_call: OnCall | None = None
    """A webhook that is asked for variables, or for another agent, when a call comes in."""
    canary: Annotated[int, Meta(ge=0, le=100)] = 0
    """In a file `<name>.canary.yaml`: the percentage of callers who get this version of the agent."""


@dataclass(frozen=True, slots=True)
class Agent(AgentFile):
    """One agent.  `version` is derived from all other fields: two agents of one version behave alike."""

    version: str = ""
    python: str = ""
    """The version of the Python file with tools that stands beside its file; empty: there is none."""
    others: Mapping[str, Agent] = field(default_factory=dict)
    """The agents that can be reached from it by hand-offs, by name; theirs are empty.  Not part of the version."""

    def __post_init__(self) -> None:
        if not self.version:
            object.__setattr__(self, "version", _version(self))


@dataclass(frozen=True, slots=True)
class Agents:
    """All agents of a deployment, each with those that it can reach.  Raises BadAgents if two claim one number."""

    by_name: Mapping[str, Agent]
    canaries: Mapping[str, Agent] = field(default_factory=dict)
    """By the agent's name: the version that `canary` percent of its callers get."""
    _by_number: Mapping[str, Agent] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        table: dict[str, Agent] = {}
        for agent in self.by_name.values():
            for number in agent.numbers:
                key = number_key(number)
                if table.setdefault(key, agent) is not agent:
                    names = sorted((agent.name, table[key].name))
                    raise BadAgents([f"agents {names[0]!r} and {names[1]!r} claim the same number; keep it in one"])
        for kind in ("by_name", "canaries"):
            linked = {name: link(agent, self.by_name) for name, agent in getattr(self, kind).items()}
            object.__setattr__(self, kind, linked)
        table = {key: self.by_name[agent.name] for key, agent in table.items()}
        object.__setattr__(self, "_by_number", table)

    @property
    def current(self) -> Agents:
        """Itself, which never changes: see `CurrentAgents`."""
        return self

    @property
    def problems(self) -> Sequence[str]:
        """None: see `CurrentAgents`."""
        return ()

    @property
    def since_ms(self) -> Mapping[str, int]:
        """Not known: see `CurrentAgents`."""
        return {}

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

    def variant_for(self, agent: Agent, person: str) -> Agent:
        """The agent, or its canary if `person` is among the callers who get that; the same person always is or is not.

        `person` is a number in any spelling, or a call's id if the number is withheld.
        """
        canary = self.canaries.get(agent.name)
        return canary if canary is not None and _percentile(agent.name, person) < canary.canary else agent


class CurrentAgents(Protocol):
    """The agents as they are at the moment; `current` is another value once a file has changed."""

    @property
    def current(self) -> Agents:
        """The agents that calls get which begin now."""

    @property
    def problems(self) -> Sequence[str]:
        """Why the files are not used as they are now; empty if they are."""

    @property
    def since_ms(self) -> Mapping[str, int]:
        """Agent or `<agent>.canary` -> Unix time in ms at which this process began to use its version."""


def _percentile(agent: str, person: str) -> float:
    """A number from 0 to below 100 that is always the same for this person and agent."""
    digest = hashlib.sha256(f"{agent}\n{number_key(person)}".encode()).digest()
    return int.from_bytes(digest[:4]) % 10_000 / 100


# --- documents ----------------------------------------------------------------------------------------------------


def to_document(agent: Agent) -> dict[str, Any]:
    """The agent as JSON-compatible data in the shape of its file, plus `version`, for the record of a call.

    `others` are the documents of the agents that it can reach, if any.  `on_call` is left out: it is over when
    a call has a record, and its headers may hold a secret.
    """
    others = {"others": {name: to_document(other) for name, other in agent.others.items()}} if agent.others else {}
    canonical = {key: part for key, part in _canonical(agent).items() if key != "on_call"}
    return {**canonical, "version": agent.version, **others}


def whole_document(agent: Agent) -> dict[str, Any]:
    """As `to_document`, with all that decides the version: what is kept of former versions."""
    return {**_canonical(agent), "version": agent.version}


def from_document(document: Mapping[str, Any]) -> Agent:
    """The agent in a document of `to_document`, of this, an older or a newer release.  Raises `BadAgents`.

    Unknown keys are skipped, so that releases can be mixed during a rollout; the version is not computed anew.
    """
    agent, problems = parse(dict(document), strict=False)
    others, wrong = others_of(document, lambda other: parse(other, strict=False))
    if agent is None or problems or wrong:
        raise BadAgents(f"agent document: {what}" for what in [*(problem.what for problem in problems), *wrong])
    return replace(agent, others=others) if others else agent


def parse(document: Any, *, strict: bool = True, default_name: str = "") -> tuple[Agent | None, list[Problem]]:
    """Check a whole document.  Returns (agent, no problems), or (None, every problem found).

    `document` is a YAML file read as text, or JSON.  `strict` reports unknown keys; a document from the bus is not.
    """
    more = {"version": "", "python": ""}
    if isinstance(document, dict):
        if not strict:
            more |= {key: value for key in more if isinstance(value := document.get(key), str)}
        if default_name:
            document = {"name": default_name, **document}
    return read(AgentFile, document, Agent, strict=strict, **more)


def _canonical(agent: Agent) -> dict[str, Any]:
    document: dict[str, Any] = to_builtins(agent)
    del document["version"], document["others"]
    if not agent.farewell:
        del document["farewell"]  # without it a version stays what it was
    if not agent.turn.interim_endpointing_ms:
        del document["turn"]["interim_endpointing_ms"]  # likewise
    for name in ADDED:
        if not document[name]:
            del document[name]  # likewise
    for name in NOT_OF_A_CALL:
        del document[name]
    return document


def _version(agent: Agent) -> str:
    canonical = json.dumps(_canonical(agent), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:VERSION_DIGITS]
