"""Finds the agent of a call that begins: by number or name, its canary for some callers, filled in for this call."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from common.agents.model import Agent, Agents
from common.agents.variables import NO_VALUES, CallBeginning, with_variables
from common.numbers import readable
from common.telemetry import metrics
from edge.agents.on_call import OnCallAnswer, OnCallClient

log = logging.getLogger(__name__)


async def agent_of_inbound(agents: Agents, call: CallBeginning, on_call: OnCallClient | None) -> Agent | None:
    """The agent that answers a call which comes in, after its `on_call` was asked; None: there is none.

    `on_call` None: no webhook is asked, because the call is not taken anyway.
    """
    agent = _variant(agents, agents.for_number(call.own_number), call)
    answer = OnCallAnswer()
    if agent is not None and agent.on_call is not None and on_call is not None:
        answer = await on_call.ask(agent.on_call, call, agent.name)
        if answer.agent and answer.agent != agent.name:
            agent = _other(agents, agent, answer.agent, call)
    return _counted(agents, agent, call, answer.variables)


def agent_of_outbound(
    agents: Agents, call: CallBeginning, number: str, name: str = "", variables: Mapping[str, str] = NO_VALUES
) -> Agent | None:
    """The agent for a call that we have placed, showing `number`; `name` is the agent that was asked for, or empty."""
    agent = _variant(agents, agents.for_number(number, name or None), call)
    return _counted(agents, agent, call, variables)


def _variant(agents: Agents, agent: Agent | None, call: CallBeginning) -> Agent | None:
    if agent is None:
        return None
    person = call.caller if call.direction == "inbound" else call.called
    return agents.variant_for(agent, person if readable(person) else call.call_id)


def _other(agents: Agents, asked: Agent, name: str, call: CallBeginning) -> Agent:
    """The agent that a webhook chose; the one that asked it, if there is no such agent."""
    other = _variant(agents, agents.by_name.get(name), call)
    if other is None:
        log.warning("agent %s: on_call chose an agent that is not there", asked.name, extra={"call_id": call.call_id})
    return other or asked


def _counted(agents: Agents, agent: Agent | None, call: CallBeginning, variables: Mapping[str, str]) -> Agent | None:
    if agent is None:
        return None
    metrics.AGENT_CALLS.labels("canary" if agents.canaries.get(agent.name) is agent else "stable").inc()
    return with_variables(agent, variables, call)
