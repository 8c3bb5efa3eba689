"""`python -m workers.stt`: the ears."""

import sys
from collections.abc import Sequence

from common.agents.model import Agent
from common.settings import Settings
from workers.providers.failover import Failover
from workers.providers.interfaces import ListenOptions, SpeechToText
from workers.runtime.agent_warnings import AgentWarnings
from workers.runtime.process import Assignment, main
from workers.stt.engines.catalog import CATALOG
from workers.stt.session import ListenSession

WITHOUT_KEYTERMS = frozenset({"local", "cartesia", "sarvam"})
"""Vendors whose speech-to-text takes no list of words."""


def unused(agent: Agent, specs: Sequence[str], settings: Settings) -> str:
    """What to tell of an agent's keyterms that none of its providers can be told."""
    if not agent.keyterms or any(spec.partition("/")[0] not in WITHOUT_KEYTERMS for spec in specs):
        return ""
    return (
        f"the keyterms of the agent {agent.name!r} are used by none of {', '.join(specs)}; "
        "deepgram/nova-3 can be told such words"
    )


warnings = AgentWarnings("stt", unused)


def listen(call: Assignment, ears: Failover[SpeechToText]) -> ListenSession:
    """The ears' part in one call, as the agent wants to listen."""
    warnings.check(call.agent, [source.spec for source in ears.sources], call.settings)
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
    sys.exit(main("stt", CATALOG, listen, sys.argv[1:], warnings.check_files))
