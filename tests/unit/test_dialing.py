"""An outbound call, told as the news of it comes in."""

from functools import reduce

import pytest

from edge.dialing import (
    Absent,
    Accepted,
    Answered,
    Cancelled,
    Denied,
    Dial,
    LineClosed,
    MachineHeard,
    News,
    Over,
    Plan,
    Rang,
    Sent,
    Throttled,
    Unclear,
    advance,
)

DIAL = Dial("d-1", to="911234567890", sender="919876543210", created_ms=0)
PATIENT = Dial("d-1", to="911234567890", sender="919876543210", plan=Plan(attempts_max=3, retry_after_s=60))


def after(*news: News, dial: Dial = DIAL, now_ms: int = 1000) -> Dial:
    return reduce(lambda dial, item: advance(dial, item, now_ms), news, dial)


def test_a_call_that_is_answered_and_hung_up():
    states = [
        after(*told).state for told in _growing(Sent(), Accepted("c-1"), Rang("c-1"), Answered("c-1"), Over("4000"))
    ]
    assert states == ["dialing", "placed", "ringing", "answered", "ended"]
    assert after(Sent(), Accepted("c-1"), Answered("c-1")).call_id == "c-1"


def test_webhooks_that_overtake_the_carriers_own_reply():
    dial = after(Sent(), Rang("c-1"), Answered("c-1"), Accepted("c-1"), Rang("c-1"))
    assert (dial.state, dial.call_id) == ("answered", "c-1")


def test_news_that_comes_twice_changes_nothing():
    once = after(Sent(), Accepted("c-1"), Rang("c-1"))
    assert advance(once, Rang("c-1"), 2000) is once
    ended = after(Sent(), Accepted("c-1"), Over("4000"))
    assert advance(ended, Over("6010"), 2000) is ended


def test_a_throttled_attempt_does_not_count_and_keeps_its_place():
    dial = after(Sent(), Throttled())
    assert (dial.state, dial.attempt, dial.due_ms) == ("queued", 0, dial.created_ms)


def test_an_unclear_request_is_never_sent_again_by_itself():
    dial = after(Sent(), Unclear())
    assert dial.state == "uncertain"
    assert advance(dial, Sent(), 2000) is dial


def test_a_webhook_settles_an_unclear_request():
    assert after(Sent(), Unclear(), Rang("c-1")).state == "ringing"
    assert after(Sent(), Unclear(), Over("6010")).state == "ended"


def test_an_unclear_request_that_the_carrier_does_not_know_is_queued_again():
    once = after(Sent(), Unclear(), Absent())
    assert (once.state, once.due_ms) == ("uncertain", 16_000)  # it is asked about once more
    twice = advance(once, Absent(), 16_000)
    assert (twice.state, twice.attempt) == ("queued", 0)


def test_a_placed_call_that_the_carrier_no_longer_knows_is_over():
    assert after(Sent(), Accepted("c-1"), Absent()).state == "ended"


def test_a_refused_request_fails_with_its_reason():
    dial = after(Sent(), Denied("invalid number"))
    assert (dial.state, dial.cause) == ("failed", "invalid number")


@pytest.mark.parametrize(("cause", "again"), [("3010", True), ("6010", True), ("3020", False), ("2000", False)])
def test_only_some_causes_are_worth_another_try(cause: str, again: bool):
    dial = after(Sent(), Accepted("c-1"), Over(cause), dial=PATIENT)
    assert (dial.state, dial.due_ms) == (("queued", 61_000) if again else ("ended", dial.due_ms))


def test_attempts_are_bounded():
    try_once = (Sent(), Accepted("c-1"), Over("3010"))
    assert after(*try_once, *try_once, dial=PATIENT).state == "queued"
    assert after(*try_once, *try_once, *try_once, dial=PATIENT).state == "ended"


def test_an_answered_call_is_not_tried_again_whatever_ended_it():
    assert after(Sent(), Accepted("c-1"), Answered("c-1"), Over("5000"), dial=PATIENT).state == "ended"


def test_a_machine_is_noted_and_changes_no_state():
    dial = after(Sent(), Accepted("c-1"), Answered("c-1"), MachineHeard(True))
    assert (dial.state, dial.machine) == ("answered", "yes")


def test_an_answered_call_whose_line_closed_is_looked_up_soon():
    dial = after(Sent(), Accepted("c-1"), Answered("c-1"), LineClosed())
    assert (dial.state, dial.due_ms) == ("answered", 16_000)


def test_only_a_waiting_call_can_be_cancelled():
    assert after(Cancelled()).state == "ended"
    assert after(Sent(), Cancelled()).state == "dialing"


def test_it_survives_its_document():
    dial = after(Sent(), Accepted("c-1"), dial=PATIENT)
    assert Dial.from_document(dial.to_document()) == dial


def _growing(*news: News) -> list[tuple[News, ...]]:
    return [news[: count + 1] for count in range(len(news))]
