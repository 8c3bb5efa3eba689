"""Which calls of tools are due, from the event log alone."""

import pytest

from common.protocol.acts import AgentChanged, ToolReturned, ToolsCalled
from common.protocol.messages import CallEnded, CallStarted
from workers.tools.pending import CALLS_MAX, PendingCalls

pytestmark = pytest.mark.fast


def called(turn: int, *names: str, first: int = 0) -> ToolsCalled:
    return ToolsCalled(turn, first, tuple((f"id-{name}", name, "{}") for name in names), 0)


def folded(*messages) -> PendingCalls:
    pending = PendingCalls()
    for message in messages:
        pending.receive(message)
    return pending


def names(pending: PendingCalls) -> list[list[str]]:
    return [[f"{call.turn}:{call.n} {call.name}" for call in calls] for calls in pending.take()]


def test_each_round_is_due_once_and_built_ins_are_not_ours():
    pending = folded(called(2, "look_up", "end_call", "book"), called(2, "pay", first=3))
    assert names(pending) == [["2:0 look_up", "2:2 book"], ["2:3 pay"]]
    pending.receive(called(2, "look_up", "end_call", "book"))  # it comes twice
    assert names(pending) == []


def test_what_has_returned_is_not_due_after_a_takeover():
    pending = folded(called(2, "a", "b"), ToolReturned(2, 0, "done", "x"), called(3, "c"), ToolReturned(3, 0, "x", ""))
    assert names(pending) == [["2:1 b"]]


def test_what_the_llm_worker_has_refused_is_not_due():
    assert names(folded(ToolReturned(2, 0, "refused", "no"), called(2, "a", "b"))) == [["2:1 b"]]


def test_the_agent_that_has_the_call_is_that_of_the_reply():
    pending = folded(called(2, "a"), AgentChanged(4, "billing"), called(4, "b"), called(3, "late"))
    assert [call.agent for calls in pending.take() for call in calls] == ["", "billing", ""]
    assert pending.agent == "billing"


def test_the_call_is_over_by_the_end_of_its_newest_connection_only():
    pending = folded(CallStarted(1, "e", 0), CallStarted(2, "e", 0), CallEnded(1, "carrier", 0))
    assert not pending.over
    pending.receive(CallEnded(2, "carrier", 0))
    assert pending.over
    pending.receive(CallStarted(3, "e", 0))
    assert not pending.over, "the carrier came back"
    pending.receive(CallEnded(0, "silence", 0))
    assert pending.over


def test_an_agent_out_of_control_is_refused_in_the_end():
    pending = folded(*(called(turn, *["a"] * 16) for turn in range(2, 2 + CALLS_MAX // 16 + 1)))
    calls = [call for calls in pending.take() for call in calls]
    assert [call.beyond_limit for call in calls].count(True) == len(calls) - CALLS_MAX
