"""A clause's sound: made once, readable again, dropped when it is too much, silent when its reply is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from common.protocol.messages import Clause, UsageReported
from workers.providers.failover import Failover, Source
from workers.providers.interfaces import Down, Sound, TextToSpeech, VoiceOptions
from workers.tts import synthesis
from workers.tts.audio.hold_tone import hold_tone
from workers.tts.synthesis import AgentVoice, CallVoice, ClauseSynthesis

pytestmark = [pytest.mark.fast, pytest.mark.anyio]

HELLO, HELP = Clause(1, 0, "Hello, this is the clinic."), Clause(1, 1, "How can I help you?")


SIZE = 8_000
"""A second: long enough for each of the texts here."""


class Choir:
    """Sings each text as so many bytes of its first letter, in two halves; the second waits for `go_on`."""

    def __init__(self, size: int = SIZE) -> None:
        self.sung: list[str] = []
        self.cut: list[str] = []
        self.fails = 0
        self.go_on = asyncio.Event()
        self.go_on.set()
        self._size = size

    async def say(self, text: str, options: VoiceOptions) -> AsyncIterator[Sound]:
        self.sung.append(text)
        if self.fails:
            self.fails -= 1
            raise Down("hoarse")
        half = text[0].encode() * (self._size // 2)
        try:
            yield half
            await self.go_on.wait()
            yield half
        except (asyncio.CancelledError, GeneratorExit):
            self.cut.append(text)
            raise


Sing = Callable[[Choir], CallVoice]


@pytest.fixture
def sing() -> Sing:
    async def write(used: UsageReported) -> None:
        """Nobody reads the story here."""

    def voice(choir: Choir) -> CallVoice:
        clock = asyncio.get_running_loop().time
        sources: list[Source[TextToSpeech]] = [Source("tts", "test/choir", choir, 0, clock)]
        voice = AgentVoice(Failover(sources))
        return CallVoice("call-1", lambda turn: voice, write)

    return voice


async def whole(one: ClauseSynthesis) -> bytes:
    return b"".join([chunk async for chunk in one])


async def test_a_clause_is_made_once_and_can_be_heard_again(sing: Sing) -> None:
    choir = Choir()
    voice = sing(choir)
    assert await whole(voice.say(HELLO)) == await whole(voice.say(HELLO)) == b"H" * SIZE
    assert choir.sung == [HELLO.text]


async def test_who_begins_to_listen_in_the_middle_hears_all_of_it(sing: Sing) -> None:
    choir = Choir()
    choir.go_on.clear()
    voice = sing(choir)
    first = aiter(voice.say(HELLO))
    assert await anext(first) == b"H" * (SIZE // 2)
    again = asyncio.create_task(whole(voice.say(HELLO)))
    choir.go_on.set()
    assert await again == b"H" * SIZE
    assert choir.sung == [HELLO.text]


async def test_the_next_reply_ends_the_sound_of_the_one_before(sing: Sing) -> None:
    choir = Choir()
    choir.go_on.clear()
    voice = sing(choir)
    old = voice.say(HELLO)
    await anext(aiter(old))
    new = voice.say(Clause(2, 0, "Goodbye."))
    await old.ended()
    assert choir.cut == [HELLO.text]
    choir.go_on.set()
    assert await whole(new) == b"G" * SIZE


async def test_silence_and_the_end_of_the_session_stop_what_is_being_made(sing: Sing) -> None:
    for stop in (CallVoice.be_silent, CallVoice.close):
        choir = Choir()
        choir.go_on.clear()
        voice = sing(choir)
        sound = voice.say(HELLO)
        await anext(aiter(sound))
        if (waiting := stop(voice)) is not None:
            await waiting
        await sound.ended()
        assert choir.cut == [HELLO.text]


async def test_what_no_voice_could_speak_is_tried_again_and_not_kept_as_silence(sing: Sing) -> None:
    choir = Choir()
    choir.fails = 2
    voice = sing(choir)
    sound = voice.say(HELLO)
    assert await whole(sound) == b""
    assert sound.silent and sound.synthesized_chars == 0
    assert await whole(voice.say(HELLO)) == b"H" * SIZE


async def test_of_a_reply_that_is_too_long_the_oldest_clauses_are_forgotten(sing: Sing) -> None:
    choir = Choir(synthesis.KEPT_BYTES_MAX + 320)
    voice = sing(choir)
    for clause in (HELLO, HELP, HELP, HELLO):
        await whole(voice.say(clause))
    assert choir.sung == [HELLO.text, HELP.text, HELLO.text]


async def test_a_sound_is_repeated_for_its_time_and_no_voice_is_asked(sing: Sing) -> None:
    choir = Choir()
    music = await whole(sing(choir).say(Clause(1, 0, "", sound="hold")))
    assert music == hold_tone() * (synthesis.SOUND_S_MAX // 4) and not choir.sung


async def test_a_sound_of_any_length_is_repeated_without_a_gap() -> None:
    sound = bytes(range(251)) * 37  # 1.16 s

    async def music(name: str) -> bytes:
        return sound

    async def write(used: UsageReported) -> None:
        """Nothing was used."""

    voice = AgentVoice(Failover([]), sound=music)
    played = await whole(CallVoice("call-1", lambda turn: voice, write).say(Clause(1, 0, "", sound="x")))
    assert len(played) == synthesis.SOUND_S_MAX * 8_000 and played in sound * 60


async def test_each_reply_is_spoken_by_the_agent_that_has_it() -> None:
    first, second = Choir(), Choir()
    clock = asyncio.get_running_loop().time
    voices = {
        turn: AgentVoice(Failover([Source("tts", f"t/{turn}", choir, 0, clock)]))
        for turn, choir in ((1, first), (2, second))
    }

    async def write(used: UsageReported) -> None:
        """Nobody reads it."""

    voice = CallVoice("call-1", voices.__getitem__, write)
    for clause in (HELLO, Clause(2, 0, "Goodbye.")):
        await whole(voice.say(clause))
    assert (first.sung, second.sung) == ([HELLO.text], ["Goodbye."])
