"""Outbound calls: a real edge process and Redis, and a carrier that throttles, fails, and answers too late."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from simulators.carrier import Callee, Carrier, CarrierOptions
from simulators.carrier.refusals import RequestFault
from tools.demo import KEYLESS
from tools.ports import free_port
from tools.stack import Stack, StackOptions

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.anyio]

SENDER = "+911234567890"
CLOSED = ("ended", "failed")
TOKEN = "a token of the test's own"


def number(count: int) -> str:
    return f"+9198765{count:05d}"


@asynccontextmanager
async def dialing(redis_url: str, folder: Path, options: CarrierOptions, **settings: str) -> AsyncIterator["Desk"]:
    """A carrier, and an edge that dials through it."""
    async with Carrier(options) as carrier:
        port = free_port()
        environ = {
            **os.environ,
            "OFFER_WAIT_MS": "0",  # nobody works here: the calls are only rung
            **KEYLESS,
            "REDIS_URL": redis_url,
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            "VOBIZ_AUTH_ID": options.auth_id,
            "VOBIZ_AUTH_TOKEN": options.auth_token,
            "VOBIZ_FROM_NUMBER": SENDER,
            "VOBIZ_API_URL": carrier.api_url,
            "API_TOKEN": TOKEN,
            **settings,
        }
        async with Stack(StackOptions(environ, port=port, logs=folder, workers=())) as stack:
            headers = {"authorization": f"Bearer {TOKEN}"}
            async with httpx.AsyncClient(base_url=stack.url, headers=headers, trust_env=False) as http:
                yield Desk(carrier, stack, http, environ)


class Desk:
    """Asks for calls and waits for them."""

    def __init__(self, carrier: Carrier, stack: Stack, http: httpx.AsyncClient, environ: dict[str, str]) -> None:
        self.carrier, self.stack, self.http, self.environ = carrier, stack, http, environ

    async def ask(self, to: str, key: str = "", **more: Any) -> dict[str, Any]:
        headers = {"idempotency-key": key} if key else {}
        response = await self.http.post("/v1/calls", json={"to": to, **more}, headers=headers)
        assert response.status_code == 202, response.text
        return dict(response.json())

    async def show(self, call: dict[str, Any]) -> dict[str, Any]:
        return dict((await self.http.get(f"/v1/calls/{call['id']}")).json())

    async def until(self, call: dict[str, Any], *states: str, seconds: float = 90.0) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            while (shown := await self.show(call))["state"] not in states:
                await asyncio.sleep(0.1)
        return shown

    async def with_hangup(self, call: dict[str, Any]) -> dict[str, Any]:
        """The call with what its Hangup webhook said: kept a moment after the call was seen to be over."""
        async with asyncio.timeout(10):
            while "Hangup.HangupCauseCode" not in (shown := await self.show(call))["carrier"]:
                await asyncio.sleep(0.02)
        return shown

    @property
    def called(self) -> list[str]:
        return [call.to_number.lstrip("+") for call in self.carrier.calls.values()]


BRIEF = Callee(hangs_up_after_ms=700)


async def test_twenty_calls_all_complete_in_order_within_the_accounts_limits(valkey_url: str, tmp_path: Path):
    options = CarrierOptions(cps=1, calls_max=3, callee=BRIEF, numbers=(SENDER,), hangup_delay_ms=200)
    async with dialing(valkey_url, tmp_path, options) as desk:
        desk.carrier.faults.add(RequestFault("timeout-after", "/call/", "POST"), 2)
        desk.carrier.faults.add(RequestFault("429", "/call/", "POST"), 1)
        asked = [await desk.ask(number(count)) for count in range(20)]
        shown = [await desk.until(call, *CLOSED) for call in asked]
        assert [call["state"] for call in shown] == ["ended"] * 20
        assert desk.called == [number(count).lstrip("+") for count in range(20)]  # in order, none lost, none doubled
        refused = [request.status for request in desk.carrier.requests if request.status == 429]
        assert len(refused) <= 3  # we keep the limits ourselves; only the planted one and a rounding are refused
        ends = [(await desk.with_hangup(call))["carrier"]["Hangup.HangupCauseCode"] for call in asked]
        assert ends == ["4000"] * 20


async def test_the_states_of_a_call_from_queued_to_ended(valkey_url: str, tmp_path: Path):
    callee = Callee(ring_ms=600, hangs_up_after_ms=1500)
    async with dialing(valkey_url, tmp_path, CarrierOptions(callee=callee, numbers=(SENDER,))) as desk:
        call = await desk.ask(number(1), agent="receptionist", variables={"name": "Sarah"})
        seen = [call["state"]]
        async with asyncio.timeout(30):
            while seen[-1] not in CLOSED:
                state = (await desk.show(call))["state"]
                if state != seen[-1]:
                    seen.append(state)
                await asyncio.sleep(0.02)
        assert [state for state in seen if state in ("queued", "ringing", "answered", "ended")] == [
            *("queued", "ringing", "answered", "ended")
        ]
        shown = await desk.with_hangup(call)
        assert shown["carrier"]["Hangup.StartTime"].endswith("+05:30")
        assert shown["carrier"]["Ring.SessionStart"].endswith("+00:00")


async def test_a_repeated_request_with_the_same_key_makes_one_call(valkey_url: str, tmp_path: Path):
    async with dialing(valkey_url, tmp_path, CarrierOptions(callee=BRIEF, numbers=(SENDER,))) as desk:
        first, second = await desk.ask(number(1), key="order-7"), await desk.ask(number(1), key="order-7")
        assert first["id"] == second["id"]
        await desk.until(first, *CLOSED)
        assert len(desk.called) == 1


async def test_a_busy_line_is_tried_again_and_a_refusing_person_is_not(valkey_url: str, tmp_path: Path):
    callees = {number(1): (Callee(does="busy"), BRIEF), number(2): (Callee(does="rejects"), BRIEF)}
    options = CarrierOptions(callees=callees, numbers=(SENDER,), hangup_delay_ms=100)
    async with dialing(valkey_url, tmp_path, options) as desk:
        busy = await desk.ask(number(1), attempts_max=3, retry_after_s=1)
        rejecting = await desk.ask(number(2), attempts_max=3, retry_after_s=1)
        shown = await desk.until(busy, *CLOSED)
        assert (shown["attempt"], shown["cause"]) == (2, "4000")
        assert (await desk.until(rejecting, *CLOSED))["attempt"] == 1
        assert sorted(desk.called) == [to.lstrip("+") for to in (number(1), number(1), number(2))]


async def test_a_machine_is_left_a_message(valkey_url: str, tmp_path: Path):
    options = CarrierOptions(callee=Callee(does="machine"), numbers=(SENDER,), time_scale=0.02)
    async with dialing(valkey_url, tmp_path, options) as desk:
        call = await desk.ask(number(1), machine="message", message="Please call us back.")
        shown = await desk.until(call, *CLOSED)
        assert shown["machine"] == "yes"
        (record,) = desk.carrier.calls.values()
        assert record.spoken == ["Please call us back."]


async def test_a_call_can_be_hung_up_by_the_api(valkey_url: str, tmp_path: Path):
    async with dialing(valkey_url, tmp_path, CarrierOptions(numbers=(SENDER,), hangup_delay_ms=100)) as desk:
        call = await desk.ask(number(1))
        await desk.until(call, "answered")
        async with asyncio.timeout(10):
            while (await desk.http.delete(f"/v1/calls/{call['id']}")).status_code != 204:
                await asyncio.sleep(0.1)
        assert (await desk.until(call, *CLOSED))["state"] == "ended"
        async with asyncio.timeout(10):  # the stream's end is here before the carrier has done with the call
            while desk.carrier.live:
                await asyncio.sleep(0.05)


async def test_a_bad_request_says_everything_that_is_wrong(valkey_url: str, tmp_path: Path):
    async with dialing(valkey_url, tmp_path, CarrierOptions(numbers=(SENDER,))) as desk:
        response = await desk.http.post("/v1/calls", json={"to": "nobody", "agent": "nobody", "attempts_max": 99})
        assert response.status_code == 422
        for word in ("to:", "agent:", "attempts_max:"):
            assert word in response.json()["error"]["message"]
        assert (await desk.http.post("/v1/calls", content=b"{")).status_code == 422
        assert (await desk.http.get("/v1/calls/nothing")).status_code == 404
        stranger = {"authorization": "Bearer wrong"}
        assert (await desk.http.get("/v1/calls", headers=stranger)).status_code == 401


async def test_the_command_places_a_call_and_follows_it(valkey_url: str, tmp_path: Path):
    async with dialing(valkey_url, tmp_path, CarrierOptions(callee=BRIEF, numbers=(SENDER,))) as desk:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "edge.call", "--to", number(1), "--edge", desk.stack.url),
            env=desk.environ,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            output, _ = await process.communicate()
        assert process.returncode == 0
        states = [line.split()[0] for line in output.decode().splitlines()]
        assert states[0] == "queued"
        assert states[-1] == "ended"
