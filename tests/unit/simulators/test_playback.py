"""What the caller hears, by the clock: the simulated carrier's playback queue, fed by hand."""

from array import array

import pytest

from simulators.playback import Cleared, Playback, Played, Underrun
from simulators.sound import Samples, silence

pytestmark = pytest.mark.fast


def tone(ms: int) -> Samples:
    """A sound nobody could miss."""
    return array("h", [8000, -8000] * (ms * 4))


def play(queue: Playback, ms: int, now_ms: float) -> None:
    queue.play(tone(ms), ms * 8, now_ms)


def test_audio_plays_in_real_time_however_fast_it_arrives() -> None:
    queue = Playback()
    for _ in range(50):  # a whole second in one burst
        play(queue, 20, 100.0)

    assert queue.playing(1099.9)
    assert not queue.playing(1100.0)
    assert queue.loud_spans_ms(5000.0) == [(100.0, 1100.0)]
    assert queue.underruns == []


def test_a_checkpoint_is_answered_when_everything_before_it_has_been_heard() -> None:
    queue = Playback()
    play(queue, 200, 0.0)
    queue.checkpoint("greeting", 1.0)
    play(queue, 100, 2.0)
    queue.checkpoint("question", 3.0)

    assert queue.deadline_ms == 200.0
    assert queue.wake(199.9) == []
    assert queue.wake(200.0) == [Played("greeting")]
    assert queue.deadline_ms == 300.0
    assert queue.wake(400.0) == [Played("question")]
    assert queue.deadline_ms is None
    assert queue.heard_checkpoints == [("greeting", 200.0), ("question", 300.0)]


def test_a_checkpoint_on_an_empty_queue_is_answered_at_once() -> None:
    queue = Playback()
    queue.checkpoint("nothing", 50.0)
    assert queue.wake(50.0) == [Played("nothing")]


def test_clear_silences_the_agent_in_mid_word_and_voids_its_checkpoints() -> None:
    queue = Playback(clear_delay_ms=20.0)
    play(queue, 400, 0.0)
    queue.checkpoint("never", 1.0)
    queue.clear(150.0)

    assert not queue.playing(150.0)
    assert queue.wake(169.9) == []
    assert queue.wake(1000.0) == [Cleared()]
    (clear,) = queue.clears
    assert (clear.dropped_ms, clear.dropped_bytes, clear.voided_checkpoints) == (250.0, 2000, 1)
    assert queue.heard_checkpoints == []
    assert queue.loud_spans_ms(1000.0) == [(0.0, 150.0)]


def test_a_clear_between_two_samples_leaves_no_sound_behind_it() -> None:
    queue = Playback()
    play(queue, 400, 0.0)
    queue.clear(141.45)
    assert queue.first_loud_ms(141.45, 1000.0) is None
    assert queue.silent_from_ms(50.0) <= 141.45


def test_a_checkpoint_that_was_already_heard_survives_a_clear() -> None:
    queue = Playback()
    play(queue, 100, 0.0)
    queue.checkpoint("heard", 0.0)
    play(queue, 100, 0.0)
    queue.clear(120.0)
    assert queue.wake(120.0) == [Played("heard")]
    assert queue.clears[0].voided_checkpoints == 0


def test_audio_between_clear_and_its_acknowledgement_is_lost() -> None:
    queue = Playback(clear_delay_ms=30.0)
    play(queue, 400, 0.0)
    queue.clear(100.0)
    play(queue, 20, 110.0)
    queue.checkpoint("too early", 111.0)
    assert queue.wake(130.0) == [Cleared()]
    play(queue, 20, 131.0)

    assert queue.clears[0].raced_bytes == 160
    assert queue.wake(500.0) == []
    assert queue.loud_spans_ms(500.0, join_ms=5.0) == [(0.0, 100.0), (131.0, 151.0)]


def test_each_of_two_clears_is_acknowledged() -> None:
    queue = Playback(clear_delay_ms=20.0)
    queue.clear(0.0)
    queue.clear(5.0)
    assert queue.wake(20.0) == [Cleared()]
    assert queue.wake(25.0) == [Cleared()]


def test_audio_that_comes_late_leaves_a_hole_in_the_reply() -> None:
    queue = Playback()
    play(queue, 100, 0.0)
    play(queue, 100, 130.0)
    assert queue.underruns == [Underrun(100.0, 30.0)]


def test_silence_between_two_replies_is_no_underrun() -> None:
    queue = Playback()
    play(queue, 100, 0.0)
    queue.caller_spoke(200.0)
    play(queue, 100, 600.0)  # the caller spoke in between
    play(queue, 100, 3000.0)  # far too long for a hole
    queue.clear(3050.0)
    queue.wake(3070.0)
    play(queue, 100, 3100.0)  # cut short by the server itself
    assert queue.underruns == []


def test_silence_that_is_sent_as_audio_is_not_heard_as_speech() -> None:
    queue = Playback()
    queue.play(silence(800), 800, 0.0)
    play(queue, 100, 0.0)
    assert queue.first_loud_ms(0.0, 1000.0) == 100.0
    assert queue.first_loud_ms(0.0, 90.0) is None
    assert queue.first_loud_ms(150.0, 1000.0) == 150.0
    assert queue.first_loud_ms(200.0, 1000.0) is None


def test_the_recording_holds_what_was_heard_and_nothing_that_was_cleared() -> None:
    queue = Playback()
    play(queue, 100, 10.0)
    queue.clear(60.0)
    track = queue.track(200.0)
    assert len(track) == 1600
    assert list(track[79:82]) == [0, 8000, -8000]
    assert any(track[472:480])
    assert not any(track[480:])


def test_dropped_bytes_are_counted_in_the_encoding_of_the_wire() -> None:
    queue = Playback()
    queue.play(tone(100), 4800, 0.0)  # 24 kHz L16: 48 bytes a ms
    queue.clear(50.0)
    assert queue.clears[0].dropped_bytes == 2400


def test_silent_from_bridges_a_hole_but_not_a_pause() -> None:
    queue = Playback()
    play(queue, 100, 0.0)
    play(queue, 100, 150.0)
    play(queue, 100, 700.0)
    assert queue.silent_from_ms(50.0) == 250.0
    assert queue.silent_from_ms(300.0) == 300.0


def test_the_end_of_the_stream_drops_audio_and_answers() -> None:
    queue = Playback()
    play(queue, 100, 0.0)
    queue.checkpoint("never", 0.0)
    queue.end(50.0)
    assert queue.deadline_ms is None
    assert queue.clears == []
    assert queue.loud_spans_ms(500.0) == [(0.0, 50.0)]
