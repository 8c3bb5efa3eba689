"""Which agent has which reply of a call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.agents.model import Agent, Agents
from common.call.agent_in_charge import AgentInCharge
from common.protocol.acts import AgentChanged
from common.protocol.messages import ReplyStarted

pytestmark = pytest.mark.fast

FILES = (Agent("desk", "", "-", transfer_to=("billing", "sales")), Agent("billing", "", "-"), Agent("sales", "", "-"))
DESK, BILLING, SALES = Agents({file.name: file for file in FILES}).by_name.values()


def after(*events: AgentChanged | ReplyStarted) -> AgentInCharge:
    agents = AgentInCharge(DESK)
    for event in events:
        agents.receive(event)
    return agents


def names(agents: AgentInCharge, turns: int = 6) -> list[str]:
    return [agents.of(turn).name for turn in range(1, turns + 1)]


def test_each_reply_has_the_agent_that_had_the_call_then() -> None:
    agents = after(ReplyStarted(1, 0), AgentChanged(3, "billing"), AgentChanged(5, "desk"))
    assert names(agents) == ["desk", "desk", "billing", "billing", "desk", "desk"]
    assert agents.now is DESK
    assert after(AgentChanged(3, "billing")).now == BILLING


def test_an_agent_that_the_record_does_not_hold_changes_nothing_and_is_counted() -> None:
    agents = after(AgentChanged(2, "nobody"), AgentChanged(3, "sales"), AgentChanged(4, "somebody"))
    assert names(agents, 4) == ["desk", "desk", "sales", "sales"] and agents.unknown == 2


def test_no_reply_changes_its_agent_twice() -> None:
    assert (
        names(after(AgentChanged(3, "billing"), AgentChanged(3, "sales"), AgentChanged(2, "sales")), 3)[2] == "billing"
    )


def test_receive_says_whether_the_agent_changed() -> None:
    agents = AgentInCharge(DESK)
    told = [AgentChanged(2, "desk"), AgentChanged(3, "sales"), AgentChanged(3, "sales"), AgentChanged(4, "nobody")]
    assert [agents.receive(event) for event in told] == [False, True, False, False]
    assert agents.may_change and not AgentInCharge(SALES).may_change


@given(st.lists(st.builds(AgentChanged, st.integers(1, 9), st.sampled_from(["desk", "billing", "sales", "x"]))))
def test_repeated_events_change_nothing(events: list[AgentChanged]) -> None:
    assert names(after(*events), 9) == names(after(*(event for event in events for _ in range(2))), 9)
    assert names(after(*events), 9) == names(after(*events, *events), 9)
