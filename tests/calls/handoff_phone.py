"""A call whose agent may hand it to others: each is listened to and speaks as its file says, by its own providers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from common.agents.model import Agent, Agents, ProviderNames, TurnOptions
from common.bus.memory import MemoryBus
from common.protocol.acts import AgentChanged
from common.protocol.messages import Clause, ReplyEnded, ReplyStarted
from common.protocol.redis_keys import call_events
from common.settings import Settings
from common.store import Claim
from tests.calls.doubles import Mouth, TextEars
from tests.calls.phone import CALL, Phone
from workers.providers.failover import Failover, Source
from workers.providers.interfaces import ListenOptions, Sound, VoiceOptions
from workers.runtime.process import Assignment
from workers.runtime.runner import Session
from workers.stt.__main__ import listen
from workers.tts.__main__ import speak

OWN = "other/voice"
FILES = (
        Agent("desk", "Hello.", "Be brief.", language="en-IN", voice="anna", transfer_to=("billing", "sales")),
        Agent(
            "billing", "", "Be exact.", language="hi", voice="ravi", transfer_to=("desk",), keyterms=("invoice",),
            turn=TurnOptions(endpointing_ms=700, interruptible=False), providers=ProviderNames(tts=(OWN,)),
        ),
        Agent("sales", "", "Be kind.", language="en-IN", voice="anna"),
)  # fmt: skip
DESK, BILLING, SALES = Agents({file.name: file for file in FILES}).by_name.values()


class NotingEars(TextEars):
    """Keeps the options of each stream."""

    def __init__(self) -> None:
        super().__init__()
        self.options: list[ListenOptions] = []

    @asynccontextmanager
    async def listen(self, options: ListenOptions) -> AsyncIterator[Any]:
        self.options.append(options)
        async with super().listen(options) as ear:
            yield ear


class NotingMouth(Mouth):
    """Keeps the options of each clause."""

    def __init__(self) -> None:
        super().__init__()
        self.voices: dict[str, VoiceOptions] = {}

    async def say(self, text: str, options: VoiceOptions) -> AsyncIterator[Sound]:
        self.voices[text] = options
        async for sound in super().say(text, options):
            yield sound


@dataclass
class HandoffPhone(Phone):
    """`other_mouth` is the voice that an agent names as its own provider."""

    ears: NotingEars = field(default_factory=NotingEars)
    mouth: NotingMouth = field(default_factory=NotingMouth)
    other_mouth: NotingMouth = field(default_factory=NotingMouth)
    agent: Agent = DESK
    frames: list[bytes] = field(default_factory=list)
    """What the carrier got since a test began to listen."""

    def _open(self, claim: Claim, bus: MemoryBus) -> Session:
        if claim.pool == "llm":
            return super()._open(claim, bus)
        call = Assignment(claim, self.agent, bus, self.store, Settings(), lambda agent: self._of(claim.pool, agent))
        return (listen if claim.pool == "stt" else speak)(call, self._of(claim.pool, self.agent))

    def _of(self, pool: str, agent: Agent) -> Failover[Any]:
        if pool == "tts" and agent.providers.tts:
            clock = asyncio.get_running_loop().time
            return Failover([Source("tts", OWN, self.other_mouth, 0, clock)])
        return self._sources(pool, self.ears if pool == "stt" else self.mouth)

    def hands_over(self, turn: int, name: str) -> None:
        """As the LLM worker writes it."""
        self.bus.publish(call_events(CALL), AgentChanged(turn, name))

    def writes(self, *messages: Clause | ReplyStarted | ReplyEnded) -> None:
        """As the LLM worker writes a reply of its own."""
        for message in messages:
            self.bus.publish(call_events(CALL), message)


@asynccontextmanager
async def call_to_desk(answers: dict[str, str] | None = None, **parts: Any) -> AsyncIterator[HandoffPhone]:
    """A call that has been answered; the greeting is on its way."""
    phone = HandoffPhone(**parts)
    phone.mind.answers.update(answers or {})
    await phone.start()
    try:
        yield phone
    finally:
        await phone.close()
