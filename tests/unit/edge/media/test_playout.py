"""What the caller hears, and when: a clock in ms, frames that know their number, and no event loop.

The frames of a clause hold their own number in each byte, so that a list of numbers tells what was sent.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.media.playout import FRAME_BYTES, HELD_MS_MAX, Begin, Checkpoint, Out, Playout, PlayoutCut

pytestmark = pytest.mark.fast

T = 1000.0
"""When each of these calls begins; no clock starts at zero."""


def audio(*numbers: int) -> bytes:
    return b"".join(bytes([number % 256]) * FRAME_BYTES for number in numbers)


def told(out: list[Out]) -> list[int | str]:
    """Frames as their number, the rest in words."""
    words: list[int | str] = []
    for item in out:
        match item:
            case Begin(turn):
                words.append(f"begin {turn}")
            case bytes() as mulaw:
                assert mulaw == mulaw[:1] * FRAME_BYTES
                words.append(mulaw[0])
            case Checkpoint(turn, clause):
                words.append(f"mark {turn}.{clause}")
    return words


def speaking(frames: int = 50, lead_ms: int = 200, last: bool = False) -> Playout:
    """A playout whose first reply began at T."""
    playout = Playout(lead_ms)
    assert playout.push(1, 0, 0, audio(*range(frames)), last) == 0
    playout.due(T)
    return playout


def run(playout: Playout, until: float, since: float = T, step_ms: int = 20) -> list[int | str]:
    """Ask for what is due every 20 ms after `since`, up to and including `until`."""
    out: list[int | str] = []
    now = since + step_ms
    while now <= until:
        out += told(playout.due(now))
        now += step_ms
    return out


# --- pace -------------------------------------------------------------------------------------------------------


def test_the_lead_leaves_in_one_burst_and_is_then_filled_up_four_frames_at_a_time() -> None:
    playout = Playout(lead_ms=200)
    playout.push(1, 0, 0, audio(*range(30)), last=False)
    assert told(playout.due(T)) == ["begin 1", *range(10)]
    assert playout.next_due() == T + 80
    assert told(playout.due(T + 80)) == [10, 11, 12, 13]
    assert playout.next_due() == T + 160
    assert told(playout.due(T + 165)) == [14, 15, 16, 17]
    assert playout.next_due() == T + 240, "a late wake does not shift those after it"
    assert run(playout, T + 420, since=T + 165) == list(range(18, 30))
    assert playout.next_due() is None
    assert playout.held_frames == 0


def test_whoever_asks_earlier_gets_what_there_is_room_for() -> None:
    playout = speaking()
    assert playout.due(T + 19) == []
    assert told(playout.due(T + 20)) == [10]
    assert told(playout.due(T + 60)) == [11, 12]


@pytest.mark.parametrize(
    ("lead_ms", "frames"), [(0, 1), (20, 1), (40, 1), (60, 1), (100, 2), (150, 3), (200, 4), (500, 4), (1000, 4)]
)
def test_a_small_lead_is_filled_up_in_smaller_steps(lead_ms: int, frames: int) -> None:
    playout = Playout(lead_ms)
    playout.push(1, 0, 0, audio(*range(100)), last=False)
    playout.due(T)
    due = playout.next_due()
    assert due is not None
    assert len(playout.due(due)) == frames


@pytest.mark.parametrize(("lead_ms", "burst"), [(0, 1), (20, 1), (40, 2), (100, 5), (1000, 50)])
def test_the_lead_is_what_was_asked_for(lead_ms: int, burst: int) -> None:
    playout = Playout(lead_ms)
    playout.push(1, 0, 0, audio(*range(60)), last=False)
    assert told(playout.due(T)) == ["begin 1", *range(burst)]


def test_a_stall_of_40_ms_is_ridden_out() -> None:
    playout = speaking()
    assert told(playout.due(T + 20)) == [10]
    # The loop is busy and wakes us at 80 instead of 40: what was missed leaves at once, in order, and no more.
    assert told(playout.due(T + 80)) == [11, 12, 13]
    assert told(playout.due(T + 100)) == [14]
    # Nobody heard of it: at 100 ms exactly five frames have been played.
    assert playout.cut(T + 100) == PlayoutCut(1, 0, 100, at_carrier=True)


def test_a_mouth_that_is_slower_than_the_burst_is_sent_on_at_once() -> None:
    playout = Playout()
    playout.push(1, 0, 0, audio(0, 1), last=False)
    assert told(playout.due(T)) == ["begin 1", 0, 1]
    assert playout.next_due() is None
    playout.push(1, 0, 2, audio(2, 3), last=False)
    assert playout.next_due() is not None
    assert told(playout.due(T + 5)) == [2, 3]


def test_after_an_underrun_the_clock_starts_anew() -> None:
    playout = speaking(frames=2)  # played out at T + 40
    playout.push(1, 0, 2, audio(*range(2, 40)), last=False)
    assert told(playout.due(T + 100)) == list(range(2, 12))  # a whole lead again, nothing to catch up
    # Heard: 0 and 1, the gap, 2 (from 100), and 3 (from 120), which is being played.
    assert playout.cut(T + 130) == PlayoutCut(1, 0, 80, at_carrier=True)


# --- marks ------------------------------------------------------------------------------------------------------


def test_a_mark_follows_the_last_frame_of_its_clause() -> None:
    playout = Playout()
    playout.push(1, 0, 0, audio(0, 1, 2), last=True)
    playout.push(1, 1, 0, audio(10, 11), last=True)
    assert told(playout.due(T)) == ["begin 1", 0, 1, 2, "mark 1.0", 10, 11, "mark 1.1"]


def test_the_end_of_a_clause_may_come_without_audio() -> None:
    playout = speaking(frames=3)
    playout.push(1, 0, 3, b"", last=True)
    assert told(playout.due(T + 20)) == ["mark 1.0"]
    assert playout.push(1, 0, 3, b"", last=True) == 0
    assert playout.due(T + 40) == []  # told twice, marked once


def test_a_reply_begins_once() -> None:
    playout = speaking(frames=3, last=True)
    assert playout.started_turn == 1
    playout.push(1, 1, 0, audio(3), last=True)
    playout.push(2, 0, 0, audio(4), last=True)
    assert told(playout.due(T + 20)) == [3, "mark 1.1", "begin 2", 4, "mark 2.0"]
    assert playout.started_turn == 2


def test_a_mark_that_is_never_answered_is_overdue_once() -> None:
    playout = speaking(frames=5, last=True)  # played out at T + 100
    assert playout.overdue(T + 1100) == []
    assert playout.overdue(T + 1101) == [Checkpoint(1, 0)]
    assert playout.overdue(T + 9000) == []


def test_on_a_line_that_has_been_silent_since_nothing_counts_as_played_unless_the_carrier_says_so() -> None:
    playout = speaking(frames=5, last=True)  # played out at T + 100
    assert playout.overdue(T + 5000, alive_ms=T + 99) == []
    assert playout.overdue(T + 5000, alive_ms=T + 100) == [Checkpoint(1, 0)]


def test_an_answered_mark_is_not_overdue_and_answers_for_those_before_it() -> None:
    playout = Playout()
    for clause in range(3):
        playout.push(1, clause, 0, audio(clause), last=True)
    playout.due(T)
    playout.played(Checkpoint(1, 1))  # the answer for clause 0 was lost
    assert playout.overdue(T + 5000) == [Checkpoint(1, 2)]


# --- what comes twice -------------------------------------------------------------------------------------------


def test_the_same_frames_again_are_dropped() -> None:
    playout = Playout()
    assert playout.push(1, 0, 0, audio(0, 1, 2), last=False) == 0
    assert playout.push(1, 0, 0, audio(0, 1, 2), last=False) == 3
    assert playout.push(1, 0, 1, audio(1, 2), last=False) == 2
    assert told(playout.due(T)) == ["begin 1", 0, 1, 2]


def test_of_an_overlap_only_the_new_frames_are_taken() -> None:
    playout = Playout()
    playout.push(1, 0, 0, audio(0, 1, 2, 3), last=False)
    assert playout.push(1, 0, 2, audio(102, 103, 104, 105), last=True) == 2
    assert told(playout.due(T)) == ["begin 1", 0, 1, 2, 3, 104, 105, "mark 1.0"]


def test_older_clauses_older_replies_and_ended_clauses_are_dropped() -> None:
    playout = Playout()
    playout.push(1, 0, 0, audio(0), last=True)
    playout.push(2, 1, 0, audio(1), last=True)
    assert playout.push(2, 1, 1, audio(9), last=False) == 1  # it has ended
    assert playout.push(2, 0, 0, audio(9), last=True) == 1
    assert playout.push(1, 7, 0, audio(9, 9), last=True) == 2
    assert playout.newest_clause == (2, 1)
    assert told(playout.due(T)) == ["begin 1", 0, "mark 1.0", "begin 2", 1, "mark 2.1"]


def test_a_clause_spoken_again_by_another_voice_and_longer_goes_on_where_the_first_stopped() -> None:
    playout = speaking(frames=5)  # the mouth dies after 100 ms
    again = audio(*range(100, 108))  # the next one speaks it in 160 ms
    assert playout.push(1, 0, 0, again[: 4 * FRAME_BYTES], last=False) == 4
    assert playout.push(1, 0, 4, again[4 * FRAME_BYTES :], last=True) == 1
    assert run(playout, T + 200) == [105, 106, 107, "mark 1.0"]


def test_a_clause_spoken_again_and_shorter_ends_without_a_new_frame() -> None:
    playout = speaking(frames=8)
    assert playout.push(1, 0, 0, audio(*range(100, 105)), last=True) == 5
    assert run(playout, T + 200) == ["mark 1.0"]
    assert playout.cut(T + 200) == PlayoutCut(1, 0, 160, at_carrier=False)  # what was heard is heard
    assert playout.push(1, 1, 0, audio(50), last=True) == 0
    assert run(playout, T + 220, since=T + 200) == [50, "mark 1.1"]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 8)), max_size=12))
def test_however_a_clause_is_cut_and_repeated_each_frame_is_played_once(pieces: list[tuple[int, int]]) -> None:
    """A mouth (or its successor) goes back by some frames and sends on; it never leaves a gap."""
    playout = Playout()
    sent = taken = 0
    for back, count in [*pieces, (0, 1)]:
        first = max(0, sent - back)
        taken += count - playout.push(1, 0, first, audio(*range(first, first + count)), last=False)
        sent = max(sent, first + count)
    assert taken == sent == playout.held_frames
    assert told(playout.due(T)) + run(playout, T + 20 * sent) == ["begin 1", *range(sent)]


# --- the caller interrupts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after_ms", "heard_ms"),
    [(0, 0), (1, 20), (19, 20), (20, 20), (21, 40), (100, 100), (101, 120), (137, 140)],
)
def test_a_cut_tells_what_was_heard_to_the_frame(after_ms: int, heard_ms: int) -> None:
    playout = speaking()
    run(playout, T + after_ms)
    held = playout.held_frames
    assert playout.cut(T + after_ms) == PlayoutCut(1, 0, heard_ms, at_carrier=True)
    assert playout.held_frames > held  # it may go on
    playout.drop()
    assert playout.held_frames == 0


def test_a_cut_in_the_second_clause() -> None:
    playout = Playout()
    playout.push(1, 0, 0, audio(*range(5)), last=True)
    playout.push(1, 1, 0, audio(*range(20)), last=True)
    playout.due(T)
    assert playout.cut(T + 130) == PlayoutCut(1, 1, 40, at_carrier=True)


def test_a_cut_at_the_seam_counts_the_first_clause_as_heard() -> None:
    playout = Playout()
    playout.push(1, 0, 0, audio(*range(5)), last=True)
    playout.push(1, 1, 0, audio(*range(20)), last=True)
    playout.due(T)
    assert playout.cut(T + 100) == PlayoutCut(1, 1, 0, at_carrier=True)


def test_a_cut_before_the_first_frame_needs_no_clear() -> None:
    playout = Playout()
    playout.push(3, 0, 0, audio(*range(5)), last=True)
    assert playout.cut(T) == PlayoutCut(3, 0, 0, at_carrier=False)
    playout.drop()
    assert playout.due(T) == []
    playout.push(4, 0, 0, audio(7), last=True)
    assert told(playout.due(T)) == ["begin 4", 7, "mark 4.0"]  # nothing to wait for


def test_a_cut_after_the_last_frame_was_played_needs_no_clear() -> None:
    playout = speaking(frames=5)  # played out at T + 100, its clause goes on
    assert playout.cut(T + 140) == PlayoutCut(1, 0, 100, at_carrier=False)


def test_after_a_clear_nothing_leaves_until_the_carrier_has_answered() -> None:
    playout = speaking()
    playout.cut(T + 60)
    playout.drop()
    playout.push(2, 0, 0, audio(*range(90, 120)), last=True)
    assert playout.next_due() == T + 1060
    assert playout.due(T + 100) == []
    playout.cleared()
    due = playout.next_due()
    assert due is not None and due <= T + 110
    assert told(playout.due(T + 110)) == ["begin 2", *range(90, 100)]


def test_a_clear_that_is_not_answered_holds_audio_for_one_second() -> None:
    playout = speaking()
    playout.cut(T + 60)
    playout.drop()
    playout.push(2, 0, 0, audio(90), last=True)
    assert playout.due(T + 1059) == []
    assert told(playout.due(T + 1060)) == ["begin 2", 90, "mark 2.0"]


def test_marks_of_what_was_cut_are_forgotten() -> None:
    playout = speaking(frames=8, last=True)
    playout.cut(T + 60)
    playout.drop()
    assert playout.overdue(T + 9000) == []


def test_what_was_cut_goes_on_with_the_frame_that_was_not_heard() -> None:
    playout = speaking(frames=30, last=True)
    assert playout.cut(T + 61) == PlayoutCut(1, 0, 80, at_carrier=True)
    playout.paused = True
    assert playout.due(T + 400) == []
    playout.cleared()
    playout.paused = False
    assert told(playout.due(T + 400)) == list(range(4, 14))
    assert run(playout, T + 2000, since=T + 400) == [*range(14, 30), "mark 1.0"]


def test_clauses_that_were_sent_and_not_heard_are_sent_again_with_their_marks() -> None:
    playout = Playout()
    playout.push(1, 0, 0, audio(*range(5)), last=True)
    playout.push(1, 1, 0, audio(*range(10, 12)), last=True)
    playout.push(1, 2, 0, audio(*range(20, 24)), last=False)
    assert told(playout.due(T))[-2:] == [20, 21, 22][1:]
    playout.cut(T + 30)
    playout.cleared()
    assert told(playout.due(T + 30)) == [2, 3, 4, "mark 1.0", 10, 11, "mark 1.1", 20, 21, 22, 23]
    playout.push(1, 2, 4, audio(24), last=True)
    assert run(playout, T + 300, since=T + 30) == [24, "mark 1.2"]


def test_a_clause_that_was_being_heard_to_its_end_gets_its_mark_again() -> None:
    playout = speaking(frames=5, last=True)
    assert playout.cut(T + 90) == PlayoutCut(1, 0, 100, at_carrier=True)
    playout.cleared()
    assert playout.cut(T + 90) == PlayoutCut(1, 0, 100, at_carrier=False)
    assert told(playout.due(T + 90)) == ["mark 1.0"]


def test_a_mark_whose_audio_was_played_is_still_waited_for_after_a_cut() -> None:
    playout = Playout()
    playout.push(1, 0, 0, audio(*range(5)), last=True)
    playout.push(1, 1, 0, audio(*range(20)), last=True)
    playout.due(T)
    playout.cut(T + 130)
    playout.drop()
    assert playout.overdue(T + 9000) == [Checkpoint(1, 0)]


# --- holding ----------------------------------------------------------------------------------------------------


def test_while_the_caller_speaks_nothing_leaves_and_then_it_goes_on_with_the_next_frame() -> None:
    playout = speaking()
    playout.paused = True
    assert playout.next_due() is None
    assert run(playout, T + 600) == []
    playout.paused = False
    assert told(playout.due(T + 600)) == list(range(10, 20))


def test_a_reply_that_was_held_is_cut_where_it_stopped() -> None:
    playout = speaking()
    playout.paused = True
    assert playout.cut(T + 600) == PlayoutCut(1, 0, 200, at_carrier=False)  # the lead had been sent, and was heard


def test_what_is_dropped_here_is_still_played_there() -> None:
    playout = speaking()
    playout.drop()
    assert playout.held_frames == 0
    assert playout.next_due() is None
    assert playout.cut(T + 50) == PlayoutCut(1, 0, 60, at_carrier=True)


def test_no_call_holds_more_than_its_bound() -> None:
    playout = Playout()
    room = HELD_MS_MAX // 20
    assert playout.push(1, 0, 0, audio(*[1] * (room + 500)), last=False) == 500
    assert playout.held_frames == room
    playout.due(T)
    assert playout.push(1, 1, 0, audio(*[2] * 30), last=True) == 20  # ten frames have left
    assert playout.held_frames == room
