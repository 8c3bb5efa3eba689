"""`python -m workers.stt`: the ears."""

import sys

from common.agents import Agent
from common.bus import Bus
from common.ledger import Claim, Ledger
from workers.process import main
from workers.providers import ListenOptions, SpeechToText
from workers.stt.listen import ListenSession
from workers.stt.vendors import speech_to_text


def listen(claim: Claim, agent: Agent, bus: Bus, ledger: Ledger, ears: tuple[str, SpeechToText]) -> ListenSession:
    """The ears' part in one call, as the agent wants to listen."""
    options = ListenOptions(language=agent.language, onset_ms=agent.turn.onset_ms, endpoint_ms=agent.turn.endpoint_ms)
    return ListenSession(claim, bus, ledger, ears, options)


if __name__ == "__main__":
    sys.exit(main("stt", speech_to_text, listen))
