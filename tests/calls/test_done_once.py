"""Hang-up and transfer reach the carrier once, whichever edge thinks that it is its turn."""

import asyncio
from typing import cast

import pytest
from starlette.requests import Request
from starlette.websockets import WebSocket

from common.agents.model import Agent, Agents, to_document
from common.bus.memory import MemoryBus, MemoryStreams
from common.protocol.messages import CallEnded
from common.protocol.redis_keys import call_events
from common.store import CallRecord
from common.store.memory import MemoryCallStore
from edge.http.webhook_auth import WebhookAuth
from edge.http.webhooks import Webhooks
from edge.media.stream_token import mint
from edge.media.ticker import Ticker
from edge.outbound.dialer import Dialer
from edge.outbound.state import MachineDetected, OutboundCall, OutboundEvent, Plan
from edge.session.calls import Calls
from edge.session.media_streams import MediaStreams
from edge.vobiz.signatures import Policy
from tests.calls.test_ends import SECRET, Socket

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

CALL = "call-1"


class Carrier:
    """As much of a dialer as these calls need; it notes what the carrier was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.outbound = self

    async def hang_up(self, call_id: str) -> bool:
        self.told.append("hang up")
        return True

    async def transfer(self, call_id: str, url: str) -> None:
        self.told.append("transfer")
        await asyncio.sleep(0.1)

    async def apply(self, dial_id: str, news: OutboundEvent, attempt: int) -> OutboundCall:
        assert news == MachineDetected(True)
        return OutboundCall(
            dial_id, "911234567891", "911234567890", plan=Plan(machine="message", message="Please call back.")
        )


class Edge:
    """One of the edges of a deployment."""

    def __init__(self, name: str, server: MemoryStreams, store: MemoryCallStore, carrier: Carrier) -> None:
        bus, dialer = MemoryBus(server), cast(Dialer, carrier)
        self.calls = Calls(name, bus, store, calls_max=1)
        ticker = Ticker(asyncio.get_running_loop())
        self.streams = MediaStreams(self.calls, store, bus, ticker, Agents({}), SECRET, 200, dialer)
        gate = WebhookAuth(store, Policy.OFF, (), "", ())
        self.webhooks = Webhooks(self.calls, store, Agents({}), gate, dialer, "https://voice.example.com", SECRET)

    async def takes(self, socket: Socket) -> asyncio.Task[None]:
        """The carrier's socket comes here, and says who it is."""
        serving = asyncio.create_task(self.streams.serve(cast(WebSocket, socket), mint(SECRET, CALL, 2e9)))
        await asyncio.sleep(0.5)
        return serving


@pytest.fixture
async def deployment() -> tuple[MemoryStreams, MemoryCallStore, Carrier]:
    server = MemoryStreams()
    store = MemoryCallStore(server)
    await store.create(CallRecord(CALL, to_document(Agent("desk", "Hello.", "Be brief."))))
    return server, store, Carrier()


async def test_we_hang_up_once(deployment: tuple[MemoryStreams, MemoryCallStore, Carrier]):
    server, store, carrier = deployment
    edge = Edge("edge-1", server, store, carrier)
    socket = Socket()
    serving = await edge.takes(socket)
    for _ in range(3):
        edge.calls.live()[0].stop("agent hung up")
        await asyncio.sleep(0.1)
    socket.close(True)
    await serving
    assert carrier.told == ["hang up"]


async def test_the_edge_that_the_call_has_left_does_not_hang_it_up(
    deployment: tuple[MemoryStreams, MemoryCallStore, Carrier],
):
    server, store, carrier = deployment
    first, second = (Edge(name, server, store, carrier) for name in ("edge-1", "edge-2"))
    old, new = Socket(), Socket()
    left = await first.takes(old)
    old.close(False)  # it broke, and the carrier has come back elsewhere
    carried_on = await second.takes(new)
    (stale,) = first.calls.live()
    stale.stop("silence")
    await left
    assert carrier.told == []
    record = await store.read(CALL)
    assert record is not None
    assert (record.status, record.edge, record.epoch) == ("live", "edge-2", 2)
    transcript = [message for _, message in server.after(call_events(CALL), 0)]
    assert not [message for message in transcript if isinstance(message, CallEnded)]

    second.calls.live()[0].stop("agent hung up")
    await asyncio.sleep(0.1)
    new.close(True)
    await carried_on
    assert carrier.told == ["hang up"]


async def test_a_call_that_was_buried_too_early_is_hung_up_all_the_same(
    deployment: tuple[MemoryStreams, MemoryCallStore, Carrier],
):
    """Its edge was cut off for so long that others took it for dead; the caller is still on the line."""
    server, store, carrier = deployment
    edge, socket = Edge("edge-1", server, store, carrier), Socket()
    serving = await edge.takes(socket)
    await store.end(CALL, "carrier")
    edge.calls.live()[0].stop("agent hung up")
    await asyncio.sleep(0.1)
    socket.close(True)
    await serving
    assert carrier.told == ["hang up"]


async def test_a_message_is_left_once_although_two_edges_are_told_of_the_machine_three_times(
    deployment: tuple[MemoryStreams, MemoryCallStore, Carrier],
):
    server, store, carrier = deployment
    edges = [Edge(name, server, store, carrier) for name in ("edge-1", "edge-2")]
    fields = {"CallUUID": CALL, "Machine": "true", "dial": "out-1", "attempt": "1"}
    request = Request({"type": "http", "method": "POST", "path": "/machine", "headers": [], "query_string": b""})
    told = [edge.webhooks.machine(request, fields) for edge in (*edges, edges[0])]
    assert [response.status_code for response in await asyncio.gather(*told)] == [200, 200, 200]
    assert carrier.told == ["transfer"]
