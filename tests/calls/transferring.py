"""The carrier of a caller who is transferred, and the edges that it asks, on the virtual clock without sockets.

async with transferring(Desk(mode="cold")) as desk:
    await desk.order()                      # the LLM worker's, when the announcement was heard
    await desk.caller.over()
    assert desk.states == ["asked", "dialled", "joined", "over"]

Every webhook goes through the routes of an edge with the URL that an edge has given; edges share one store.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
from starlette.applications import Starlette

from common.agents.acts import TransferTarget
from common.agents.model import Agent, Agents, Limits
from common.bus.memory import MemoryBus, MemoryStreams
from common.protocol.acts import SendKeys, ToolReturned, TransferCall, TransferUpdated
from common.protocol.messages import CallEnded, CallStarted, Message
from common.protocol.redis_keys import call_events, edge_priority
from common.store import CallRecord
from common.store.memory import MemoryCallStore
from common.store.outbound_memory import MemoryOutboundQueue
from edge.http.webhook_auth import WebhookAuth
from edge.http.webhooks import Webhooks
from edge.media.ticker import Ticker
from edge.outbound.destinations import OperatorLimits
from edge.outbound.dialer import Dialer, DialerOptions
from edge.session.calls import Calls
from edge.session.media_streams import MediaStreams
from edge.session.url_proof import of_call
from edge.transfer.orders import CallOrders
from edge.vobiz.rest.errors import Refused
from edge.vobiz.signatures import Policy
from tests.calls.carrier import CALL, SECRET
from tests.calls.legs import CODES, Leg, Person

CALLER, OURS, PERSON = "911234567891", "911234567890", "+911234567892"
URL = "https://voice.example.com"


class Edge:
    """One edge of the deployment."""

    def __init__(self, desk: Desk, name: str) -> None:
        store, streams = desk.store, desk.streams
        self.name, self.bus = name, MemoryBus(streams)
        self.calls = Calls(name, self.bus, store, calls_max=5)
        self.calls.listen()
        limits = OperatorLimits()
        options = DialerOptions(URL, calls_per_second=10.0, secret=SECRET)
        client: Any = desk
        self.dialer = Dialer(name, desk.queue, (client, client), options) if desk.has_account else None
        ticker = Ticker(asyncio.get_running_loop())
        self.media = MediaStreams(self.calls, store, self.bus, ticker, desk.agents, SECRET, 200, self.dialer)
        auth = WebhookAuth(store, Policy.OFF, (), "", ())
        hooks = Webhooks(self.calls, store, desk.agents, auth, self.dialer, URL, SECRET, limits=limits)
        self.orders = CallOrders(self.bus, store, self.dialer, limits)
        self.calls.order = self.orders.receive
        transport = httpx.ASGITransport(app=Starlette(routes=hooks.routes()))
        self.http = httpx.AsyncClient(transport=transport, base_url=URL)
        self.tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(self.calls.housekeeping())]
        if self.dialer is not None:
            self.tasks.append(asyncio.ensure_future(self.dialer.run()))

    async def dies(self) -> None:
        """kill -9."""
        self.bus.kill()
        for task in self.tasks:
            task.cancel()
        await self.orders.aclose()
        await asyncio.wait(self.tasks)


@dataclass
class Desk:
    """The deployment, the carrier and the two people."""

    mode: str = "cold"
    person: Person = field(default_factory=Person)
    target: dict[str, Any] = field(default_factory=dict)
    has_account: bool = True
    copies: int = 1
    """How often each report, and each <Dial> action, is sent."""
    minds_stop: bool = True
    ends_conferences: bool = True
    conference_hangs_up: bool = False
    """The carrier hangs up who is in a conference that ends, instead of running the next verb."""
    hangup_s: float = 1.0
    ledgers: type[MemoryCallStore] = MemoryCallStore

    def __post_init__(self) -> None:
        self.streams = MemoryStreams()
        self.store = self.ledgers(self.streams)
        self.queue = MemoryOutboundQueue(3600)
        target = TransferTarget(PERSON, mode=cast(Any, self.mode), **self.target)
        limits = Limits(silence_s=600)
        agent = Agent("desk", "Hello.", "Be brief.", numbers=("*",), limits=limits, transfer={"sales": target})
        self.agents = Agents({"desk": agent})
        self.rung: list[str] = []
        self.rooms: dict[str, list[Leg]] = {}
        self.legs: dict[str, Leg] = {}
        self.rest: list[str] = []
        self.keys_sent: list[str] = []
        self.running: list[asyncio.Task[None]] = []
        self.edges: list[Edge] = []

    @property
    def edge(self) -> Edge:
        """The edge that is asked now."""
        return self.edges[-1]

    @property
    def caller(self) -> Leg:
        return self.legs[CALL]

    def new_edge(self) -> Edge:
        self.edges.append(Edge(self, f"edge-{len(self.edges)}"))
        return self.edge

    async def edge_dies(self) -> None:
        """The carrier asks another edge from now on; streams at the dead one break."""
        dead = self.edge
        self.new_edge()
        await dead.dies()
        if (line := self.caller.line) is not None:
            line.gone.set()

    async def posts(self, url: str, fields: dict[str, str]) -> bytes:
        parts = urlsplit(url)
        reply = await self.edge.http.post(f"{parts.path}?{parts.query}", data=fields)
        assert reply.status_code == 200, (parts.path, reply.text)
        return reply.content

    def proven(self, path: str) -> str:
        """The query of a URL that the carrier was given for the caller's call."""
        return of_call(SECRET, path, CALL, time.time() + 60).partition("?")[2]

    async def phones(self) -> None:
        """A caller, who is with the agent when this returns."""
        fields = {"CallUUID": CALL, "From": CALLER, "To": OURS, "Direction": "inbound"}
        self._starts(Leg(self, CALL, fields, "/hangup", Person()), "/answer")
        await self.until(lambda: self.caller.line is not None)
        await asyncio.sleep(0.5)

    def _starts(self, leg: Leg, url: str) -> None:
        self.legs[leg.call_id] = leg
        self.running.append(asyncio.ensure_future(leg.run(url)))

    async def order(
        self, turn: int = 3, n: int = 1, target: str = "sales", token: int = 1, epoch: int = 0, **more: Any
    ) -> None:
        """The LLM worker's order, to the edge that has the caller."""
        record = await self.record()
        order = TransferCall(CALL, token, epoch or record.epoch, turn, n, target, **more)
        MemoryBus(self.streams).publish(edge_priority(record.edge), order)
        await asyncio.sleep(0.01)

    async def sends_keys(self, keys: str, turn: int = 3, n: int = 1) -> None:
        record = await self.record()
        MemoryBus(self.streams).publish(edge_priority(record.edge), SendKeys(CALL, 1, record.epoch, turn, n, keys))
        await asyncio.sleep(0.5)

    async def record(self) -> CallRecord:
        record = await self.store.read(CALL)
        assert record is not None
        return record

    async def until(self, true: Any, seconds: float = 300) -> None:
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.01)

    # --- the event log -----------------------------------------------------------------------------------------------

    @property
    def log(self) -> list[Message]:
        return [message for _, message in self.streams.after(call_events(CALL), 0)]

    @property
    def states(self) -> list[str]:
        return [message.state for message in self.log if isinstance(message, TransferUpdated)]

    @property
    def results(self) -> list[tuple[str, str]]:
        return [(message.outcome, message.result) for message in self.log if isinstance(message, ToolReturned)]

    @property
    def epochs(self) -> int:
        return len([message for message in self.log if isinstance(message, CallStarted)])

    @property
    def ends(self) -> list[str]:
        return [message.reason for message in self.log if isinstance(message, CallEnded)]

    # --- REST --------------------------------------------------------------------------------------------------------

    async def make_call(self, request: Any) -> tuple[str, ...]:
        call_id = f"person-{len(self.rung)}"
        self.rung.append(request.to)
        if self.person.does != "is not rung":
            self.running.append(asyncio.ensure_future(self._ring(call_id, request)))
        return (call_id,)

    async def _ring(self, call_id: str, request: Any) -> None:
        fields = {"CallUUID": call_id, "From": OURS, "To": PERSON, "Direction": "outbound"}
        leg = self.legs[call_id] = Leg(self, call_id, fields, request.hangup_url, self.person)
        await self.posts(request.ring_url, {**fields, "Event": "Ring", "CallStatus": "ringing"})
        rings = asyncio.ensure_future(asyncio.sleep(min(self.person.ring_s, request.ring_timeout_s)))
        leg._doing = rings
        await asyncio.wait([rings])
        late = self.person.ring_s > request.ring_timeout_s
        if leg._hung_up or late or self.person.does in CODES:
            leg._cause = "1000" if leg._hung_up else "6010" if late else CODES[self.person.does]
            await leg._finish()
            return
        leg.answered = True
        self._starts(leg, request.answer_url)

    async def hang_up(self, call_id: str) -> bool:
        self.rest.append(f"hang up {call_id}")
        leg = self.legs.get(call_id)
        if leg is not None and not leg._over.is_set():
            leg.hangs_up()
        return True

    async def transfer(self, call_id: str, *, aleg_url: str = "", bleg_url: str = "") -> None:
        self.rest.append(f"transfer {call_id}")
        leg = self.legs[call_id]
        if leg.line is not None:
            leg.line.ends()
        leg.goes_to(aleg_url)

    async def send_digits(self, call_id: str, digits: str, *, leg: str = "aleg") -> None:
        self.keys_sent.append(digits)
        if digits == "9":
            raise Refused(404, "call not found")

    async def call_details(self, call_id: str, status: str = "live") -> dict[str, Any]:
        raise Refused(404, "no such call")

    async def cdr_of(self, call_id: str) -> dict[str, Any]:
        raise Refused(404, "no such call")

    async def queued_calls(self) -> list[str]:
        return []

    async def live_calls(self) -> list[str]:
        return []


@contextlib.asynccontextmanager
async def transferring(desk: Desk | None = None) -> AsyncIterator[Desk]:
    """A caller who is with the agent."""
    desk = desk or Desk()
    desk.new_edge()
    try:
        await desk.phones()
        yield desk
    finally:
        for task in desk.running:
            task.cancel()
        await asyncio.gather(*desk.running, return_exceptions=True)
        for edge in desk.edges:
            await edge.dies()
            await edge.http.aclose()
