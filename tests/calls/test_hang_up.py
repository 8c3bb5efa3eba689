"""We hang up: both ways at once, within five seconds in all, whatever the carrier's REST API and the ledger do."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import httpx
import pytest
from starlette.websockets import WebSocket

from common.agents.model import Agent, Agents, to_document
from common.bus.memory import MemoryBus, MemoryStreams
from common.protocol.messages import CallEnded
from common.protocol.redis_keys import call_events
from common.store import CallRecord
from common.store.dials import RedisOutboundQueue
from common.store.memory import MemoryCallStore
from edge.media.stream_token import mint
from edge.media.ticker import Ticker
from edge.outbound.dialer import Dialer, DialerOptions
from edge.session import media_streams
from edge.session.call import STOP_SECONDS, Call
from edge.session.calls import Calls
from edge.vobiz.rest.client import VobizClient
from edge.vobiz.rest.transport import CarrierOptions
from tests.calls.test_ends import SECRET, Socket

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


class Line(Socket):
    """Notes when the edge says `stop`, and closes then if the carrier minds it."""

    def __init__(self, minds_stop: bool = True) -> None:
        super().__init__()
        self.minds_stop = minds_stop
        self.stopped_s: list[float] = []

    def send_texts(self, messages: list[bytes]) -> None:
        if any(json.loads(message)["event"] == "stop" for message in messages):
            self.stopped_s.append(asyncio.get_running_loop().time())
            if self.minds_stop:
                asyncio.get_running_loop().call_soon(self.close, True)


class SlowLedger(MemoryCallStore):
    """Takes its time to write an end down."""

    end_s = 0.0

    async def end(self, call_id: str, reason: str, epoch: int | None = None) -> bool:
        await asyncio.sleep(self.end_s)
        return await super().end(call_id, reason, epoch)


class Rest:
    """The carrier's REST API: what it was asked, when, and how it answers."""

    def __init__(self, answer: Callable[[], Awaitable[httpx.Response]]) -> None:
        self.asked_s: list[float] = []
        self._answer = answer

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.method == "DELETE"
        self.asked_s.append(asyncio.get_running_loop().time())
        return await self._answer()


def answers(status: int) -> Callable[[], Awaitable[httpx.Response]]:
    async def answer() -> httpx.Response:
        return httpx.Response(status)

    return answer


async def hangs() -> httpx.Response:
    await asyncio.sleep(300)
    raise AssertionError("nobody waits that long")


class Ended:
    """A call that we hung up, and how it went; times are seconds since we wanted it to end."""

    def __init__(self, rest: Rest | None, line: Line) -> None:
        self.rest, self.line, self.seconds, self.reasons = rest, line, 0.0, [""]
        self.began_s = 0.0

    @property
    def stop_s(self) -> float:
        return self.line.stopped_s[0] - self.began_s

    @property
    def delete_s(self) -> float:
        assert self.rest is not None
        return self.rest.asked_s[0] - self.began_s


async def hung_up(
    rest: Rest | None, reason: str = "agent hung up", *, minds_stop: bool = True, ledger_s: float = 0.0
) -> Ended:
    line, streams = Line(minds_stop), MemoryStreams()
    bus, store = MemoryBus(streams), SlowLedger(streams)
    await store.create(CallRecord("call-1", to_document(Agent("test", "Hello.", "Be brief."))))
    store.end_s = ledger_s
    ticker, loop, ended = Ticker(asyncio.get_running_loop()), asyncio.get_running_loop(), Ended(rest, line)
    calls = Calls("edge-1", bus, store, calls_max=1)
    async with dialing(rest) as dialer:
        media = media_streams.MediaStreams(calls, store, bus, ticker, Agents({}), SECRET, 200, dialer)
        serving = asyncio.create_task(media.serve(cast(WebSocket, line), mint(SECRET, "call-1", 2e9)))
        await asyncio.sleep(0.5)
        call = cast(Call, calls.get("call-1"))
        ended.began_s = loop.time()
        call.stop(reason)
        while calls.get("call-1") is not None:
            await asyncio.sleep(0.01)
        ended.seconds = loop.time() - ended.began_s
        await asyncio.wait_for(serving, 100)
    ticker.close()
    told = [message for _, message in streams.after(call_events("call-1"), 0)]
    ended.reasons = [message.reason for message in told if isinstance(message, CallEnded)]
    record = await store.read("call-1")
    assert record is not None
    assert (record.status, record.ended_because) == ("ended", reason)
    return ended


@contextlib.asynccontextmanager
async def dialing(rest: Rest | None) -> AsyncIterator[Dialer | None]:
    if rest is None:
        yield None
        return
    queue = RedisOutboundQueue.connect("redis://127.0.0.1:1/0", "never used", 60)
    async with VobizClient(CarrierOptions("MA_XXXXXXXX", "token"), httpx.MockTransport(rest)) as client:
        yield Dialer("edge-1", queue, (client, client), DialerOptions("https://voice.example.com"))
    await queue.aclose()


REFUSALS = {"done": 204, "over already": 404, "credentials": 401, "unavailable": 503, "limited": 429}


@pytest.mark.parametrize("status", REFUSALS.values(), ids=REFUSALS)
async def test_a_goodbye_is_said_both_ways_at_once_however_rest_answers(status: int):
    ended = await hung_up(Rest(answers(status)))
    assert (ended.stop_s, ended.delete_s) == (0, 0)
    assert ended.reasons == ["agent hung up"]
    assert ended.seconds <= STOP_SECONDS + 0.02


@pytest.mark.parametrize("minds_stop", [True, False])
async def test_a_rest_api_that_hangs_holds_nobody_longer_than_five_seconds(minds_stop: bool):
    ended = await hung_up(Rest(hangs), minds_stop=minds_stop)
    assert (ended.stop_s, ended.delete_s) == (0, 0)
    assert ended.seconds <= STOP_SECONDS + 0.02


@pytest.mark.parametrize("reason", ["agent hung up", "operator hung up", "silence", "too long"])
async def test_without_rest_the_stop_alone_ends_the_call_at_once(reason: str):
    ended = await hung_up(None, reason)
    assert ended.stop_s == 0
    assert ended.seconds < 0.05


async def test_a_slow_ledger_takes_its_time_from_the_same_five_seconds():
    ended = await hung_up(Rest(hangs), minds_stop=False, ledger_s=2.5)
    assert (ended.stop_s, ended.delete_s) == pytest.approx((media_streams.STORE_SECONDS, media_streams.STORE_SECONDS))
    assert ended.seconds <= STOP_SECONDS + 0.02


async def test_after_an_error_rest_does_not_take_the_call_from_under_the_apology():
    rest = Rest(answers(204))
    ended = await hung_up(rest, "error")
    assert ended.stop_s == 0
    assert rest.asked_s == []
