"""Folds the hand-offs of a call (`AgentChanged`): which agent has which reply, and which has the call now.  Pure."""

from __future__ import annotations

from bisect import bisect_right

from common.agents.model import Agent
from common.protocol.acts import AgentChanged
from common.protocol.messages import Message


class AgentTurns:
    """From which reply on which agent has the call, by name; that with which the call began is `first`."""

    def __init__(self, first: str = "") -> None:
        self._turns = [0]
        self._names = [first]

    def receive(self, message: Message) -> bool:
        """Fold one event; whether it changed the agent.  A repeated one changes nothing, and no reply changes twice."""
        if not isinstance(message, AgentChanged) or message.turn <= self._turns[-1]:
            return False
        self._turns.append(message.turn)
        self._names.append(message.name)
        return self._names[-1] != self._names[-2]

    def name_of(self, turn: int) -> str:
        """The agent that has reply `turn`."""
        return self._names[bisect_right(self._turns, turn) - 1]

    @property
    def name(self) -> str:
        """The agent that has the call now."""
        return self._names[-1]


class AgentInCharge:
    """The agents of one call, from its record.  Call `receive` with every event of its log, in order."""

    def __init__(self, first: Agent) -> None:
        """`first`: the agent with which the call began; its `others` are those that it can be handed to."""
        self._agents = {**first.others, first.name: first}
        self._names = AgentTurns(first.name)
        self.unknown = 0
        """Hand-offs to agents that the record does not hold; they have no effect."""

    @property
    def may_change(self) -> bool:
        """Whether the call can be handed to another agent at all: if not, nobody need read its event log for it."""
        return len(self._agents) > 1

    def receive(self, message: Message) -> bool:
        """Fold one event; whether it changed the agent."""
        if isinstance(message, AgentChanged) and message.name not in self._agents:
            self.unknown += 1
            return False
        return self._names.receive(message)

    def of(self, turn: int) -> Agent:
        """The agent that has reply `turn`."""
        return self._agents[self._names.name_of(turn)]

    @property
    def now(self) -> Agent:
        """The agent that has the call now."""
        return self._agents[self._names.name]
