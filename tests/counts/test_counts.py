"""What a call costs in commands, wake-ups, tasks and writes: counted, so that no busy machine hides a rise."""

import pytest

from benchmarks.redis_server import client
from tests.counts import accepted
from tests.counts.system import measure

pytestmark = pytest.mark.processes

BEFORE = {"a second of a call": {"edge: redis XADD": 50.0, "edge: timers": 100.0, "stt: redis PING": 0.2}}


def test_a_call_costs_no_more_than_was_accepted(valkey_url: str) -> None:
    """A count that falls into the window only sometimes is not high in three runs."""

    def once() -> accepted.Counts:
        with client(valkey_url) as server:
            server.flushall()
        return measure(valkey_url)

    risen = accepted.risen(once)
    assert not risen, "\n".join(["a call costs more than was accepted:", *risen, accepted.ACCEPT])


def found(**changed: float) -> accepted.Counts:
    return {"a second of a call": {**BEFORE["a second of a call"], **changed}}


def test_a_count_that_rises_is_named_with_its_role_and_the_part_of_the_call() -> None:
    assert accepted.rises(BEFORE, found(**{"edge: redis XADD": 100.0})) == [
        "a second of a call: edge: redis XADD: 50 -> 100"
    ]


def test_what_was_never_done_before_rises_too() -> None:
    assert accepted.rises(BEFORE, found(**{"llm: redis KEYS": 1.0})) == ["a second of a call: llm: redis KEYS: 0 -> 1"]
    assert accepted.rises({}, BEFORE)


def test_a_tenth_and_what_comes_now_and_then_are_no_rise() -> None:
    assert accepted.rises(BEFORE, found(**{"edge: redis XADD": 55.0, "stt: redis PING": 0.6})) == []


def test_what_has_fallen_is_said_and_is_no_rise() -> None:
    lower = found(**{"edge: timers": 50.0})
    assert accepted.rises(BEFORE, lower) == []
    assert accepted.falls(BEFORE, lower) == ["a second of a call: edge: timers: 100 -> 50"]


def test_a_rise_must_show_in_every_run() -> None:
    runs = [found(**{"edge: timers": timers}) for timers in (130.0, 101.0, 140.0)]
    assert accepted.rises(BEFORE, accepted.least(runs)) == []
    assert accepted.rises(BEFORE, accepted.typical(runs)) == ["a second of a call: edge: timers: 100 -> 130"]
