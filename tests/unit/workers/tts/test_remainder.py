"""What the next voice must say after one broke off."""

import pytest

from workers.tts.remainder import synthesized_chars

pytestmark = pytest.mark.fast

TEXT = "We open at nine in the morning."
MARKS = [(index, 50 * index) for index in range(len(TEXT))]


@pytest.mark.parametrize(
    ("spoken_ms", "rest"),
    [
        (0, TEXT),
        (100, TEXT),  # in the middle of "We": all of it again
        (151, "open at nine in the morning."),
        (400, "at nine in the morning."),
        (1540, "morning."),
    ],
)
def test_with_the_voices_own_times(spoken_ms: int, rest: str):
    assert TEXT[synthesized_chars(TEXT, spoken_ms, MARKS) :] == rest


@pytest.mark.parametrize(("spoken_ms", "rest"), [(0, TEXT), (66 * 9, "at nine in the morning."), (66 * 40, "")])
def test_with_the_usual_speed_of_speech(spoken_ms: int, rest: str):
    assert TEXT[synthesized_chars(TEXT, spoken_ms, []) :] == rest


def test_one_long_word_is_said_again():
    assert synthesized_chars("Absolutely!", 300, []) == 0
