"""Transfers of a chaos run: the event logs against what the carrier rang, and when callers were back."""

import json
from collections import Counter

import pytest

from benchmarks.chaos.sentences import question
from benchmarks.chaos.transfers import BACK_P95_MS_MAX, PERSONS, count_transfers, person_for
from benchmarks.chaos.turns import AwayTime, Lived, Turn

pytestmark = pytest.mark.fast

CALL, KEY = "chaos-1", "chaos-1:2.0"
FAULT = (5_000.0, 8_000.0)


def log(*outcomes: str, ended: str = "caller hung up") -> dict[str, str]:
    """One call of the tool, with these outcomes, of which the first counts."""
    called = {"turn": 2, "first": 0, "calls": [["call_1", "transfer_call", json.dumps({"target": "busy"})]]}
    returned = [("ToolReturned", {"turn": 2, "n": 0, "outcome": outcome}) for outcome in outcomes]
    events = [("ToolsCalled", called), ("CallEnded", {"reason": "transferred"}), *returned]
    events.append(("CallEnded", {"reason": ended}))
    return {CALL: "\n\n".join(f"event: {name}\ndata: {json.dumps(body)}" for name, body in events)}


def lived(back_after_ms: float = 400.0, died: str = "", left_ms: float = 1_000.0) -> Lived:
    unanswered_ms = left_ms + 1_000
    turn = Turn(1, 0.0, unanswered_ms, first_ms=unanswered_ms + back_after_ms, parts={0: 1, 1: 1, 2: 1})
    return Lived(1, CALL, [turn], aways=[AwayTime(1, left_ms, unanswered_ms)], died=died)


@pytest.mark.parametrize(
    ("transcripts", "rung", "wrong"),
    [
        (log("failed"), {KEY: 1}, {}),
        (log("failed"), {KEY: 2}, {"rung_twice": 1}),
        (log("failed"), {KEY: 1, "chaos-1:3.0": 1}, {"unasked": 1}),
        (log(), {KEY: 1}, {"lost": 1}),
        (log("failed", ended="transferred"), {KEY: 1}, {"dropped": 1}),
    ],
)
def test_transfers_are_counted(transcripts: dict[str, str], rung: dict[str, int], wrong: dict[str, int]) -> None:
    counted, found = count_transfers(transcripts, rung, [lived(died="stop" if "dropped" in wrong else "")], [FAULT])
    counts = Counter({name: value for name, value in counted.to_json().items() if value})
    assert (counts["asked"], counts["rung"], counts["back"]) == (1, sum(rung.values()), 1)
    assert {name: counts[name] for name in ("rung_twice", "unasked", "lost", "dropped") if counts[name]} == wrong
    assert len(found) == sum(wrong.values())


def test_the_way_back_is_timed_and_has_a_bar_if_no_fault_touched_it() -> None:
    late, struck = lived(BACK_P95_MS_MAX + 1), lived(3_000.0, left_ms=4_500.0)
    counted, found = count_transfers(log("failed"), {KEY: 1}, [late, struck], [FAULT])
    assert (counted.back, counted.struck, counted.back_p95_ms, counted.struck_p95_ms) == (2, 1, 1001.0, 3000.0)
    assert len(found) == 1
    assert count_transfers(log("failed"), {KEY: 1}, [struck], [FAULT])[1] == []


def test_every_second_sentence_of_a_caller_asks_for_a_person() -> None:
    asked = [person_for(question(3, number)) for number in range(12)]
    assert set(asked[0::2]) == set(PERSONS)
    assert set(asked[1::2]) == {""}
    assert person_for("ask") == ""
