"""What comes twice, late, or for a connection that is gone changes nothing.  All of it was found by the simulation."""

import asyncio
from collections.abc import Callable

import pytest

from common.bus.memory import MemoryBus, MemoryStreams
from common.protocol.messages import AudioIn, AudioOut, ReplySynthesized, SpeechEnded, SpeechStarted, UserTurn
from common.protocol.redis_keys import call_audio
from common.store import CallRecord
from edge.media.ticker import Ticker
from edge.session.call import Call, CallOptions
from edge.vobiz import stream_protocol
from tests.calls.doubles import SILENCE, CarrierLine, media, spoken
from tests.calls.phone import CALL, answered_call

pytestmark = [pytest.mark.fast, pytest.mark.anyio]


async def test_audio_of_the_old_edge_that_is_written_again_after_a_reconnect_is_not_heard_again():
    async with answered_call() as phone:
        await phone.hears("Hello.")
        phone.starts_saying("i would like to ask something")
        await phone.after(0.8)
        await phone.edge_dies(away_seconds=0.2)
        await phone.after(0.1)  # audio of the new edge is there
        audio = [message for _, message in phone.streams.after(call_audio(CALL), 0)]
        old = [message for message in audio if isinstance(message, AudioIn) and message.epoch == 1]
        for message in old[-20:]:
            phone.bus.publish(call_audio(CALL), message)
        await phone.silence()
        turns = " ".join(message.text for message in phone.events if isinstance(message, UserTurn))
        assert turns == "i would like to ask something"


class CountingTicker(Ticker):
    orders = 0

    def at(self, due_ms: float, wake: Callable[[float], None]) -> int:
        self.orders += 1
        return super().at(due_ms, wake)


async def test_a_clause_that_arrives_in_many_pieces_is_played_by_one_wake_a_frame():
    ticker = CountingTicker(asyncio.get_running_loop())
    line = CarrierLine(lambda text: None)
    start = stream_protocol.Start(CALL, "stream-1", stream_protocol.MediaFormat())
    call = Call(CallRecord(CALL, epoch=1), start, line, MemoryBus(MemoryStreams()), ticker, CallOptions())
    frames = spoken("one two three four five six seven")
    for seq in range(0, len(frames), 9):
        call.play(AudioOut(CALL, 1, 1, 1, 0, seq, b"".join(frames[seq : seq + 9])))
    first = ticker.orders
    await asyncio.sleep(3)
    assert line.heard() == "one two three four five six seven"
    assert ticker.orders - first <= len(frames)
    ticker.close()


async def test_a_reply_that_nobody_heard_is_gone_when_the_next_begins():
    ticker = CountingTicker(asyncio.get_running_loop())
    line = CarrierLine(lambda text: None)
    start = stream_protocol.Start(CALL, "stream-1", stream_protocol.MediaFormat())
    call = Call(CallRecord(CALL, epoch=1), start, line, MemoryBus(MemoryStreams()), ticker, CallOptions())
    call.speech_started(SpeechStarted(CALL, 1, 1, 0))
    for turn, text in ((1, "one"), (2, "two")):
        call.play(AudioOut(CALL, 1, 1, turn, 0, 0, b"".join(spoken(text)), last=True))
    call.speech_ended(SpeechEnded(CALL, 1, 1, 0))
    await asyncio.sleep(3)
    assert line.heard() == "two"
    ticker.close()


async def test_a_line_that_has_fallen_silent_proves_nothing_about_what_was_heard():
    line = CarrierLine(lambda text: None)
    ticker = Ticker(asyncio.get_running_loop())
    streams = MemoryStreams()
    start = stream_protocol.Start(CALL, "stream-1", stream_protocol.MediaFormat())
    call = Call(CallRecord(CALL, epoch=1), start, line, MemoryBus(streams), ticker, CallOptions())
    frames = spoken("hello")
    call.play(AudioOut(CALL, 1, 1, 1, 0, 0, b"".join(frames), last=True))
    call.reply_synthesized(ReplySynthesized(CALL, 1, 1, 1, "hangup"))
    for _ in range(5):  # no media, and no `playedStream`: the line is broken, and nobody knows it yet
        await asyncio.sleep(1)
        call.housekeep(ticker.now_ms())
    assert not call.lifecycle.stopped
    call.receive(stream_protocol.parse(media(SILENCE)))  # it was not: only the answer was lost
    call.housekeep(ticker.now_ms())
    assert call.lifecycle.reason == "agent hung up"
    ticker.close()
