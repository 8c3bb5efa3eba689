"""Whose turn it is, told as calls: what is heard on the line, and what the edge does about it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.session.turn import (
    CONFIRM_MS,
    HOLD_MS_MAX,
    RESUME_MS,
    DiscardReply,
    Effect,
    Finish,
    Interrupt,
    PauseOutput,
    ResumeOutput,
    ResumeReply,
    Turn,
    Wake,
)

pytestmark = pytest.mark.fast

NOW = 5000.0


def greeting(interruptible: bool = True) -> Turn:
    """The greeting is being played."""
    turn = Turn(interruptible)
    assert turn.audio_arrived(1) == []
    return turn


def test_a_reply_is_heard_to_its_end() -> None:
    turn = greeting()
    assert turn.speaking
    assert turn.clause_heard(1, 0) == []
    assert turn.reply_complete(1, 1, "") == []
    assert turn.clause_heard(1, 1) == [Finish(1, "")]
    assert not turn.speaking


def test_the_last_words_may_be_heard_before_the_mouth_says_that_they_were_the_last() -> None:
    turn = greeting()
    assert turn.clause_heard(1, 0) == []
    assert turn.reply_complete(1, 0, "hangup") == [Finish(1, "hangup")]


def test_a_reply_is_finished_once() -> None:
    turn = greeting()
    turn.reply_complete(1, 0, "hangup")
    assert turn.clause_heard(1, 0) == [Finish(1, "hangup")]
    assert turn.clause_heard(1, 0) == []
    assert turn.reply_complete(1, 0, "hangup") == []
    assert turn.audio_arrived(1) == []


def test_a_lost_confirmation_is_made_good_by_the_next() -> None:
    turn = greeting()
    turn.reply_complete(1, 2, "")
    assert turn.clause_heard(1, 1) == []
    assert turn.clause_heard(1, 2) == [Finish(1, "")]


def test_a_reply_without_a_word_is_finished_at_once() -> None:
    assert Turn().reply_complete(1, -1, "hangup") == [Finish(1, "hangup")]


def test_confirmations_of_another_reply_finish_nothing() -> None:
    turn = greeting()
    turn.reply_complete(1, 0, "")
    assert turn.clause_heard(2, 0) == []
    assert turn.clause_heard(0, 0) == []
    assert turn.speaking


def interrupt(turn: Turn, utterance: int) -> None:
    """The caller speaks, in words, while the newest reply is being heard."""
    assert Interrupt(utterance) in turn.caller_speaks(utterance, begun=turn.turn, now=NOW)
    assert DiscardReply() in turn.words_detected(utterance)


def test_the_caller_interrupts_and_the_rest_is_stale() -> None:
    turn = greeting()
    assert turn.caller_speaks(1, begun=1, now=NOW) == [Interrupt(1), PauseOutput(), Wake(NOW + CONFIRM_MS)]
    assert turn.words_detected(1) == [DiscardReply()]
    assert not turn.admits(1)
    assert turn.admits(2)
    assert not turn.speaking
    assert turn.caller_is_speaking
    # Late news of the old reply changes nothing.
    assert turn.clause_heard(1, 0) == []
    assert turn.reply_complete(1, 0, "hangup") == []
    assert turn.caller_silent(1, NOW) == [ResumeOutput()]
    assert turn.audio_arrived(2) == []
    assert turn.turn == 2


def test_the_caller_may_interrupt_twice() -> None:
    turn = greeting()
    interrupt(turn, 1)
    turn.caller_silent(1, NOW)
    turn.audio_arrived(2)
    interrupt(turn, 2)
    assert not turn.admits(2)


def test_an_interruption_is_told_once() -> None:
    turn = greeting()
    interrupt(turn, 1)
    assert turn.caller_speaks(1, begun=1, now=NOW) == []  # the bus says it twice
    turn.caller_silent(1, NOW)
    turn.audio_arrived(2)
    assert turn.caller_speaks(1, begun=2, now=NOW) == []  # or much too late
    assert turn.speaking


def test_speech_that_the_reply_answers_does_not_interrupt_it_however_late_it_is_told() -> None:
    turn = greeting()
    turn.reply_complete(1, 0, "")
    turn.clause_heard(1, 0)
    assert turn.audio_arrived(2, answers=1) == []
    assert turn.caller_speaks(1, begun=2, now=NOW) == []  # Redis was away while the caller asked
    assert turn.caller_silent(1, NOW) == []
    assert turn.speaking
    assert Interrupt(2) in turn.caller_speaks(2, begun=2, now=NOW)


def test_a_cough_before_the_first_frame_costs_nothing() -> None:
    turn = greeting()
    assert turn.caller_speaks(1, begun=0, now=NOW) == [PauseOutput()]
    assert turn.admits(1)
    assert turn.caller_silent(1, NOW) == [ResumeOutput()]
    assert turn.reply_complete(1, 0, "") == []
    assert turn.clause_heard(1, 0) == [Finish(1, "")]


def test_new_words_before_the_first_frame_replace_the_reply() -> None:
    turn = greeting()
    turn.caller_speaks(1, begun=0, now=NOW)
    turn.caller_silent(1, NOW)
    assert turn.audio_arrived(2) == [Interrupt()]  # whatever is held of reply 1 is forgotten
    assert not turn.admits(1)
    assert turn.turn == 2


def test_that_the_last_reply_began_does_not_mean_that_this_one_did() -> None:
    turn = greeting()
    turn.reply_complete(1, 0, "")
    turn.clause_heard(1, 0)
    turn.audio_arrived(2)
    assert turn.caller_speaks(1, begun=1, now=NOW) == [PauseOutput()]
    assert turn.admits(2)


def test_what_was_heard_of_the_last_reply_does_not_count_for_this_one() -> None:
    turn = greeting()
    turn.clause_heard(1, 3)
    turn.audio_arrived(2)
    assert turn.reply_complete(2, 1, "") == []
    assert turn.speaking


def test_while_the_agent_is_silent_speech_only_holds() -> None:
    turn = Turn()
    assert turn.caller_speaks(1, begun=0, now=NOW) == [PauseOutput()]
    assert turn.caller_silent(1, NOW) == [ResumeOutput()]


def test_a_reply_that_was_heard_cannot_be_interrupted() -> None:
    turn = greeting()
    turn.reply_complete(1, 0, "")
    turn.clause_heard(1, 0)
    assert turn.caller_speaks(1, begun=1, now=NOW) == [PauseOutput()]
    assert turn.admits(1)


def test_an_agent_that_may_not_be_interrupted_speaks_on() -> None:
    turn = greeting(interruptible=False)
    assert turn.caller_speaks(1, begun=1, now=NOW) == []
    assert turn.speaking
    assert turn.admits(1)
    turn.caller_silent(1, NOW)
    turn.reply_complete(1, 0, "")
    assert turn.clause_heard(1, 0) == [Finish(1, "")]


def test_a_reply_without_audio_replaces_the_one_that_is_playing() -> None:
    turn = greeting()
    assert turn.reply_complete(2, -1, "") == [Interrupt(), Finish(2, "")]


def test_an_older_reply_never_comes_back() -> None:
    turn = greeting()
    turn.audio_arrived(3)
    assert turn.audio_arrived(2) == []
    assert turn.turn == 3
    assert not turn.admits(2)


def test_only_the_end_of_the_newest_utterance_releases() -> None:
    turn = Turn()
    turn.caller_speaks(1, begun=0, now=NOW)
    turn.caller_speaks(2, begun=0, now=NOW)
    assert turn.caller_silent(1, NOW) == []
    assert turn.caller_is_speaking
    assert turn.caller_silent(2, NOW) == [ResumeOutput()]
    assert turn.caller_silent(2, NOW) == []


def test_an_end_of_speech_that_never_comes_does_not_mute_the_agent_for_ever() -> None:
    turn = Turn()
    assert turn.wake(NOW + 1e6) == []
    turn.caller_speaks(1, begun=0, now=NOW)
    assert turn.wake(NOW + HOLD_MS_MAX) == []
    assert turn.wake(NOW + HOLD_MS_MAX + 1) == [ResumeOutput()]
    assert turn.wake(NOW + HOLD_MS_MAX + 2) == []
    assert not turn.caller_is_speaking


# --- is it speech? -----------------------------------------------------------------------------------------------


def doubting() -> Turn:
    """The greeting was stopped by a sound, and the caller is silent again."""
    turn = greeting()
    assert turn.caller_speaks(1, begun=1, now=NOW) == [Interrupt(1), PauseOutput(), Wake(NOW + CONFIRM_MS)]
    assert turn.caller_silent(1, NOW + 400) == [Wake(NOW + 400 + RESUME_MS)]
    return turn


def test_after_a_cough_the_agent_goes_on() -> None:
    turn = doubting()
    assert turn.wake(NOW + 399 + RESUME_MS) == []
    assert turn.admits(1)  # what is on its way may still be heard
    assert turn.wake(NOW + 400 + RESUME_MS) == [ResumeReply(1, 1), ResumeOutput()]
    assert turn.speaking
    assert turn.wake(NOW + 9000) == []
    turn.reply_complete(1, 0, "")
    assert turn.clause_heard(1, 0) == [Finish(1, "")]


def test_words_make_it_an_interruption() -> None:
    turn = doubting()
    assert not turn.between
    assert turn.words_detected(1) == [DiscardReply(), ResumeOutput()]
    assert not turn.admits(1)
    assert turn.between
    assert turn.wake(NOW + 9000) == []
    assert turn.words_detected(1) == []  # said twice


def test_words_that_are_understood_while_they_are_said_do_not_let_the_agent_speak() -> None:
    turn = greeting()
    turn.caller_speaks(1, begun=1, now=NOW)
    assert turn.words_detected(1) == [DiscardReply()]
    assert turn.caller_silent(1, NOW + 900) == [ResumeOutput()]


def test_long_speech_is_an_interruption_whatever_it_says() -> None:
    turn = greeting()
    turn.caller_speaks(1, begun=1, now=NOW)
    assert turn.wake(NOW + CONFIRM_MS - 1) == []
    assert turn.wake(NOW + CONFIRM_MS) == [DiscardReply()]
    assert not turn.admits(1)


def test_a_second_cough_begins_the_wait_anew() -> None:
    turn = doubting()
    assert turn.caller_speaks(2, begun=1, now=NOW + 1000) == [Wake(NOW + 1000 + CONFIRM_MS)]
    assert turn.wake(NOW + 400 + RESUME_MS) == []
    turn.caller_silent(2, NOW + 1400)
    assert turn.wake(NOW + 1400 + RESUME_MS) == [ResumeReply(1, 1), ResumeOutput()]


def test_words_that_are_understood_too_late_stop_the_agent_again() -> None:
    turn = doubting()
    turn.wake(NOW + 400 + RESUME_MS)
    assert turn.words_detected(1) == [Interrupt()]
    assert not turn.admits(1)
    assert turn.between


def test_words_of_another_speech_stop_nobody() -> None:
    turn = greeting()
    turn.reply_complete(1, 0, "")
    turn.clause_heard(1, 0)
    turn.caller_speaks(1, begun=1, now=NOW)
    turn.caller_silent(1, NOW + 400)
    turn.audio_arrived(2, answers=1)
    assert turn.words_detected(1) == []  # the answer was prepared, and is faster
    assert turn.speaking


def test_an_answer_to_the_sound_ends_the_doubt() -> None:
    turn = doubting()
    assert turn.audio_arrived(2, answers=1) == [DiscardReply(), ResumeOutput()]
    assert turn.turn == 2
    assert turn.wake(NOW + 9000) == []


def test_what_is_heard_and_complete_meanwhile_counts() -> None:
    turn = doubting()
    turn.clause_heard(1, 0)  # it was under way
    turn.reply_complete(1, 0, "hangup")
    assert turn.wake(NOW + 400 + RESUME_MS) == [ResumeReply(1, 1), ResumeOutput(), Finish(1, "hangup")]


def test_an_agent_that_may_not_be_interrupted_knows_no_doubt() -> None:
    turn = greeting(interruptible=False)
    assert turn.caller_speaks(1, begun=1, now=NOW) == []
    assert turn.words_detected(1) == []
    assert turn.speaking


STEPS = st.one_of(
    st.tuples(st.just("audio"), st.integers(1, 4)),
    st.tuples(st.just("complete"), st.integers(1, 4), st.integers(-1, 2)),
    st.tuples(st.just("heard"), st.integers(1, 4), st.integers(0, 2)),
    st.tuples(st.just("speaks"), st.integers(1, 6)),
    st.tuples(st.just("silent"), st.integers(1, 6)),
    st.tuples(st.just("understood"), st.integers(1, 6)),
    st.tuples(st.just("wake"), st.integers(0, 9)),
)


@given(st.lists(STEPS, max_size=30))
def test_in_any_order_of_events_a_reply_ends_at_most_once_and_twice_told_is_told_once(
    steps: list[tuple[object, ...]],
) -> None:
    turn = Turn()
    finished: list[int] = []
    for step in steps:
        was_speaking, was_turn, least = turn.speaking, turn.turn, turn.turn_min
        effects = _take(turn, step)
        if Interrupt() in effects:
            assert was_speaking
            assert turn.turn_min > was_turn
        finished += [effect.turn for effect in effects if isinstance(effect, Finish)]
        assert turn.turn_min >= least
        assert _take(turn, step) == []
    assert len(finished) == len(set(finished))
    assert finished == sorted(finished)


def _take(turn: Turn, step: tuple[object, ...]) -> list[Effect]:
    """As edge/session/call.py does: what is not admitted is dropped before the turn hears of it."""
    match step:
        case ("audio", int(number)):
            return turn.audio_arrived(number) if turn.admits(number) else []
        case ("complete", int(number), int(clause)):
            return turn.reply_complete(number, clause, "") if turn.admits(number) else []
        case ("heard", int(number), int(clause)):
            return turn.clause_heard(number, clause)
        case ("speaks", int(utterance)):
            return turn.caller_speaks(utterance, begun=turn.turn, now=NOW)
        case ("silent", int(utterance)):
            return turn.caller_silent(utterance, NOW)
        case ("understood", int(utterance)):
            return turn.words_detected(utterance)
        case ("wake", int(number)):
            return turn.wake(NOW + number * 200)
    raise AssertionError(step)


def test_between_the_turns_nobody_speaks() -> None:
    turn = greeting()
    assert not turn.between
    interrupt(turn, 1)
    assert not turn.between
    turn.caller_silent(1, NOW)
    assert turn.between
    turn.audio_arrived(2, answers=1)
    assert not turn.between
    turn.caller_speaks(2, begun=1, now=NOW)  # a cough before the reply was heard
    turn.caller_silent(2, NOW)
    assert not turn.between


def test_each_reply_is_interruptible_as_its_agent_says() -> None:
    turn = Turn()
    turn.audio_arrived(1, interruptible=False)
    assert turn.caller_speaks(1, begun=1, now=NOW) == []
    turn.caller_silent(1, NOW + 100)
    turn.audio_arrived(2, interruptible=True)
    assert Interrupt(2) in turn.caller_speaks(2, begun=2, now=NOW + 200)
    first = Turn(interruptible=False)
    first.audio_arrived(1, interruptible=True)
    first.audio_arrived(2)
    assert first.caller_speaks(1, begun=2, now=NOW) == [], "as the first agent says"
