"""Silence where the carrier sends none: how much, when, and what of late media it stands for already."""

import pytest

from edge.media.silence_fill import SURE_MS, SilenceFill, is_quiet

pytestmark = pytest.mark.fast

SILENCE = b"\xff" * 160
NOISE = bytes([0xFE, 0x7C, 0xFD, 0x7F, 0xF9] * 32)
SPEECH = bytes([0x20, 0xA0] * 80)


class Line:
    """One connection's time in steps of 20 ms; `written` counts the frames of both kinds that the ears got."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fill = SilenceFill(self.now)
        self.filled = self.passed = 0

    def media(self, *frames: bytes) -> int:
        kept = len(self.fill.media(list(frames), self.now))
        self.passed += kept
        return kept

    def talks(self, frames: int, frame: bytes = SPEECH) -> None:
        for _ in range(frames):
            self.now += 20
            self.media(frame)
            assert self.fill.due(self.now) == 0

    def waits(self, ms: int) -> None:
        for _ in range(ms // 20):
            self.now += 20
            self.filled += self.fill.due(self.now)


@pytest.mark.parametrize(
    ("gap_ms", "frames"), [(140, 0), (160, 1), (200, 3), (300, 8), (320, 16), (1000, 50), (40_000, 2000)]
)
def test_a_gap_is_filled_slowly_at_first_and_then_as_a_whole(gap_ms: int, frames: int) -> None:
    line = Line()
    line.talks(10)
    line.waits(gap_ms)
    assert line.filled == frames


@pytest.mark.parametrize("payload_frames", [1, 5, 10, 50])
def test_a_carrier_that_sends_large_pieces_has_no_gaps(payload_frames: int) -> None:
    line = Line()
    line.media(*[SPEECH] * payload_frames)
    for _ in range(10):
        line.waits(20 * payload_frames)
        assert line.media(*[SPEECH] * payload_frames) == payload_frames
    assert line.filled == 0


def test_late_silence_replaces_what_was_written_and_late_words_are_kept() -> None:
    line = Line()
    line.talks(10)
    line.waits(600)
    assert line.filled == 30
    kept = sum(line.media(frame) for frame in [SILENCE] * 10 + [SPEECH] * 10 + [NOISE] * 10)
    assert kept == 10 + 3  # the words, and what came first: it may be the line going on
    line.talks(20, SILENCE)
    assert line.passed == 10 + 13 + 20


def test_what_goes_on_after_a_mute_is_never_left_out_however_it_jitters() -> None:
    line = Line()
    line.talks(10)
    line.waits(40_000)
    for burst in (3, 1, 1, 2, 1, 4, 1):
        line.now += 20 * burst
        assert sum(line.media(SILENCE) for _ in range(burst)) == burst
    line.talks(50, SILENCE)


@pytest.mark.parametrize(
    ("frame", "quiet"), [(SILENCE, True), (b"\x7f" * 160, True), (NOISE, True), (SPEECH, False), (b"a" * 160, False)]
)
def test_a_lines_own_noise_is_silence(frame: bytes, quiet: bool) -> None:
    assert is_quiet(frame) is quiet


def test_the_silence_is_certain_before_the_shortest_usual_end_of_a_turn() -> None:
    assert SURE_MS < 500
