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
    """The mind's part in one call, in the agent's character."""
    provider, chat = model
    return ReplySession(
        claim, bus, ledger, Character(agent.greeting, agent.instructions, chat, provider, agent.turn.interruptible)
    )


if __name__ == "__main__":
    sys.exit(main("llm", language_model, reply))
