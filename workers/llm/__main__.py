"""`python -m workers.llm`: the mind."""

import sys

from common.agents import Agent
from common.bus import Bus
from common.ledger import Claim, Ledger
from workers.llm.reply import Character, ReplySession
from workers.llm.vendors import language_model
from workers.process import main
from workers.providers import LanguageModel


def reply(claim: Claim, agent: Agent, bus: Bus, ledger: Ledger, model: tuple[str, LanguageModel]) -> ReplySession:
    provider, language_model_ = model
    return ReplySession(claim, bus, ledger, Character(agent.greeting, agent.instructions, language_model_, provider))


if __name__ == "__main__":
    sys.exit(main("llm", language_model, reply))
