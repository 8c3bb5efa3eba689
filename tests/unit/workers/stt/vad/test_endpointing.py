"""Endpointing, as strips of sound: one character is one window of 32 ms.

#  speech     ~  perhaps speech (between the two thresholds)     .  silence     _  a window that was lost
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hypothesis_profile import examples
from workers.providers.interfaces import ListenOptions, SpeechEnd, SpeechStart
from workers.stt.vad.endpointing import (
    EAGER_END_MS,
    GAP_MS,
    RESUME_MS,
    SPEECH_LASTS,
    WINDOW_MS,
    Decision,
    EagerEnd,
    End,
    Endpointing,
)

pytestmark = pytest.mark.fast

PROBABILITY = {"#": 0.9, "~": 0.4, ".": 0.05}
OPTIONS = ListenOptions(min_interruption_ms=160, endpointing_ms=500, utterance_ms_max=30_000)


def listen(strip: str, options: ListenOptions = OPTIONS) -> list[tuple[int, Decision]]:
    """Each decision with the number of windows that had been heard when it came."""
    endpointing = Endpointing(options)
    decided: list[tuple[int, Decision]] = []
    for index, sound in enumerate(strip):
        if sound != "_":
            decided += [(index + 1, d) for d in endpointing.feed(index * WINDOW_MS, PROBABILITY[sound])]
    return decided


def decisions(strip: str, options: ListenOptions = OPTIONS) -> list[Decision]:
    return [decision for _, decision in listen(strip, options)]


def test_a_sentence_is_onset_offset_likely_end_and_end():
    assert listen("...." + "#" * 10 + "." * 20) == [
        (9, SpeechStart(128)),  # 160 ms after the speech began
        (21, SpeechEnd(448)),  # 224 ms of silence
        (21, EagerEnd(128, 448)),
        (30, End(128, 448)),  # 512 ms of silence
    ]


def test_a_caller_who_falls_silent_is_heard_to_do_so_once():
    assert decisions("#" * 10 + "." * 500) == decisions("#" * 10 + "." * 20)


@pytest.mark.parametrize(
    ("why", "strip"),
    [
        ("silence", "." * 200),
        ("a click", "...#" + "." * 50),
        ("a cough just too short", "####" + "." * 50),
        ("clicks far apart", "##...." * 30),
        ("a murmur that never rises to speech", "~" * 200),
    ],
)
def test_nothing_is_heard_in(why: str, strip: str):
    assert decisions(strip) == [], why


def test_speech_lasts_while_the_model_half_believes_in_it():
    assert decisions("#~~~~~~~~~" + "." * 20) == decisions("#" * 10 + "." * 20)


def test_the_closure_of_a_consonant_does_not_undo_an_onset():
    assert listen("###..##")[0] == (7, SpeechStart(0))


def test_a_pause_within_a_turn_gives_two_onsets_and_one_end():
    strip = "#" * 10 + "." * 10 + "#" * 10 + "." * 20
    assert decisions(strip) == [
        SpeechStart(0),
        SpeechEnd(320),
        EagerEnd(0, 320),  # void: the caller goes on
        SpeechStart(640),
        SpeechEnd(960),
        EagerEnd(0, 960),
        End(0, 960),
    ]


def test_a_short_word_after_a_pause_belongs_to_the_turn_without_an_onset():
    strip = "#" * 10 + "." * 10 + "###" + "." * 20
    assert decisions(strip) == [
        SpeechStart(0),
        SpeechEnd(320),
        EagerEnd(0, 320),
        EagerEnd(0, 736),
        End(0, 736),
    ]


def test_a_click_in_the_pause_does_not_make_the_caller_wait():
    with_click = listen("#" * 10 + "." * 8 + "#" + "." * 20)
    without = listen("#" * 10 + "." * 29)
    assert with_click == without


def test_a_word_that_begins_just_before_the_end_holds_it_back():
    strip = "#" * 10 + "." * 15 + "#" * 10 + "." * 20
    ends = [d for d in decisions(strip) if isinstance(d, End)]
    assert ends == [End(0, 35 * WINDOW_MS)]


def test_lost_audio_counts_as_silence():
    lost = listen("#" * 10 + "_" * 30 + "#" * 10 + "." * 20)
    assert [d for _, d in lost if isinstance(d, End)] == [End(0, 320), End(1280, 1600)]
    assert lost[1] == (41, SpeechEnd(320))  # known as soon as there is audio again


def test_a_long_speech_is_cut_into_pieces_without_losing_any_of_it():
    options = ListenOptions(utterance_ms_max=960)
    assert decisions("#" * 70 + "." * 20, options) == [
        SpeechStart(0),
        SpeechEnd(960),
        End(0, 960, cut=True),
        SpeechStart(960),
        SpeechEnd(1920),
        End(960, 1920, cut=True),
        SpeechStart(1920),
        SpeechEnd(2240),
        EagerEnd(1920, 2240),
        End(1920, 2240),
    ]


def test_a_cut_just_when_the_caller_stops_leaves_no_empty_turn():
    options = ListenOptions(utterance_ms_max=960)
    assert decisions("#" * 30 + "." * 40, options) == [
        SpeechStart(0),
        SpeechEnd(960),
        End(0, 960, cut=True),
        SpeechStart(960),
        SpeechEnd(960),
    ]


def test_an_endpoint_shorter_than_the_likely_end_still_says_offset_first():
    options = ListenOptions(endpointing_ms=96)
    assert decisions("#" * 10 + "." * 20, options) == [SpeechStart(0), SpeechEnd(320), End(0, 320)]


def test_audio_that_is_not_needed_any_more_is_known():
    endpointing = Endpointing(OPTIONS)
    needed = []
    for index, sound in enumerate("..##" + "#" * 8 + "." * 20):
        endpointing.feed(index * WINDOW_MS, PROBABILITY[sound])
        needed.append(endpointing.needed_from_ms)
    assert needed[:3] == [None, None, 64]
    assert set(needed[3:27]) == {64}
    assert needed[-1] is None


def test_positions_never_go_back():
    endpointing = Endpointing(OPTIONS)
    endpointing.feed(64, 0.1)
    with pytest.raises(ValueError, match="64 ms"):
        endpointing.feed(64, 0.1)


@given(
    strips=st.lists(st.tuples(st.sampled_from("#~._"), st.integers(1, 25)), max_size=40),
    min_interruption_ms=st.integers(32, 400),
    endpointing_ms=st.integers(32, 1000),
    utterance_ms_max=st.integers(1000, 4000),
)
@settings(max_examples=examples(300), deadline=None)
def test_rules_that_hold_for_every_sound(
    strips: list[tuple[str, int]], min_interruption_ms: int, endpointing_ms: int, utterance_ms_max: int
):
    options = ListenOptions(
        min_interruption_ms=min_interruption_ms, endpointing_ms=endpointing_ms, utterance_ms_max=utterance_ms_max
    )
    strip = "".join(sound * count for sound, count in strips) + "." * 40
    speaking, in_turn, cut_at = False, False, -1
    likely: EagerEnd | None = None
    for windows, decision in listen(strip, options):
        now_ms = windows * WINDOW_MS
        match decision:
            case SpeechStart(position_ms):
                assert not speaking
                speaking = in_turn = True
                could_be_speech = [
                    sound
                    for sound in strip[position_ms // WINDOW_MS : windows]
                    if PROBABILITY.get(sound, 0) >= SPEECH_LASTS
                ]
                assert position_ms == cut_at or len(could_be_speech) * WINDOW_MS >= min_interruption_ms
            case SpeechEnd(position_ms):
                assert speaking
                speaking = False
                assert position_ms <= now_ms
            case EagerEnd(_, end_ms):
                assert in_turn and not speaking and now_ms - end_ms >= EAGER_END_MS
                assert likely is None or end_ms > likely.end_ms
                likely = decision
            case End(start_ms, end_ms, cut):
                assert in_turn and not speaking
                in_turn = False
                assert start_ms < end_ms <= now_ms
                # Missing windows are seen when the next one comes, by then less than EAGER_END_MS late.
                assert end_ms - start_ms <= utterance_ms_max + WINDOW_MS + EAGER_END_MS
                assert cut or now_ms - end_ms >= endpointing_ms
                cut_at = end_ms if cut else -1
    assert not speaking, "after a long silence every Onset has had its Offset"


def test_the_thresholds_fit_together():
    assert GAP_MS <= RESUME_MS <= OPTIONS.min_interruption_ms
    assert GAP_MS < EAGER_END_MS < OPTIONS.endpointing_ms
