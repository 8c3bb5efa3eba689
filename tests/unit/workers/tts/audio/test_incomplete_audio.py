"""A voice that ends a clause without an error and without its words: found, tried again, and never taken as heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from common.protocol.messages import Clause, UsageReported
from common.telemetry import metrics
from workers.providers.failover import Failover, Source
from workers.providers.interfaces import (
    Busy,
    CharTimings,
    Down,
    ProviderError,
    Rejected,
    Sound,
    TextToSpeech,
    VoiceOptions,
)
from workers.tts.audio.audibility import NO_AUDIO, SILENCE, TOO_SHORT, letters, shortest_ms
from workers.tts.synthesis import AgentVoice, CallVoice, ClauseSynthesis

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

MONDAY = Clause(1, 0, "It is on Monday at five.")
MS = 8


def speech(ms: int) -> bytes:
    """A loud square wave of 500 Hz."""
    return (b"\x90" * MS + b"\x10" * MS) * (ms // 2)


WHOLE = speech(1600)
Take = Sequence[Sound | ProviderError]


class Singer:
    """Gives its takes one after the other, the last one for ever."""

    def __init__(self, *takes: Take) -> None:
        self.takes = list(takes)
        self.texts: list[str] = []

    async def say(self, text: str, options: VoiceOptions) -> AsyncIterator[Sound]:
        self.texts.append(text)
        for sound in self.takes.pop(0) if len(self.takes) > 1 else self.takes[0]:
            if isinstance(sound, ProviderError):
                raise sound
            yield sound


def voice(*singers: Singer) -> CallVoice:
    async def write(used: UsageReported) -> None:
        """Nobody reads it here."""

    clock = asyncio.get_running_loop().time
    sources: list[Source[TextToSpeech]] = [
        Source("tts", f"test/singer-{number}", singer, 0, clock)  # type: ignore[arg-type]
        for number, singer in enumerate(singers)
    ]
    voice = AgentVoice(Failover(sources))
    return CallVoice("call-1", lambda turn: voice, write)


async def spoken(voice: CallVoice, clause: Clause = MONDAY) -> tuple[bytes, ClauseSynthesis]:
    synthesis = voice.say(clause)
    return b"".join([chunk async for chunk in synthesis]), synthesis


def faults(fault: str) -> float:
    return float(metrics.CLAUSE_AUDIO_FAULTS.labels("test/singer-0", fault)._value.get())


FAULTY: dict[str, tuple[Take, str]] = {
    "nothing at all": ((), NO_AUDIO),
    "an empty chunk": ((b"",), NO_AUDIO),
    "marks without sound": ((CharTimings(((0, 0), (3, 100))),), NO_AUDIO),
    "digital silence": ((b"\xff" * 12_000,), SILENCE),
    "the other digital silence": ((b"\x7f" * 12_000,), SILENCE),
    "zero bytes": ((bytes(12_000),), SILENCE),
    "the silence of 8-bit samples": ((b"\x80" * 12_000,), SILENCE),
    "the silence of A-law": ((b"\xd5" * 12_000,), SILENCE),
    "noise that nobody hears": ((b"\xfe\x7e\xfd\x7d" * 3_000,), SILENCE),
    "one click": ((b"\xff" * 6_000, b"\x10" * 8, b"\xff" * 6_000), SILENCE),
    "a frame": ((speech(20),), TOO_SHORT),
    "the first syllable": ((speech(240),), TOO_SHORT),
    "marks and a fifth of the audio": (
        (CharTimings(tuple((at, 66 * at) for at in range(5))), speech(320)), TOO_SHORT,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTY)
async def test_a_clause_without_its_sound_is_synthesised_once_more_and_counted(name: str) -> None:
    take, fault = FAULTY[name]
    singer = Singer(take, [WHOLE])
    before = faults(fault)
    heard, synthesis = await spoken(voice(singer))
    assert heard.endswith(WHOLE) and synthesis.synthesized_chars == -1 and not synthesis.silent
    assert len(heard) - len(WHOLE) <= 320 * MS, "silence is not played before the second take"
    assert len(singer.texts) == 2
    assert faults(fault) == before + 1


@pytest.mark.parametrize("name", FAULTY)
async def test_a_voice_that_does_it_twice_is_followed_by_the_next(name: str) -> None:
    first, second = Singer(FAULTY[name][0]), Singer([WHOLE])
    heard, synthesis = await spoken(voice(first, second))
    assert heard.endswith(WHOLE) and synthesis.synthesized_chars == -1
    assert (len(first.texts), len(second.texts)) == (2, 1)


async def test_what_is_said_again_begins_at_the_word_that_was_not_finished() -> None:
    text = "We open at nine in the morning, and we close at half past six in the evening."
    marks = CharTimings(tuple((at, 66 * at) for at in range(20)))
    first = Singer([marks, speech(66 * 20)])
    second = Singer([speech(5_000)])
    _, synthesis = await spoken(voice(first, second), Clause(1, 0, text))
    assert first.texts == [text, text.removeprefix("We open at nine in ")]
    assert synthesis.char_timings[:4] == ((0, 0), (3, 198), (8, 528), (11, 726))


@pytest.mark.parametrize("take", [(), (b"\xff" * 12_000,), (Rejected("no"),)])
async def test_a_clause_that_nobody_spoke_has_no_spoken_characters(take: Take) -> None:
    heard, synthesis = await spoken(voice(Singer(take), Singer(take)))
    assert (heard, synthesis.silent, synthesis.synthesized_chars) == (b"", True, 0)


async def test_of_a_clause_that_broke_off_for_good_the_spoken_words_are_known() -> None:
    singer = Singer([speech(720), Down("gone")], [Rejected("no")])
    _, synthesis = await spoken(voice(singer))
    assert MONDAY.text[: synthesis.synthesized_chars].strip() == "It is on"
    assert not synthesis.silent


@pytest.mark.parametrize(
    ("error", "asked"), [(Down("away"), 2), (Busy("full"), 1), (Rejected("no such voice"), 1)]
)  # fmt: skip
async def test_the_only_voice_is_asked_again_only_if_that_may_help(error: ProviderError, asked: int) -> None:
    singer = Singer([error], [WHOLE])
    heard, _ = await spoken(voice(singer))
    assert len(singer.texts) == asked
    assert heard == (WHOLE if asked == 2 else b"")


async def test_a_voice_that_stays_down_is_asked_twice_for_the_first_clause_only() -> None:
    singer = Singer([Down("away")])
    one = voice(singer)
    await spoken(one)
    await spoken(one, Clause(1, 1, "We close at six."))
    assert singer.texts == [MONDAY.text] * 2 + ["We close at six."]


@pytest.mark.parametrize("text", ["😊", "…", "—", "?!", "**"])
async def test_where_there_is_nothing_to_say_nobody_is_asked_and_nothing_is_missed(text: str) -> None:
    singer = Singer([WHOLE])
    heard, synthesis = await spoken(voice(singer), Clause(1, 0, text))
    assert (heard, synthesis.silent, synthesis.synthesized_chars, singer.texts) == (b"", False, -1, [])


async def test_silence_before_the_first_word_and_in_between_is_no_fault() -> None:
    sounds = [b"\xff" * 2_400, speech(700), b"\xff" * 4_000, speech(700), b"\xff" * 1_600]
    singer = Singer(sounds)
    heard, synthesis = await spoken(voice(singer))
    assert heard == b"".join(sounds) and synthesis.synthesized_chars == -1 and len(singer.texts) == 1


@pytest.mark.parametrize("text", ["Yes.", "OK", "sieben", "नमस्ते", "早上好", "https://example.com"])
async def test_a_fast_voice_is_not_taken_for_an_incomplete_one(text: str) -> None:
    singer = Singer([speech(max(40, 34 * letters(text)))])
    _, synthesis = await spoken(voice(singer), Clause(1, 0, text))
    assert synthesis.synthesized_chars == -1 and len(singer.texts) == 1
    assert shortest_ms(text) == 2 * shortest_ms(text, speed=2.0)
