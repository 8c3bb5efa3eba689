"""What a webhook means is told by its event and status, wherever it comes and however it is spelt; and what a caller
hears when the agent is not on the line follows from how the call ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import httpx
import pytest

from common.agents.model import Agent, Agents
from common.bus.memory import MemoryStreams
from common.protocol.messages import CallEnded, HangUp
from common.protocol.redis_keys import edge_priority
from common.store import CallRecord
from common.store.dials import RedisOutboundQueue
from common.store.memory import MemoryCallStore
from edge.http.after_stream import END_SECONDS
from edge.http.transfers import AGAIN_MAX
from edge.http.webhook_urls import GIVEN_ONLY
from edge.outbound.dialer import Dialer, DialerOptions
from edge.outbound.state import Accepted, OutboundCall, Plan, Sent
from edge.vobiz.rest.client import VobizClient
from edge.vobiz.rest.transport import CarrierOptions
from tests.clock import VirtualLoop
from tests.e2e.loopback_edge import EDGE, FROM, SECONDS, TO, Edge, given, refused, running_edge
from tests.e2e.test_edge_http import xml_of

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

HELPED = Agents(
    {"desk": Agent("desk", greeting="Hello.", instructions="Be brief.", numbers=("*",), fallback_number="911234567899")}
)
APOLOGY = ["Speak", "Dial", "Hangup"]


def tags(response: httpx.Response) -> list[str]:
    return [verb.tag for verb in xml_of(response)]


async def tell(edge: Edge, path: str, call_id: str, **fields: str) -> httpx.Response:
    url = given(path, call_id) if path in GIVEN_ONLY else path
    return await edge.http.post(url, data={"CallUUID": call_id, "From": FROM, "To": TO, **fields})


async def state(edge: Edge, call_id: str) -> tuple[str, str]:
    record = await edge.store.read(call_id)
    return (record.status, record.ended_because) if record is not None else ("unknown", "")


# --- which events begin a call ------------------------------------------------------------------------------------

BEGIN = ["StartApp", "startapp", "START_APP", "Transfer", "Redirect", "DialAction", "MachineDetection", ""]
LIVING = ["ringing", "in-progress", "In-Progress", "in_progress", "queued", ""]
OVER = ["completed", "busy", "failed", "timeout", "no-answer", "cancel", "Completed", "NO_ANSWER", "canceled"]
HANGUPS = ["Hangup", "hangup", "HANGUP", "HangUp", "hang-up", " Hangup "]
PROGRESS = [
    *("Ring", "RecordStop", "Record", "ConferenceEnter", "ConferenceExit"),
    *("DialAnswer", "DialConnected", "DialDigitsMatch", "DialHangup", "connected", "digits"),
    *("StartStream", "PlayedStream", "ClearedAudio", "DegradedStream", "DroppedStream", "StopStream", "MediaError"),
    *("CallInitiated", "SomethingNew"),
]


@pytest.mark.parametrize("path", ["/answer", "/fallback"])
async def test_a_stream_is_offered_only_to_an_event_that_begins_a_call_with_a_status_that_lives(path: str) -> None:
    async with running_edge(calls_max=200) as edge:
        number = 0
        for events, statuses, first in (
            (BEGIN, LIVING, "Stream"),
            ([event for event in BEGIN if event != "MachineDetection"], OVER, "Hangup"),
            (["MachineDetection"], OVER, None),
            (HANGUPS, [*OVER, *LIVING], "Hangup"),
            (PROGRESS, [*OVER, *LIVING], None),
        ):
            for event in events:
                for status in statuses:
                    number += 1
                    answered = tags(await tell(edge, path, f"c-{number}", Event=event, CallStatus=status))
                    assert answered[:1] == ([first] if first else []), (event, status)
                    known = await state(edge, f"c-{number}")
                    assert known[0] == ("new" if first == "Stream" else "unknown"), (event, status)
                    edge.calls.cancel_reservation(f"c-{number}")
                    assert edge.calls.refusal() == "", "a place is kept for a call that will not come"


@pytest.mark.parametrize("event", [*PROGRESS, "MachineDetection"])
async def test_progress_that_comes_to_the_wrong_url_ends_no_call_and_begins_none(event: str) -> None:
    async with running_edge() as edge, edge.call("c-1") as caller:
        for path in ("/answer", "/fallback", "/ring", "/machine", "/stream-status", "/record-status"):
            response = await tell(edge, path, "c-1", Event=event)
            assert response.status_code == 200
            assert b"<Stream" not in response.content
        if event not in ("CallInitiated", "SomethingNew"):  # what is not known, the URL decides
            assert tags(await tell(edge, "/hangup", "c-1", Event=event)) == []
        await caller.goes_on()


@pytest.mark.parametrize("path", ["/answer", "/fallback", "/hangup", "/ring", "/machine", "/stream-status",
                                  "/dial-status", "/record-status", "/voicemail", "/after-stream"])  # fmt: skip
@pytest.mark.parametrize("event", HANGUPS[:3])
async def test_an_end_is_one_wherever_it_comes(path: str, event: str) -> None:
    async with running_edge() as edge, edge.call("c-1") as caller:
        assert tags(await tell(edge, path, "c-1", Event=event, CallStatus="completed")) == ["Hangup"]
        assert await caller.until_closed() == 1000
        assert [ended.reason for ended in await caller.events.until(CallEnded)] == ["caller hung up"]
        told = (await edge.http.get("/v1/calls/c-1")).json()["carrier"]
        assert told["Hangup.CallStatus"] == "completed"


@pytest.mark.parametrize("event", ["hangup", "answer", "DialHangup"])
async def test_the_end_of_the_leg_to_a_person_is_not_the_callers(event: str) -> None:
    leg = {"DialALegUUID": "c-1", "DialBLegUUID": "b-1", "DialBLegStatus": "hangup", "DialAction": event}
    async with running_edge() as edge, edge.call("c-1") as caller:
        for path in ("/answer", "/stream-status", "/hangup"):
            assert (await tell(edge, path, "c-1", Event=event, **leg)).status_code == 200
        await caller.goes_on()


@pytest.mark.parametrize("path", ["/answer", "/hangup", "/ring"])
@pytest.mark.parametrize("field", ["RequestUUID", "ALegUUID", "ALegRequestUUID", "call_uuid", "callUuid", "calluuid"])
async def test_a_call_is_named_by_any_of_its_ids(path: str, field: str) -> None:
    async with running_edge() as edge:
        response = await edge.http.post(path, data={field: "c-1", "from": FROM, "to": TO, "direction": "Inbound"})
        assert response.status_code == 200
        if path == "/answer":
            record = await edge.store.read("c-1")
            assert record is not None
            assert (record.from_number, record.to_number, record.direction) == (FROM, TO, "inbound")


TWO = Agents(
    {name: Agent(name, greeting="Hello.", instructions="Be brief.", numbers=(number,))
     for name, number in (("called", TO), ("calling", FROM))}
)  # fmt: skip


@pytest.mark.parametrize(
    ("direction", "agent", "kept"),
    [("Outbound", "calling", "outbound"), ("OUTBOUND", "calling", "outbound"), ("outbound-api", "calling", "outbound"),
     ("outbound", "calling", "outbound"), ("Inbound", "called", "inbound"), ("", "called", "inbound"),
     ("sideways", "called", "inbound")],
)  # fmt: skip
async def test_a_direction_is_read_in_any_spelling(direction: str, agent: str, kept: str) -> None:
    async with running_edge(TWO) as edge:
        assert tags(await tell(edge, "/answer", "c-1", Direction=direction))[0] == "Stream"
        record = await edge.store.read("c-1")
        assert record is not None
        assert (record.agent["name"], record.direction) == (agent, kept)


# --- an end before its beginning ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/hangup", "/answer"])
async def test_an_end_that_overtakes_its_beginning_leaves_no_call(path: str) -> None:
    async with running_edge() as edge:
        assert tags(await tell(edge, path, "c-1", Event="Hangup", CallStatus="no-answer")) == ["Hangup"]
        for event in ("StartApp", "Redirect", ""):
            assert tags(await tell(edge, "/answer", "c-1", Event=event, CallStatus="ringing")) == ["Hangup"]
        assert edge.calls.refusal() == ""
        assert tags(await tell(edge, "/answer", "c-2", Event="StartApp")) == ["Stream", "Redirect"]


def test_an_end_is_remembered_for_a_minute() -> None:
    async def remembered() -> list[bool]:
        store, found = MemoryCallStore(MemoryStreams()), []
        await store.note_end("c-1", END_SECONDS)
        for seconds in (0, END_SECONDS - 1, 2):
            await asyncio.sleep(seconds)
            found.append((await store.look_up("c-1")).end_noted)
        return [*found, (await store.look_up("c-2")).end_noted]

    loop = VirtualLoop()
    assert loop.run_until_complete(remembered()) == [True, True, False, False]
    loop.close()
    assert END_SECONDS == 60


# --- an outbound call is told first -------------------------------------------------------------------------------


@asynccontextmanager
async def dialed(
    redis_url: str, plan: Plan | None = None, transport: httpx.MockTransport | None = None
) -> AsyncIterator[tuple[Edge, Dialer, OutboundCall]]:
    """An edge, and an outbound call that the carrier has accepted as c-1, and of which it knows no more."""
    options = CarrierOptions("MA_XXXXXXXX", "token")
    rest = transport or httpx.MockTransport(lambda request: httpx.Response(404))
    async with (
        aclosing(RedisOutboundQueue.connect(redis_url, "test", 60)) as queue,
        VobizClient(options, rest) as client,
    ):
        dialer = Dialer("test", queue, (client, client), DialerOptions("http://127.0.0.1"))
        dial = await dialer.outbound.enqueue(OutboundCall("", TO, FROM, plan=plan or Plan()), "")
        await dialer.outbound.apply(dial.dial_id, Sent())
        await dialer.outbound.apply(dial.dial_id, Accepted("c-1"))
        async with running_edge(dialer=dialer) as edge:
            yield edge, dialer, dial


BARE_NEWS: list[tuple[str, dict[str, str], str]] = [
    ("/ring", {}, "ringing"),
    ("/ring", {"Event": "Ring"}, "ringing"),
    ("/hangup", {}, "ended"),
    ("/hangup", {"HangupCause": "NORMAL_CLEARING"}, "ended"),
    ("/answer", {"Event": "hangup"}, "ended"),
    ("/answer", {"Event": "StartApp", "CallStatus": "completed"}, "ended"),
    ("/answer", {"CallUUID": "not an id", "Event": "Hangup"}, "ended"),
    ("/stream-status", {"Event": "Hangup"}, "ended"),
]


@pytest.mark.parametrize(("path", "fields", "expected"), BARE_NEWS)
async def test_news_with_our_own_id_is_told_whatever_else_is_missing(
    path: str, fields: dict[str, str], expected: str, valkey_url: str
) -> None:
    for attempt in ({"attempt": "1"}, {}):
        async with dialed(valkey_url) as (edge, dialer, dial):
            query = {"dial": dial.dial_id, **attempt}
            assert (await edge.http.post(path, params=query, data=fields)).status_code == 200
            now = await dialer.outbound.read(dial.dial_id)
            assert now is not None
            assert now.state == expected
            assert now.call_id == "c-1"


async def test_news_of_another_call_without_its_attempt_is_not_told(valkey_url: str) -> None:
    async with dialed(valkey_url) as (edge, dialer, dial):
        for path in ("/ring", "/hangup"):
            await edge.http.post(path, params={"dial": dial.dial_id}, data={"CallUUID": "the-attempt-before"})
        now = await dialer.outbound.read(dial.dial_id)
        assert now is not None
        assert (now.state, now.call_id) == ("placed", "c-1")


@pytest.mark.parametrize("body", [b'{"Event":', b"<Hangup/>", b"hello", b"a=" + b"x" * 5000, b'["c-1"]'])
async def test_news_whose_body_cannot_be_read_is_told_by_its_url(body: bytes, valkey_url: str) -> None:
    async with dialed(valkey_url) as (edge, dialer, dial):
        query = {"dial": dial.dial_id, "attempt": "1"}
        for path, expected in (("/ring", "ringing"), ("/hangup", "ended")):
            assert (await edge.http.post(path, params=query, content=body)).status_code == 200
            now = await dialer.outbound.read(dial.dial_id)
            assert now is not None
            assert now.state == expected


async def test_an_outbound_call_is_connected_though_its_webhook_says_nothing_but_our_id(valkey_url: str) -> None:
    async with dialed(valkey_url) as (edge, _, dial):
        assert tags(await edge.http.post("/answer", params={"dial": dial.dial_id, "attempt": "1"}))[0] == "Stream"
        record = await edge.store.read("c-1")
        assert record is not None
        assert (record.direction, record.from_number, record.to_number) == ("outbound", FROM, TO)


@pytest.mark.parametrize(
    ("said", "machine"),
    [("true", "yes"), ("True", "yes"), ("1", "yes"), ("machine", "yes"), ("false", "no"), ("No", "no"),
     ("", ""), (None, ""), ("perhaps", "")],
)  # fmt: skip
async def test_a_machine_is_one_only_if_the_webhook_says_so(said: str | None, machine: str, valkey_url: str) -> None:
    async with dialed(valkey_url) as (edge, dialer, dial):
        fields = {"Event": "MachineDetection"} | ({"Machine": said} if said is not None else {})
        query = {"dial": dial.dial_id, "attempt": "1"}
        assert (await edge.http.post("/machine", params=query, data=fields)).status_code == 200
        now = await dialer.outbound.read(dial.dial_id)
        assert now is not None
        assert now.machine == machine


@pytest.mark.parametrize("message", ["   ", "\t\n", "\x00\x01", ""])
async def test_a_message_without_a_word_is_not_spoken(message: str, valkey_url: str) -> None:
    async with dialed(valkey_url, Plan(machine="message", message=message)) as (edge, _, dial):
        assert tags(await edge.http.post("/voicemail", params={"dial": dial.dial_id})) == ["Hangup"]


async def test_an_operator_is_told_if_the_carrier_could_not_be(valkey_url: str) -> None:
    """A line that rings, and a REST API that refuses: 204 would say that the phone rings no more."""
    refuses = httpx.MockTransport(lambda request: httpx.Response(401))
    async with dialed(valkey_url, transport=refuses) as (edge, _, dial):
        response = await edge.http.delete(f"/v1/calls/{dial.dial_id}")
        assert (response.status_code, response.json()["error"]["code"]) == (502, "carrier_away")
    async with dialed(valkey_url) as (edge, _, dial):  # it is over already
        assert (await edge.http.delete(f"/v1/calls/{dial.dial_id}")).status_code == 204


# --- what follows the stream --------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["agent hung up", "operator hung up", "silence", "too long", "caller hung up"])
async def test_after_a_call_that_ended_nothing_is_said_and_nobody_is_rung(reason: str) -> None:
    async with running_edge(HELPED) as edge:
        await edge.store.create(CallRecord("c-1"))
        await edge.store.start("c-1", "edge-b")
        await edge.store.end("c-1", reason)
        for event in ("Redirect", "StartApp", ""):
            assert tags(await tell(edge, "/after-stream", "c-1", Event=event, CallStatus="in-progress")) == ["Hangup"]
        if reason != "caller hung up":  # a carrier that asks for the whole document again
            for path in ("/answer", "/fallback"):
                assert tags(await tell(edge, path, "c-1", Event="StartApp", CallStatus="in-progress")) == ["Hangup"]


@pytest.mark.parametrize("reason", ["error", "refused"])
async def test_after_a_call_that_was_lost_the_caller_hears_so_and_meets_a_person(reason: str) -> None:
    async with running_edge(HELPED) as edge:
        await tell(edge, "/answer", "c-1")
        await edge.store.end("c-1", reason)
        for path in ("/after-stream", "/fallback", "/answer"):
            assert tags(await tell(edge, path, "c-1", Event="Redirect")) == APOLOGY
        await tell(edge, "/hangup", "c-1")
        for path in ("/after-stream", "/fallback", "/answer"):
            assert tags(await tell(edge, path, "c-1", Event="Redirect")) == ["Hangup"]


async def test_a_stream_that_never_came_is_lost_and_its_call_is_over() -> None:
    async with running_edge(HELPED) as edge:
        url = await edge.answer("c-1")
        for _ in range(2):
            assert tags(await tell(edge, "/after-stream", "c-1", Event="Redirect")) == APOLOGY
        assert await state(edge, "c-1") == ("ended", "carrier")
        assert await refused(url) == (403, "call_is_over")


async def test_a_stream_that_broke_is_lost_and_the_call_waits_for_it_no_longer() -> None:
    async with running_edge(HELPED) as edge, edge.call("c-1") as caller:
        caller.socket.transport.abort()
        assert tags(await tell(edge, "/after-stream", "c-1", Event="Redirect")) == APOLOGY
        async with asyncio.timeout(SECONDS):
            await edge.calls.drained()
        assert await state(edge, "c-1") == ("ended", "carrier")
        assert tags(await tell(edge, "/after-stream", "c-1", Event="Redirect")) == APOLOGY


async def test_a_stream_that_broke_at_another_edge_is_told_there() -> None:
    async with running_edge(HELPED) as edge:
        await tell(edge, "/answer", "far")
        await edge.store.start("far", "edge-b")
        there = edge.follow(edge_priority("edge-b"))
        assert tags(await tell(edge, "/after-stream", "far", Event="Redirect")) == APOLOGY
        assert await there.until(HangUp) == [HangUp("far", "carrier", epoch=1)]


@pytest.mark.parametrize("reason", ["agent hung up", "operator hung up", "silence", "too long"])
async def test_a_goodbye_whose_end_redis_does_not_know_yet_is_one_all_the_same(reason: str) -> None:
    async with running_edge(HELPED) as edge, edge.call("c-1") as caller:
        call = edge.calls.get("c-1")
        assert call is not None
        call.stop(reason)
        assert tags(await tell(edge, "/after-stream", "c-1", Event="Redirect")) == ["Hangup"]
        await caller.until("stop")


class SpeechlessLedger(MemoryCallStore):
    """Cannot be asked about a call."""

    async def read(self, call_id: str) -> CallRecord | None:
        raise ConnectionError("away")


async def test_while_redis_is_away_the_caller_hears_why_and_nobody_is_rung_for_a_perhaps() -> None:
    async with running_edge(HELPED, ledgers=SpeechlessLedger) as edge:
        for call_id in ("c-1", "unheard-of"):  # the carrier comes again: it may have been transferred
            assert tags(await tell(edge, "/after-stream", call_id, Event="Redirect")) == ["Wait", "Redirect"]
            last = await tell(edge, "/after-stream", call_id, Event="Redirect", again=str(AGAIN_MAX))
            assert tags(last) == ["Speak", "Hangup"]


@pytest.mark.parametrize("with_rest", [False, True])
async def test_the_document_does_not_guess_how_its_stream_will_end(with_rest: bool, valkey_url: str) -> None:
    """With REST credentials, too: a hang-up that fails there must not ring the agent's person."""
    async with (
        dialed(valkey_url) as (_, dialer, _dial),
        running_edge(HELPED, dialer=dialer if with_rest else None) as edge,
    ):
        assert tags(await tell(edge, "/answer", "c-9")) == ["Stream", "Redirect"]
        async with edge.call("c-9") as caller:
            edge.workers.publish(edge_priority(EDGE), HangUp("c-9", "agent hung up"))
            await caller.until("stop")
            assert tags(await tell(edge, "/after-stream", "c-9", Event="Redirect")) == ["Hangup"]


async def test_a_person_who_was_rung_is_rung_again_by_nothing() -> None:
    for status, verbs in {
        "completed": ["Hangup"], "Completed": ["Hangup"], "COMPLETED": ["Hangup"], "answered": ["Hangup"],
        "": ["Hangup"], "busy": ["Speak", "Hangup"], "no-answer": ["Speak", "Hangup"], "NO_ANSWER": ["Speak", "Hangup"],
    }.items():  # fmt: skip
        async with running_edge(HELPED) as edge:
            await tell(edge, "/answer", "c-1")
            assert tags(await tell(edge, "/dial-status", "c-1", Event="DialAction", DialStatus=status)) == verbs
            ended = await tell(
                edge, "/dial-status", "c-1", Event="DialAction", DialStatus=status, CallStatus="completed"
            )
            assert tags(ended) == ["Hangup"]
