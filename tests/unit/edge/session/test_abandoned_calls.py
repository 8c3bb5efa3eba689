"""When a call without an edge is ended, and when a host's clock is off.  Pure."""

import pytest

from common.store.clock_offset import ROUND_TRIP_MS_MAX, clock_offset_s
from edge.session.abandoned_calls import LOOKS_APART_MS_MAX, SECOND_LOOK_MS, AbandonedCalls

pytestmark = pytest.mark.fast

LOOK_MS = 5_000
DEAD = {"c-1": 1_000}
"""What the ledger tells of a call whose edge is dead: its last sign of life stays the same."""


def looks(*told: dict[str, int], apart_ms: float = LOOK_MS) -> list[list[str]]:
    """What is to be ended after each look."""
    lost = AbandonedCalls()
    return [lost.look(one, 1_000_000 + number * apart_ms) for number, one in enumerate(told)]


def test_a_call_is_ended_at_a_second_look_that_finds_no_sign_of_life_since():
    assert looks(DEAD, DEAD, DEAD, DEAD) == [[], [], [], ["c-1"]]
    assert 3 * LOOK_MS == SECOND_LOOK_MS


@pytest.mark.parametrize(
    "told",
    [
        pytest.param([{"c-1": ms} for ms in range(1_000, 9_000, 1_000)], id="a sign between every two looks"),
        pytest.param([DEAD, DEAD, {"c-1": 2_000}, {"c-1": 2_000}, {"c-1": 2_000}], id="one sign"),
        pytest.param([DEAD, DEAD, {}, DEAD, DEAD, DEAD], id="it was seen alive"),
        pytest.param([DEAD, {}, {}, {}, {}, DEAD], id="the clock was set forward for a moment"),
    ],
)
def test_a_call_that_gives_a_sign_of_life_is_not_ended(told: list[dict[str, int]]):
    assert [call_id for ended in looks(*told) for call_id in ended] == []


def test_after_a_pause_in_which_nobody_could_look_the_counting_begins_anew():
    assert looks(DEAD, DEAD, DEAD, apart_ms=LOOKS_APART_MS_MAX + 1) == [[], [], []]
    lost = AbandonedCalls()
    for ms in (0, 5_000, 10_000):
        assert lost.look(DEAD, ms) == []
    assert lost.look(DEAD, 70_000) == []  # Redis was away for a minute: nobody could give a sign
    assert lost.look(DEAD, 75_000) == []
    assert lost.look(DEAD, 80_000) == []
    assert lost.look(DEAD, 85_000) == ["c-1"]


def test_ten_thousand_calls_are_judged_at_once():
    lost = {f"c-{number}": number for number in range(10_000)}
    assert looks(lost, lost, lost, lost)[-1] == list(lost)


@pytest.mark.parametrize(
    ("asked_ms", "server_ms", "answered_ms", "offset_s"),
    [
        (1_000_000, 1_000_005, 1_000_010, 0.0),
        (1_080_000, 1_000_000, 1_080_002, 80.001),
        (980_000, 1_000_000, 980_000, -20.0),
        (1_000_000, 1_000_000, 1_000_001 + ROUND_TRIP_MS_MAX, None),  # it took too long to say anything
        (1_000_000, 1_000_000, 999_999, None),  # the clock was set back meanwhile
    ],
)
def test_how_far_a_hosts_clock_is_ahead(asked_ms: int, server_ms: int, answered_ms: int, offset_s: float | None):
    assert clock_offset_s(asked_ms, server_ms, answered_ms) == (None if offset_s is None else pytest.approx(offset_s))
