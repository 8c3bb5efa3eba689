"""The mind's view of a call: which reply is wanted now, and what the model is told that was said and heard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.protocol.messages import (
    CallEnded,
    CallStarted,
    Clause,
    ClauseSynthesized,
    EagerUserTurn,
    Interrupted,
    Message,
    OwnerChanged,
    PlaybackStarted,
    ReplyEnded,
    ReplyPlayed,
    ReplyStarted,
    UserTurn,
)
from tests.unit.common.call.test_transcript import ANSWER, GREETING, INTERRUPTION, THE_CALL, with_echo
from workers.llm.conversation import Dialogue, WantedReply

pytestmark = pytest.mark.fast

HELLO = "Hello, this is the clinic. How can I help you?"
QUESTION = UserTurn(1, "are you open on sunday", ())


def after(*events: Message, interruptible: bool = True) -> Dialogue:
    dialogue = Dialogue("Be brief.", interruptible)
    for event in events:
        dialogue.receive(event)
    return dialogue


def chat(dialogue: Dialogue) -> list[tuple[str, str]]:
    first, *rest = dialogue.messages()
    assert first == {"role": "system", "content": "Be brief."}
    return [(message["role"], message["content"]) for message in rest]


def test_before_the_call_begins_nobody_waits_for_words() -> None:
    assert after().wanted() is None
    assert after().last_user_turn is None
    assert chat(after()) == []


def test_the_call_begins_with_the_greeting() -> None:
    assert after(CallStarted(1, "edge-a", 0)).wanted() == WantedReply(turn=1, utterance=0, published=0)


def test_once_the_greeting_is_out_the_caller_has_the_floor() -> None:
    dialogue = after(*GREETING)
    assert dialogue.wanted() is None
    assert chat(dialogue) == [("assistant", HELLO)]


def test_what_the_caller_asks_is_answered() -> None:
    dialogue = after(*GREETING, QUESTION)
    assert dialogue.wanted() == WantedReply(turn=2, utterance=1, published=0)
    assert dialogue.last_user_turn == QUESTION
    assert chat(dialogue) == [("assistant", HELLO), ("user", "are you open on sunday")]


def test_the_reply_under_way_is_not_shown_to_the_model() -> None:
    dialogue = after(*GREETING, QUESTION, ReplyStarted(2, 1), Clause(2, 0, "No."))
    assert dialogue.wanted() == WantedReply(turn=2, utterance=1, published=1)
    assert chat(dialogue)[-1] == ("user", "are you open on sunday")


def test_a_successor_goes_on_after_the_clauses_that_are_out() -> None:
    """The mind died in the middle of its reply; the next owner reads the same story."""
    begun = [*GREETING, *ANSWER[:5]]
    assert after(*begun, OwnerChanged("llm", 2, "llm-b", 0)).wanted() == WantedReply(turn=2, utterance=1, published=1)
    assert after(*begun, ANSWER[5]).wanted() == WantedReply(turn=2, utterance=1, published=2)
    assert after(*begun, ANSWER[5], ANSWER[6]).wanted() is None  # it was complete


def test_an_interrupted_reply_is_remembered_as_far_as_it_was_heard() -> None:
    dialogue = after(*GREETING, *ANSWER, *INTERRUPTION[:4])
    assert dialogue.wanted() == WantedReply(turn=3, utterance=2, published=0)
    assert chat(dialogue) == [
        ("assistant", HELLO),
        ("user", "are you open on sunday"),
        ("assistant", "No, on Sundays we are closed. On Saturday we open —"),
        ("user", "thank you that is all"),
    ]


def test_an_interrupted_reply_is_not_taken_up_again() -> None:
    dialogue = after(*GREETING, QUESTION, ReplyStarted(2, 1), Clause(2, 0, "No."), Interrupted(2, 0, 0))
    assert dialogue.wanted() is None


def test_an_answer_that_nobody_heard_leaves_one_question_of_two_parts() -> None:
    unheard: list[Message] = [
        ReplyStarted(2, 1),
        Clause(2, 0, "No, we are closed."),
        Interrupted(2, 0, 0),
        UserTurn(2, "at nine", ()),
    ]
    dialogue = after(*GREETING, QUESTION, *unheard)
    assert dialogue.wanted() == WantedReply(turn=3, utterance=2, published=0)
    assert chat(dialogue) == [("assistant", HELLO), ("user", "are you open on sunday at nine")]


def test_a_reply_of_which_no_frame_left_was_not_heard_even_before_the_edge_says_so() -> None:
    dialogue = after(*GREETING, QUESTION, ReplyStarted(2, 1), Clause(2, 0, "No."), UserTurn(2, "at nine", ()))
    assert dialogue.wanted() == WantedReply(turn=3, utterance=2, published=0)
    assert chat(dialogue)[-1] == ("user", "are you open on sunday at nine")


def test_a_caller_who_speaks_before_the_greeting_gets_an_answer_instead() -> None:
    dialogue = after(CallStarted(1, "edge-a", 0), UserTurn(1, "hello?", ()))
    assert dialogue.wanted() == WantedReply(turn=1, utterance=1, published=0)
    assert chat(dialogue) == [("user", "hello?")]


def test_of_two_questions_the_newer_is_answered() -> None:
    dialogue = after(*GREETING, QUESTION, UserTurn(2, "or on saturday", ()))
    assert dialogue.wanted() == WantedReply(turn=2, utterance=2, published=0)
    assert chat(dialogue)[-1] == ("user", "are you open on sunday or on saturday")


def test_an_agent_that_may_not_be_interrupted_is_heard_out_first() -> None:
    under_way = [*GREETING, QUESTION, ReplyStarted(2, 1), Clause(2, 0, "No."), PlaybackStarted(2, 0)]
    asked_again = [*under_way, UserTurn(2, "at nine", ())]
    assert after(*asked_again).wanted() == WantedReply(turn=3, utterance=2, published=0)
    polite = after(*asked_again, interruptible=False)
    assert polite.wanted() == WantedReply(turn=2, utterance=1, published=1)
    polite.receive(ReplyEnded(2, 1))
    assert polite.wanted() is None
    polite.receive(ReplyPlayed(2))
    assert polite.wanted() == WantedReply(turn=3, utterance=2, published=0)


def test_a_reconnect_brings_no_second_greeting() -> None:
    dialogue = after(*GREETING, CallStarted(2, "edge-b", 0))
    assert dialogue.wanted() is None


def test_when_the_call_is_over_nobody_waits() -> None:
    dialogue = after(*GREETING, QUESTION, CallEnded(1, "caller hung up", 0))
    assert dialogue.over
    assert dialogue.wanted() is None


def test_events_of_replies_that_never_began_are_ignored() -> None:
    dialogue = after(*GREETING, Clause(7, 0, "?"), ClauseSynthesized(7, 0, 100), Interrupted(7, 0, 0), ReplyEnded(7, 1))
    assert dialogue.wanted() is None
    assert chat(dialogue) == [("assistant", HELLO)]


@given(st.integers(0, len(THE_CALL) - 1), st.integers(0, len(THE_CALL)), st.integers(1, len(THE_CALL) + 1))
def test_an_event_told_twice_changes_nothing(which: int, later: int, until: int) -> None:
    """At any moment of the call, not only at its end."""
    events = THE_CALL[:until]
    once, twice = after(*events), after(*with_echo(events, which, later))
    assert twice.wanted() == once.wanted()
    assert twice.messages() == once.messages()
    assert (twice.last_user_turn, twice.over) == (once.last_user_turn, once.over)


def test_what_is_said_while_its_reply_is_being_prepared_is_not_asked_twice() -> None:
    """After an outage everything comes at once: the words are final before the reply's start is read."""
    heard = (ReplyStarted(1, 0), ReplyPlayed(1))
    maybe = EagerUserTurn(1, "are you open on sunday", ())
    begun = after(CallStarted(1, "edge-1", 0), *heard, maybe)
    assert begun.wanted() == WantedReply(2, 1, 0, "are you open on sunday")
    assert chat(begun) == [("user", "are you open on sunday")]
    begun.receive(QUESTION)
    begun.receive(ReplyStarted(2, 1, "are you open on sunday"))
    assert chat(begun) == [("user", "are you open on sunday")]
