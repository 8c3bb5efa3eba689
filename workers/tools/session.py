"""Runs the tools pool's part of one call: finds calls of tools in the event log, has them run, writes their results.

What is due is decided by pending.py, what is run and how often by runs.py.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from common.agents.model import Agent, BadAgents, from_document
from common.bus import Bus
from common.call.acts import ToolOutcome
from common.protocol.acts import ToolReturned, ToolSays
from common.protocol.messages import Message, OwnerChanged
from common.store import CallRecord, CallStore, Claim
from common.store.effects import Effect
from common.store.secret_keys import Secrets
from workers.runtime.event_session import EventSession
from workers.tools.agent_tools import AgentTools
from workers.tools.arguments import BadArguments, read_arguments, secret_names, with_secrets
from workers.tools.interfaces import CallableTool, CallContext, ToolError, ToolRequest
from workers.tools.outcomes import TOO_MANY, ToolResult, for_model
from workers.tools.pending import AskedCall, PendingCalls
from workers.tools.runs import RunOrder, Say, ToolRun, ToolRuns

RUNNING_MAX = 16
"""Most tools of one call that run at a time; further ones wait."""
HAND_OVER_S = 1.0
"""How long a session that is asked to stop tries to note what it leaves running."""
SAYS_WAITING_MAX = 20
NO_AGENT = "This agent has no tools."

OpenTools = Callable[[Agent, Callable[[], None]], AgentTools]
"""(agent, what to call when it offers other tools) -> its tools."""
ReadSecrets = Callable[[str, set[str]], Awaitable[Mapping[str, str]]]
"""(call id, names) -> what the caller has entered secretly under these names."""


async def no_secrets(call_id: str, names: set[str]) -> Mapping[str, str]:
    """Nothing was entered secretly."""
    return {}


def secrets_in(store: Secrets) -> ReadSecrets:
    """Reads what the caller has entered secretly from the call store."""

    async def read_all(call_id: str, names: set[str]) -> Mapping[str, str]:
        return {name: await store.read_secret(call_id, name) for name in sorted(names)}

    return read_all


@dataclass(frozen=True, slots=True)
class ToolProcess:
    """What all sessions of the process share."""

    runs: ToolRuns
    open_tools: OpenTools
    stopping: Callable[[], bool]
    """Whether the process was asked to stop, and ends once its tools have."""
    read_secrets: ReadSecrets = no_secrets


class ToolSession:
    """Implements `workers.runtime.runner.Session` for the tools pool."""

    def __init__(self, claim: Claim, bus: Bus, store: CallStore, process: ToolProcess) -> None:
        self._claim = claim
        self._log = EventSession(claim, bus, store)
        self._process = process
        self._pending = PendingCalls()
        self._agents = agents_of(claim.record)
        self._tools: dict[str, AgentTools] = {}
        self._rounds: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(RUNNING_MAX)
        self._says: deque[ToolSays] = deque(maxlen=SAYS_WAITING_MAX)
        self._handed_over = _left_running(claim)
        self._live = False

    async def run(self) -> None:
        try:
            async with self._log.following(self._receive):
                await self._follow()
        except asyncio.CancelledError:
            if self._process.stopping():
                await self._note_what_runs()
            raise
        finally:
            await self._close()

    def _receive(self, message: Message) -> None:
        self._pending.receive(message)
        mine = (self._claim.pool, self._claim.token)
        self._live = self._live or (isinstance(message, OwnerChanged) and (message.pool, message.token) == mine)

    async def _follow(self) -> None:
        self._tools_of("")  # before the first event: its programs are started meanwhile
        while True:
            await self._log.changed()
            if not self._live:
                continue  # an engine has woken us, and the log's past is not read yet
            for task in [task for task in self._rounds if task.done()]:
                self._rounds.discard(task)
                task.result()
            if self._pending.over:
                if not self._rounds:
                    return
                continue
            await self._offer()
            while self._says:
                await self._log.write(self._says.popleft())
            for calls in self._pending.take():
                task = asyncio.create_task(self._run_round(calls), name="round of tools")
                task.add_done_callback(lambda _: self._log.wake())
                self._rounds.add(task)

    async def _offer(self) -> None:
        """Write what the agent's programs and servers offer, unless the log says the same already."""
        tools = self._tools_of(self._pending.agent)
        for source, offer in tools.offers().items() if tools is not None else ():
            if self._pending.offered.get(source) != offer:
                await self._log.write(offer)
                self._pending.receive(offer)  # before it comes back through the log, so that it is not written twice

    # --- one round of calls ---

    async def _run_round(self, calls: list[AskedCall]) -> None:
        """Run the calls of one message side by side; one that says `parallel: false` runs alone, in its turn."""
        found = {call: await self._find(call) for call in calls}
        together: list[AskedCall] = []
        for call in calls:
            tool = found[call]
            if isinstance(tool, ToolError) or tool.options.parallel:
                together.append(call)
                continue
            await self._run_all({one: found[one] for one in together})
            together = []
            await self._run_all({call: tool})
        await self._run_all({one: found[one] for one in together})

    async def _run_all(self, calls: Mapping[AskedCall, CallableTool | ToolError]) -> None:
        tasks = [asyncio.create_task(self._run_call(call, tool), name="tool's result") for call, tool in calls.items()]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _run_call(self, call: AskedCall, tool: CallableTool | ToolError) -> None:
        effect = Effect(self._claim.call_id, call.turn, call.n)
        async with self._room:
            if self._pending.has_returned(call):
                return  # the LLM worker has refused it, or given it up
            order = RunOrder(
                effect, self._claim, tool, self._request(call, tool, effect), effect.effect_id in self._handed_over
            )
            run = self._process.runs.run(order)
            run.say = self._say(call)
            result = await _shielded(run)
        if not self._pending.has_returned(call):
            text = for_model(result)
            await self._log.write(ToolReturned(call.turn, call.n, result.outcome.value, text, run.took_ms))
        self._process.runs.forget(effect)

    async def _find(self, call: AskedCall) -> CallableTool | ToolError:
        if call.beyond_limit:
            return ToolError(ToolOutcome.REFUSED, TOO_MANY)
        tools = self._tools_of(call.agent)
        if tools is None:
            return ToolError(ToolOutcome.REFUSED, NO_AGENT)
        try:
            return await tools.find(call.name)
        except ToolError as error:
            return error

    def _request(
        self, call: AskedCall, tool: CallableTool | ToolError, effect: Effect
    ) -> Callable[[Say], Awaitable[ToolRequest]]:
        async def request(say: Say) -> ToolRequest:
            assert isinstance(tool, CallableTool)
            try:
                arguments = read_arguments(call.arguments, None if tool.checks_arguments else tool.parameters)
            except BadArguments as error:
                raise ToolError(ToolOutcome.REFUSED, str(error)) from None
            secrets: Mapping[str, str] = {}
            if names := secret_names(arguments):
                secrets = await self._process.read_secrets(self._claim.call_id, names)
                arguments = with_secrets(arguments, secrets)
            return ToolRequest(effect.key, arguments, self._context(call.agent), say, tuple(secrets.values()))

        return request

    def _context(self, agent: str) -> CallContext:
        record = self._claim.record
        of_agent = self._agents.get(agent)
        variables = dict(of_agent.variables) if of_agent else {}
        inbound = record.direction == "inbound"
        caller, called = (record.from_number, record.to_number) if inbound else (record.to_number, record.from_number)
        name = of_agent.name if of_agent else agent
        return CallContext(record.call_id, name, caller, called, record.direction, variables)

    def _say(self, call: AskedCall) -> Say:
        def say(sentence: str) -> None:
            self._says.append(ToolSays(call.turn, call.n, sentence))
            self._log.wake()

        return say

    # --- the agents of the call ---

    def _tools_of(self, name: str) -> AgentTools | None:
        """The tools of an agent of the call; None if it is not one of them."""
        if name not in self._tools:
            agent = self._agents.get(name)
            if agent is None:
                return None
            self._tools[name] = self._process.open_tools(agent, self._log.wake)
        return self._tools[name]

    # --- the end ---

    async def _note_what_runs(self) -> None:
        """Leave a note of the calls that go on in this process, so that the next owner waits for their results."""
        running = self._process.runs.of_call(self._claim.call_id)
        if running:
            with suppress(Exception):  # without the note the next owner says that the outcome is unknown
                async with asyncio.timeout(HAND_OVER_S):
                    note = {"token": self._claim.token, "running": running}
                    await self._log.save_checkpoint(json.dumps(note))

    async def _close(self) -> None:
        for task in self._rounds:
            task.cancel()
        if self._rounds:
            await asyncio.wait(self._rounds)
        for tools in self._tools.values():
            await tools.aclose()


async def _shielded(run: ToolRun) -> ToolResult:
    """The result of a run, which goes on if whoever waits is cancelled."""
    return await asyncio.shield(run.task)


def agents_of(record: CallRecord) -> dict[str, Agent]:
    """The agents that may have the call, by name; "" is the one with which it began."""
    try:
        agent = from_document(record.agent)
    except BadAgents:
        return {}  # of another release: its tools are refused
    return {**agent.others, agent.name: agent, "": agent}


def _left_running(claim: Claim) -> frozenset[str]:
    """The effect ids that the owner just before left running when it was asked to stop."""
    try:
        note = json.loads(claim.checkpoint or "{}")
        if isinstance(note, dict) and note.get("token") == claim.token - 1:
            return frozenset(map(str, note.get("running", ())))
    except (ValueError, TypeError):
        return frozenset()  # another program's note
    return frozenset()
