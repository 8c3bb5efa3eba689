"""A pool of tools workers on the virtual clock: members that die at a chosen step, and a shop that takes orders.

pool = await ToolPool.open(shop.tool())
member = pool.hire(dies="after begin")
pool.calls("book")
await pool.returned(1)
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from common.agents.model import Agent, to_document
from common.agents.tools import Tool
from common.bus.memory import MemoryBus, MemoryStreams
from common.call.acts import ToolOutcome
from common.protocol.acts import ToolReturned, ToolsCalled, ToolsOffered
from common.protocol.messages import CallStarted, Message
from common.protocol.redis_keys import call_events
from common.store import CallRecord
from common.store.memory import MemoryCallStore
from tests.calls.talking import Talking
from workers.runtime.runner import Runner, RunnerOptions
from workers.tools.interfaces import CallableTool, ToolError, ToolRequest
from workers.tools.runs import ToolRuns
from workers.tools.session import ToolProcess, ToolSession

CALL = "call-1"
POOL = "tools"
LEASE_MS = 700
STEPS = {"begin": "begin_effect", "finish": "finish_effect", "write": "append"}


class Shop:
    """The other side of a tool: it takes orders, by the key that comes with them."""

    def __init__(self, **options: Any) -> None:
        self.orders: list[str] = []
        self.arguments: list[Mapping[str, Any]] = []
        self.most_at_once = self._at_once = 0
        self.seconds = 1.0
        self.options = Tool(**options)

    def tool(self, name: str = "book") -> CallableTool:
        schema = {"type": "object", "properties": {"day": {"type": "string"}}}
        return CallableTool(name, "http", self.options, "", schema, self.order)

    async def order(self, request: ToolRequest) -> str:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(self.seconds / 2)
            self.orders.append(request.key)
            self.arguments.append(request.arguments)
            await asyncio.sleep(self.seconds / 2)
        finally:
            self._at_once -= 1
        return f"order {len(self.orders)}"


class ShelfOfTools:
    """What `AgentTools` is to a session."""

    def __init__(self, tools: Mapping[str, CallableTool], offer: str = "") -> None:
        self._tools = tools
        self.offer = offer

    async def find(self, name: str) -> CallableTool:
        if name not in self._tools:
            raise ToolError(ToolOutcome.REFUSED, "There is no such tool.")
        return self._tools[name]

    def offers(self) -> dict[str, ToolsOffered]:
        return {"python": ToolsOffered("python", self.offer)} if self.offer else {}

    async def aclose(self) -> None:
        """It has nothing to close."""


class MortalStore:
    """The call store as one member reaches it.  `dies`: "before begin", "after finish", ...; its process ends there."""

    def __init__(self, store: MemoryCallStore, dies: str, kill: Callable[[], None]) -> None:
        self._store = store
        self._when, _, step = dies.partition(" ")
        self._step = STEPS.get(step, step)
        self._kill = kill
        self.dead = False
        self.away = False
        """The store does not answer this member."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return self._mortal(name, found) if asyncio.iscoroutinefunction(found) else found

    def _mortal(self, name: str, found: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def asked(*arguments: Any, **more: Any) -> Any:
            mine = name == self._step and (name != "append" or isinstance(arguments[1][0], ToolReturned))
            if mine and self._when == "before":
                await self._end()
            if self.dead or self.away:
                raise ConnectionError("away")
            result = await found(*arguments, **more)
            if mine and self._when == "after":
                await self._end()
            return result

        return asked

    async def _end(self) -> None:
        self.dead = True
        self._kill()
        await asyncio.Event().wait()


@dataclass
class ToolMember:
    """One process of the pool; `kill` is a kill -9, `stop` a SIGTERM."""

    bus: MemoryBus
    store: MortalStore
    runs: ToolRuns
    stopping: asyncio.Event
    task: asyncio.Task[None] | None = None
    dying: asyncio.Task[None] | None = None

    def die(self) -> None:
        self.dying = asyncio.create_task(self.kill())

    async def kill(self) -> None:
        self.store.dead = True
        self.bus.kill()
        assert self.task is not None
        self.task.cancel()
        await self.runs.cancel_all()
        await asyncio.wait([self.task])

    async def stop(self) -> None:
        self.stopping.set()
        assert self.task is not None
        await asyncio.wait([self.task])
        await self.runs.drain(65)


@dataclass
class ToolPool:
    """The pool, the log of one call, and its caller's edge."""

    shelf: ShelfOfTools
    streams: MemoryStreams = field(default_factory=MemoryStreams)
    members: list[ToolMember] = field(default_factory=list)

    @classmethod
    async def open(cls, *tools: CallableTool, offer: str = "") -> "ToolPool":
        pool = cls(ShelfOfTools({tool.name: tool for tool in tools}, offer))
        pool.store = MemoryCallStore(pool.streams, LEASE_MS)
        document = to_document(Agent("shop", "Hello.", "Be brief.", variables={"town": "Pune"}))
        numbers = {"from_number": "911234567890", "to_number": "911234567891"}
        await pool.store.create(CallRecord(CALL, document, **numbers, more_pools=POOL))
        await pool.store.start(CALL, "edge-1")
        pool.says(CallStarted(1, "edge-1", 0))
        pool._beat = asyncio.create_task(pool._heartbeat())
        await pool.store.offer(POOL, [CALL])
        return pool

    def hire(self, dies: str = "") -> ToolMember:
        store = MortalStore(self.store, dies, lambda: member.die())
        member = ToolMember(MemoryBus(self.streams), store, ToolRuns(store), asyncio.Event())  # type: ignore[arg-type]
        process = ToolProcess(member.runs, lambda agent, changed: self.shelf, member.stopping.is_set)  # type: ignore

        def session(claim: Any) -> ToolSession:
            return ToolSession(claim, member.bus, store, process)  # type: ignore[arg-type]

        options = RunnerOptions(POOL, f"tools-{len(self.members)}", 5, LEASE_MS)
        runner = Runner(options, member.bus, store, session)  # type: ignore[arg-type]
        member.task = asyncio.create_task(runner.run(member.stopping))
        self.members.append(member)
        return member

    def says(self, message: Message) -> None:
        """An event of another process."""
        self.streams.append(call_events(CALL), message)

    def calls(self, *names: str, turn: int = 2, first: int = 0, arguments: str = '{"day": "Monday"}') -> None:
        """The model calls these tools in one round."""
        self.says(ToolsCalled(turn, first, tuple((f"id-{name}", name, arguments) for name in names), 1))

    @property
    def events(self) -> list[Message]:
        return [message for _, message in self.streams.after(call_events(CALL), 0)]

    @property
    def results(self) -> list[ToolReturned]:
        """Those that count, in order of their coming."""
        first: dict[tuple[int, int], ToolReturned] = {}
        for message in self.events:
            if isinstance(message, ToolReturned):
                first.setdefault((message.turn, message.n), message)
        return list(first.values())

    async def returned(self, count: int) -> list[ToolReturned]:
        """Wait for so many results."""
        async with asyncio.timeout(Talking.wait_s * 10):
            while len(self.results) < count:
                await asyncio.sleep(0.05)
        return self.results

    async def close(self) -> None:
        self._beat.cancel()
        for member in self.members:
            await member.kill()

    async def _heartbeat(self) -> None:
        while True:
            await self.store.heartbeat_calls([CALL])
            await asyncio.sleep(1)
