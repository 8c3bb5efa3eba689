"""`python -m workers.stt`: starts an STT worker."""

import sys
from collections.abc import Sequence

from common.agents.model import Agent
from common.settings import Settings
from workers.providers.failover import Failover
from workers.providers.interfaces import ListenOptions, SpeechToText
from workers.runtime.agent_warnings import AgentWarnings
from workers.runtime.per_agent import per_agent
from workers.runtime.process import Assignment, main
from workers.stt.engines.catalog import CATALOG
from workers.stt.session import Recognition, SttSession

WITHOUT_KEYTERMS = frozenset({"local", "cartesia", "sarvam"})
"""Vendors whose speech-to-text takes no list of words."""


def unused(agent: Agent, specs: Sequence[str], settings: Settings) -> str:
    """The warning about an agent's keyterms that none of its providers takes; empty if there is none."""
    if not agent.keyterms or any(spec.partition("/")[0] not in WITHOUT_KEYTERMS for spec in specs):
        return ""
    return (
        f"the keyterms of the agent {agent.name!r} are used by none of {', '.join(specs)}; "
        "deepgram/nova-3 takes such words"
    )


warnings = AgentWarnings("stt", unused)


def listen(call: Assignment, sources: Failover[SpeechToText]) -> SttSession:
    """Make the STT session of one call, with the options of each of its agents."""

    def recognition_of(agent: Agent, sources: Failover[SpeechToText]) -> Recognition:
        warnings.check(agent, [source.spec for source in sources.sources], call.settings)
        turn = agent.turn
        options = ListenOptions(
            language=agent.language,
            min_interruption_ms=turn.min_interruption_ms,
            endpointing_ms=turn.endpointing_ms,
            eager_endpointing_ms=turn.eager_endpointing_ms,
            interim_endpointing_ms=turn.interim_endpointing_ms,
            keyterms=agent.keyterms,
        )
        return Recognition(sources, options)

    return SttSession(call.claim, call.bus, call.store, per_agent(call, sources, recognition_of))


if __name__ == "__main__":
    sys.exit(main("stt", CATALOG, listen, sys.argv[1:], warnings.check_files))
