"""The socket is closed in mid-call, by whomever: the call is over when the carrier says so, and may come back."""

import asyncio

import pytest

from common.protocol.messages import CallStarted, Interrupted, PlaybackStarted, ReplyStarted, SpeechStarted
from edge.session.media_streams import COME_BACK_SECONDS
from tests.calls.carrier import CALL, carrier
from tests.calls.phone import answered_call

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("away_s", [0.1, 5.0, COME_BACK_SECONDS - 1])
async def test_the_token_of_a_call_whose_socket_was_closed_works_for_the_time_to_come_back(clean: bool, away_s: float):
    async with carrier() as one:
        token = await one.asks()
        socket = await one.connects(token)
        socket.close(clean)
        await asyncio.sleep(away_s)
        assert await one.state() == ("live", "", 1)
        assert not (await one.connects(token)).refused
        assert await one.state() == ("live", "", 2)
        await asyncio.sleep(COME_BACK_SECONDS)
        assert (await one.state(), one.ends) == (("live", "", 2), [])


@pytest.mark.parametrize(("clean", "reason"), [(True, "caller hung up"), (False, "carrier")])
async def test_a_call_that_does_not_come_back_ends_and_its_token_with_it(clean: bool, reason: str):
    async with carrier() as one:
        token = await one.asks()
        (await one.connects(token)).close(clean)
        await asyncio.sleep(COME_BACK_SECONDS + 1)
        assert (await one.state(), one.ends) == (("ended", reason, 1), [reason])
        assert (await one.connects(token)).refused


@pytest.mark.parametrize("word", ["stop", "webhook", "webhook first"])
async def test_the_carriers_word_ends_a_call_at_once(word: str):
    async with carrier() as one:
        token = await one.asks()
        socket = await one.connects(token)
        if word == "webhook first":
            await one.tells_the_end()
        if word == "stop":
            socket.text(b'{"event":"stop","reason":"call_ended"}')
        socket.close(True)
        if word == "webhook":
            await asyncio.sleep(5)
            await one.tells_the_end()
        await asyncio.sleep(0.1)
        assert (await one.state(), one.ends) == (("ended", "caller hung up", 1), ["caller hung up"])
        assert (await one.connects(token)).refused


async def test_a_peer_that_speaks_no_websocket_is_not_waited_for():
    async with carrier() as one:
        (await one.connects(await one.asks())).close(None)
        await asyncio.sleep(0.1)
        assert one.ends == ["caller hung up"]


@pytest.mark.parametrize("away_s", [1.0, COME_BACK_SECONDS + 5, 300.0])
@pytest.mark.parametrize("event", ["Redirect", "DialAction", "StartApp", "Transfer"])
async def test_a_call_that_is_handed_back_goes_on_under_the_next_epoch(event: str, away_s: float):
    """From a `<Redirect>`, or after talking to a person; the person's own number may stand in `To`."""
    async with carrier() as one:
        (await one.connects(await one.asks())).close(True)
        await asyncio.sleep(away_s)
        token = await one.asks(Event=event, CallStatus="in-progress", To="911234500000")
        socket = await one.connects(token)
        assert not socket.refused
        assert await one.state() == ("live", "", 2)
        await one.is_silent(socket, 20)
        assert (await one.state())[0] == "live"
        socket.close(True)
        await one.tells_the_end()
        assert await one.state() == ("ended", "caller hung up", 2)


async def test_a_call_may_be_handed_back_to_another_edge():
    async with carrier() as one:
        (await one.connects(await one.asks())).close(True)
        await asyncio.sleep(60)
        one.edge()
        assert not (await one.connects(await one.asks(Event="Redirect"))).refused
        assert await one.state() == ("live", "", 2)


@pytest.mark.parametrize("late_s", [1.0, 30.0])
async def test_a_late_question_does_not_revive_a_call_whose_end_was_told(late_s: float):
    async with carrier() as one:
        old = await one.asks()
        (await one.connects(old)).close(True)
        await asyncio.sleep(late_s)
        await one.tells_the_end()
        assert await one.asks() == ""
        assert (await one.connects(old)).refused
        assert (await one.state())[0] == "ended"


async def test_a_call_that_we_ended_is_not_handed_back():
    async with carrier() as one:
        socket = await one.connects(await one.asks())
        call = one.calls.get(CALL)
        assert call is not None
        call.stop("agent hung up")
        await asyncio.sleep(0.1)
        socket.close(True)
        await asyncio.sleep(0.1)
        assert await one.asks(Event="Redirect") == ""
        assert await one.state() == ("ended", "agent hung up", 1)


async def test_a_stream_that_comes_too_late_after_the_question_is_refused():
    async with carrier() as one:
        (await one.connects(await one.asks())).close(True)
        await asyncio.sleep(60)
        token = await one.asks(Event="Redirect")
        await asyncio.sleep(120)
        await one.connects(token)
        assert (await one.state())[0] == "ended"


async def test_a_call_that_is_handed_back_is_not_greeted_again_and_is_answered():
    async with answered_call({"hours": "Nine to six."}) as phone:
        await phone.hears("Hello.")
        await phone.silence()
        phone.call.end("carrier")
        await phone.after(30)
        assert await phone.store.reopen("call-1")
        await phone.comes_back()
        await phone.after(2)
        assert phone.heard == ""
        await phone.says("hours")
        await phone.hears("Nine to six.")
        assert [message.epoch for message in phone.events if isinstance(message, CallStarted)] == [1, 2]
        assert [message.utterance for message in phone.events if isinstance(message, ReplyStarted)] == [0, 1]
        assert sum(isinstance(message, PlaybackStarted) for message in phone.events) == 2


@pytest.mark.parametrize("late_s", [0.05, 1.0])
async def test_what_was_sent_into_a_closed_socket_was_not_heard(late_s: float):
    """News of the caller's speech may come after the close; the story says how far they had heard until then."""
    async with answered_call({"hours": "We are open from Monday to Friday, from nine to six."}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("We are open")
        phone.starts_saying("wait a moment")
        await phone.after(0.1)
        heard_ms = 60 * len(phone.heard.removeprefix("Hello."))
        phone.call.disconnected(True)
        await phone.after(late_s)
        phone.call.speech_started(SpeechStarted("call-1", 9, 99, phone.call.frames_in * 20))
        *_, cut = [event for event in phone.events if isinstance(event, Interrupted)]
        assert cut.heard_ms == pytest.approx(heard_ms, abs=60)
