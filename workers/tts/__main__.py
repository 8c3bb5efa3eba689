"""`python -m workers.tts`: the mouth."""

import sys

from workers.failover import Failover
from workers.process import Assignment, main
from workers.providers import TextToSpeech, VoiceOptions
from workers.tts.speak import SpeakSession
from workers.tts.vendors import CATALOG


def speak(call: Assignment, voices: Failover[TextToSpeech]) -> SpeakSession:
    """The mouth's part in one call, in the agent's voice."""
    options = VoiceOptions(language=call.agent.language, voice=call.agent.voice)
    return SpeakSession(call.claim, call.bus, call.ledger, voices, options)


if __name__ == "__main__":
    sys.exit(main("tts", CATALOG, speak, sys.argv[1:]))
