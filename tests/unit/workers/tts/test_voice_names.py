"""A voice that nobody has is told, and one that a server may have is asked for."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from common.agents.model import Agent
from common.settings import Settings
from workers.runtime.agent_warnings import AgentWarnings
from workers.stt.__main__ import unused as unused_keyterms
from workers.tts.__main__ import unused
from workers.tts.voice_names import is_openai, takes_voice, unused_voice

pytestmark = pytest.mark.fast

RACHEL_ID = "21m00Tcm4TlvDq8ikWAM"
UUID = "a0e99841-438c-4a64-b679-ae501e7d6091"
SMALL = "greeting: Hello.\ninstructions: Be kind.\n"


@pytest.mark.parametrize(
    ("spec", "voice", "takes"),
    [
        ("openai/gpt-4o-mini-tts", "nova", True),
        ("openai/gpt-4o-mini-tts", "Nova", True),
        ("openai/gpt-4o-mini-tts", "voice_abc123", True),
        ("openai/gpt-4o-mini-tts", "af_sky", False),
        ("openai/gpt-4o-mini-tts", "rachel", False),
        ("elevenlabs/eleven_flash_v2_5", RACHEL_ID, True),
        ("elevenlabs/eleven_v3+http", RACHEL_ID, True),
        ("elevenlabs/eleven_flash_v2_5", "Rachel", False),
        ("cartesia/sonic-3", UUID.upper(), True),
        ("cartesia/sonic-3", RACHEL_ID, False),
        ("deepgram/aura-2-thalia-en", "aura-2-celeste-es", True),
        ("deepgram/aura-2-thalia-en", "celeste", False),
        ("sarvam/bulbul:v2", "anushka", True),
        ("sarvam/bulbul:v2", "Anushka", True),
        ("sarvam/bulbul:v3", "anushka", False),
        ("local/piper", "af_sky", False),
        ("local/piper-en_US-lessac-medium", "en_US-lessac-medium", True),
        ("local/espeak", "en-us+f3", False),
        ("mine/own", "anything", True),
    ],
)
def test_which_vendor_has_which_voice(spec: str, voice: str, takes: bool) -> None:
    assert takes_voice(spec, voice) is takes
    assert bool(unused_voice("desk", voice, [spec])) is not takes


def test_a_compatible_server_may_have_any_voice() -> None:
    assert takes_voice("openai/kokoro", "af_sky", openai_compatible=True)
    assert is_openai("https://api.openai.com/v1/") and is_openai("https://eu.api.openai.com/v1")
    assert not is_openai("http://localhost:8880/v1") and not is_openai("https://api.openai.com.example.com/v1")


def test_one_provider_that_has_the_voice_is_enough() -> None:
    specs = ["elevenlabs/eleven_flash_v2_5", "openai/gpt-4o-mini-tts"]
    assert unused_voice("desk", RACHEL_ID, specs) == unused_voice("desk", "nova", specs) == ""
    assert unused_voice("desk", "", specs) == ""
    told = unused_voice("desk", "Rachel", specs)
    assert "'Rachel'" in told and "'desk'" in told and "id of ElevenLabs" in told and "such as nova" in told


def test_at_the_start_every_agent_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "desk.yaml").write_text(f"{SMALL}voice: Rachel\nproviders:\n  tts: elevenlabs/eleven_flash_v2_5\n")
    (tmp_path / "shop.yaml").write_text(f"{SMALL}voice: af_sky\n")
    (tmp_path / "good.yaml").write_text(f"{SMALL}voice: ''\n")
    settings = Settings(agents_dir=str(tmp_path))
    warnings = AgentWarnings("tts", unused)
    warnings.check_files(settings)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 2
    assert "'Rachel'" in told[0] and "elevenlabs/eleven_flash_v2_5" in told[0]
    assert "'af_sky'" in told[1] and "local/piper" in told[1]
    warnings.check(Agent("shop", "Hi.", "x", voice="af_sky"), ["local/piper"], settings)
    assert len(caplog.records) == 2


def test_the_deployments_own_providers_are_looked_at(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "shop.yaml").write_text(f"{SMALL}voice: af_sky\n")
    chosen = Settings(
        agents_dir=str(tmp_path), tts_provider="openai/kokoro", openai_base_url="http://127.0.0.1:8880/v1"
    )
    AgentWarnings("tts", unused).check_files(chosen)
    assert not caplog.records


@pytest.mark.parametrize("text", ["greeting: [", ""])
def test_files_that_cannot_be_read_are_the_edges_to_tell(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "x.yaml").write_text(text)
    AgentWarnings("tts", unused).check_files(Settings(agents_dir=str(tmp_path)))
    AgentWarnings("tts", unused).check_files(Settings(agents_dir=str(tmp_path / "missing")))
    assert not caplog.records


def test_an_agent_that_came_by_the_bus_is_told_of_at_its_first_call(caplog: pytest.LogCaptureFixture) -> None:
    warnings = AgentWarnings("tts", unused)
    for _ in range(3):
        warnings.check(Agent("desk", "Hi.", "x", voice="Rachel"), ["cartesia/sonic-3"], Settings())
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("specs", "told"),
    [
        (["local/whisper-tiny.en"], True),
        (["cartesia/ink-whisper", "sarvam/saaras:v3"], True),
        (["local/whisper-tiny.en", "deepgram/nova-3"], False),
        (["deepgram/flux-general-en"], False),
        (["mine/own"], False),
    ],
)
def test_keyterms_that_nobody_can_be_told_are_told_of(specs: list[str], told: bool) -> None:
    agent = Agent("desk", "Hi.", "x", keyterms=("Asha",))
    assert bool(unused_keyterms(agent, specs, Settings())) is told
    assert not unused_keyterms(Agent("desk", "Hi.", "x"), specs, Settings())
