"""ElevenLabs on the wire: when each letter is heard, whose fault an error is, and what is no message at all."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from workers.providers.interfaces import Busy, Down, Rejected
from workers.tts.engines.elevenlabs_messages import (
    Alignment,
    ClauseTimings,
    closing,
    language_code,
    opening,
    provider_error,
    socket_path,
    speaking,
    understood,
)

pytestmark = pytest.mark.fast

MS = 50


def aligned(letters: str, start_ms: int = 0) -> Alignment:
    """50 ms a letter."""
    starts = tuple(start_ms + MS * n for n in range(len(letters)))
    return Alignment(tuple(letters), starts, start_ms + MS * len(letters))


def sound(letters: str) -> bytes:
    return bytes(8 * MS * len(letters))


def spelled(text: str, *alignments: Alignment | None) -> dict[int, int]:
    spelling = ClauseTimings(text)
    marks = [mark for alignment in alignments for mark in spelling.receive(b"", alignment)]
    assert marks == sorted(marks) and len(dict(marks)) == len(marks)
    return dict(marks)


def straight(text: str) -> dict[int, int]:
    return {offset: MS * offset for offset, char in enumerate(text) if not char.isspace()}


# --- alignment ------------------------------------------------------------------------------------------------------


def test_alignments_follow_each_other_each_from_its_own_zero() -> None:
    text = "Hello there, caller."
    assert spelled(text, aligned("Hello th"), aligned("ere, "), aligned("caller.")) == straight(text)


def test_audio_may_come_without_an_alignment() -> None:
    assert spelled("Hello there.", aligned("Hello "), None, aligned("there.")) == straight("Hello there.")


def test_the_space_that_opened_the_context_is_no_letter_of_ours() -> None:
    marks = spelled("Hello.", aligned(" Hello. "))
    assert marks == {offset: MS * (offset + 1) for offset in range(6)}


def test_a_second_pass_from_the_beginning_tells_only_what_is_new() -> None:
    text = "Hello, this is the clinic, how can I help?"
    assert spelled(text, aligned(text[:17]), aligned(text)) == straight(text)


def test_a_second_pass_of_a_later_part_counts_from_where_that_part_began() -> None:
    text = "First part. Second part, which is longer."
    first, second = text[:12], text[12:]
    assert spelled(text, aligned(first), aligned(second[:9]), aligned(second)) == straight(text)


def test_a_text_that_repeats_itself_is_no_second_pass() -> None:
    text = "no no no no"
    assert spelled(text, aligned("no "), aligned("no "), aligned("no no")) == straight(text)


def test_letters_that_are_not_in_the_text_lose_no_later_ones() -> None:
    marks = spelled("It is 5 now.", aligned("It is five now."))
    assert marks[0] == 0 and marks[8] == MS * 11 and 11 in marks


def test_every_script_counts_in_characters() -> None:
    text = "नमस्ते, आप कैसे हैं?"
    assert spelled(text, aligned(text)) == straight(text)


def test_time_does_not_run_backwards() -> None:
    spelling = ClauseTimings("abcd")
    marks = spelling.receive(b"", Alignment(("a", "b", "c", "d"), (0, 90, 60, 120), 150))
    assert [ms for _, ms in marks] == [0, 90, 90, 120]


def test_a_clause_is_complete_with_its_last_letter_and_its_audio() -> None:
    spelling = ClauseTimings("Hello.")
    spelling.receive(sound("Hel"), aligned("Hel"))
    assert not spelling.complete
    spelling.receive(b"", aligned("lo."))
    assert not spelling.complete
    spelling.receive(sound("lo."), None)
    assert spelling.complete


def test_twice_the_audio_is_another_sample_rate() -> None:
    text = "word " * 30
    right, wrong = ClauseTimings(text), ClauseTimings(text)
    right.receive(sound(text) + bytes(8 * 900), aligned(text))  # a little silence behind
    wrong.receive(sound(text) * 2, aligned(text))
    assert not right.wrong_rate and wrong.wrong_rate


# --- messages -------------------------------------------------------------------------------------------------------


def test_a_message_is_understood_in_both_spellings() -> None:
    audio = base64.b64encode(b"\xff\x7f").decode()
    alignment = {"chars": ["H"], "charStartTimesMs": [0], "charDurationsMs": [60]}
    said = understood(json.dumps({"audio": audio, "isFinal": None, "contextId": "7", "alignment": alignment}).encode())
    assert (said.context_id, said.audio, said.final) == ("7", b"\xff\x7f", False)
    assert said.alignment == Alignment(("H",), (0,), 60)
    for final in ({"isFinal": True, "contextId": "7"}, {"is_final": True, "context_id": "7"}):
        assert understood(json.dumps(final)).final and understood(json.dumps(final)).context_id == "7"


@pytest.mark.parametrize("raw", ["{no JSON", "[]", "7", '"x"', '{"audio": 7}', '{"audio": "*"}', b"\xff\xfe"])
def test_what_is_no_message_is_a_value_error(raw: str | bytes) -> None:
    with pytest.raises(ValueError):
        understood(raw)


@pytest.mark.parametrize(
    "alignment",
    [
        None,
        7,
        {},
        {"chars": []},
        {"chars": ["a"], "charStartTimesMs": [], "charDurationsMs": [1]},
        {"chars": ["a"], "charStartTimesMs": [0], "charDurationsMs": ["x"]},
        {"chars": [1], "charStartTimesMs": [0], "charDurationsMs": [1]},
        {"chars": [], "charStartTimesMs": [], "charDurationsMs": []},
    ],
)
def test_an_alignment_that_makes_no_sense_spoils_no_audio(alignment: Any) -> None:
    said = understood(json.dumps({"audio": "////", "contextId": "7", "alignment": alignment}))
    assert said.audio and said.alignment is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("max_active_conversations", Busy),
        ("too_many_concurrent_requests", Busy),
        ("Maximum simultaneous contexts per WebSocket connection exceeded (5).", Busy),
        ("quota_exceeded", Rejected),
        ("invalid_api_key", Rejected),
        ("voice_not_found", Rejected),
        ("input_timeout_exceeded", Down),
        ("something_new", Down),
        ("", Down),
    ],
)
def test_an_error_decides_what_to_do(error: str, kind: type[Exception]) -> None:
    assert type(provider_error("elevenlabs/x", error)) is kind


def test_a_sentence_of_the_vendors_is_not_repeated() -> None:
    assert "secret" not in str(provider_error("elevenlabs/x", "The text 'my secret' could not be spoken"))
    assert "quota_exceeded" in str(provider_error("elevenlabs/x", "quota_exceeded"))


def test_a_clause_is_opened_spoken_and_closed() -> None:
    assert json.loads(opening("7", 1.0)) == {"text": " ", "context_id": "7"}
    assert json.loads(opening("7", 9.0))["voice_settings"] == {"speed": 1.2}
    assert json.loads(speaking("7", "नमस्ते")) == {"text": "नमस्ते ", "context_id": "7", "flush": True}
    assert json.loads(closing("7")) == {"context_id": "7", "close_context": True}


def test_a_socket_asks_for_telephone_audio_and_spelling() -> None:
    parts = urlsplit(socket_path("a/b", "eleven_flash_v2_5", "hi"))
    assert parts.path == "/v1/text-to-speech/a%2Fb/multi-stream-input"
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert (query["output_format"], query["sync_alignment"], query["language_code"]) == ("ulaw_8000", "true", "hi")
    assert "language_code" not in socket_path("v", "eleven_multilingual_v2", "")
    assert language_code("eleven_multilingual_v2", "hi-IN") == ""
    assert language_code("eleven_turbo_v2_5", "en_GB") == "en"
