"""Sections 1.6 to 1.8: what Vobiz tells about a call while it goes on and when it is over, in whatever order."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import httpx
import pytest

from common.protocol.messages import CallEnded
from common.store.dials import RedisOutboundQueue
from edge.outbound.dialer import Dialer, DialerOptions
from edge.vobiz.rest.client import VobizClient
from edge.vobiz.rest.transport import CarrierOptions as Account
from simulators.carrier import Callee, Carrier, CarrierOptions
from simulators.carrier.record import CallRecord
from simulators.script import HangUp, Wait
from simulators.webhooks import signatures
from tests.conformance.captured import AGENT, answer, facts, hangup, post, shown, stream_status, tags, until_ended
from tests.conformance.scenes import Scenes
from tests.e2e.loopback_edge import TO, Edge, refused, running_edge
from tools.ports import free_port

pytestmark = pytest.mark.processes

SCENES = Scenes()


# --- 1.6 stream status -------------------------------------------------------------------------------------------

EXTRA = {
    "StartStream": {"ServiceURL": "wss://voice.example.com/ws"},
    "PlayedStream": {"Name": "1.1.0"},
    "ClearedAudio": {},
    "DegradedStream": {"Error": "connection degraded"},
    "DroppedStream": {"Error": "connection disconnected with the remote service"},
    "StopStream": {},
    "MediaError": {"Error": "media error"},
}


def tells(row: str, event: str) -> None:
    """The event is kept with the call, and the call goes on."""

    @SCENES.walk(row)
    async def _(edge: Edge, call_id: str) -> None:
        async with edge.call(call_id) as caller:
            for _ in range(2):
                await post(edge, "/stream-status", stream_status(call_id, event, **EXTRA[event]))
            await caller.goes_on()
        told = await facts(edge, call_id)
        assert told[f"{event}.Timestamp"] == "2025-11-06T09:58:40+00:00"
        kept = EXTRA[event].keys() - {"ServiceURL"}
        assert {name: told[f"{event}.{name}"] for name in kept} == {name: EXTRA[event][name] for name in kept}
        assert not [value for value in told.values() if "/ws" in value]  # the stream's URL holds its token


for _event in EXTRA:
    tells(f"1.6 {_event}", _event)
tells("9.16 StopStream", "StopStream")


@SCENES.walk("1.6 Error is empty on healthy events", "1.6 X-VH-* from extraHeaders")
async def _(edge: Edge, call_id: str) -> None:
    await edge.answer(call_id)
    await post(edge, "/stream-status", stream_status(call_id, "StartStream", **{"X-VH-ref": "abc"}))
    told = await facts(edge, call_id)
    assert "StartStream.Error" not in told
    assert told["StartStream.X-VH-ref"] == "abc"


@SCENES.walk("1.6 15 callbacks in one call")
async def _(edge: Edge, call_id: str) -> None:
    async with edge.call(call_id) as caller:
        many = [stream_status(call_id, "PlayedStream", Name=f"1.1.{clause}") for clause in range(15)]
        await asyncio.gather(*(post(edge, "/stream-status", fields) for fields in many))
        await caller.goes_on()
    assert (await facts(edge, call_id))["PlayedStream.Name"].startswith("1.1.")


# --- 1.7 hangup --------------------------------------------------------------------------------------------------


@SCENES.walk(
    "1.7 the captured body",
    "1.7 StartTime, AnswerTime, EndTime are Indian time, SessionStart is UTC",
    "1.7 Duration and BillDuration",
    "1.7 TotalCost is zero",
)
async def _(edge: Edge, call_id: str) -> None:
    async with edge.call(call_id):
        await post(edge, "/hangup", hangup(call_id))
    told = await facts(edge, call_id)
    assert told["Hangup.StartTime"] == "2026-07-21T13:38:38+05:30"
    assert told["Hangup.AnswerTime"] == "2026-07-21T13:38:41+05:30"
    assert told["Hangup.EndTime"] == "2026-07-21T13:38:45+05:30"
    assert told["Hangup.SessionStart"] == "2026-07-21T08:08:38.662991+00:00"
    assert (told["Hangup.Duration"], told["Hangup.BillDuration"]) == ("4", "60")
    assert told["Hangup.TotalCost"] == "0.00000 (always zero in webhooks)"
    plain = hangup(call_id).keys() - {"Event", "StartTime", "AnswerTime", "EndTime", "SessionStart"}
    assert {f"Hangup.{name}" for name in plain} <= told.keys()


STORY = ("Hangup", "Hangup", "Hangup", "StopStream", "close")
"""What comes at the end of a call, where anything may be first: the webhook up to three times, a late stream status."""


def ends_once(row: str, orders: list[tuple[str, ...]]) -> None:
    @SCENES.walk(row)
    async def _(edge: Edge, call_id: str) -> None:
        for place, order in enumerate(orders):
            this = f"{call_id}-{place}"
            async with edge.call(this) as caller:
                for step in order:
                    if step == "close":
                        await caller.socket.close()
                    elif step == "Hangup":
                        assert tags(await post(edge, "/hangup", hangup(this))) == ["Hangup"]
                    else:
                        await post(edge, "/stream-status", stream_status(this, step))
                await caller.until_closed()
                await caller.events.until(CallEnded)
            await until_ended(edge, this)
            assert [ended.reason for ended in await caller.events.until(CallEnded)] == ["caller hung up"], order
            assert (await shown(edge, this))["ended_because"] == "caller hung up"
            assert {"Hangup.HangupCauseCode", "Hangup.Duration"} <= (await facts(edge, this)).keys()


ends_once("1.7 5 s after the socket closed", [("close", "Hangup")])
ends_once("1.7 before the socket closes", [("Hangup", "close"), ("Hangup",)])
ends_once("1.7 three tries", list(dict.fromkeys(itertools.permutations(STORY))))
ends_once("1.6 StreamStatus after Hangup", [("Hangup", "StopStream"), ("close", "Hangup", "DroppedStream")])


@SCENES.walk("1.7 headers of the capture")
async def _(edge: Edge, call_id: str) -> None:
    """V1 and MA headers beside the others, in lower case."""
    async with running_edge(tokens=("account token",)) as signed:
        url = f"{signed.http.base_url}/hangup"
        headers = {name.lower(): value for name, value in (AGENT | signatures("account token", url)).items()}
        assert (await signed.http.post("/hangup", data=hangup(call_id), headers=headers)).status_code == 200


@SCENES.walk("1.7 no answer", "1.7 A leg only")
async def _(edge: Edge, call_id: str) -> None:
    """A call that nobody took has a Hangup and no stream; one of another leg, whose id we never saw, does nothing."""
    await edge.answer(call_id)
    fields = {"CallStatus": "no-answer", "HangupCause": "NO_ANSWER", "HangupCauseCode": "6010", "AnswerTime": ""}
    await post(edge, "/hangup", hangup(call_id, **fields))
    assert (await shown(edge, call_id))["state"] == "ended"
    assert "Hangup.AnswerTime" not in await facts(edge, call_id)
    await post(edge, "/hangup", hangup(f"{call_id}-b-leg"))
    assert (await edge.http.get(f"/v1/calls/{call_id}-b-leg")).status_code == 404


@SCENES.walk("1.7 hangup to answer_url")
async def _(edge: Edge, call_id: str) -> None:
    async with edge.call(call_id) as caller:
        assert tags(await post(edge, "/answer", hangup(call_id))) == ["Hangup"]
        assert await caller.until_closed() == 1000
        assert len(await caller.events.until(CallEnded)) == 1
    assert (await facts(edge, call_id))["Hangup.HangupCause"] == "NORMAL_CLEARING"


@SCENES.walk("1.7 HangupSource is free text", "1.7 HangupCauseCode 4000 or 16", "9.17 hangup cause code and source")
async def _(edge: Edge, call_id: str) -> None:
    sources = ("Callee", "Caller", "Call recipient", "Vobiz", "Carrier", "API Request", "Answer XML", "Error", "")
    for place, source in enumerate(sources):
        this, code = f"{call_id}-{place}", ("4000", "16", "", "no number")[place % 4]
        await edge.answer(this)
        await post(edge, "/hangup", hangup(this, HangupSource=source, HangupCauseCode=code))
        told = await facts(edge, this)
        assert (told.get("Hangup.HangupSource", ""), told.get("Hangup.HangupCauseCode", "")) == (source, code)
        assert (await shown(edge, this))["state"] == "ended"


@SCENES.walk("9.2 inbound stop")
async def _(edge: Edge, call_id: str) -> None:
    for this, stops in ((f"{call_id}-a", True), (f"{call_id}-b", False)):
        async with edge.call(this) as caller:
            if stops:
                await caller.send({"event": "stop", "streamId": f"stream-of-{this}", "reason": "call_ended"})
            await caller.socket.close()
            await post(edge, "/hangup", hangup(this))
            assert len(await caller.events.until(CallEnded)) == 1


test_webhooks = SCENES.test()


# --- 1.8 outbound: ring, fallback, machine -----------------------------------------------------------------------

ACCOUNT = Account("MA_XXXXXXXX", "simulated-token")


class Desk:
    """An edge that dials, and the carrier that it dials through."""

    def __init__(self, edge: Edge, carrier: Carrier) -> None:
        self.edge, self.carrier = edge, carrier

    async def over(self, **more: object) -> tuple[dict[str, object], CallRecord]:
        """A call that was asked for, once it has ended: as the API and as the carrier saw it."""
        asked = await self.edge.http.post("/v1/calls", json={"to": TO, **more})
        assert asked.status_code == 202, asked.text
        async with asyncio.timeout(20):
            while (call := await shown(self.edge, asked.json()["id"]))["state"] not in ("ended", "failed"):
                await asyncio.sleep(0.02)
            record = self.carrier.calls[call["call_id"]]
            await record.over()
        return await shown(self.edge, asked.json()["id"]), record


@asynccontextmanager
async def dialing(redis_url: str, callee: Callee) -> AsyncIterator[Desk]:
    port = free_port()
    public_url = f"http://127.0.0.1:{port}"
    options = CarrierOptions(callee=callee, hangup_delay_ms=20, time_scale=0.02)
    async with Carrier(options) as carrier, aclosing(RedisOutboundQueue.connect(redis_url, "test", 60)) as queue:
        account = Account(options.auth_id, options.auth_token, carrier.api_url)
        async with VobizClient(account) as client:
            dialer = Dialer("test", queue, (client, client), DialerOptions(public_url, 50.0, 10))
            tokens = (options.auth_token,)
            async with running_edge(port=port, public_url=public_url, tokens=tokens, dialer=dialer) as edge:
                running = asyncio.create_task(dialer.run())
                try:
                    yield Desk(edge, carrier)
                finally:
                    running.cancel()
                    await asyncio.wait([running])


BRIEF = Callee(ring_ms=100, script=(Wait(100), HangUp()))


async def placed(redis_url: str) -> None:
    """REST reply, Ring, answer, stream, Hangup: in that order, and each is kept."""
    async with dialing(redis_url, BRIEF) as desk:
        call, record = await desk.over()
        assert (call["state"], call["cause"], call["direction"]) == ("ended", "4000", "outbound")
        assert [webhook.kind for webhook in record.webhooks if webhook.kind != "stream-status"] == [
            *("ring", "answer", "hangup")
        ]
        assert {webhook.status for webhook in record.webhooks} == {200}
        told = call["carrier"]
        assert isinstance(told, dict)
        assert {"Ring.CallStatus", "StartApp.CallStatus", "StartStream.StreamID", "Hangup.HangupCause"} <= told.keys()


async def falls_back(redis_url: str) -> None:
    """The fallback URL answers like the answer URL."""
    async with dialing(redis_url, BRIEF) as desk:
        assert tags(await signed(desk, "/fallback", answer("c-1", CallStatus="in-progress")))[0] == "Stream"


async def machine(redis_url: str) -> None:
    """Told, the agent talks to it; with `hangup` the carrier ends the call with 9100; a message is left by transfer."""
    wanted = {"machine_detection_time": 4000, "machine_detection_maximum_speech_length": 4000,
              "machine_detection_initial_silence": 2500, "machine_detection_maximum_words": 5,
              "machine_detection_initial_greeting": 4000}  # fmt: skip
    async with dialing(redis_url, Callee(does="machine", script=(Wait(3000), HangUp()))) as desk:
        call, record = await desk.over(machine="hangup")
        assert (call["machine"], call["cause"], record.machine) == ("yes", "9100", True)
        body = next(request.body for request in desk.carrier.requests if request.method == "POST")
        assert body["machine_detection"] == "hangup"
        assert {name: body[name] for name in wanted} == wanted
        call, record = await desk.over(machine="message", message="Please call us back.")
        assert (call["machine"], record.spoken) == ("yes", ["Please call us back."])
        told = call["carrier"]
        assert isinstance(told, dict)
        assert (told["MachineDetection.Machine"], told["MachineDetection.IfMachine"]) == ("true", "continue")


async def late_news(redis_url: str) -> None:
    """Ring, the machine's verdict and a recording may come after the Hangup: the call stays over, all is kept."""
    async with dialing(redis_url, BRIEF) as desk:
        call, record = await desk.over()
        this = {"CallUUID": record.call_id}
        ring = next(webhook for webhook in record.webhooks if webhook.kind == "ring")
        query = ring.url.partition("?")[2]
        await signed(desk, f"/ring?{query}", {**this, "Event": "Ring"})
        await signed(desk, f"/machine?{query}", {**this, "Event": "MachineDetection", "Machine": "true"})
        await signed(desk, "/record-status", {**this, "Event": "RecordStop", "RecordingID": "r-1"})
        again = await shown(desk.edge, str(call["id"]))
        assert (again["state"], again["cause"]) == ("ended", "4000")
        assert again["carrier"]["RecordStop.RecordingID"] == "r-1"
        stream = next(webhook.fields["ServiceURL"] for webhook in record.webhooks if "ServiceURL" in webhook.fields)
        assert await refused(stream) == (403, "call_is_over")


async def signed(desk: Desk, path: str, fields: dict[str, str]) -> httpx.Response:
    headers = AGENT | signatures(ACCOUNT.auth_token, f"{desk.edge.http.base_url}{path}")
    response = await desk.edge.http.post(path, data=fields, headers=headers)
    assert response.status_code == 200, response.text
    return response


OUTBOUND = {
    "1.1 order of an outbound call": placed,
    "1.8 ring_url": placed,
    "1.8 fallback_url": falls_back,
    "1.8 machine detection parameters": machine,
    "1.8 machine detection callback": machine,
    "1.8 machine detection with hangup": machine,
    "1.8 Hangup is not the last webhook": late_news,
}


@pytest.mark.anyio
@pytest.mark.parametrize("row", OUTBOUND)
async def test_outbound(row: str, valkey_url: str) -> None:
    await OUTBOUND[row](valkey_url)
