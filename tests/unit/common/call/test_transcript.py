"""A call told from its events, for people: the words, what was heard of them, and where the time went."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.call.transcript import CallTranscript
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
    ReplyEnded,
    ReplyPlayed,
    ReplyStarted,
    SpeechEnded,
    SpeechStarted,
    UserTurn,
)

pytestmark = pytest.mark.fast

CALL = "c-1"

GREETING: list[Message] = [
    CallStarted(1, "edge-a", 1_000_000),
    ReplyStarted(1, 0),
    Clause(1, 0, "Hello, this is the clinic."),
    Clause(1, 1, "How can I help you?"),
    ReplyEnded(1, 2),
    ClauseSynthesized(1, 0, 1600),
    PlaybackStarted(1, 1_000_400),
    ClauseSynthesized(1, 1, 1200),
    ClausePlayed(1, 0),
    ClausePlayed(1, 1),
    ReplyPlayed(1),
]
ANSWER: list[Message] = [
    SpeechStarted(CALL, 1, 1, 4000),
    SpeechEnded(CALL, 1, 1, 5200),
    UserTurn(1, "are you open on sunday", (100, 600, 800)),
    ReplyStarted(2, 1),
    Clause(2, 0, "No, on Sundays we are closed.", (100, 600, 800, 900, 950)),
    Clause(2, 1, "On Saturday we open at nine in the morning.", ()),
    ReplyEnded(2, 2),
    ClauseSynthesized(2, 0, 2000),
    PlaybackStarted(2, 1100, (100, 600, 800, 900, 950, 1050, 1100)),
    ClauseSynthesized(2, 1, 3000),
    ClausePlayed(2, 0),
]
INTERRUPTION: list[Message] = [
    SpeechStarted(CALL, 1, 2, 9000),
    Interrupted(2, 1, 1500),
    SpeechEnded(CALL, 1, 2, 10_000),
    UserTurn(2, "thank you that is all", (1, 2, 3)),
    ReplyStarted(3, 2),
    Clause(3, 0, "Goodbye!"),
    ReplyEnded(3, 1, "hangup"),
    ClauseSynthesized(3, 0, 700),
    PlaybackStarted(3, 2000, (1, 2, 3, 4, 5, 6, 7)),
    ClausePlayed(3, 0),
    ReplyPlayed(3),
    CallEnded(1, "agent hung up", 3000),
]
THE_CALL = [*GREETING, *ANSWER, *INTERRUPTION]


def told(events: list[Message]) -> CallTranscript:
    transcript = CallTranscript()
    for event in events:
        transcript.receive(event)
    return transcript


def with_echo(events: list[Message], which: int, later: int) -> list[Message]:
    """The events, one of them repeated right after itself or later."""
    which %= len(events)
    at = min(len(events), which + 1 + later)
    return [*events[:at], events[which], *events[at:]]


def test_the_greeting_is_an_exchange_without_a_question() -> None:
    (greeting,) = told(GREETING).exchanges
    assert (greeting.utterance, greeting.understood) == (0, "")
    assert greeting.answered == greeting.heard == "Hello, this is the clinic. How can I help you?"
    assert not greeting.interrupted
    assert greeting.timings_ms == {}
    assert greeting.answer_ms == 0


def test_an_answer_has_its_words_its_place_and_its_times() -> None:
    _, answer = told([*GREETING, *ANSWER]).exchanges
    assert answer.understood == "are you open on sunday"
    assert (answer.begin_ms, answer.end_ms) == (4000, 5200)
    assert answer.answered == "No, on Sundays we are closed. On Saturday we open at nine in the morning."
    assert answer.timings_ms == {
        "endpoint": 500,
        "transcript": 200,
        "first_token": 100,
        "first_clause": 50,
        "first_audio": 100,
        "first_frame": 50,
    }
    assert answer.answer_ms == 1000


def test_an_interruption_cuts_what_was_heard_to_the_word() -> None:
    transcript = told(THE_CALL)
    _, answer, goodbye = transcript.exchanges
    assert answer.interrupted
    assert answer.heard == "No, on Sundays we are closed. On Saturday we open —"  # half of the second clause
    assert goodbye.heard == "Goodbye!"
    assert not goodbye.interrupted
    assert transcript.ended_by == "agent hung up"


def test_an_answer_that_was_never_begun_was_not_heard() -> None:
    events = [*GREETING, UserTurn(1, "hm", ()), ReplyStarted(2, 1), Clause(2, 0, "Pardon?")]
    assert told(events).exchanges[1].answered == "Pardon?"
    assert told(events).exchanges[1].heard == ""


def test_words_without_an_answer_are_told_too() -> None:
    last = told([*GREETING, UserTurn(1, "hello", ()), CallEnded(1, "caller hung up", 9)]).exchanges[-1]
    assert (last.understood, last.answered, last.heard, last.answer_ms) == ("hello", "", "", 0)
    assert (last.begin_ms, last.end_ms) == (0, 0)  # nobody said where


def test_only_the_first_end_counts() -> None:
    transcript = told([CallEnded(1, "silence", 1), CallEnded(1, "caller hung up", 2)])
    assert transcript.ended_by == "silence"


def test_a_takeover_and_a_key_leave_the_words_alone() -> None:
    events = [*GREETING, OwnerChanged("llm", 2, "llm-b", 7), DtmfReceived("1", 8), *ANSWER]
    assert told(events).exchanges == told([*GREETING, *ANSWER]).exchanges


@given(st.integers(0, len(THE_CALL) - 1), st.integers(0, len(THE_CALL)))
def test_an_event_told_twice_changes_nothing(which: int, later: int) -> None:
    again = told(with_echo(THE_CALL, which, later))
    assert again.exchanges == told(THE_CALL).exchanges
    assert again.ended_by == told(THE_CALL).ended_by


@given(st.lists(st.sampled_from(THE_CALL), max_size=30))
def test_a_story_with_holes_is_told_as_far_as_it_goes(events: list[Message]) -> None:
    for exchange in told(events).exchanges:
        assert isinstance(exchange.heard, str)
        assert exchange.answer_ms >= 0
