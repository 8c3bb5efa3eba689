"""What stays of an ended call tells the same as its whole event log: to people, and to whoever takes it up again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.call.log_compaction import compacted
from common.call.transcript import CallTranscript
from common.protocol.codec import encode
from common.protocol.messages import (
    CallEnded,
    CallStarted,
    Clause,
    ClausePlayed,
    ClauseSynthesized,
    DtmfReceived,
    Interrupted,
    Message,
    OwnerChanged,
    PlaybackStarted,
    ReplyDiscarded,
    ReplyEnded,
    ReplyPlayed,
    ReplyReleased,
    ReplyResumed,
    ReplyStarted,
    SpeechEnded,
    SpeechStarted,
    UsageReported,
    UserTurn,
)
from tests.unit.common.call.test_transcript import ANSWER, GREETING, INTERRUPTION
from workers.llm.conversation import Dialogue
from workers.tts.plan import SpeechPlan

pytestmark = pytest.mark.fast

CALL = "c-1"
AGAIN = CallStarted(9, "edge-b", 2_000_000)
"""The carrier comes back with the call."""
STAMPS = (1000, 1100, 1200, 1300, 1400, 1500, 1600)
MARKS = tuple((at, 66 * at) for at in range(28))


def log(messages: Sequence[Message]) -> list[tuple[str, Message]]:
    return [(f"{1_700_000_000_000 + 40 * number}-0", message) for number, message in enumerate(messages)]


def shown(messages: Sequence[Message]) -> dict[str, Any]:
    """What `GET /v1/calls/<id>` says, and more."""
    transcript = CallTranscript()
    for message in messages:
        transcript.receive(message)
    turns = [
        (one.utterance, one.understood, one.answered, one.heard, one.interrupted, one.timings_ms, one.begin_ms)
        for one in transcript.exchanges
    ]
    return {"turns": turns, "usage": transcript.usage, "ended": transcript.ended_by}


def resumed(messages: Sequence[Message]) -> tuple[Any, ...]:
    """What the model and the voice know once the carrier has come back."""
    dialogue, script = Dialogue("Be brief."), SpeechPlan()
    for message in (*messages, AGAIN):
        dialogue.receive(message)
        script.receive(message)
    task = script.next()
    said = (task.clause.turn, task.clause.clause, task.clause.text) if hasattr(task, "clause") else task
    return dialogue.messages(), dialogue.newest_turn, script.epoch, said


def same(messages: Sequence[Message]) -> list[Message]:
    """Shorten it, and see that nobody learns anything else from it."""
    short = compacted(log(messages))
    kept = [message for _, message in short]
    assert shown(kept) == shown(messages)
    assert resumed(kept) == resumed(messages)
    assert compacted(short) == short  # a second time changes nothing
    ids = [entry_id for entry_id, _ in short]
    assert ids == sorted(set(ids)), "every entry has a place of its own"
    assert set(ids) <= {entry_id for entry_id, _ in log(messages)}
    return kept


PREPARED: list[Message] = [
    *GREETING,
    OwnerChanged("tts", 1, "tts-1", 1),
    SpeechStarted(CALL, 1, 1, 4000),
    SpeechEnded(CALL, 1, 1, 5200),
    ReplyStarted(2, 1, "are you open on"),
    Clause(2, 0, "We are open every day."),
    ReplyDiscarded(2),
    ReplyStarted(3, 1, "are you open on sunday"),
    Clause(3, 0, "No, on Sundays we are closed.", STAMPS[:5]),
    UserTurn(1, "are you open on sunday", STAMPS[:3]),
    ReplyReleased(CALL, 1, 3, STAMPS[:3]),
    ReplyEnded(3, 1),
    ClauseSynthesized(3, 0, 2000, MARKS),
    PlaybackStarted(3, 1100, STAMPS),
    ReplyPlayed(3),
]
ENDED = CallEnded(1, "caller hung up", 3_000_000)
CALLS: dict[str, list[Message]] = {
    "nobody ever spoke": [CallStarted(1, "edge-a", 1)],
    "buried: its end is all there is": [CallEnded(0, "carrier", 1)],
    "nothing at all": [],
    "a whole conversation": [*GREETING, *ANSWER, *INTERRUPTION, ENDED],
    "prepared answers, one withdrawn and one released": [*PREPARED, ENDED],
    "cut in the middle of a word": [
        *GREETING,
        ReplyStarted(2, 0),
        Clause(2, 0, "No, on Sundays we are closed."),
        ReplyEnded(2, 1),
        ClauseSynthesized(2, 0, 1900, MARKS),
        PlaybackStarted(2, 1),
        Interrupted(2, 0, 900),
        ENDED,
    ],
    "the caller hung up in a sentence": [
        *GREETING,
        ReplyStarted(2, 0),
        Clause(2, 0, "No, on Sundays we are closed."),
        ReplyEnded(2, 1),
        ClauseSynthesized(2, 0, 3800, tuple((at, 130 * at) for at in range(28))),
        PlaybackStarted(2, 1),
        CallEnded(1, "caller hung up", 3_000_000, (2, 0, 2000)),
    ],
    "its edge died in a sentence, and it did not come back": [
        *GREETING,
        ReplyStarted(2, 0),
        Clause(2, 0, "No, on Sundays we are closed."),
        ReplyEnded(2, 1),
        ClauseSynthesized(2, 0, 3800),
        PlaybackStarted(2, 1),
        CallStarted(2, "edge-b", 2, heard=(2, 0, 2000)),
        CallEnded(2, "carrier", 3_000_000),
    ],
    "an edge that froze says something of a connection that is past": [
        *GREETING,
        ReplyStarted(2, 0),
        Clause(2, 0, "No, on Sundays we are closed."),
        ReplyEnded(2, 1),
        ClauseSynthesized(2, 0, 3800, MARKS),
        PlaybackStarted(2, 1),
        CallStarted(2, "edge-b", 2),
        Interrupted(2, 0, 200, 0, 1),
        Interrupted(2, 0, 1500, 0, 2),
        CallEnded(2, "carrier", 3_000_000),
    ],
    "a cough, and the reply goes on": [
        *GREETING,
        ReplyStarted(2, 0),
        Clause(2, 0, "No, on Sundays we are closed."),
        ClauseSynthesized(2, 0, 1900, MARKS),
        PlaybackStarted(2, 1),
        Interrupted(2, 0, 900, 4),
        ReplyResumed(2, 4),
        ReplyEnded(2, 1),
        ReplyPlayed(2),
        ENDED,
    ],
    "ended in doubt": [
        *GREETING,
        ReplyStarted(2, 0),
        Clause(2, 0, "No, on Sundays we are closed."),
        ClauseSynthesized(2, 0, 1900, MARKS),
        PlaybackStarted(2, 1),
        Interrupted(2, 0, 900, 4),
        ENDED,
    ],
    "no voice could speak the end": [
        CallStarted(1, "edge-a", 1),
        ReplyStarted(1, 0),
        Clause(1, 0, "Hello, all."),
        ClauseSynthesized(1, 0, 300, (), 1, 5),
        Clause(1, 1, "Bye."),
        ClauseSynthesized(1, 1, 0),
        ReplyEnded(1, 2),
        PlaybackStarted(1, 1),
        ReplyPlayed(1),
        ENDED,
    ],
    "died in the middle of a reply": [
        *GREETING,
        UserTurn(1, "and on monday", ()),
        ReplyStarted(2, 1),
        Clause(2, 0, "On Monday,"),
        Clause(2, 1, "too."),
        ClauseSynthesized(2, 0, 700),
        PlaybackStarted(2, 1),
        ClausePlayed(2, 0),
    ],
    "spoken again after a reconnect": [
        *GREETING,
        ReplyStarted(2, 0),
        Clause(2, 0, "Yes."),
        ClauseSynthesized(2, 0, 500, (), 1),
        CallStarted(2, "edge-b", 2),
        ClauseSynthesized(2, 0, 480, (), 2),
        PlaybackStarted(2, 1),
        Interrupted(2, 0, 200),
        ENDED,
    ],
    "keys, noise and three owners": [
        CallStarted(1, "edge-a", 1),
        *(OwnerChanged(pool, token, f"{pool}-{token}", 1) for pool in ("stt", "llm", "tts") for token in (1, 2)),
        *[DtmfReceived("4", 5)] * 2,
        *(SpeechStarted(CALL, 1, number, 100 * number) for number in range(1, 9)),
        UserTurn(8, "hello", ()),
        ENDED,
    ],
    "much used": [
        CallStarted(1, "edge-a", 1),
        *(UsageReported("llm", "openai/gpt", (("tokens_in", 9), ("tokens_out", 1))),) * 3,
        UsageReported("tts", "elevenlabs/flash", (("characters", 30),)),
        ENDED,
    ],
}


@pytest.mark.parametrize("call", CALLS)
def test_the_shortened_log_tells_the_same(call: str) -> None:
    same(CALLS[call])


def test_what_nobody_needs_is_gone() -> None:
    kept = same([*PREPARED, *CALLS["keys, noise and three owners"][1:]])
    assert "We are open every day." not in str(kept)
    assert {message.utterance for message in kept if isinstance(message, SpeechStarted)} == {1, 8}
    assert not any(isinstance(message, ClauseSynthesized | OwnerChanged) for message in kept)
    assert {type(message) for message in kept if getattr(message, "stage_ms", ())} == {PlaybackStarted}
    assert [message for message in kept if isinstance(message, DtmfReceived)] == [
        DtmfReceived("4", 5),
        DtmfReceived("4", 5),
    ]


def test_what_was_used_stands_once() -> None:
    assert same(CALLS["much used"])[1:3] == [
        UsageReported("llm", "openai/gpt", (("tokens_in", 27), ("tokens_out", 3))),
        UsageReported("tts", "elevenlabs/flash", (("characters", 30),)),
    ]


def test_of_a_cut_clause_the_last_word_that_was_heard_stays() -> None:
    kept = same(CALLS["cut in the middle of a word"])
    assert [message.char_timings for message in kept if isinstance(message, ClauseSynthesized)] == [((13, 858),)]


def test_an_ordinary_call_takes_a_third_of_its_bytes() -> None:
    whole = [*PREPARED, *ANSWER, *INTERRUPTION, ENDED]
    assert sum(len(encode(message)) for message in same(whole)) < sum(map(len, map(encode, whole))) / 1.5


numbers = st.integers(0, 3)
heard = st.one_of(st.just(()), st.tuples(numbers, numbers, st.integers(0, 500)))
texts = st.sampled_from(["yes", "mm-hm", "are you open", "one two three."])
ms = st.integers(0, 500)
events = st.one_of(
    st.builds(CallStarted, numbers, st.just("edge-a"), ms, heard),
    st.builds(CallEnded, numbers, st.just("carrier"), ms, heard),
    st.builds(SpeechStarted, st.just(CALL), numbers, numbers, ms),
    st.builds(SpeechEnded, st.just(CALL), numbers, numbers, ms),
    st.builds(UserTurn, numbers, texts, st.just(STAMPS[:3]), st.booleans()),
    st.builds(ReplyStarted, numbers, numbers, st.sampled_from(["", "are you open"])),
    st.builds(Clause, numbers, numbers, texts, st.just(STAMPS[:5])),
    st.builds(ReplyEnded, numbers, numbers),
    st.builds(ReplyReleased, st.just(CALL), numbers, numbers, st.just(())),
    st.builds(ReplyDiscarded, numbers),
    st.builds(
        ClauseSynthesized, numbers, numbers, ms, st.just(((2, 60), (4, 120))), numbers, st.sampled_from([-1, 0, 3])
    ),
    st.builds(PlaybackStarted, numbers, ms, st.sampled_from([(), STAMPS]), numbers),
    st.builds(ClausePlayed, numbers, numbers, numbers),
    st.builds(Interrupted, numbers, numbers, ms, numbers, numbers),
    st.builds(ReplyResumed, numbers, numbers, numbers),
    st.builds(ReplyPlayed, numbers, numbers),
    st.builds(UsageReported, st.just("llm"), st.sampled_from(["a", "b"]), st.just((("tokens_in", 2),))),
)  # fmt: skip


@given(st.lists(events, max_size=40))
def test_no_log_however_odd_is_told_differently_or_breaks_it(messages: list[Message]) -> None:
    short = [message for _, message in compacted(log(messages))]
    assert shown(short) == shown(messages)
    assert compacted(compacted(log(messages))) == compacted(log(messages))
