"""The mouth's view of a call: what to say next, and what is not worth saying any more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.protocol.messages import (
    CallEnded,
    CallStarted,
    Clause,
    ClauseSynthesized,
    Interrupted,
    Message,
    ReplyEnded,
    ReplyPlayed,
    ReplyReleased,
    ReplyResumed,
    ReplyStarted,
    UserTurn,
)
from tests.unit.common.call.test_transcript import ANSWER, GREETING, THE_CALL, with_echo
from workers.tts.plan import Done, SpeechPlan, Synthesize

pytestmark = pytest.mark.fast

START = CallStarted(1, "edge-a", 0)
HELLO, HELP = Clause(1, 0, "Hello, this is the clinic."), Clause(1, 1, "How can I help you?")


def after(*events: Message) -> SpeechPlan:
    script = SpeechPlan()
    for event in events:
        script.receive(event)
    return script


def greeting() -> SpeechPlan:
    return after(START, ReplyStarted(1, 0), HELLO, HELP, ReplyEnded(1, 2))


def test_a_reply_is_said_clause_by_clause_and_then_reported() -> None:
    script = after(START, ReplyStarted(1, 0))
    assert script.next() is None
    script.receive(HELLO)
    assert script.next() == Synthesize(HELLO, 1)
    script.receive(ClauseSynthesized(1, 0, 1600))
    assert script.next() is None
    script.receive(HELP)
    assert script.next() == Synthesize(HELP, 1)
    script.receive(ReplyEnded(1, 2, "hangup"))
    assert script.next() == Synthesize(HELP, 1)
    script.receive(ClauseSynthesized(1, 1, 1200))
    assert script.next() == Done(1, "hangup")
    script.note_completion_sent(1)
    assert script.next() is None


def test_without_an_edge_nothing_can_be_said() -> None:
    script = after(ReplyStarted(1, 0), HELLO)
    assert script.next() is None
    script.receive(START)
    assert script.next() == Synthesize(HELLO, 1)


def test_a_reply_without_clauses_is_reported_at_once() -> None:
    assert after(START, ReplyStarted(1, 0), ReplyEnded(1, 0, "hangup")).next() == Done(1, "hangup")


def test_a_successor_does_not_repeat_what_has_been_spoken() -> None:
    begun: list[Message] = [START, ReplyStarted(1, 0), HELLO, HELP, ReplyEnded(1, 2), ClauseSynthesized(1, 0, 1600)]
    assert after(*begun).next() == Synthesize(HELP, 1)
    assert after(*begun, ClauseSynthesized(1, 1, 1200)).next() == Done(
        1, ""
    )  # the edge may not have been told: once more
    assert after(*begun, ClauseSynthesized(1, 1, 1200), ReplyPlayed(1)).next() is None


def test_an_interrupted_reply_is_over_at_once() -> None:
    script = greeting()
    task = script.next()
    assert isinstance(task, Synthesize)
    assert script.stands(task)
    script.receive(Interrupted(1, 0, 300))
    assert not script.stands(task)
    assert script.next() is None


def test_the_next_reply_makes_the_last_one_stale() -> None:
    script = greeting()
    task = script.next()
    assert isinstance(task, Synthesize)
    script.receive(ReplyStarted(2, 1))
    assert not script.stands(task)
    assert script.next() is None
    script.receive(Clause(1, 2, "late words of the old reply"))
    script.receive(ClauseSynthesized(1, 0, 1600))
    script.receive(ReplyEnded(1, 3))
    assert script.next() is None
    script.receive(Clause(2, 0, "No."))
    assert script.next() == Synthesize(Clause(2, 0, "No."), 1)


def test_a_late_interruption_of_the_old_reply_does_not_silence_the_new_one() -> None:
    script = greeting()
    script.receive(Clause(2, 0, "No."))
    script.receive(Interrupted(1, 0, 300))
    script.note_completion_sent(1)
    assert script.next() == Synthesize(Clause(2, 0, "No."), 1)


def test_when_the_call_is_over_nothing_is_said() -> None:
    script = greeting()
    task = script.next()
    assert isinstance(task, Synthesize)
    script.receive(CallEnded(1, "caller hung up", 0))
    assert script.over
    assert not script.stands(task)
    assert script.next() is None


def test_after_a_reconnect_it_speaks_to_the_new_edge() -> None:
    script = greeting()
    script.receive(CallStarted(2, "edge-b", 0))
    assert (script.epoch, script.edge) == (2, "edge-b")
    script.receive(START)  # an echo of the first edge comes late
    assert (script.epoch, script.edge) == (2, "edge-b")


def test_a_clause_that_was_begun_for_a_lost_connection_is_said_again() -> None:
    script = greeting()
    task = script.next()
    assert isinstance(task, Synthesize)
    script.receive(CallStarted(2, "edge-b", 0))
    assert not script.stands(task)
    script.receive(ClauseSynthesized(1, 0, 1600, epoch=1))  # written before its mouth knew
    assert script.next() == Synthesize(HELLO, 2)
    script.receive(ClauseSynthesized(1, 0, 1600, epoch=2))
    assert script.next() == Synthesize(HELP, 2)


@pytest.mark.parametrize(
    ("spoken", "from_ms"),
    [
        (ClauseSynthesized(1, 1, 3600, ((0, 0), (4, 700), (8, 2000), (10, 2100), (15, 2600))), 700),
        (ClauseSynthesized(1, 1, 3800), 800),  # a slow voice: its length says that "can" began after 800 ms
    ],
)
def test_the_next_connection_goes_on_with_the_word_by_the_clauses_own_length(
    spoken: ClauseSynthesized, from_ms: int
) -> None:
    script = greeting()
    for event in (ClauseSynthesized(1, 0, 1600), spoken, CallStarted(2, "edge-b", 0, heard=(1, 1, 1300))):
        script.receive(event)
    assert script.next() == Synthesize(HELP, 2, from_ms)


def test_a_clause_whose_end_may_not_have_arrived_is_not_taken_as_heard() -> None:
    script = greeting()
    events = (ClauseSynthesized(1, 0, 1600), ClauseSynthesized(1, 1, 1200))
    for event in (*events, CallStarted(2, "edge-b", 0, heard=(1, 1, 40))):
        script.receive(event)
    order = script.next()
    assert isinstance(order, Synthesize)
    assert order.clause == HELLO
    assert 0 < order.from_ms <= 1540, "from its last word on"
    script.receive(ClauseSynthesized(1, 0, 1600, (), 2))
    assert script.next() == Synthesize(HELP, 2)


def test_a_preemptive_reply_is_synthesised_and_held_until_its_release() -> None:
    script = after(START, ReplyStarted(1, 1, "are you open"), HELLO)
    assert script.next() == Synthesize(HELLO, 1)
    assert script.held
    script.receive(ReplyReleased("call-1", 1, 1))
    assert not script.held
    assert script.next() == Synthesize(HELLO, 1)


def test_of_two_wordings_of_a_clause_the_first_stands() -> None:
    script = after(START, ReplyStarted(1, 0), HELLO, Clause(1, 0, "another wording"))
    assert script.next() == Synthesize(HELLO, 1)


@given(st.integers(0, len(THE_CALL) - 1), st.integers(0, len(THE_CALL)), st.integers(1, len(THE_CALL) + 1))
def test_an_event_told_twice_changes_nothing(which: int, later: int, until: int) -> None:
    """At any moment of the call, not only at its end."""
    events: list[Message] = [event for event in THE_CALL[:until] if not isinstance(event, ReplyPlayed)]
    once, twice = after(*events), after(*with_echo(events, which, later))
    assert twice.next() == once.next()
    assert (twice.epoch, twice.edge, twice.over) == (once.epoch, once.edge, once.over)


def test_the_whole_call_leaves_nothing_to_say() -> None:
    assert after(*GREETING, *ANSWER).next() == Done(2, "")
    assert after(*THE_CALL).next() is None


def test_a_sound_stops_the_mouth_only_at_the_end_of_its_clause() -> None:
    script = greeting()
    task = script.next()
    assert isinstance(task, Synthesize)
    script.receive(Interrupted(1, 0, 300, utterance=1))
    assert script.stands(task)
    script.receive(ClauseSynthesized(1, 0, 1600, epoch=1))
    assert script.next() is None
    script.receive(ReplyResumed(1, 1))
    assert script.next() == Synthesize(HELP, 1)
    script.receive(Interrupted(1, 0, 300, utterance=1))  # said again
    assert script.next() == Synthesize(HELP, 1)


def test_only_the_edge_says_that_it_was_an_interruption() -> None:
    script = greeting()
    task = script.next()
    assert isinstance(task, Synthesize)
    script.receive(Interrupted(1, 0, 300, utterance=2))
    script.receive(UserTurn(2, "Hello?", (), unsure=True))  # the edge does not stop for such words
    assert script.stands(task)
    script.receive(ReplyResumed(1, 2))
    assert script.next() == task
    script.receive(Interrupted(1, 0, 300))
    assert not script.stands(task)
    assert script.next() is None


def test_the_next_reply_ends_the_doubt() -> None:
    script = greeting()
    script.receive(Interrupted(1, 0, 300, utterance=1))
    script.receive(ReplyStarted(2, 1))
    script.receive(Clause(2, 0, "Of course."))
    assert script.next() == Synthesize(Clause(2, 0, "Of course."), 1)


MUSIC, WORDS = Clause(1, 1, "", sound="hold"), Clause(1, 2, "Here it is.")


def test_a_sound_is_left_out_where_words_follow_already() -> None:
    script = after(START, ReplyStarted(1, 0), HELLO, MUSIC, ClauseSynthesized(1, 0, 1600))
    assert script.next() == Synthesize(MUSIC, 1) and not script.goes_on(MUSIC)
    script.receive(Clause(1, 2, "", sound="hold"))
    assert script.next() == Synthesize(MUSIC, 1), "more of it is no word"
    script.receive(Clause(1, 3, "Here it is."))
    assert script.next() == Synthesize(Clause(1, 3, "Here it is."), 1) and script.goes_on(MUSIC)


def test_a_sound_goes_on_where_the_last_connection_was_lost() -> None:
    script = after(START, ReplyStarted(1, 0), HELLO, MUSIC)
    for clause, duration_ms in ((0, 1600), (1, 60_000)):
        script.receive(ClauseSynthesized(1, clause, duration_ms, epoch=1))
    assert script.next() is None
    script.receive(CallStarted(2, "edge-b", 0, (1, 1, 30_050)))
    assert script.next() == Synthesize(MUSIC, 2, 29_940)
    script.receive(WORDS)
    assert script.next() == Synthesize(WORDS, 2)
