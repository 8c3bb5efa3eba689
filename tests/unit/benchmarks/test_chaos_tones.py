"""Speech that a stand-in can read to the letter, and a line that plays it in real time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.chaos.hearing import Listening
from benchmarks.chaos.line import Microphone, Receiver
from benchmarks.chaos.sentences import NUMBER_MAX, PARDON, PARTS, AnswerPart, answer, question, read_clause, read_joined
from benchmarks.chaos.tones import ALPHABET, QUIET, Phrase, Reader, spoken
from common.audio.g711 import FRAME_BYTES, FRAME_MS

pytestmark = pytest.mark.fast

QUERY = {"endpointing": "200", "utterance_end_ms": "1000", "vad_events": "true", "interim_results": "true"}


def frames(audio: bytes) -> list[bytes]:
    return [audio[at : at + FRAME_BYTES] for at in range(0, len(audio), FRAME_BYTES)]


def read(reader: Reader, heard: list[bytes]) -> list[Phrase]:
    return [phrase for place, frame in enumerate(heard) for phrase in reader.feed(place * FRAME_MS, frame)]


@given(st.text(ALPHABET, max_size=60))
def test_what_is_spoken_is_read_again(text: str):
    (phrase,) = read(Reader(), frames(spoken(text)))
    assert phrase.whole
    assert phrase.text == " ".join(text.split())


def test_silence_inside_a_phrase_changes_nothing_and_is_timed():
    audio = frames(spoken("one"))
    (phrase,) = read(Reader(), [QUIET, *audio[:2], QUIET, QUIET, *audio[2:]])
    assert (phrase.text, phrase.whole, phrase.began_ms) == ("one", True, FRAME_MS)
    assert phrase.ended_ms == (len(audio) + 3) * FRAME_MS


@given(st.data())
def test_a_lost_or_repeated_or_exchanged_frame_is_noticed(data: st.DataObject):
    audio = frames(spoken("ask one two by zero three"))
    place = data.draw(st.integers(1, len(audio) - 3))
    harm = data.draw(st.sampled_from(["lose", "repeat", "exchange"]))
    if harm == "exchange":
        other = data.draw(st.integers(place + 1, len(audio) - 2))
        audio[place], audio[other] = audio[other], audio[place]
    else:
        audio[place : place + 1] = [] if harm == "lose" else [audio[place]] * 2
    phrases = read(Reader(), audio)
    if audio != frames(spoken("ask one two by zero three")):
        assert not any(phrase.whole and phrase.text == "ask one two by zero three" for phrase in phrases)


def test_a_phrase_that_begins_anew_tears_the_one_before():
    torn, whole = read(Reader(), [*frames(spoken("alpha"))[:4], *frames(spoken("alpha"))])
    assert (torn.text, torn.whole) == ("alp", False)
    assert (whole.text, whole.whole) == ("alpha", True)


def test_sound_that_is_no_tone_is_counted():
    reader = Reader()
    assert read(reader, [b"\x00" * FRAME_BYTES, spoken("a")[FRAME_BYTES : 2 * FRAME_BYTES]]) == []
    assert reader.unreadable == 2


@pytest.mark.parametrize("caller", [0, 7, NUMBER_MAX])
@pytest.mark.parametrize("number", [0, 30, NUMBER_MAX])
def test_an_answer_tells_whose_and_which_it_is(caller: int, number: int):
    clauses = [f"{clause}." for clause in answer(question(caller, number)).removesuffix(".").split(". ")]
    assert [read_clause(clause) for clause in clauses] == [
        AnswerPart(caller, number, part) for part in range(len(PARTS))
    ]


@pytest.mark.parametrize(
    ("torn", "rest"),
    [
        ("bravo one", "one for zero six."),
        ("bravo one ", "one for zero six."),
        ("bravo one on", "one for zero six."),
        ("bravo one one", "one for zero six."),
        ("", "bravo one one for zero six."),
        ("bravo one one for zero six.w", "one for zero six."),
    ],
)
def test_a_part_that_another_voice_finished_was_heard(torn: str, rest: str):
    assert read_joined(torn, rest) == AnswerPart(6, 11, 1)


@pytest.mark.parametrize(
    ("torn", "rest"),
    [("bravo", "one for zero six."), ("bravo o", "for zero six."), ("bravo one one fo", "zero six."), ("", "six.")],
)
def test_a_part_of_which_letters_are_missing_was_not(torn: str, rest: str):
    assert read_joined(torn, rest) is None


def test_what_was_not_understood_gets_no_answer():
    assert answer("ask one sev-") == PARDON
    assert read_clause(PARDON) is None


def test_the_ear_hears_in_real_time_and_forgets_what_was_cleared():
    ear = Receiver()
    ear.play(spoken("abc"), 1000.0)
    ear.mark("end", 1001.0)
    heard, marks = ear.heard(1059.0)
    assert ([at for at, _ in heard], marks) == ([1000.0, 1020.0], [])
    assert ear.heard(1120.0)[1] == ["end"]
    ear.play(spoken("abc"), 2000.0)
    ear.mark("never", 2000.0)
    ear.clear(2030.0)
    assert ear.heard(9000.0) == ([], [])


def test_audio_after_a_pause_begins_when_it_comes():
    ear = Receiver()
    ear.play(QUIET, 0.0)
    ear.play(QUIET, 500.0)
    assert [at for at, _ in ear.heard(1000.0)[0]] == [0.0, 500.0]


def test_the_mouth_is_silent_when_it_has_nothing_to_say():
    mouth = Microphone()
    mouth.say(spoken("a"))
    said = [mouth.frame() for _ in range(6)]
    assert b"".join(said[:4]) == spoken("a")
    assert said[4:] == [QUIET, QUIET]
    assert not mouth.speaking


def hear(listening: Listening, audio: bytes, piece: int = FRAME_BYTES) -> list[dict]:
    return [m for at in range(0, len(audio), piece) for m in listening.feed(audio[at : at + piece])]


@pytest.mark.parametrize("piece", [FRAME_BYTES, 100, 10 * FRAME_BYTES])
def test_the_ears_vendor_hears_the_same_however_the_audio_is_cut(piece: int):
    audio = QUIET * 10 + spoken(question(3, 17)) + QUIET * 60
    messages = hear(Listening(QUERY), audio, piece)
    assert messages == hear(Listening(QUERY), audio)
    (final,) = [m for m in messages if m["type"] == "Results" and m["speech_final"]]
    assert final["channel"]["alternatives"][0]["transcript"] == question(3, 17)
    words = final["channel"]["alternatives"][0]["words"]
    assert words[0]["start"] == 0.2
    assert words[-1]["end"] == pytest.approx(0.2 + len(spoken(question(3, 17))) / 8000)
    kinds = [m["type"] for m in messages]
    assert kinds.index("SpeechStarted") < messages.index(final) < kinds.index("UtteranceEnd")
    assert [m["is_final"] for m in messages[: messages.index(final)] if m["type"] == "Results"].count(False) >= 1


def test_half_a_sentence_is_no_sentence():
    torn = spoken(question(3, 17))[: 20 * FRAME_BYTES]
    (final,) = [m for m in hear(Listening(QUERY), torn + QUIET * 20) if m.get("speech_final")]
    assert answer(final["channel"]["alternatives"][0]["transcript"]) == PARDON


def test_words_that_were_asked_for_early_are_not_told_twice():
    listening = Listening(QUERY)
    said = spoken(question(3, 17))
    hear(listening, said[: 20 * FRAME_BYTES])
    (early,) = listening.finalize()
    rest = [m for m in hear(listening, said[20 * FRAME_BYTES :] + QUIET * 20) if m.get("is_final")]
    told = [m["channel"]["alternatives"][0]["transcript"] for m in (early, *rest)]
    assert told == ["ask one seven by", "zero three"]
    ended_s = early["channel"]["alternatives"][0]["words"][-1]["end"]
    assert ended_s <= rest[0]["channel"]["alternatives"][0]["words"][0]["start"]


@pytest.mark.parametrize("heard", range(1, 12))
@pytest.mark.parametrize("again", [0, 1, 4])
def test_a_phrase_that_goes_on_behind_a_broken_connection_is_one(heard: int, again: int):
    said = frames(spoken("alpha one"))
    reader = Reader(may_go_on=True)
    for number, frame in enumerate(said[:heard]):
        reader.feed(number * 20.0, frame)
    assert [phrase.whole for phrase in reader.torn()] == [False]
    from_frame = max(0, heard - again)
    phrases = [phrase for frame in said[from_frame:] for phrase in reader.feed(1000.0, frame)]
    assert [(phrase.text, phrase.whole) for phrase in phrases] == [("alpha one", True)]
    assert reader.unreadable == 0


def test_the_end_of_a_phrase_that_comes_again_is_no_other_phrase():
    said = frames(spoken("alpha one"))
    reader = Reader(may_go_on=True)
    for frame in said:
        reader.feed(0.0, frame)
    assert [phrase for frame in said[-5:] for phrase in reader.feed(0.0, frame)] == []
    assert reader.unreadable == 0
