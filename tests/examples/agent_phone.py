"""A phone call with an agent of `examples/`: its file decides what the edge and the three workers do.

async with call_to(example("receptionist")) as phone:
    await phone.says("When is breakfast?")
    await phone.hears("from seven to ten in the morning, in the garden.")

The model, the voice and the recogniser are the text doubles of `tests/calls`, unless a test brings another model.
"""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from common.agents.model import Agent
from common.agents.reading import load_agents
from common.agents.variables import with_variables
from common.bus.memory import MemoryBus
from common.settings import Settings
from common.store import Claim
from edge.session.call import CallOptions
from tests.calls.doubles import Mouth, TextEars
from tests.calls.phone import Phone
from workers.llm.__main__ import Replies
from workers.providers.interfaces import EagerEndOfTurn, EndOfTurn, ListenOptions, Sound, SttEvent, VoiceOptions
from workers.runtime.process import Assignment
from workers.runtime.runner import Session
from workers.stt.__main__ import listen
from workers.tts.__main__ import speak
from workers.tts.normalise.pipeline import normalised

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FIRST_BYTE, FIRST_DEVANAGARI, DEVANAGARI = 0x80, 0x900, range(0x900, 0x97F)
"""The doubles give each character one byte of mu-law; 0xFF is silence."""
ROW = re.compile(r"^\| (?P<say>[^|]+?) \| (?P<fact>[^|]+?) \|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Example:
    """A folder of `examples/`: its agent, and the conversation that its README promises."""

    name: str
    agent: Agent
    lines: tuple[tuple[str, str], ...]
    """(what the caller says, a fact that the answer contains), in order; the last line ends the call."""

    @property
    def folder(self) -> Path:
        return EXAMPLES / self.name


def example(name: str, folder: Path = EXAMPLES) -> Example:
    """Read the example by the agent loader of the product.  Raises BadAgents."""
    agents = load_agents(folder / name).by_name
    rows = ROW.findall((EXAMPLES / name / "README.md").read_text("utf-8"))
    return Example(name, agents[name], tuple(rows[2:]))  # without the head and the rule below it


def sentence_with(fact: str, agent: Agent) -> str:
    """The sentence of the agent's instructions that, spoken, contains the fact.  Fails the test if there is none."""
    for line in re.split(r"\n(?= *-|\n)", agent.instructions):
        sentence = " ".join(line.split()).removeprefix("- ").rpartition("say: ")[2]
        if fact in normalised(sentence, agent.language):
            return sentence
    raise AssertionError(f"the instructions of {agent.name} do not contain {fact!r}")


def coded(text: str) -> str:
    """Devanagari as one byte a character, which is what the doubles can carry as sound."""
    return "".join(chr(ord(one) - FIRST_DEVANAGARI + FIRST_BYTE) if ord(one) in DEVANAGARI else one for one in text)


def decoded(text: str) -> str:
    return "".join(chr(ord(one) - FIRST_BYTE + FIRST_DEVANAGARI) if ord(one) >= FIRST_BYTE else one for one in text)


def _joined(text: str) -> str:
    return "".join(text.split())


class Recogniser(TextEars):
    """Understands Devanagari too; keeps the options of each stream."""

    def __init__(self) -> None:
        super().__init__()
        self.options: list[ListenOptions] = []

    @asynccontextmanager
    async def listen(self, options: ListenOptions) -> AsyncIterator[Any]:
        self.options.append(options)
        async with super().listen(options) as stream:
            yield _Decoded(stream)


class _Decoded:
    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.feed = stream.feed

    async def __aiter__(self) -> AsyncIterator[SttEvent]:
        async for event in self._stream:
            if isinstance(event, EndOfTurn | EagerEndOfTurn):
                event = replace(event, text=decoded(event.text))
            yield event


class Speaker(Mouth):
    """Speaks Devanagari too; keeps the options of each clause."""

    def __init__(self) -> None:
        super().__init__()
        self.options: list[VoiceOptions] = []

    async def say(self, text: str, options: VoiceOptions) -> AsyncIterator[Sound]:
        self.options.append(options)
        async for sound in super().say(coded(text), options):
            yield sound


@dataclass
class AgentPhone(Phone):
    """A phone whose other end is configured by an agent, as the processes do it."""

    agent: Agent = field(kw_only=True)
    _answered: str = field(default="", init=False)

    def _open(self, claim: Claim, bus: MemoryBus) -> Session:
        call = Assignment(claim, self.agent, bus, self.store, Settings())
        match claim.pool:
            case "stt":
                return listen(call, self._sources("stt", self.ears))
            case "llm":
                return Replies()(call, self._sources("llm", self.mind))
            case _:
                return speak(call, self._sources("tts", self.mouth))

    async def says(self, text: str) -> None:
        await super().says(coded(text))

    async def hears_about(self, fact: str) -> None:
        """Wait until the caller has heard the fact since the last call of this method.

        Spaces do not count: the voice speaks each clause by itself.
        """
        start = len(self._answered)
        await self.until(lambda: _joined(fact) in _joined(decoded(self.heard))[start:], f"{fact!r}")
        await self.silence()
        self._answered = _joined(decoded(self.heard))


@asynccontextmanager
async def call_to(
    one: Example, variables: dict[str, str] | None = None, direction: str = "inbound", model: Any = None
) -> AsyncIterator[AgentPhone]:
    """A call that has been answered; the greeting is on its way.

    Without `model`, the model double answers each line of the README with the sentence of the instructions that has
    the fact, and the last line with the tool `end_call`.
    """
    agent = with_variables(one.agent, variables or {})
    options = CallOptions(
        interruptible=agent.turn.interruptible,
        call_s_max=agent.limits.call_s,
        silence_s_max=agent.limits.silence_s,
        greeting_after_ms=getattr(agent.greeting_after_ms, direction),
    )
    phone = AgentPhone(options=options, ears=Recogniser(), mouth=Speaker(), agent=agent)
    if model is not None:
        phone.mind = model
    else:
        phone.mind.answers.update(answers(one.lines, agent))
    await phone.start()
    try:
        yield phone
    finally:
        await phone.close()


def answers(lines: Sequence[tuple[str, str]], agent: Agent) -> dict[str, str]:
    """What a model answers that keeps to the agent's instructions."""
    found = {say: sentence_with(fact, agent) for say, fact in lines[:-1]}
    return {**found, lines[-1][0]: "<end_call>"}
