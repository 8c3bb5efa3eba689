"""What says "go on", and what says something."""

from __future__ import annotations

import pytest

from workers.stt.backchannels import is_backchannel

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("text", ["Mm-hm.", "mhm", "Uh-huh!", "uh huh", "Hmm…", "Mm-hmm, mm-hmm.", "हम्म", "Um, uh."])
def test_a_nod(text: str) -> None:
    assert is_backchannel(text)


@pytest.mark.parametrize("text", ["", ".", "yes", "okay", "Mm-hm, on Monday.", "Hum the song", "no", "uh, wait", "हाँ"])
def test_words_and_silence_are_no_nod(text: str) -> None:
    assert not is_backchannel(text)
