"""`python -m workers.tts`: the mouth."""

import sys

from common.agents import Agent
from common.bus import Bus
from common.ledger import Claim, Ledger
from workers.process import main
from workers.providers import TextToSpeech, VoiceOptions
from workers.tts.speak import SpeakSession
from workers.tts.vendors import text_to_speech


def speak(claim: Claim, agent: Agent, bus: Bus, ledger: Ledger, voice: tuple[str, TextToSpeech]) -> SpeakSession:
    """The mouth's part in one call, in the agent's voice."""
    return SpeakSession(claim, bus, ledger, voice, VoiceOptions(language=agent.language, voice=agent.voice))


if __name__ == "__main__":
    sys.exit(main("tts", text_to_speech, speak))
