"""Who is taken for dead, and is not; and who is, whatever the clocks say.  Several edges, one ledger."""

import asyncio
import contextlib
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import cast

import pytest
from starlette.requests import Request
from starlette.websockets import WebSocket

from common.agents.model import Agent, Agents, Limits, to_document
from common.bus.memory import MemoryBus, MemoryStreams
from common.process.tasks import cancel
from common.protocol.messages import CallEnded, HangUp, Message
from common.protocol.redis_keys import call_events, edge_priority
from common.store import CallRecord
from common.store.memory import MemoryCallStore
from common.telemetry import metrics
from edge.http.webhook_auth import WebhookAuth
from edge.http.webhooks import Webhooks
from edge.media.stream_token import FIRST_USE_SECONDS, mint
from edge.media.ticker import Ticker
from edge.session import media_streams
from edge.session.call_backup import CallBackups
from edge.session.calls import Calls
from edge.session.lifecycle import State
from edge.vobiz.signatures import Policy
from tests.calls.test_ends import SECRET, Socket
from tests.host_clock import host_clock

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

CALL = "call-1"
DESK = Agent("desk", "Hello.", "Be brief.", limits=Limits(call_s=3600, silence_s=600))
FRAME = json.dumps({"event": "media", "media": {"payload": b64encode(b"\xff" * 160).decode()}}).encode()


class Host:
    """One edge, with its house kept."""

    def __init__(self, name: str, server: MemoryStreams, store: MemoryCallStore) -> None:
        self.store = CutOff(store)
        self.bus = MemoryBus(server)
        self.calls = Calls(name, self.bus, self.store, calls_max=10)
        ticker = Ticker(asyncio.get_running_loop())
        self.streams = media_streams.MediaStreams(self.calls, self.store, self.bus, ticker, Agents({}), SECRET, 200)
        gate = WebhookAuth(self.store, Policy.OFF, (), "", ())
        agents = Agents({"desk": DESK})
        self.webhooks = Webhooks(self.calls, self.store, agents, gate, None, "https://voice.example.com", SECRET)

    def lives(self) -> list[asyncio.Task[None]]:
        self.calls.listen()
        copies = CallBackups(self.calls, self.store, (self.bus, self.bus))
        return [asyncio.create_task(self.calls.housekeeping()), asyncio.create_task(copies.run())]

    async def takes(self, token: str = "") -> Socket:
        """The carrier's socket comes here."""
        socket = Socket()
        token = token or mint(SECRET, CALL, 4e9)
        socket.serving = asyncio.create_task(self.streams.serve(cast(WebSocket, socket), token))
        await asyncio.sleep(0.5)
        return socket


class CutOff(MemoryCallStore):
    """A host's way to the one server, which may be interrupted."""

    def __init__(self, server: MemoryCallStore) -> None:
        super().__init__(server._streams)
        self.server, self.away = server, False
        for name in ("create", "read", "start", "end", "note_silence", "state_fields", "restore", "look_up", "reopen"):
            setattr(self, name, self._through(name))

    def _through(self, name: str):  # type: ignore[no-untyped-def]
        async def asked(*args: object, **more: object) -> object:
            if self.away:
                raise ConnectionError("away")
            return await getattr(self.server, name)(*args, **more)

        return asked

    async def heartbeat_calls(self, call_ids: Iterable[str]) -> None:
        await self._through("heartbeat_calls")(call_ids)

    async def live(self) -> list[str]:
        return cast(list[str], await self._through("live")())

    async def abandoned(self) -> dict[str, int]:
        return cast(dict[str, int], await self._through("abandoned")())

    async def ended(self, call_ids: Sequence[str]) -> set[str]:
        return cast(set[str], await self._through("ended")(call_ids))


class Deployment:
    def __init__(self) -> None:
        self.streams = MemoryStreams()
        self.store = MemoryCallStore(self.streams)
        self.first, self.second = (Host(name, self.streams, self.store) for name in ("edge-1", "edge-2"))

    async def ending(self, call_id: str = CALL) -> tuple[str, str]:
        record = await self.store.read(call_id)
        assert record is not None
        return record.status, record.ended_because

    def told(self, stream_name: str) -> list[Message]:
        return [message for _, message in self.streams.after(stream_name, 0)]


@pytest.fixture
async def two_edges() -> AsyncIterator[Deployment]:
    it = Deployment()
    await it.store.create(CallRecord(CALL, to_document(DESK)))
    houses = [*it.first.lives(), *it.second.lives()]
    yield it
    for house in houses:
        await cancel(house)


async def until_ended(it: Deployment, call_id: str = CALL) -> float:
    """Seconds until it stands as ended."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(300):
        while (await it.ending(call_id))[0] != "ended":
            await asyncio.sleep(0.5)
    return loop.time() - began


def found_ended() -> float:
    lines = metrics.exposition().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("voice_calls_found_ended_total "))


async def keeps_talking(socket: Socket) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            socket.text(FRAME)
            await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def talking(socket: Socket) -> AsyncIterator[None]:
    task = asyncio.create_task(keeps_talking(socket))
    yield
    await cancel(task)


@pytest.mark.parametrize("step_s", [2, 10, 80, 3600, -2, -80, -3600])
async def test_a_step_of_the_servers_clock_ends_no_call(two_edges: Deployment, step_s: int):
    """A failover: the new primary's clock is another machine's."""
    socket = await two_edges.first.takes()
    async with talking(socket):
        await asyncio.sleep(30)
        for call_id in two_edges.store.touched_ms:
            two_edges.store.touched_ms[call_id] -= step_s * 1000
        await asyncio.sleep(60)
        assert await two_edges.ending() == ("live", "")
        assert await two_edges.store.live() == [CALL]
        assert not two_edges.first.calls.live()[0].lifecycle.stopped


async def test_an_outage_that_all_edges_had_ends_no_call(two_edges: Deployment):
    """Nobody could give a sign of life; one edge is back before the other."""
    socket = await two_edges.first.takes()
    async with talking(socket):
        await asyncio.sleep(10)
        two_edges.first.store.away = two_edges.second.store.away = True
        await asyncio.sleep(100)
        two_edges.second.store.away = False
        await asyncio.sleep(8)
        two_edges.first.store.away = False
        await asyncio.sleep(60)
        assert await two_edges.ending() == ("live", "")


async def test_a_call_whose_edge_died_is_ended_and_the_edge_is_told_of_which_connection(two_edges: Deployment):
    await two_edges.store.start(CALL, "edge-9")
    await two_edges.store.start(CALL, "edge-9")
    assert 75 + 15 <= await until_ended(two_edges) <= 75 + 15 + 12
    assert await two_edges.ending() == ("ended", "carrier")
    orders = two_edges.told(edge_priority("edge-9"))
    assert orders[0] == HangUp(CALL, "carrier", epoch=2)
    assert next(message for message in two_edges.told(call_events(CALL)) if isinstance(message, CallEnded)).epoch == 2


@pytest.mark.parametrize("hears", [True, False])
async def test_an_edge_that_was_taken_for_dead_hangs_its_caller_up(two_edges: Deployment, hears: bool):
    """It was cut off for two minutes, or frozen.  Afterwards it hears of it, by the order or from the ledger."""
    first = two_edges.first
    socket = await first.takes()
    async with talking(socket):
        (call,) = first.calls.live()
        first.store.away = True
        if not hears:
            (listening,) = first.bus._subscriptions[edge_priority("edge-1")]
            listening.close()
        found = found_ended()
        await until_ended(two_edges)
        first.store.away = False
        await asyncio.sleep(6.5)
        assert call.lifecycle.stopped
        assert call.lifecycle.reason == "carrier"
        await asyncio.wait_for(socket.serving, 20)
        assert first.calls.live() == []
    if not hears:
        assert found_ended() == found + 1


async def test_an_edge_whose_caller_has_come_back_elsewhere_says_no_more(two_edges: Deployment):
    socket = await two_edges.first.takes()
    async with talking(socket):
        (old,) = two_edges.first.calls.live()
        await two_edges.second.takes()
        await asyncio.sleep(1.5)
        assert old.lifecycle.state is State.REPLACED
        assert await two_edges.ending() == ("live", "")


async def test_while_ten_thousand_lost_calls_are_ended_the_living_give_their_signs(two_edges: Deployment):
    store = two_edges.store
    for number in range(10_000):
        await store.create(CallRecord(f"lost-{number}"))
        await store.start(f"lost-{number}", "edge-9")
        store.touched_ms[f"lost-{number}"] -= 100_000
    socket = await two_edges.first.takes()
    async with talking(socket):
        await asyncio.sleep(25)
        assert await store.live() == [CALL]
        assert {(await two_edges.ending(f"lost-{number}"))[0] for number in range(10_000)} == {"ended"}


@pytest.mark.parametrize(("signs_s", "checks_s"), [(80, -20), (-80, 80), (-20, 0), (0, 80), (2, -2)])
async def test_a_token_is_good_for_a_minute_whichever_edges_sign_and_check_it(signs_s: int, checks_s: int):
    it = Deployment()

    async def token() -> str:
        fields: Mapping[str, str] = {"CallUUID": CALL, "From": "911234567890", "To": "911234567891"}
        request = Request({"type": "http", "method": "POST", "path": "/answer", "headers": [], "query_string": b""})
        with host_clock(signs_s):
            answer = await it.first.webhooks.answer(request, dict(fields))
        return bytes(answer.body).decode().partition("/ws/")[2].partition("<")[0].strip()

    signed = await token()
    with host_clock(checks_s):
        await asyncio.sleep(FIRST_USE_SECONDS - 5)
        assert await it.second.streams._permit(signed) == (CALL, "")
        await asyncio.sleep(7)
        assert await it.second.streams._permit(signed) == ("", "token expired")
