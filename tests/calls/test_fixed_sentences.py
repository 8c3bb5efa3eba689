"""The agent's own sentences are synthesised once: the second caller hears the same audio, and no voice is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from common.protocol.messages import Clause, ClauseSynthesized, UsageReported
from common.store import CallRecord
from common.store.fixed_speech import FixedSentence
from common.store.fixed_speech_memory import MemoryFixedSpeech
from tests.calls.doubles import Mouth
from tests.calls.phone import CALL, Phone
from workers.providers.interfaces import VoiceOptions
from workers.tts.fixed_sentences import CACHE_SECONDS, FixedSentences

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

GREETING = "Hello, this is the desk of the doctor."


@asynccontextmanager
async def call(cache: MemoryFixedSpeech, **parts: Any) -> AsyncIterator[Phone]:
    phone = Phone(greeting=GREETING, **parts)
    phone.store.fixed_speech = cache
    phone.mind.answers["hello"] = "Hi there."
    await phone.start()
    try:
        yield phone
    finally:
        await phone.close()


def synthesized(phone: Phone) -> list[ClauseSynthesized]:
    return [event for event in phone.events if isinstance(event, ClauseSynthesized) and event.turn == 1]


async def greeted(cache: MemoryFixedSpeech, **parts: Any) -> Phone:
    async with call(cache, **parts) as phone:
        phone.mouth.spells = True
        await phone.hears(GREETING)
        await phone.silence()
    return phone


async def test_the_second_caller_hears_the_greeting_without_a_voice() -> None:
    cache = MemoryFixedSpeech()
    first, second = await greeted(cache), await greeted(cache)
    assert first.mouth.said == [clause.text for clause in first.events if isinstance(clause, Clause)]
    assert second.mouth.said == []
    assert second.heard == first.heard
    assert synthesized(second) == synthesized(first)
    assert all(event.char_timings for event in synthesized(second)), "an interruption still knows the word"
    assert not [event for event in second.events if isinstance(event, UsageReported) and event.pool == "tts"]


async def test_the_greeting_is_heard_while_its_voice_is_down() -> None:
    cache = MemoryFixedSpeech()
    await greeted(cache)
    async with call(cache) as phone:
        phone.mouth.fails = 100
        await phone.hears(GREETING)


async def test_the_words_of_the_model_are_synthesised_in_each_call() -> None:
    cache = MemoryFixedSpeech()
    for _ in range(2):
        async with call(cache) as phone:
            await phone.silence()
            await phone.says("hello")
            await phone.hears("Hi there.")
            assert "Hi there." in phone.mouth.said


async def test_the_greeting_of_an_outbound_call_which_may_hold_a_name_is_not_kept() -> None:
    cache = MemoryFixedSpeech()
    phone = Phone(greeting=GREETING)
    phone.store.fixed_speech = cache
    await phone.store.create(CallRecord(CALL, dial_id="dial-1"))
    await phone.start()
    await phone.hears(GREETING)
    await phone.close()
    assert not cache._kept


async def test_a_voice_that_broke_off_is_not_kept() -> None:
    cache = MemoryFixedSpeech()
    async with call(cache, more={"tts": [second := Mouth()]}) as phone:
        phone.mouth.breaks_after_ms = 600
        await phone.hears("of the doctor.")
        assert second.said
    assert (await greeted(cache)).mouth.said


async def test_a_caller_who_interrupts_the_greeting_leaves_no_half_of_it() -> None:
    cache = MemoryFixedSpeech()
    async with call(cache) as phone:
        phone.mouth.chunk_seconds = 0.4
        await phone.after(0.5)
        phone.hangs_up()
        await phone.ended()
        await phone.after(3)
    assert not cache._kept


class SilentCache(MemoryFixedSpeech):
    async def read(self, key: str) -> FixedSentence | None:
        await asyncio.sleep(60)
        return None

    async def keep(self, key: str, sentence: FixedSentence) -> None:
        raise ConnectionError("the server is away")


async def test_a_cache_that_does_not_answer_costs_a_moment_and_not_the_call() -> None:
    began = asyncio.get_running_loop().time()
    async with call(SilentCache()) as phone:
        await phone.until(lambda: phone.mouth.said, "a voice to be asked")
        assert asyncio.get_running_loop().time() - began < CACHE_SECONDS + 0.2
        await phone.hears(GREETING)


@pytest.mark.parametrize(
    ("options", "spec", "text", "settings"),
    [
        (VoiceOptions("en", "another"), "a/one", "Hello.", ("voice",)),
        (VoiceOptions("hi", "anna"), "a/one", "Hello.", ("voice",)),
        (VoiceOptions("en", "anna", 1.1), "a/one", "Hello.", ("voice",)),
        (VoiceOptions("en", "anna"), "a/two", "Hello.", ("voice",)),
        (VoiceOptions("en", "anna"), "a/one", "Hello!", ("voice",)),
        (VoiceOptions("en", "anna"), "a/one", "Hello.", ("another default voice",)),
    ],
)
def test_a_change_of_anything_that_is_heard_is_another_sentence(
    options: VoiceOptions, spec: str, text: str, settings: tuple[str, ...]
) -> None:
    cache = MemoryFixedSpeech()
    known = FixedSentences(cache, VoiceOptions("en", "anna"), ("voice",)).key("a/one", "Hello.", "Hello.")
    assert known == FixedSentences(cache, VoiceOptions("en", "anna"), ("voice",)).key("a/one", "Hello.", "Hello.")
    assert FixedSentences(cache, options, settings).key(spec, text, text) != known
    assert FixedSentences(cache, VoiceOptions("en", "anna"), ("voice",)).key("a/one", "Hello.", "hello") != known
