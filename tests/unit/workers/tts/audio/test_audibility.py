"""Which texts are spoken at all."""

from __future__ import annotations

import pytest

from workers.providers.interfaces import Down, Rejected
from workers.tts.audio.audibility import TEXT_CHARS_MAX, is_speakable
from workers.tts.audio.received import base64_audio

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("text", "speakable"), [("Yes.", True), ("42", True), ("नमस्ते", True), ("", False), (" … — !?", False)]
)
def test_a_text_is_spoken_if_it_has_a_letter_or_a_digit(text: str, speakable: bool) -> None:
    assert is_speakable(text) is speakable


def test_a_text_that_is_too_long_is_refused_and_not_quoted() -> None:
    assert is_speakable("a" * TEXT_CHARS_MAX)
    with pytest.raises(Rejected, match=f"{TEXT_CHARS_MAX + 1} characters; at most {TEXT_CHARS_MAX}") as caught:
        is_speakable("a" * (TEXT_CHARS_MAX + 1))
    assert "aaa" not in str(caught.value)


@pytest.mark.parametrize("data", [None, 7, "no base64!", "QUJ", ["QUJD"]])
def test_audio_that_is_no_base64_is_the_vendor_s_failure(data: object) -> None:
    assert base64_audio("x", "QUJD") == b"ABC"
    with pytest.raises(Down, match="x sent audio that is no base64"):
        base64_audio("x", data)
