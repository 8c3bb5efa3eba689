"""A phone call with an agent that acts: its model is the stand-in with the example's script, over the real adapter.

async with acting_call("order-status") as phone:
    await phone.plays(example("order-status"))      # the conversation of the README
    assert [use.name for use in phone.tools_used] == ["order_status"]

Keys, hand-offs and HTTP tools are the product's; the edge's part of a transfer is played by the test.
"""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from common.agents.model import to_document
from common.agents.needs import more_pools
from common.agents.tools import Tool
from common.agents.variables import CallBeginning, with_variables
from common.bus.memory import MemoryBus
from common.call.transcript import ToolUse
from common.protocol.messages import CallOffered
from common.protocol.redis_keys import TOOLS_POOL, pool_calls
from common.store import CallRecord, Claim
from edge.session.call import CallOptions
from simulators.openai_standin import Reply, Request, standing_in
from simulators.providers.cast import read_cast_script
from simulators.providers.openai_chat import OpenAIChatStandin, chat_events
from tests.calls.phone import CALL
from tests.examples.agent_phone import EXAMPLES, AgentPhone, Example, Recogniser, Speaker, example
from workers.llm.engines.openai_chat import ChatOptions, OpenAIChat
from workers.runtime.runner import Session
from workers.tools.agent_tools import AgentTools, ToolEngines
from workers.tools.runs import ToolRuns
from workers.tools.session import ToolProcess, ToolSession
from workers.tts.normalise.pipeline import normalised

BEGAN_S = 1_796_000_000.0
"""30 November 2026, 06:23 in Kolkata."""
PATIENT = ChatOptions(connect_s=60.0, first_token_s=60.0, gap_s=60.0)
"""Seconds of the virtual clock, which does not wait for sockets."""
KEYS = re.compile(r"press ([0-9*# ]+)")


@dataclass
class ActingPhone(AgentPhone):
    """`engines` run the agent's tools; without them nobody does, and the test says what they return."""

    engines: ToolEngines | None = None
    model: OpenAIChatStandin = field(default_factory=OpenAIChatStandin)

    def record(self) -> CallRecord:
        return CallRecord(CALL, to_document(self.agent), more_pools=more_pools([self.agent]))

    async def start(self) -> None:
        await super().start()
        if self.engines is not None:
            self.hire(TOOLS_POOL)
            self.bus.publish(pool_calls(TOOLS_POOL), CallOffered(CALL))

    def _open(self, claim: Claim, bus: MemoryBus) -> Session:
        engines = self.engines
        if claim.pool != TOOLS_POOL or engines is None:
            return super()._open(claim, bus)
        process = ToolProcess(
            ToolRuns(self.store), lambda agent, changed: AgentTools(agent, engines, changed), lambda: False
        )
        return ToolSession(claim, bus, self.store, process)

    async def plays(self, one: Example, *, until: str = "") -> None:
        """Play the conversation of the README to the end of the call, or to the line that begins with `until`."""
        for say, fact in one.lines:
            await self.does(say)
            if until and say.startswith(until):
                return
            await self.hears_about(normalised(fact, self.agent.language))

    async def does(self, what: str) -> None:
        """Say it, or press the keys."""
        if pressed := KEYS.fullmatch(what):
            self.presses(pressed[1].replace(" ", ""))
        else:
            await self.says(what)

    @property
    def tools_used(self) -> list[ToolUse]:
        return [use for exchange in self.transcript.exchanges for use in exchange.tools]

    @property
    def asked(self) -> list[dict[str, Any]]:
        """The requests to the model."""
        return list(self.model.requests)


@asynccontextmanager
async def acting_call(name: str, *, runs_tools: bool = False, port: int = 0) -> AsyncIterator[ActingPhone]:
    """A call whose greeting was heard; `port` is that of the HTTP service, in place of the one in the agent's file."""
    agent = example(name).agent
    agent = replace(agent, tools={name: _at_port(tool, port) for name, tool in agent.tools.items()})
    agent = with_variables(agent, {}, CallBeginning(CALL, "911234567891", "911234567890", at_s=BEGAN_S))
    options = CallOptions(interruptible=agent.turn.interruptible, greeting_after_ms=0)
    standin = OpenAIChatStandin(read_cast_script(EXAMPLES / name / "model.json").answers)

    def rule(request: Request) -> Reply:
        standin.requests.append(request.body)
        return Reply(list(chat_events(request.body, standin.answer(request.body["messages"]))))

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(standing_in())
        server.rule = rule
        model = OpenAIChat("gpt-4o-mini", key="", url=server.url, options=PATIENT)
        stack.push_async_callback(model.aclose)
        engines = ToolEngines({}, EXAMPLES / name) if runs_tools else None
        if engines is not None:
            stack.push_async_callback(engines.aclose)
        phone = ActingPhone(
            options=options, ears=Recogniser(), mouth=Speaker(), agent=agent, engines=engines, model=standin
        )
        phone.mind = model  # type: ignore[assignment]
        stack.push_async_callback(phone.close)
        await phone.start()
        await phone.hears_about(normalised(agent.greeting, agent.language))
        yield phone


def _at_port(tool: Tool, port: int) -> Tool:
    if tool.http is None:
        return tool
    return replace(tool, http=replace(tool.http, url=re.sub(r":\d+/", f":{port}/", tool.http.url)))
