"""`python -m workers.tts`: the mouth."""

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
    """What to tell of an agent's voice that none of its providers has."""
    compatible = not is_openai(settings.openai_base_url)
    return unused_voice(agent.name, agent.voice, specs, openai_compatible=compatible)


warnings = AgentWarnings("tts", unused)


def speak(call: Assignment, voices: Failover[TextToSpeech]) -> TtsSession:
    """The mouth's part in one call, in the agent's voice."""
    if not call.settings.agents_folder.is_dir():  # else it was told at the start
        warnings.check(call.agent, [source.spec for source in voices.sources], call.settings)
    options = VoiceOptions(language=call.agent.language, voice=call.agent.voice)
    return TtsSession(call.claim, call.bus, call.store, voices, options)


if __name__ == "__main__":
    sys.exit(main("tts", CATALOG, speak, sys.argv[1:]))
