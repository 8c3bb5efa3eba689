"""Runs an LLM worker: `python -m workers.llm`."""

import sys

from common.agents.model import Agent
from workers.llm.engines.catalog import CATALOG
from workers.llm.model_chain import FirstWords, ModelChain
from workers.llm.reply_run import Persona
from workers.llm.session import LlmSession
from workers.llm.text.phrases import apology, connecting, enter_digits, farewell, fillers
from workers.llm.tools.toolbox import Toolbox
from workers.providers.failover import Failover
from workers.providers.interfaces import LanguageModel
from workers.runtime.per_agent import per_agent
from workers.runtime.process import Assignment, main


class Replies:
    """Opens the LLM session of a call; all calls of the process share the measured times to the first word."""

    def __init__(self) -> None:
        self._first_words = FirstWords()

    def __call__(self, call: Assignment, models: Failover[LanguageModel]) -> LlmSession:
        hedge = self._first_words if call.settings.llm_hedge == "on" else None

        def persona(agent: Agent, models: Failover[LanguageModel]) -> Persona:
            return Persona(
                agent.greeting,
                agent.instructions,
                ModelChain(models, hedge),
                agent.turn.interruptible,
                agent.farewell or farewell(agent.language),
                apology(agent.language),
                connecting(agent.language),
                fillers(agent.language),
                Toolbox(agent),
                enter_digits(agent.language),
                agent.keypad,
            )

        return LlmSession(call.claim, call.bus, call.store, per_agent(call, models, persona))


if __name__ == "__main__":
    sys.exit(main("llm", CATALOG, Replies(), sys.argv[1:]))
