"""`python -m workers.stt`: the ears."""

import sys

from workers.failover import Failover
from workers.process import Assignment, main
from workers.providers import ListenOptions, SpeechToText
from workers.stt.listen import ListenSession
from workers.stt.vendors import CATALOG


def listen(call: Assignment, ears: Failover[SpeechToText]) -> ListenSession:
    """The ears' part in one call, as the agent wants to listen."""
    turn = call.agent.turn
    options = ListenOptions(
        language=call.agent.language,
        onset_ms=turn.onset_ms,
        endpoint_ms=turn.endpoint_ms,
        likely_ms=turn.likely_ms,
        keyterms=call.agent.keyterms,
    )
    return ListenSession(call.claim, call.bus, call.ledger, ears, options)


if __name__ == "__main__":
    sys.exit(main("stt", CATALOG, listen, sys.argv[1:]))
