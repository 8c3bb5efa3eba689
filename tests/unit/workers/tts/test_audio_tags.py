"""Stage directions: dropped, unless the voice acts them; whoever speaks after it does not read them aloud."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from common.protocol.messages import Clause, UsageReported
from workers.providers.failover import Failover, Source
from workers.providers.interfaces import Down, Sound, TextToSpeech, VoiceOptions
from workers.tts.audio_tags import for_voice, takes_audio_tags
from workers.tts.normalise import with_sources
from workers.tts.synthesis import AgentVoice, CallVoice

pytestmark = pytest.mark.fast

WRITTEN = "[laughs] That is ₹500, *smiles* sir. [whispers] Really."


@pytest.mark.parametrize(
    ("spec", "taken"),
    [
        ("elevenlabs/eleven_v3+http", True),
        ("elevenlabs/eleven_flash_v2_5", False),
        ("cartesia/sonic-3", True),
        ("cartesia/sonic-2", False),
        ("openai/gpt-4o-mini-tts", False),
        ("local/piper", False),
    ],
)
def test_which_voices_act_tags(spec: str, taken: bool) -> None:
    assert takes_audio_tags(spec) is taken


def test_square_brackets_stay_for_a_voice_that_acts_them() -> None:
    said = with_sources(WRITTEN, "en", audio_tags=True)
    assert said.text == "[laughs] That is five hundred rupees, sir. [whispers] Really."
    assert len(said.sources) == len(said.text)
    assert said.source(said.text.index("five")) == WRITTEN.index("₹")
    assert with_sources(WRITTEN, "en").text == "That is five hundred rupees, sir. Really."


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("*[sighs]* Fine.", "[sighs] Fine."),
        ("Fine [chuckles softly], thanks.", "Fine [chuckles softly], thanks."),
        ("[our page](https://example.com/a) [square]", "our page square"),
        ("[laughs]", ""),  # nothing to say beside it
        ("(laughs) Fine.", "Fine."),  # no voice takes round brackets
    ],
)
def test_only_directions_stay_in_brackets(written: str, kept: str) -> None:
    assert with_sources(written, "en", audio_tags=True).text == kept


def test_a_voice_gets_blanks_for_what_it_does_not_act() -> None:
    text = "[laughter] Yes. [excited] No."
    assert for_voice(text, "elevenlabs/eleven_v3+http") == text
    assert for_voice(text, "cartesia/sonic-3") == "[laughter] Yes.           No."
    assert for_voice(text, "local/piper") == "           Yes.           No."


LOUD = b"\x10" * 1600
"""200 ms, long enough for the words."""


class Speaker:
    def __init__(self, *, fails: bool = False) -> None:
        self.given: list[str] = []
        self._fails = fails

    async def say(self, text: str, options: VoiceOptions) -> AsyncIterator[Sound]:
        self.given.append(text)
        if self._fails:
            raise Down("hoarse")
        yield LOUD


@pytest.mark.anyio
async def test_the_voice_after_a_failover_does_not_read_the_tags_aloud() -> None:
    async def write(used: UsageReported) -> None:
        """Nobody reads the story here."""

    acting, plain = Speaker(fails=True), Speaker()
    clock = asyncio.get_running_loop().time
    sources: list[Source[TextToSpeech]] = [
        Source("tts", spec, speaker, 0, clock)
        for spec, speaker in (("elevenlabs/eleven_v3+http", acting), ("test/plain", plain))
    ]
    agents_voice = AgentVoice(Failover(sources))
    voice = CallVoice("call-1", lambda turn: agents_voice, write)
    assert [chunk async for chunk in voice.say(Clause(1, 0, "[laughs] Yes, sir."))] == [LOUD]
    assert acting.given == ["[laughs] Yes, sir."]
    assert [text.split() for text in plain.given] == [["Yes,", "sir."]]
