"""Runs a TTS worker: `python -m workers.tts`."""

import sys
from collections.abc import Sequence

from common.agents.model import Agent
from common.settings import Settings
from workers.providers.failover import Failover
from workers.providers.interfaces import TextToSpeech, VoiceOptions
from workers.runtime.agent_warnings import AgentWarnings
from workers.runtime.process import Assignment, main
from workers.tts.engines.catalog import CATALOG
from workers.tts.session import TtsSession
from workers.tts.voice_names import is_openai, unused_voice


def unused(agent: Agent, specs: Sequence[str], settings: Settings) -> str:
    """Return the warning about an agent's voice that none of its providers has; empty if one has it."""
    compatible = not is_openai(settings.openai_base_url)
    return unused_voice(agent.name, agent.voice, specs, openai_compatible=compatible)


warnings = AgentWarnings("tts", unused)


def speak(call: Assignment, voices: Failover[TextToSpeech]) -> TtsSession:
    """Create the TTS session of one call, with the agent's voice."""
    if not call.settings.agents_folder.is_dir():  # agents of a folder were checked at the start
        warnings.check(call.agent, [source.spec for source in voices.sources], call.settings)
    options = VoiceOptions(language=call.agent.language, voice=call.agent.voice)
    known = call.settings
    settings = (
        known.elevenlabs_voice_id, known.elevenlabs_base_url, known.openai_base_url, known.deepgram_base_url,
        known.cartesia_voice_id, known.cartesia_base_url, known.sarvam_base_url,
    )  # fmt: skip
    return TtsSession(call.claim, call.bus, call.store, voices, options, settings)


if __name__ == "__main__":
    sys.exit(main("tts", CATALOG, speak, sys.argv[1:]))
