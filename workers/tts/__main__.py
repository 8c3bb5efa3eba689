"""Runs a TTS worker: `python -m workers.tts`."""

import logging
import sys
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

from common.agents.model import Agent, BadAgents
from common.agents.reading import load_agents
from common.settings import Settings
from workers.providers.failover import Failover
from workers.providers.interfaces import TextToSpeech, VoiceOptions
from workers.runtime.agent_warnings import AgentWarnings
from workers.runtime.per_agent import per_agent
from workers.runtime.process import Assignment, main
from workers.tts.engines.catalog import CATALOG
from workers.tts.fixed_sentences import FixedSentences
from workers.tts.session import TtsSession
from workers.tts.sounds import Sounds
from workers.tts.synthesis import AgentVoice
from workers.tts.voice_names import is_openai, unused_voice

log = logging.getLogger(__name__)


def unused(agent: Agent, specs: Sequence[str], settings: Settings) -> str:
    """Return the warning about an agent's voice that none of its providers has; empty if one has it."""
    compatible = not is_openai(settings.openai_base_url)
    return unused_voice(agent.name, agent.voice, specs, openai_compatible=compatible)


warnings = AgentWarnings("tts", unused)


@cache
def sounds_in(folder: Path) -> Sounds:
    """The sounds of the agents in this folder, for all calls of the process."""
    return Sounds(folder)


def check_sounds(settings: Settings) -> None:
    """Warn of each sound that cannot be played, if the agents' folder is here; the edge reports mistakes in files."""
    try:
        agents = load_agents(settings.agents_folder)
    except BadAgents:
        return
    for warning in sounds_in(settings.agents_folder).check(agents.by_name.values()):
        log.warning("%s", warning)


def speak(call: Assignment, voices: Failover[TextToSpeech]) -> TtsSession:
    """Create the TTS session of one call, with the voice of each of its agents."""
    known = call.settings
    settings = (
        known.elevenlabs_voice_id, known.elevenlabs_base_url, known.openai_base_url, known.deepgram_base_url,
        known.cartesia_voice_id, known.cartesia_base_url, known.sarvam_base_url,
    )  # fmt: skip

    def voice_of(agent: Agent, voices: Failover[TextToSpeech]) -> AgentVoice:
        if not known.agents_folder.is_dir():  # agents of a folder were checked at the start
            warnings.check(agent, [source.spec for source in voices.sources], known)
        options = VoiceOptions(language=agent.language, voice=agent.voice)
        return AgentVoice(
            voices,
            options,
            FixedSentences(call.store.fixed_speech, options, settings),
            partial(sounds_in(known.agents_folder).audio, agent),
            int(agent.turn.interruptible) if call.agent.others else -1,
        )

    return TtsSession(call.claim, call.bus, call.store, per_agent(call, voices, voice_of))


if __name__ == "__main__":
    sys.exit(main("tts", CATALOG, speak, sys.argv[1:], check_sounds))
