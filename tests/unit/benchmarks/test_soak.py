"""What a soak run calls flat, and what it calls back to the start."""

import pytest

from benchmarks.soak.samples import kind_of
from benchmarks.soak.verdict import (
    Calls,
    ProcessSample,
    RedisSample,
    Sample,
    growth,
    highest,
    judge,
    left_keys,
    of_calls,
    still_up,
)

pytestmark = pytest.mark.fast

MIB = 2**20
QUIET = Sample(
    0, {"edge-1": ProcessSample(60 * MIB, 20, 3, 12, 0)}, RedisSample(2 * MIB, 0, 9, 6, 0, {"nodes:edge": 1})
)
GOOD = Calls(over=100, turns=900)


def minutes(rss: list[float]) -> list[Sample]:
    """A sample each 5 s, of an edge that is so large."""
    return [
        Sample(5.0 * n, {"edge-1": ProcessSample(int(mib * MIB), 60, 3, 99, 10)}, RedisSample(3 * MIB))
        for n, mib in enumerate(rss)
    ]


def verdicts(samples: list[Sample], after: Sample = QUIET, calls: Calls = GOOD) -> dict[str, str]:
    return {line.title: line.verdict for line in judge(samples, (QUIET, after), 0, calls)}


@pytest.mark.parametrize(
    ("rss", "verdict"),
    [
        pytest.param([60.0] * 60, "PASS", id="flat"),
        pytest.param([60 + 0.05 * n for n in range(60)], "FAIL", id="3 MiB more"),
        pytest.param([60 + 0.01 * n for n in range(60)], "PASS", id="1 % more"),
        pytest.param([60 + (20 if n % 4 == 0 else 0) for n in range(60)], "PASS", id="peaks that come down again"),
        pytest.param([90 - 0.5 * n for n in range(60)], "PASS", id="shrinks"),
        pytest.param([60.0] * 5, "VOID", id="too short to say"),
    ],
)
def test_memory_is_judged_by_its_slope(rss: list[float], verdict: str):
    assert verdicts(minutes(rss))["edge-1: memory"] == verdict


def test_peaks_do_not_hide_growth():
    assert growth([(n, 100 + n + (500 if n % 4 == 0 else 0)) for n in range(60)]) > 0.3


def test_the_warm_up_is_not_judged():
    samples = minutes([10.0 * n for n in range(6)] + [60.0] * 54)
    assert {line.title: line.verdict for line in judge(samples, (QUIET, QUIET), 30, GOOD)}["edge-1: memory"] == "PASS"


@pytest.mark.parametrize("what", ["descriptors", "threads", "tasks"])
def test_what_stays_after_the_last_call_fails(what: str):
    values = {"rss_bytes": 60 * MIB, "descriptors": 20, "threads": 3, "tasks": 12, "calls": 0}
    after = Sample(9, {"edge-1": ProcessSample(**{**values, what: values[what] + 1})}, QUIET.redis)
    assert verdicts(minutes([60.0] * 60), after)[f"edge-1: {what}"] == "FAIL"
    assert still_up(QUIET, after) == [f"edge-1 {what}"]


def test_a_key_a_consumer_and_an_offer_that_stay_fail():
    redis = RedisSample(2 * MIB, 0, 9, 7, 1, {"nodes:edge": 1, "call:*:state": 2})
    after = Sample(9, QUIET.processes, redis)
    found = verdicts(minutes([60.0] * 60), after)
    assert [found[f"Redis: {what}"] for what in ("keys", "consumers", "offers pending")] == ["FAIL"] * 3
    assert left_keys(QUIET, after) == {"call:*:state": 2}
    assert of_calls(after)
    assert not of_calls(QUIET)


@pytest.mark.parametrize(
    ("calls", "verdict"),
    [
        (GOOD, "PASS"),
        (Calls(over=100, died=1, turns=900), "FAIL"),
        (Calls(over=100, turns=900, unanswered=1), "FAIL"),
        (Calls(over=100, turns=900, wrong=1), "FAIL"),
        (Calls(), "FAIL"),
        (Calls(over=100, turns=900, lateness_p99_ms=300), "VOID"),
    ],
)
def test_calls_are_judged_too(calls: Calls, verdict: str):
    assert verdicts(minutes([60.0] * 60), calls=calls)["calls"] == verdict


def test_what_flickers_is_no_growth():
    more = Sample(2, {"edge-1": ProcessSample(60 * MIB, 19, 3, 13, 0)}, RedisSample(2 * MIB, 0, 9, 6, 0, {"a": 1}))
    start = highest([QUIET, more])
    assert start.processes["edge-1"] == ProcessSample(60 * MIB, 20, 3, 13, 0)
    assert start.redis.keys == {"nodes:edge": 1, "a": 1}
    assert still_up(start, more) == []


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("call:{s07}:chaos-5cf1a1de-ca7b-4b8b-9d51-1f13d1a3a1f0:effects", "call:*:effects"),
        ("call:{s07}:any:thing:state", "call:*:state"),
        ("edge:edge-host-1-0123abcd:audio", "edge:edge-*:audio"),
        ("nodes:stt", "nodes:stt"),
        ("{dials}:5cf1a1de-ca7b-4b8b-9d51-1f13d1a3a1f0", "{dials}:*"),
    ],
)
def test_keys_are_counted_by_kind(key: str, kind: str):
    assert kind_of(key) == kind


def test_redis_is_judged_from_when_its_streams_of_fixed_length_are_full():
    def sample(n: int) -> Sample:
        bounded = min(n, 30) * MIB
        return Sample(
            5.0 * n, {"redis": ProcessSample(20 * MIB + 2 * bounded, 9, 3)}, RedisSample(9 * MIB + bounded, bounded)
        )

    before = Sample(0, {"redis": ProcessSample(20 * MIB, 9, 3)}, RedisSample())
    found = {line.title: line.verdict for line in judge([sample(n) for n in range(80)], (before, before), 0, GOOD)}
    assert found["redis: memory"] == found["Redis: used_memory"] == "PASS"
    still_filling = judge([sample(n) for n in range(25)], (before, before), 0, GOOD)
    assert {line.title: line.verdict for line in still_filling}["redis: memory"] == "VOID"
