"""When a provider is left alone, and when it may try again."""

import pytest

from workers.providers.breaker import BUSY_S, COOLDOWN, FAILURES_MAX, PROBE_S_MAX, Breaker, BreakerState

pytestmark = pytest.mark.fast


def failing(times: int, now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(times):
        breaker.begun(now)
        breaker.failed(now)
    return breaker


def test_two_failures_are_bad_luck_and_three_are_a_pattern():
    assert failing(FAILURES_MAX - 1).allows(0)
    assert not failing(FAILURES_MAX).allows(0)


def test_a_success_in_between_forgives():
    breaker = failing(FAILURES_MAX - 1)
    breaker.worked()
    breaker.failed(0)
    assert breaker.state is BreakerState.CLOSED


def test_after_the_cooldown_one_may_try_and_the_others_wait_for_it():
    breaker = failing(FAILURES_MAX)
    assert not breaker.allows(COOLDOWN.first_s - 0.1)
    assert breaker.allows(COOLDOWN.first_s)
    breaker.begun(COOLDOWN.first_s)
    assert not breaker.allows(COOLDOWN.first_s + 1)
    breaker.worked()
    assert breaker.allows(COOLDOWN.first_s + 1)


def test_a_probe_that_fails_doubles_the_cooldown_up_to_a_minute():
    breaker, now, pauses = failing(FAILURES_MAX), 0.0, []
    for _ in range(6):
        now = breaker.until
        breaker.begun(now)
        breaker.failed(now)
        pauses.append(breaker.until - now)
    assert pauses == [10, 20, 40, 60, 60, 60]


def test_after_a_success_the_cooldown_is_the_first_one_again():
    breaker = failing(FAILURES_MAX)
    for _ in range(3):
        breaker.begun(breaker.until)
        breaker.failed(breaker.until)
    breaker.worked()
    for _ in range(FAILURES_MAX):
        breaker.begun(1000)
        breaker.failed(1000)
    assert breaker.until == 1000 + COOLDOWN.first_s


def test_a_failure_that_began_before_the_cooldown_does_not_double_it():
    breaker = failing(FAILURES_MAX)
    breaker.failed(2)
    assert breaker.until == 2 + COOLDOWN.first_s


def test_a_probe_of_which_nobody_heard_again_frees_the_way():
    breaker = failing(FAILURES_MAX)
    breaker.begun(5)
    assert breaker.allows(5 + PROBE_S_MAX)


def test_a_probe_that_was_given_up_lets_the_next_try_at_once():
    breaker = failing(FAILURES_MAX)
    breaker.begun(5)
    breaker.left(6)
    assert breaker.allows(6) and breaker.state is BreakerState.OPEN


def test_busy_is_a_moment_and_no_failure():
    breaker = Breaker()
    for _ in range(9):
        breaker.busy(0)
    assert not breaker.allows(BUSY_S - 0.1) and breaker.allows(BUSY_S)
    assert breaker.state is BreakerState.CLOSED
