"""Keeps what a session needs of each agent of its call, as the call is handed from one to another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from common.agents.model import Agent
from common.call.agent_in_charge import AgentInCharge
from common.process.skipped import unreadable
from common.protocol.messages import Message
from workers.providers.failover import Failover
from workers.runtime.process import Assignment

P = TypeVar("P")
T = TypeVar("T")


class PerAgent(Generic[T]):
    """Call `receive` with every event of the call's log, in order; `make` is called once for each agent that speaks."""

    def __init__(self, agents: AgentInCharge, make: Callable[[Agent], T], call_id: str = "") -> None:
        self._agents = agents
        self._make = make
        self._call_id = call_id
        self._made: dict[str, T] = {}

    @property
    def may_change(self) -> bool:
        """Whether the call can be handed to another agent: if not, no event changes anything."""
        return self._agents.may_change

    def receive(self, message: Message) -> bool:
        """Fold one event; whether another agent has the call now.  One that the record does not hold is counted."""
        unknown = self._agents.unknown
        changed = self._agents.receive(message)
        if self._agents.unknown > unknown:
            unreadable("hand-off", self._call_id)
        return changed

    def of(self, turn: int) -> T:
        """What is needed of the agent that has reply `turn`."""
        return self._of(self._agents.of(turn))

    def name_of(self, turn: int) -> str:
        """The name of the agent that has reply `turn`."""
        return self._agents.of(turn).name

    @property
    def now(self) -> T:
        """What is needed of the agent that has the call now."""
        return self._of(self._agents.now)

    def _of(self, agent: Agent) -> T:
        if agent.name not in self._made:
            self._made[agent.name] = self._make(agent)
        return self._made[agent.name]


def per_agent(call: Assignment, first: Failover[P], make: Callable[[Agent, Failover[P]], T]) -> PerAgent[T]:
    """What `make` makes of each agent of a call and its providers; `first` are those of the agent that begins."""

    def of(agent: Agent) -> T:
        return make(agent, first if agent is call.agent or call.choose is None else call.choose(agent))

    return PerAgent(AgentInCharge(call.agent), of, call.claim.call_id)


def of_one_agent(one: T) -> PerAgent[T]:
    """`one` for a call that has a single agent."""
    return PerAgent(AgentInCharge(Agent("agent", "", "-")), lambda _: one)
