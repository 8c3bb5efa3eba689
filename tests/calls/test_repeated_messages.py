"""Every entry of the bus may come twice, at once or seconds later, and one stream may be ahead of another.

The same conversation is held on a bus that repeats and delays on purpose: nobody may notice.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

import pytest

from common.bus.memory import MemoryStreams
from common.protocol import codec
from common.protocol.messages import AudioIn, AudioOut, Message, PlaybackStarted
from tests.calls.phone import answered_call

pytestmark = [pytest.mark.fast, pytest.mark.exhaustive, pytest.mark.anyio]

ANSWERS = {
    "when do you open": "We open at nine. We close at six in the evening, except on Sundays when we are closed.",
    "and on monday": "On Monday we open at ten.",
    "bye": "Goodbye. <end_call>",
}
KINDS = sorted(codec.TAGS, key=lambda kind: codec.TAGS[kind])


class RepeatingStreams(MemoryStreams):
    """Says entries of some kinds again, `again_s` later."""

    def __init__(self, kinds: tuple[type[Message], ...], again_s: float) -> None:
        super().__init__()
        self.kinds, self.again_s = kinds, again_s
        self.repeated = 0

    def append(self, stream: str, message: Message) -> None:
        super().append(stream, message)
        if not isinstance(message, self.kinds):
            return
        self.repeated += 1
        if self.again_s:
            asyncio.get_running_loop().call_later(self.again_s, super().append, stream, message)
        else:
            super().append(stream, message)


class LateStreams(MemoryStreams):
    """Entries of streams that end like this come later than those of others; in order, as a stream is."""

    def __init__(self, ending: str, late_s: float) -> None:
        super().__init__()
        self.ending, self.late_s = ending, late_s
        self.on_the_way: deque[tuple[str, Message]] = deque()  # timers of one instant come in any order

    def append(self, stream: str, message: Message) -> None:
        if stream.endswith(self.ending):
            self.on_the_way.append((stream, message))
            asyncio.get_running_loop().call_later(self.late_s, self.arrives)
        else:
            super().append(stream, message)

    def arrives(self) -> None:
        super().append(*self.on_the_way.popleft())


@dataclass(frozen=True)
class Conversation:
    """What the two said and heard, and what it took."""

    exchanges: tuple[tuple[str, str], ...]
    interrupted: tuple[bool, ...]
    asked: tuple[str, ...]
    spoken: tuple[str, ...]
    ended: str


async def conversation(streams: MemoryStreams) -> Conversation:
    """A greeting, a barge-in, an answer that is heard to its end, and a goodbye."""
    async with answered_call(ANSWERS, streams=streams) as phone:
        await phone.hears("Hello.")
        await phone.after(0.5)
        await phone.says("when do you open")
        await phone.hears("We open at nine.")
        await phone.says("and on monday")
        await phone.hears("On Monday we open at ten.")
        await phone.after(4)  # longer than anything is late
        await phone.says("bye")
        await phone.until(lambda: phone.line.stopped, "the agent to hang up")
        phone.hangs_up()
        reason = await phone.ended()
        await phone.after(4)
        transcript = phone.transcript
        assert phone.line.heard().count("Hello.") == 1
        return Conversation(
            tuple((exchange.understood, exchange.answered) for exchange in transcript.exchanges),
            tuple(exchange.interrupted for exchange in transcript.exchanges),
            tuple(request[-1]["content"] for request in phone.mind.asked),
            tuple(dict.fromkeys(phone.mouth.said)),
            reason,
        )


@pytest.fixture
async def undisturbed() -> Conversation:
    told = await conversation(MemoryStreams())
    assert told.interrupted == (False, True, False, False)
    assert told.asked == ("when do you open", "and on monday", "bye")
    assert told.ended == "agent hung up"
    return told


@pytest.mark.parametrize("again_s", [0.0, 2.0], ids=["at once", "2 s later"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_a_message_that_comes_twice_changes_nothing(
    kind: type[Message], again_s: float, undisturbed: Conversation
) -> None:
    streams = RepeatingStreams((kind,), again_s)
    assert await conversation(streams) == undisturbed


@pytest.mark.parametrize("again_s", [0.0, 2.0], ids=["at once", "2 s later"])
async def test_all_messages_twice_change_nothing(again_s: float, undisturbed: Conversation) -> None:
    streams = RepeatingStreams(tuple(KINDS), again_s)
    assert await conversation(streams) == undisturbed
    assert streams.repeated > 300


@pytest.mark.parametrize("ending", [":audio", ":priority", ":events"])
async def test_a_stream_that_is_behind_the_others_changes_nothing(ending: str, undisturbed: Conversation) -> None:
    told = await conversation(LateStreams(ending, 0.15))
    assert told == undisturbed


async def test_the_kinds_that_matter_were_repeated() -> None:
    """A test of the test: repeating what never comes would prove nothing."""
    for kind in (AudioIn, AudioOut, PlaybackStarted):
        streams = RepeatingStreams((kind,), 2.0)
        await conversation(streams)
        assert streams.repeated > 2
