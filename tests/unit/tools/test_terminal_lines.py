"""What `make run` shows of calls on its terminal: each turn once, when it is complete; causes by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.agents.reading import read_agents
from common.bus.memory import MemoryBus, MemoryStreams
from common.protocol.messages import (
    CallEnded,
    CallStarted,
    Clause,
    Interrupted,
    Message,
    PlaybackStarted,
    ReplyEnded,
    ReplyPlayed,
    ReplyResumed,
    ReplyStarted,
    UserTurn,
)
from common.protocol.redis_keys import call_events
from common.store import CallRecord
from common.store.memory import MemoryCallStore
from edge.vobiz.hangup_causes import named_cause
from tests.compose.calls import WAIT
from tools.check import Configuration
from tools.live import LiveCall, look
from tools.run import agent_lines
from tools.turn_lines import print_turn

pytestmark = pytest.mark.fast

STAMPS = (1_000, 1_500, 1_700, 1_710, 1_900, 2_000, 2_005)
GREETING = [ReplyStarted(1, 0), Clause(1, 0, "Hello."), ReplyEnded(1, 1), PlaybackStarted(1, 1, ())]
ASKED = [UserTurn(1, "When do you open?", ()), ReplyStarted(2, 1), Clause(2, 0, "At nine."), Clause(2, 1, "Until six.")]
PLAYING = [PlaybackStarted(2, 2_005, STAMPS)]


def shown(*messages: Message) -> list[tuple[str, str]]:
    call = LiveCall()
    return [(turn.understood, turn.heard) for message in messages for turn in call.receive(message)]


def test_a_turn_is_told_once_when_the_caller_has_heard_it() -> None:
    assert shown(*GREETING) == []
    assert shown(*GREETING, ReplyPlayed(1)) == [("", "Hello.")]
    whole = [*GREETING, ReplyPlayed(1), *ASKED, *PLAYING, ReplyPlayed(2), ReplyPlayed(2)]
    assert shown(*whole) == [("", "Hello."), ("When do you open?", "At nine. Until six.")]


def test_an_interruption_is_told_with_what_was_heard_and_a_cough_is_none() -> None:
    cough = [*GREETING, ReplyPlayed(1), *ASKED, *PLAYING, Interrupted(2, 1, 0, 2)]
    assert len(shown(*cough)) == 1
    assert shown(*cough, ReplyResumed(2, 2), ReplyPlayed(2))[-1] == ("When do you open?", "At nine. Until six.")
    assert shown(*cough, Interrupted(2, 1, 0, 0))[-1] == ("When do you open?", "At nine. —")


@pytest.mark.parametrize("last", [UserTurn(2, "Are you there?", ()), CallEnded(1, "caller hung up", 9)])
def test_what_got_no_answer_is_told_when_the_call_goes_on_or_ends(last: Message) -> None:
    assert shown(UserTurn(1, "Hello?", ()), last)[0] == ("Hello?", "")


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("4000", "Normal hangup (4000)"),
        ("3010", "Busy line (3010)"),
        ("cancelled", "cancelled"),
        ("", ""),
        ("1234", "1234"),
    ],
)
def test_a_cause_has_a_name(code: str, name: str) -> None:
    assert named_cause(code) == name


@pytest.mark.anyio
async def test_a_whole_call_on_the_terminal_and_nobody_elses(capsys: pytest.CaptureFixture[str]) -> None:
    streams = MemoryStreams()
    bus, store, calls = MemoryBus(streams), MemoryCallStore(streams), {}
    for call_id, edge in (("ours", "edge-here-1"), ("theirs", "edge-there-2")):
        await store.create(CallRecord(call_id, {"name": "desk"}))
        await store.start(call_id, edge)
        for message in (CallStarted(1, edge, 0), *GREETING, ReplyPlayed(1), *ASKED, *PLAYING, ReplyPlayed(2)):
            bus.publish(call_events(call_id), message)
    for _ in range(3):
        await look(bus, store, calls, lambda record: record.edge.startswith("edge-here-"))
    await store.add_webhook_fields("ours", {"Hangup.HangupCauseCode": "4000", "Hangup.HangupCause": "NORMAL_CLEARING"})
    await store.end("ours", "caller hung up")
    await look(bus, store, calls, lambda record: record.edge.startswith("edge-here-"))
    assert "ours" not in calls
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert lines == [
        "inbound call, answered by desk",
        "agent       Hello.",
        "caller      When do you open?",
        "agent       At nine. Until six.",
        "time        1005 ms from speech end to answer",
        "            of it, ms: waiting for silence 500, transcribing 200, thinking 10, first clause 190, "
        "first audio 100, to the carrier 5",
        "the call has ended: caller hung up; the carrier's cause: Normal hangup (4000)",
    ]


def test_make_test_compose_reads_the_wait_of_each_turn(capsys: pytest.CaptureFixture[str]) -> None:
    turn = {"caller_said": "When?", "understood": "when", "answered": "At nine.", "heard": "At nine.", "wait_ms": 888}
    print_turn({**turn, "interrupted": False, "barge_in": False, "clear_ms": None, "timings_ms": {}})
    (wait,) = [found[1] for line in capsys.readouterr().out.splitlines() if (found := WAIT.match(line))]
    assert wait == "888"


def test_the_banner_names_the_agents_and_their_numbers(tmp_path: Path) -> None:
    small = "greeting: Hi.\ninstructions: x\n"
    (tmp_path / "desk.yaml").write_text(small + 'numbers: ["*"]\n')
    only = Configuration(None, read_agents(tmp_path))
    assert agent_lines(only) == ["  agent desk  (en)  every number"]
    (tmp_path / "clinic.yaml").write_text(
        f"{small}language: hi\nnumbers: [+911234567890, +911234567891]\nproviders: {{stt: sarvam/saaras:v3}}\n"
    )
    (tmp_path / "reminders.yaml").write_text(small)
    assert agent_lines(Configuration(None, read_agents(tmp_path))) == [
        "  agent clinic  (hi)  +911234567890, +911234567891  stt sarvam/saaras:v3",
        "  agent desk  (en)  every other number",
        "  agent reminders  (en)  no number: asked for by name only",
    ]
