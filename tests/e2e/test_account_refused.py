"""The carrier refuses the account, not the calls: nothing is placed, nothing is lost, and everybody can read why.

A pause is ended by hand where it would only be waited for.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
import redis

from common.store.dials import PAUSE_MS, PAUSE_MS_MAX, RedisOutboundQueue
from edge.outbound.dialer import Dialer, DialerOptions
from edge.vobiz.rest.client import VobizClient
from edge.vobiz.rest.transport import CarrierOptions as Account
from simulators.carrier import Callee, Carrier, CarrierOptions
from simulators.carrier.refusals import RequestFault
from tests.e2e.loopback_edge import Edge, running_edge
from tools.ports import free_port

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

NUMBERS = ["+911234567891", "+911234567892", "+911234567893"]
BRIEF = Callee(hangs_up_after_ms=50)


class Desk:
    """An edge that dials, the carrier, and the book of calls."""

    def __init__(self, edge: Edge, carrier: Carrier, queue: RedisOutboundQueue, dialer: Dialer, redis_url: str) -> None:
        self.edge, self.carrier, self.queue, self.dialer = edge, carrier, queue, dialer
        self._redis_url = redis_url

    async def ask(self, to: str, **more: Any) -> str:
        reply = await self.edge.http.post("/v1/calls", json={"to": to, **more})
        assert reply.status_code == 202, reply.text
        return str(reply.json()["id"])

    async def shown(self, dial_id: str) -> dict[str, Any]:
        return dict((await self.edge.http.get(f"/v1/calls/{dial_id}")).json())

    async def until(self, holds: Callable[[], Any]) -> Any:
        async with asyncio.timeout(20):
            while not (found := await holds()):
                await asyncio.sleep(0.02)
        return found

    async def over(self, dial_id: str) -> dict[str, Any]:
        async def ended() -> dict[str, Any] | None:
            shown = await self.shown(dial_id)
            return shown if shown["state"] in ("ended", "failed") else None

        return dict(await self.until(ended))

    async def ready(self) -> str:
        reply = await self.edge.http.get("/readyz")
        assert reply.status_code == 200  # the edge can be called
        return reply.text

    async def refused(self) -> str:
        """What `/readyz` says, once calls wait."""

        async def said() -> str:
            text = await self.ready()
            return text if "outbound calls wait" in text else ""

        return str(await self.until(said))

    def end_pause(self) -> None:
        with redis.Redis.from_url(self._redis_url) as client:
            client.delete("{dials}:paused")

    def pause_ms(self) -> int:
        with redis.Redis.from_url(self._redis_url) as client:
            return int(client.pttl("{dials}:paused"))


@asynccontextmanager
async def dialing(redis_url: str, callee: Callee = BRIEF, at_once: int = 10, **more: Any) -> AsyncIterator[Desk]:
    port = free_port()
    public_url = f"http://127.0.0.1:{port}"
    options = CarrierOptions(callee=callee, hangup_delay_ms=10, time_scale=0.1, **more)
    async with Carrier(options) as carrier, aclosing(RedisOutboundQueue.connect(redis_url, "test", 60)) as queue:
        account = Account(options.auth_id, options.auth_token, carrier.api_url)
        async with VobizClient(account) as client:
            dialer = Dialer("test", queue, (client, client), DialerOptions(public_url, 50.0, at_once))
            tokens = (options.auth_token,)
            async with running_edge(port=port, public_url=public_url, tokens=tokens, dialer=dialer) as edge:
                running = asyncio.create_task(dialer.run())
                try:
                    yield Desk(edge, carrier, queue, dialer, redis_url)
                finally:
                    running.cancel()
                    await asyncio.wait([running])


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.parametrize(
    ("kind", "reason", "said"),
    [
        ("402", "credit", "no credit"),
        ("401", "credentials", "VOBIZ_AUTH_ID"),
        ("403", "account", "refuses the account"),
        ("404", "account", "VOBIZ_API_URL"),
    ],
)
async def test_all_calls_wait_while_the_account_is_refused_and_go_out_in_order_afterwards(
    valkey_url: str, kind: str, reason: str, said: str
) -> None:
    async with dialing(valkey_url) as desk:
        desk.carrier.faults.add(RequestFault(kind, "/call/", "POST"), 1)
        asked = [await desk.ask(number) for number in NUMBERS]

        async def queued() -> bool:
            return [(await desk.shown(call))["state"] for call in asked] == ["queued"] * 3

        assert said in await desk.refused()
        assert await desk.edge.count("voice_dials_paused", reason=reason) == 1
        await desk.until(queued)  # the refused one is written back just after the pause
        assert not desk.carrier.calls
        desk.end_pause()
        assert [(await desk.over(call))["state"] for call in asked] == ["ended"] * 3
        assert sorted(call.to_number for call in desk.carrier.calls.values()) == NUMBERS
        assert await desk.ready() == "ready\n"
        assert await desk.edge.count("voice_dials_paused", reason=reason) == 0


async def test_each_pause_that_follows_another_is_twice_as_long_up_to_a_bound(valkey_url: str) -> None:
    async with aclosing(RedisOutboundQueue.connect(valkey_url, "test", 60)) as queue:
        lengths = []
        with redis.Redis.from_url(valkey_url) as client:
            for _ in range(8):
                await queue.pause("credit")
                await queue.pause("credit")  # ten calls that were under way are refused alike: one pause
                lengths.append(round(int(client.pttl("{dials}:paused")), -3))
                client.delete("{dials}:paused")
        assert lengths == [min(PAUSE_MS * 2**count, PAUSE_MS_MAX) for count in range(8)]
        assert await queue.paused() == ("credit", False)
        await queue.unpause()
        assert await queue.paused() == ("", False)


async def test_a_call_that_the_carrier_drops_for_want_of_credit_pauses_the_queue_and_is_not_lost(
    valkey_url: str,
) -> None:
    broke = (Callee("fails", code=1010), BRIEF)
    async with dialing(valkey_url, callees={NUMBERS[0]: broke}) as desk:
        call = await desk.ask(NUMBERS[0])
        assert "no credit" in await desk.refused()

        async def queued() -> bool:
            return (await desk.shown(call))["state"] == "queued"

        await desk.until(queued)
        desk.end_pause()
        shown = await desk.over(call)
        assert (shown["state"], shown["attempt"], shown["cause"]) == ("ended", 1, "4000")


async def test_an_answer_that_may_be_about_one_call_does_not_hold_up_the_others_for_ever(valkey_url: str) -> None:
    """403 without a word: the call goes behind the others.  They are taken, so it was about the call."""
    async with dialing(valkey_url) as desk:
        desk.carrier.faults.add(RequestFault("403", "/call/", "POST"), 1)
        asked = [await desk.ask(number) for number in NUMBERS]
        await desk.refused()
        desk.end_pause()
        for call in asked[1:]:
            assert (await desk.over(call))["state"] == "ended"
        assert (await desk.over(asked[0]))["state"] == "ended"
        assert [call.to_number for call in desk.carrier.calls.values()] == [*NUMBERS[1:], NUMBERS[0]]


async def test_a_call_that_is_refused_again_after_others_were_taken_has_failed(valkey_url: str) -> None:
    async with dialing(valkey_url, Callee(), at_once=1) as desk:
        desk.carrier.faults.add(RequestFault("403", "/call/", "POST"), 1)
        refused, taken = [await desk.ask(number) for number in NUMBERS[:2]]
        await desk.refused()
        desk.end_pause()

        async def placed() -> str:
            return str((await desk.shown(taken))["call_id"])

        await desk.until(placed)
        desk.carrier.faults.add(RequestFault("403", "/call/", "POST"), 1)
        await desk.edge.http.delete(f"/v1/calls/{taken}")
        assert (await desk.over(refused))["state"] == "failed"
        assert await desk.ready() == "ready\n"


async def test_what_is_about_one_call_fails_it_and_no_other(valkey_url: str) -> None:
    async with dialing(valkey_url) as desk:
        desk.carrier.faults.add(RequestFault("400", "/call/", "POST"), 1)
        first, second = [await desk.ask(number) for number in NUMBERS[:2]]
        assert (await desk.over(first))["state"] == "failed"
        assert (await desk.over(second))["state"] == "ended"
        assert await desk.ready() == "ready\n"
