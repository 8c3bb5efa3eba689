"""Who does not have the call any more gives no orders: an older owner, another connection.  And reasons are a set."""

import asyncio

import pytest

from common.bus.memory import MemoryBus, MemoryStreams
from common.call.end_reasons import EndReason
from common.call.transcript import CallTranscript
from common.protocol.messages import (
    AudioOut,
    CallEnded,
    ClausePlayed,
    HangUp,
    Interrupted,
    Message,
    ReplyPlayed,
    ReplyReleased,
    ReplySynthesized,
    SpeechEnded,
    SpeechStarted,
    WordsDetected,
)
from common.protocol.redis_keys import edge_audio, edge_priority
from common.store import CallRecord
from common.store.memory import MemoryCallStore
from common.telemetry import metrics
from edge.session.fences import Fences
from tests.calls.doubles import spoken
from tests.calls.phone import CALL, Phone, answered_call
from workers.llm.conversation import Dialogue
from workers.runtime.quarantine import QuarantinedCall
from workers.tts.plan import SpeechPlan

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

ANSWER = "We are open from Monday to Friday. On Saturday we open at ten. On Sunday we are closed."
SECRETS = ["+911234567890", "my name is Asha", "silence ", "Carrier", "", "x" * 300, "caller hung up\n", "0"]
"""Reasons that no release knows."""


def refused(order: str) -> float:
    """How often such an order was ignored."""
    wanted = f'voice_stale_orders_total{{message="{order}"}} '
    lines = metrics.exposition().decode().splitlines()
    return sum(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))


async def ordered(phone: Phone, *orders: Message) -> None:
    for order in orders:
        phone.bus.publish(edge_priority(phone.call.record.edge), order)
    await phone.after(0.3)


async def after_a_takeover(phone: Phone) -> None:
    """Every pool has a second owner by now, as the edge knows."""
    phone.call.fences.settle({f"token:{pool}": "2" for pool in ("stt", "llm", "tts")})


@pytest.mark.parametrize(
    "stale",
    [
        pytest.param(HangUp(CALL, "error", 1, 1, "stt"), id="ears that were replaced"),
        pytest.param(HangUp(CALL, "too long", 1, 1, "llm"), id="a mind that was replaced"),
        pytest.param(HangUp(CALL, "error", 1, 0, "tts"), id="a mouth that was replaced, and says no connection"),
        pytest.param(HangUp(CALL, "operator hung up", 0, 7), id="another connection"),
        pytest.param(HangUp(CALL, "error", 2, 7, "tts"), id="the newest owner, of another connection"),
    ],
)
async def test_a_hang_up_of_who_has_the_call_no_more_is_ignored_and_counted(stale: HangUp):
    async with answered_call() as phone:
        await phone.hears("Hello.")
        await after_a_takeover(phone)
        before = refused("hang up")
        await ordered(phone, stale)
        assert not phone.call.lifecycle.stopped
        assert refused("hang up") == before + 1


@pytest.mark.parametrize(
    "order",
    [
        HangUp(CALL, "error", 2, 1, "stt"),
        HangUp(CALL, "error", 3, 1, "llm"),  # an owner that the edge has not heard of yet
        HangUp(CALL, "operator hung up", 0, 1),
        HangUp(CALL, "carrier"),  # of a release that says neither
    ],
)
async def test_a_hang_up_of_who_has_the_call_ends_it(order: HangUp):
    async with answered_call() as phone:
        await phone.hears("Hello.")
        await after_a_takeover(phone)
        await ordered(phone, order)
        assert phone.call.lifecycle.reason == order.reason


async def test_a_carrier_that_does_not_confirm_the_end_makes_no_reason_of_a_number():
    """The call ends by itself then, and with the reason of the order."""
    async with answered_call() as phone:
        await phone.hears("Hello.")
        phone.line.send_texts = lambda messages: None  # type: ignore[method-assign]
        await ordered(phone, HangUp(CALL, "+911234567890"))
        assert not phone.call.lifecycle.over
        assert await phone.ended() == "other"


@pytest.mark.parametrize("text", SECRETS)
async def test_a_reason_that_nobody_knows_is_other(text: str):
    before = set(metrics.exposition().decode().splitlines())
    async with answered_call() as phone:
        await phone.hears("Hello.")
        await ordered(phone, HangUp(CALL, text))
        assert phone.call.lifecycle.reason == "other"  # what is written into the record
        assert await phone.ended() == "other"
        assert [message.reason for message in phone.events if isinstance(message, CallEnded)] == ["other"]
    new = {line for line in metrics.exposition().decode().splitlines() if line not in before}
    assert not [line for line in new if text.strip("0 \n") and text.strip() in line]


async def test_a_replaced_workers_speech_and_release_stop_and_play_nothing():
    async with answered_call({"hours": ANSWER}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Monday")
        await after_a_takeover(phone)
        before = {
            order: refused(order) for order in ("speech started", "speech ended", "words detected", "reply released")
        }
        await ordered(
            phone,
            SpeechStarted(CALL, 1, 99, 10_000_000),
            WordsDetected(CALL, 1, 99),
            SpeechEnded(CALL, 1, 99, 10_000_100),
            ReplyReleased(CALL, 1, 9),
        )
        assert {order: refused(order) - count for order, count in before.items()} == dict.fromkeys(before, 1.0)
        await phone.hears("On Sunday we are closed.")


async def test_a_voice_that_was_replaced_or_speaks_to_a_past_connection_is_not_heard():
    async with answered_call() as phone:
        await phone.hears("Hello.")
        await phone.silence()
        await phone.edge_dies()
        phone.call.fences.settle({"token:tts": "2"})
        words = b"".join(spoken("Of the past. "))
        for epoch, token in ((2, 1), (1, 2)):
            phone.bus.publish(edge_audio("edge-2"), AudioOut(CALL, epoch, token, 2, 0, 0, words, last=True))
            phone.bus.publish(edge_audio("edge-2"), ReplySynthesized(CALL, epoch, token, 2, "hangup"))
        await phone.after(3)
        assert phone.heard == ""
        assert not phone.call.lifecycle.stopped, "nor does it hang up"
        words = b"".join(spoken("Of today."))
        phone.bus.publish(edge_audio("edge-2"), AudioOut(CALL, 2, 2, 2, 0, 0, words, last=True))
        await phone.hears("Of today.")
        assert phone.heard == "Of today."


async def test_a_worker_that_gives_up_says_so_to_the_edge_that_has_the_call_by_now():
    """It claimed the call at the first connection; the order bears the second."""
    async with answered_call({"hours": ANSWER}) as phone:
        await phone.hears("Hello.")
        await phone.silence()
        await phone.edge_dies()
        phone.mouth.fails = 99
        await phone.says("hours")
        assert await phone.ended() == "error"


@pytest.mark.parametrize("pool", ["stt", "llm", "tts"])
def test_the_ledgers_word_is_final(pool: str):
    fences = Fences()
    assert fences.admits(pool, 5)
    assert not fences.admits(pool, 4)
    fences.settle({f"token:{pool}": "4"})  # a failover had lost the fifth claim
    assert fences.admits(pool, 4)
    fences.settle({f"token:{pool}": "garbage"})
    assert not fences.admits(pool, 3)
    fences.forget()
    assert fences.admits(pool, 1)


async def test_a_failover_that_lost_the_ears_claims_does_not_make_their_successors_unheard():
    async with answered_call({"hours": ANSWER}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Monday")
        position_ms = phone.call.frames_in * 20
        await ordered(phone, SpeechEnded(CALL, 9, 0, position_ms))
        phone.call.fences.settle({"token:stt": "7"})  # the claims 8 and 9 are lost
        clears = len(phone.line.clears)
        await ordered(phone, SpeechStarted(CALL, 7, 91, phone.call.frames_in * 20))
        assert len(phone.line.clears) == clears + 1


async def test_a_worker_that_does_not_follow_its_call_gives_it_up_where_it_is_by_now():
    streams = MemoryStreams()
    store, bus = MemoryCallStore(streams), MemoryBus(streams)
    await store.create(CallRecord(CALL))
    await store.start(CALL, "edge-1")
    claim = await store.claim("stt", CALL, "stt-1")
    assert claim is not None
    await store.start(CALL, "edge-2")
    giving_up = asyncio.create_task(QuarantinedCall(claim, bus, store).run())
    await asyncio.sleep(0.5)
    giving_up.cancel()
    assert streams.after(edge_priority("edge-1"), 0) == []
    ((_, order),) = streams.after(edge_priority("edge-2"), 0)
    assert order == HangUp(CALL, "error", claim.token, 2, "stt")


def test_what_no_worker_says_is_not_fenced():
    fences = Fences()
    fences.settle({"token:tts": "9"})
    assert fences.obeys(AudioOut(CALL, 1, 1, 1, 0, 0, b""), 1)  # audio has a gate of its own (`Call._admits`)


PAST: list[Message] = [
    ClausePlayed(1, 0, epoch=1),
    Interrupted(1, 0, 100, epoch=1),
    ReplyPlayed(1, epoch=1),
]
"""What an edge that froze says of reply 1 when it wakes: another has the caller by now."""


@pytest.mark.parametrize("said", PAST, ids=lambda said: type(said).__name__)
async def test_an_edge_that_froze_and_was_replaced_says_nothing_of_the_new_connection(said: Message):
    async with answered_call({"hours": ANSWER}) as phone:
        await phone.hears("Hello.")
        await phone.says("hours")
        await phone.hears("Monday")
        await phone.edge_dies()
        at = [number for number, event in enumerate(phone.events) if type(event).__name__ == "CallStarted"][-1]
        folds = Dialogue(""), SpeechPlan(), CallTranscript()
        for event in phone.events[: at + 1]:
            for fold in folds:
                fold.receive(event)
        turn = folds[0].newest_turn
        assert turn == 2
        wanted, task = folds[0].wanted(), folds[1].next()
        late = type(said)(**{**{name: getattr(said, name) for name in said.__slots__}, "turn": turn})  # type: ignore[call-arg]
        for fold in folds:
            fold.receive(late)
        assert (folds[0].wanted(), folds[1].next()) == (wanted, task)
        assert not folds[2].exchanges[-1].interrupted


def test_every_reason_knows_itself_and_nothing_else():
    assert {EndReason.of(reason.value) for reason in EndReason} == set(EndReason)
    for stranger in (None, 7, b"error", ["error"], {"error": 1}, *SECRETS):
        assert EndReason.of(stranger) is EndReason.OTHER
