"""Which states of a call follow which: a call ends once, and nothing brings it back."""

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.session.lifecycle import OVER, Lifecycle, State

pytestmark = pytest.mark.fast

STEPS: dict[str, Callable[[Lifecycle], bool]] = {
    "stop": lambda one: one.stop("silence"),
    "disconnect": lambda one: one.disconnect(True),
    "end": lambda one: one.end("carrier"),
    "replace": lambda one: one.replace(),
    "hand over": lambda one: one.hand_over(),
}
TO = {
    "stop": State.STOPPING,
    "disconnect": State.BROKEN,
    "end": State.ENDED,
    "replace": State.REPLACED,
    "hand over": State.HANDED_OVER,
}
REFUSED = {
    ("stop", "stop"),
    ("stop", "disconnect"),  # the carrier closes the stream that we stopped
    ("stop", "hand over"),  # the end is on its way
    ("disconnect", "disconnect"),
    *product(("end", "replace", "hand over"), STEPS),
}


@pytest.mark.parametrize(("first", "then"), [*product(STEPS, STEPS)])
def test_of_two_steps_the_second_is_taken_or_refused(first: str, then: str) -> None:
    one = Lifecycle()
    assert STEPS[first](one)
    assert STEPS[then](one) == ((first, then) not in REFUSED)
    assert one.state is TO[first if (first, then) in REFUSED else then]


def test_a_call_that_is_stopped_ends_for_the_reason_that_is_seen_at_its_end() -> None:
    one = Lifecycle()
    one.stop("agent hung up")
    assert (one.reason, one.goes_on, one.over, one.stopped) == ("agent hung up", False, False, True)
    one.end("carrier")
    assert (one.reason, one.over, one.stopped) == ("carrier", True, True)
    one.end("silence")
    assert one.reason == "carrier"


def test_a_broken_call_goes_on_and_remembers_how_it_broke() -> None:
    one = Lifecycle()
    one.disconnect(False)
    assert (one.goes_on, one.disconnected, one.closed_cleanly, one.reason) == (True, True, False, "")
    one.stop("silence")
    assert (one.state, one.disconnected) == (State.STOPPING, True)


def test_a_reason_is_of_the_closed_set() -> None:
    one = Lifecycle()
    one.end("+911234567890 complained")
    assert one.reason == "other"


@given(st.lists(st.sampled_from([*STEPS])))
def test_what_is_over_stays_over(steps: list[str]) -> None:
    one = Lifecycle()
    for step in steps:
        before, reason = one.state, one.reason
        changed = STEPS[step](one)
        assert changed == (one.state is not before)
        if before in OVER:
            assert (one.state, one.reason) == (before, reason)
        assert one.over == (one.state in OVER)
        assert not (one.over and one.goes_on)
