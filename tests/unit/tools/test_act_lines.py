"""What `make run` shows of tools, transfers, keys and hand-offs: one line each; arguments only in a demonstration."""

from __future__ import annotations

import pytest

from common.bus.memory import MemoryBus, MemoryStreams
from common.call.end_reasons import EndReason
from common.protocol.acts import AgentChanged, KeysEntered, ToolReturned, ToolsCalled, TransferUpdated
from common.protocol.messages import (
    CallEnded,
    CallStarted,
    Clause,
    Message,
    PlaybackStarted,
    ReplyEnded,
    ReplyPlayed,
    ReplyStarted,
    UserTurn,
)
from common.protocol.redis_keys import call_events
from common.store import CallRecord
from common.store.memory import MemoryCallStore
from tools import live
from tools.act_lines import ActLines
from tools.live import LiveCall, look

pytestmark = pytest.mark.fast

ORDER = ToolsCalled(2, 0, (("id", "order_status", '{"order": "4711"}'),), 1)
RETURNED = ToolReturned(2, 0, "done", "It is on its way.", 412)
TRANSFER = ToolsCalled(3, 0, (("id", "transfer_call", '{"target": "reception"}'),), 1)


def state(name: str) -> TransferUpdated:
    return TransferUpdated(turn=3, n=0, state=name, at_ms=0, epoch=1)


def shown(*messages: Message, details: bool = False) -> list[str]:
    lines = ActLines(details)
    return [line for message in messages for line in lines.receive(message)]


def test_a_tool_is_one_line_without_what_it_was_asked_and_answered() -> None:
    assert shown(ORDER, RETURNED, RETURNED, ORDER) == ["tool        order_status 0.4 s done"]
    assert shown(RETURNED) == []


def test_a_demonstration_shows_arguments_and_result() -> None:
    assert shown(ORDER, RETURNED, details=True) == [
        'tool        order_status {"order": "4711"}',
        "tool        order_status 0.4 s done: It is on its way.",
    ]
    (line,) = shown(ORDER, ToolReturned(2, 0, "done", "x" * 9_000), details=True)[1:]
    assert len(line) < 400


def test_a_transfer_is_told_by_its_states_and_a_refused_one_by_its_outcome() -> None:
    returned = ToolReturned(3, 0, "failed", "Nobody answered.", 20_000)
    states = [state("asked"), state("dialled"), state("dialled"), state("failed")]
    assert shown(TRANSFER, *states, returned) == ["transfer    asked", "transfer    dialled", "transfer    failed"]
    assert shown(TRANSFER, ToolReturned(3, 0, "refused", "No.")) == ["tool        transfer_call 0.0 s refused"]


def test_keys_are_counted_and_never_shown() -> None:
    assert shown(KeysEntered(1, "4711", 4), KeysEntered(1, "4711", 4)) == ["keys        4 entered"]
    assert shown(KeysEntered(1, "4711", 4), KeysEntered(2, "", 4), details=True) == [
        "keys        4711",
        "keys        4 entered",
    ]


def test_a_hand_off_names_the_agent() -> None:
    assert shown(AgentChanged(3, "billing")) == ["hand-off    to billing"]


def reply(turn: int, utterance: int, text: str, inputs: int = 0) -> list[Message]:
    return [
        ReplyStarted(turn, utterance, inputs=inputs), Clause(turn, 0, text), ReplyEnded(turn, 1),
        PlaybackStarted(turn, 1, ()), ReplyPlayed(turn),
    ]  # fmt: skip


def test_two_replies_to_keys_are_two_turns() -> None:
    call = LiveCall()
    messages = [*reply(1, 0, "Hello."), KeysEntered(1, "1", 1), *reply(2, 0, "At nine.", 1),
                KeysEntered(2, "2", 1), *reply(3, 0, "At six.", 2)]  # fmt: skip
    assert [turn.answered for message in messages for turn in call.receive(message)] == [
        "Hello.",
        "At nine.",
        "At six.",
    ]


def test_a_call_that_is_live_after_a_failed_transfer_is_with_the_agent_again() -> None:
    call = LiveCall()
    call.acts.receive(state("failed"))
    assert call.is_away()
    call.is_back()
    assert not call.is_away(), "so its end is told at once"


@pytest.mark.anyio
async def test_a_call_that_is_away_has_not_ended_until_nobody_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    streams = MemoryStreams()
    bus, store, calls = MemoryBus(streams), MemoryCallStore(streams), {}
    await store.create(CallRecord("call-1", {"name": "clinic"}))
    await store.start("call-1", "edge-1")

    async def happens(*messages: Message) -> None:
        for message in messages:
            bus.publish(call_events("call-1"), message)
        await look(bus, store, calls, lambda record: True)

    await happens(CallStarted(1, "edge-1", 0), UserTurn(1, "A person, please.", ()), *reply(3, 1, "One moment.")[:2])
    await happens(TRANSFER, *reply(3, 1, "One moment.")[2:])
    await store.end("call-1", EndReason.TRANSFERRED)
    await happens(state("asked"), state("dialled"), CallEnded(1, "transferred", 0))
    await happens()
    await happens(state("failed"), ToolReturned(3, 0, "failed", "Nobody answered."))
    await happens()
    assert "the call has ended" not in capsys.readouterr().out
    for _ in range(live.LOOKS_BACK_MAX):
        await happens()
    assert calls == {}, "the caller has hung up"
    assert capsys.readouterr().out.splitlines()[-1] == "the call has ended: transferred"
