"""How much of a reply the caller heard: by the carrier's account, to the word."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.call.reply_state import CLOSED, CUT_MARK, MS_PER_CHARACTER, NEXT, AboutReply, Reply, ReplyState
from common.protocol.messages import (
    Clause,
    ClauseSynthesized,
    Interrupted,
    Message,
    PlaybackStarted,
    ReplyDiscarded,
    ReplyEnded,
    ReplyPlayed,
    ReplyReleased,
    ReplyResumed,
)

pytestmark = pytest.mark.fast

FIRST, SECOND = "We open at nine.", "Shall I book a time for you?"


def reply(ended: bool = True, spoken: bool = True) -> Reply:
    """Two clauses of 1600 and 2800 ms: 100 ms a character.  The first frame has left."""
    reply = Reply(2, 1)
    reply.receive(Clause(2, 0, FIRST))
    reply.receive(Clause(2, 1, SECOND))
    if ended:
        reply.receive(ReplyEnded(2, 2))
    if spoken:
        reply.receive(ClauseSynthesized(2, 0, 100 * len(FIRST)))
        reply.receive(ClauseSynthesized(2, 1, 100 * len(SECOND)))
    reply.receive(PlaybackStarted(2, 0))
    return reply


def cut(clause: int, heard_ms: int, ended: bool = True, spoken: bool = True) -> str:
    whole = reply(ended, spoken)
    whole.receive(Interrupted(2, clause, heard_ms))
    return whole.heard()


def test_a_reply_that_was_not_interrupted_is_heard_as_a_whole() -> None:
    assert reply().heard() == reply().text == f"{FIRST} {SECOND}"


def test_before_its_first_frame_nothing_was_heard() -> None:
    whole = Reply(2, 1)
    whole.receive(Clause(2, 0, FIRST))
    assert whole.heard() == ""


def test_a_reply_knows_when_it_was_played() -> None:
    whole = reply()
    assert whole.begun
    assert whole.state is ReplyState.PLAYING
    whole.receive(ReplyPlayed(2))
    assert whole.state is ReplyState.PLAYED


@pytest.mark.parametrize(
    ("clause", "heard_ms", "expected"),
    [
        (0, 0, ""),
        (0, 100, ""),  # in the middle of "We"
        (0, 300, f"We {CUT_MARK}"),
        (0, 900, f"We open {CUT_MARK}"),  # in the middle of "at"
        (0, 1599, f"We open at {CUT_MARK}"),
        (0, 1600, f"{FIRST} {CUT_MARK}"),
        (1, 0, f"{FIRST} {CUT_MARK}"),
        (1, 1500, f"{FIRST} Shall I book a {CUT_MARK}"),
        (1, 2799, f"{FIRST} Shall I book a time for {CUT_MARK}"),
        (1, 2800, f"{FIRST} {SECOND}"),  # interrupted, and yet heard to its end
        (1, 99_999, f"{FIRST} {SECOND}"),
    ],
)
def test_a_cut_falls_before_the_word_that_was_being_spoken(clause: int, heard_ms: int, expected: str) -> None:
    assert cut(clause, heard_ms) == expected


def test_what_was_heard_of_a_reply_that_was_still_growing_is_marked_as_cut() -> None:
    assert cut(1, 2800, ended=False) == f"{FIRST} {SECOND} {CUT_MARK}"


def test_a_clause_of_unknown_length_is_taken_at_the_pace_of_a_voice() -> None:
    assert cut(0, 8 * MS_PER_CHARACTER, spoken=False) == f"We open {CUT_MARK}"


def test_a_cut_beyond_the_known_clauses_counts_what_is_known() -> None:
    assert cut(5, 100) == f"{FIRST} {SECOND}"


def test_only_the_first_cut_counts() -> None:
    whole = reply()
    whole.receive(Interrupted(2, 0, 300))
    whole.receive(Interrupted(2, 1, 2000))
    assert whole.heard() == f"We {CUT_MARK}"


def test_a_clause_that_comes_twice_or_out_of_order_is_taken_once() -> None:
    whole = Reply(2, 1)
    whole.receive(Clause(2, 1, "too early"))
    whole.receive(Clause(2, 0, FIRST))
    whole.receive(Clause(2, 0, "another wording of the successor"))
    assert whole.clauses == [FIRST]


@given(st.integers(0, 3), st.integers(0, 5000), st.integers(0, 5000))
def test_who_listens_longer_hears_no_less(clause: int, first_ms: int, second_ms: int) -> None:
    shorter, longer = sorted((first_ms, second_ms))
    less, more = (cut(clause, ms).removesuffix(CUT_MARK).strip() for ms in (shorter, longer))
    assert more.startswith(less)
    assert f"{FIRST} {SECOND}".startswith(more)


def test_a_cough_leaves_no_trace() -> None:
    whole = reply()
    whole.receive(Interrupted(2, 0, 900, utterance=3))
    assert whole.heard() == f"We open {CUT_MARK}"
    assert whole.state is ReplyState.POSSIBLE_INTERRUPTION
    whole.receive(ReplyResumed(2, 3))
    assert whole.heard() == whole.text
    whole.receive(Interrupted(2, 0, 900, utterance=3))  # said again
    assert whole.cut is None


def test_what_interrupts_after_a_cough_counts() -> None:
    whole = reply()
    whole.receive(Interrupted(2, 0, 300, utterance=3))
    whole.receive(ReplyResumed(2, 3))
    whole.receive(Interrupted(2, 0, 900, utterance=4))
    whole.receive(ReplyResumed(2, 3))  # said again
    assert whole.heard() == f"We open {CUT_MARK}"
    whole.receive(ReplyResumed(2, 4))
    whole.receive(Interrupted(2, 1, 1500))
    whole.receive(ReplyResumed(2, 4))
    assert whole.heard() == f"{FIRST} Shall I book a {CUT_MARK}"
    assert whole.state is ReplyState.INTERRUPTED


# --- the states -------------------------------------------------------------------------------------------------

LEADS_TO: dict[ReplyState, Message] = {
    ReplyState.QUEUED: ReplyReleased("call", 1, 2),
    ReplyState.PLAYING: PlaybackStarted(2, 0),
    ReplyState.POSSIBLE_INTERRUPTION: Interrupted(2, 0, 300, utterance=3),
    ReplyState.PLAYED: ReplyPlayed(2),
    ReplyState.INTERRUPTED: Interrupted(2, 0, 300),
    ReplyState.DISCARDED: ReplyDiscarded(2),
}
WAY_TO: dict[ReplyState, list[Message]] = {
    ReplyState.PREEMPTIVE: [],
    ReplyState.QUEUED: [LEADS_TO[ReplyState.QUEUED]],
    ReplyState.DISCARDED: [LEADS_TO[ReplyState.DISCARDED]],
    **{
        state: [LEADS_TO[ReplyState.QUEUED], LEADS_TO[ReplyState.PLAYING], LEADS_TO[state]]
        for state in (ReplyState.PLAYING, ReplyState.POSSIBLE_INTERRUPTION, ReplyState.PLAYED, ReplyState.INTERRUPTED)
    },
}


def in_state(state: ReplyState) -> Reply:
    reached = Reply(2, 1, based_on="are you open")
    for message in WAY_TO[state]:
        reached.receive(message)  # type: ignore[arg-type]
    assert reached.state is state
    return reached


@pytest.mark.parametrize(("state", "to"), [*product(ReplyState, LEADS_TO)], ids=str)
def test_no_event_leads_to_a_state_that_may_not_follow(state: ReplyState, to: ReplyState) -> None:
    one = in_state(state)
    if (state, to) == (ReplyState.POSSIBLE_INTERRUPTION, ReplyState.PLAYING):
        one.receive(ReplyResumed(2, 3))  # the first frame was sent before
    else:
        one.receive(LEADS_TO[to])  # type: ignore[arg-type]
    assert one.state is (to if to in NEXT[state] else state)
    assert one.closed == (one.state in CLOSED)


@given(st.lists(st.sampled_from([*LEADS_TO.values(), ReplyResumed(2, 3), Interrupted(2, 1, 0, utterance=4)])))
def test_whatever_comes_a_closed_reply_stays_closed_and_repeats_change_nothing(messages: list[AboutReply]) -> None:
    one = Reply(2, 1, based_on="are you open")
    for message in messages:
        before, cut_before = one.state, one.cut
        one.receive(message)
        after = (one.state, one.cut)
        one.receive(message)
        assert (one.state, one.cut) == after
        if before in CLOSED:
            assert after == (before, cut_before)
        assert (one.cut is not None) == (
            one.state in (ReplyState.POSSIBLE_INTERRUPTION, ReplyState.INTERRUPTED, ReplyState.DISCARDED)
        )


# --- what no voice spoke --------------------------------------------------------------------------------------------

MONDAY = "It is on Monday at five."


def voiced(*clauses: tuple[str, int, int]) -> Reply:
    """Played to its end; of each clause the text, how long its audio is, and how many characters are in it."""
    whole = Reply(2, 1)
    for number, (text, duration_ms, chars) in enumerate(clauses):
        whole.receive(Clause(2, number, text))
        whole.receive(ClauseSynthesized(2, number, duration_ms, synthesized_chars=chars))
    for event in (ReplyEnded(2, len(clauses)), PlaybackStarted(2, 0), ReplyPlayed(2)):
        whole.receive(event)
    return whole


@pytest.mark.parametrize(
    ("clauses", "expected"),
    [
        ([(MONDAY, 0, 0)], ""),
        ([(MONDAY, 0, -1)], ""),  # told by a release that counts no characters
        ([(FIRST, 1600, -1), (MONDAY, 0, 0)], f"{FIRST} {CUT_MARK}"),
        ([(MONDAY, 0, 0), (FIRST, 1600, -1)], FIRST),
        ([(FIRST, 1600, -1), (MONDAY, 600, 9)], f"{FIRST} It is on {CUT_MARK}"),
        ([(FIRST, 1600, -1), ("😊", 0, -1)], FIRST),
        ([(FIRST, 1600, -1), (MONDAY, 1500, -1)], f"{FIRST} {MONDAY}"),
    ],
)
def test_what_no_voice_spoke_was_not_heard(clauses: list[tuple[str, int, int]], expected: str) -> None:
    assert voiced(*clauses).heard() == expected


def test_a_cut_counts_no_words_that_were_not_spoken() -> None:
    whole = voiced((FIRST, 0, 0), (MONDAY, 600, 9))
    whole.receive(Interrupted(2, 1, 5_000))
    assert whole.heard() == f"It is on {CUT_MARK}"
    mute = voiced((FIRST, 1600, -1), (MONDAY, 0, 0))
    mute.receive(Interrupted(2, 1, 0))
    assert mute.heard() == f"{FIRST} {CUT_MARK}"


def test_a_clause_that_was_spoken_after_all_counts() -> None:
    """On the next connection, for instance."""
    whole = voiced((MONDAY, 0, 0))
    whole.receive(ClauseSynthesized(2, 0, 1_500, epoch=2))
    assert whole.heard() == MONDAY


def test_a_sound_is_no_word_whatever_was_heard_of_it() -> None:
    held = Reply(2, 1)
    for message in (Clause(2, 0, FIRST), Clause(2, 1, "", sound="hold"), Clause(2, 2, SECOND), PlaybackStarted(2, 0)):
        held.receive(message)
    assert held.text == held.heard() == f"{FIRST} {SECOND}"
    held.receive(ClauseSynthesized(2, 1, 60_000))
    held.receive(Interrupted(2, 1, 5_000))
    assert held.heard() == f"{FIRST} {CUT_MARK}"
    only = Reply(3, 1)
    for message in (Clause(3, 0, "", sound="hold"), ReplyEnded(3, 1), PlaybackStarted(3, 0), Interrupted(3, 0, 900)):
        only.receive(message)
    assert only.heard() == only.text == ""
