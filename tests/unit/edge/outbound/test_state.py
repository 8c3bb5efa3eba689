"""An outbound call, told as the news of it comes in."""

from functools import reduce

import pytest

from edge.outbound.state import (
    REQUESTS_KEPT,
    Accepted,
    AccountRefused,
    Answered,
    Cancelled,
    Ended,
    MachineDetected,
    NotFound,
    OutboundCall,
    OutboundEvent,
    OutcomeUnknown,
    Plan,
    RefusedByCarrier,
    Ringing,
    Sent,
    StreamClosed,
    Throttled,
    advance,
    over_of,
    sign_of_life,
)

pytestmark = pytest.mark.fast

DIAL = OutboundCall("d-1", to="911234567890", sender="919876543210", created_ms=0)
PATIENT = OutboundCall("d-1", to="911234567890", sender="919876543210", plan=Plan(attempts_max=3, retry_after_s=60))


def after(*news: OutboundEvent, dial: OutboundCall = DIAL, now_ms: int = 1000) -> OutboundCall:
    return reduce(lambda dial, item: advance(dial, item, now_ms), news, dial)


def test_a_call_that_is_answered_and_hung_up():
    states = [
        after(*told).state for told in _growing(Sent(), Accepted("c-1"), Ringing("c-1"), Answered("c-1"), Ended("4000"))
    ]
    assert states == ["dialing", "placed", "ringing", "answered", "ended"]
    assert after(Sent(), Accepted("c-1"), Answered("c-1")).call_id == "c-1"


def test_webhooks_that_overtake_the_carriers_own_reply():
    dial = after(Sent(), Ringing("c-1"), Answered("c-1"), Accepted("c-1"), Ringing("c-1"))
    assert (dial.state, dial.call_id) == ("answered", "c-1")


def test_news_that_comes_twice_changes_nothing():
    once = after(Sent(), Accepted("c-1"), Ringing("c-1"))
    assert advance(once, Ringing("c-1"), 2000) is once
    ended = after(Sent(), Accepted("c-1"), Ended("4000"))
    assert advance(ended, Ended("6010"), 2000) is ended


def test_a_throttled_attempt_does_not_count_and_keeps_its_place():
    dial = after(Sent(), Throttled())
    assert (dial.state, dial.attempt, dial.due_ms) == ("queued", 0, dial.created_ms)


def test_an_unclear_request_is_never_sent_again_by_itself():
    dial = after(Sent(), OutcomeUnknown())
    assert dial.state == "uncertain"
    assert advance(dial, Sent(), 2000) is dial


def test_a_webhook_settles_an_unclear_request():
    assert after(Sent(), OutcomeUnknown(), Ringing("c-1")).state == "ringing"
    assert after(Sent(), OutcomeUnknown(), Ended("6010")).state == "ended"


def test_an_unclear_request_that_the_carrier_does_not_know_is_queued_again():
    once = after(Sent(), OutcomeUnknown(), NotFound())
    assert (once.state, once.due_ms) == ("uncertain", 16_000)  # it is asked about once more
    twice = advance(once, NotFound(), 16_000)
    assert (twice.state, twice.attempt) == ("queued", 0)


def test_a_placed_call_that_the_carrier_no_longer_knows_is_over():
    assert after(Sent(), Accepted("c-1"), NotFound()).state == "ended"


def test_a_refused_request_fails_with_its_reason():
    dial = after(Sent(), RefusedByCarrier("invalid number"))
    assert (dial.state, dial.cause) == ("failed", "invalid number")


@pytest.mark.parametrize(("cause", "again"), [("3010", True), ("6010", True), ("3020", False), ("2000", False)])
def test_only_some_causes_are_worth_another_try(cause: str, again: bool):
    dial = after(Sent(), Accepted("c-1"), Ended(cause), dial=PATIENT)
    assert (dial.state, dial.due_ms) == (("queued", 61_000) if again else ("ended", dial.due_ms))


def test_attempts_are_bounded():
    try_once = (Sent(), Accepted("c-1"), Ended("3010"))
    assert after(*try_once, *try_once, dial=PATIENT).state == "queued"
    assert after(*try_once, *try_once, *try_once, dial=PATIENT).state == "ended"


def test_an_answered_call_is_not_tried_again_whatever_ended_it():
    assert after(Sent(), Accepted("c-1"), Answered("c-1"), Ended("5000"), dial=PATIENT).state == "ended"


def test_a_machine_is_noted_and_changes_no_state():
    dial = after(Sent(), Accepted("c-1"), Answered("c-1"), MachineDetected(True))
    assert (dial.state, dial.machine) == ("answered", "yes")


def test_an_answered_call_whose_line_closed_is_looked_up_soon():
    dial = after(Sent(), Accepted("c-1"), Answered("c-1"), StreamClosed())
    assert (dial.state, dial.due_ms) == ("answered", 16_000)


def test_only_a_waiting_call_can_be_cancelled():
    assert after(Cancelled()).state == "ended"
    assert after(Sent(), Cancelled()).state == "dialing"


def test_it_survives_its_document():
    dial = after(Sent(), Accepted("c-1"), dial=PATIENT)
    assert OutboundCall.from_document(dial.to_document()) == dial


# --- several requests for one call ------------------------------------------------------------------------------------

LOST = (Sent(), OutcomeUnknown(), NotFound(), NotFound())
"""A request whose answer was lost, and which the carrier seems not to know."""
NAMED: tuple[tuple[str, tuple[OutboundEvent, ...], int], ...] = (
    ("given up and sent again", LOST, 2),
    ("throttled and sent again", (Sent(), Throttled()), 2),
    ("refused for the account and sent again", (Sent(), AccountRefused("no credit")), 2),
    ("busy and tried again", (Sent(), Accepted("c-1"), Ended("3010")), 2),
    ("three times lost", LOST * 3, 4),
)


@pytest.mark.parametrize(("before", "name"), [row[1:] for row in NAMED], ids=[row[0] for row in NAMED])
def test_no_two_requests_of_a_call_ever_have_one_name(before: tuple[OutboundEvent, ...], name: int):
    dial = after(*before, Sent(), dial=PATIENT)
    assert dial.sent == name
    assert len({request.name for request in dial.requests}) == len(dial.requests) == name


def hearing(dial: OutboundCall, *news: tuple[int, OutboundEvent], now_ms: int = 5000) -> OutboundCall:
    """News of requests by their names."""
    return reduce(lambda dial, item: advance(dial, item[1], now_ms, item[0]), news, dial)


def test_the_late_end_of_a_lost_request_does_not_queue_the_call_while_the_next_one_rings():
    ringing = hearing(after(*LOST, Sent(), dial=PATIENT), (2, Accepted("c-2")), (2, Ringing("c-2")))
    dial = hearing(ringing, (1, Ended("3010", "c-1")))
    assert (dial.state, dial.call_id) == ("ringing", "c-2")
    assert hearing(dial, (2, Answered("c-2"))).state == "answered"
    assert hearing(dial, (2, Ended("3010", "c-2"))).attempt == 2  # both reached the person: both count


@pytest.mark.parametrize(
    ("sign", "state", "call_id"),
    [
        (Accepted("c-1"), "placed", "c-1"),
        (Ringing("c-1"), "ringing", "c-1"),
        (Answered("c-1"), "answered", "c-1"),
        (MachineDetected(True), "ringing", ""),
        (Ended("4000", "c-1", answered=True), "ended", "c-1"),
        (Ended("3020", "c-1"), "ended", "c-1"),
    ],
)
def test_any_sign_of_life_of_a_lost_request_takes_the_call_out_of_the_queue(
    sign: OutboundEvent, state: str, call_id: str
):
    dial = hearing(after(*LOST, dial=PATIENT), (1, sign))
    assert (dial.state, dial.call_id, dial.attempt) == (state, call_id, 1)
    assert advance(dial, Sent(), 9000) is dial  # nobody is rung a second time


def test_a_lost_request_that_turns_out_busy_waits_before_the_next_try():
    dial = hearing(after(*LOST, dial=PATIENT), (1, Ended("3010", "c-1")))
    assert (dial.state, dial.attempt, dial.due_ms) == ("queued", 1, 5000 + 60_000)


def test_while_two_requests_are_alive_the_end_of_either_ends_nothing():
    both = hearing(after(*LOST, Sent(), dial=PATIENT), (2, Accepted("c-2")), (1, Ringing("c-1")))
    assert (both.state, both.call_id) == ("ringing", "c-1")
    first_ends, second_ends = hearing(both, (1, Ended("3010", "c-1"))), hearing(both, (2, Ended("3010", "c-2")))
    assert (first_ends.state, first_ends.call_id) == ("placed", "c-2")
    assert (second_ends.state, second_ends.call_id) == ("ringing", "c-1")
    assert hearing(first_ends, (2, Ended("4000", "c-2"))).state == "ended"


@pytest.mark.parametrize("reply", [Throttled(), AccountRefused("no credit"), RefusedByCarrier("bad number")])
def test_a_request_that_is_refused_does_not_disturb_the_one_that_came_back_to_life(reply: OutboundEvent):
    dial = hearing(after(*LOST, Sent(), dial=PATIENT), (1, Ringing("c-1")), (2, reply))
    assert (dial.state, dial.call_id) == ("ringing", "c-1")


def test_news_is_matched_by_the_carriers_own_id_of_the_call_before_its_name():
    retried = hearing(after(Sent(), Accepted("c-1"), Ended("3010"), Sent(), dial=PATIENT), (2, Accepted("c-2")))
    assert advance(retried, Ended("3010", "c-1"), 6000, 2) is retried  # of the first call, whatever its URL says
    assert advance(retried, Ringing("c-1"), 6000) is retried
    assert advance(retried, Ringing("c-2"), 6000, 1).state == "ringing"


def test_what_is_over_does_not_come_back():
    queued = after(Sent(), Accepted("c-1"), Ended("3010"), dial=PATIENT)
    for late in (Ringing("c-1"), Answered("c-1"), Accepted("c-1"), Ended("3010", "c-1"), MachineDetected(True)):
        assert hearing(queued, (1, late)) is queued


def test_news_of_a_request_that_never_left_changes_nothing():
    dial = after(Sent(), Accepted("c-1"))
    assert hearing(dial, (7, Ended("3010")), (0, Ringing("c-9"))) is dial


def test_the_requests_that_are_remembered_are_bounded():
    dial = after(*(Sent(), Throttled()) * 100)
    assert (dial.state, dial.sent, len(dial.requests)) == ("queued", 100, REQUESTS_KEPT)


# --- of the account, or of the call -----------------------------------------------------------------------------------


def test_a_refusal_of_the_account_loses_nothing():
    dial = after(Sent(), AccountRefused("no credit"), dial=PATIENT)
    assert (dial.state, dial.attempt, dial.due_ms, dial.cause) == ("queued", 0, dial.created_ms, "no credit")
    behind = after(Sent(), AccountRefused("forbidden", keeps_position=False))
    assert (behind.state, behind.due_ms) == ("queued", 1000)  # it may be this call's fault: others are tried first


@pytest.mark.parametrize("cause", ["1010", "Out of credits", "1020", "5030"])
def test_a_call_that_ends_for_want_of_credit_or_room_is_queued_again_and_does_not_count(cause: str):
    dial = after(Sent(), Accepted("c-1"), Ended(cause))
    assert (dial.state, dial.attempt) == ("queued", 0)
    assert after(Sent(), Accepted("c-1"), Answered("c-1"), Ended(cause)).state == "ended"


# --- why a call ended, in whichever field it stands -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"HangupCauseCode": "17", "HangupCause": "USER_BUSY"}, "3010"),
        ({"HangupCauseCode": "", "HangupCause": "SOMETHING_NEW", "HangupCauseName": "Busy Line"}, "3010"),
        ({"HangupCause": "something new", "CallStatus": "busy"}, "3010"),
        ({"HangupCauseCode": "0", "HangupCause": "UNKNOWN", "CallStatus": "no-answer"}, "3000"),
        ({"HangupCauseCode": "7777", "HangupCause": "NO_ANSWER"}, "3000"),
        ({"HangupCauseCode": "USER_BUSY"}, "3010"),
        ({"HangupCause": "3010"}, "3010"),
        ({"HangupCauseName": "user busy"}, "3010"),
        ({"CallStatus": "timeout"}, "6010"),
        ({"HangupCauseCode": "17"}, "3010"),
        ({"HangupCauseCode": "486", "CallStatus": "failed"}, "3010"),
        ({"HangupCauseCode": "17", "HangupCause": "NORMAL_CLEARING"}, "4000"),
        ({"HangupCauseCode": "3020", "HangupCause": "USER_BUSY"}, "3020"),
        ({"HangupCauseCode": "16", "HangupCause": "SOMETHING_NEW", "CallStatus": "failed"}, "4000"),
        ({"HangupCauseCode": "7777", "HangupCause": "SOMETHING_NEW"}, "SOMETHING_NEW"),
        ({"HangupCauseCode": "7777"}, "7777"),
        ({}, "unknown"),
    ],
)
def test_the_first_field_that_is_understood_says_why_a_call_ended(fields: dict[str, str], cause: str):
    assert over_of({"CallUUID": "c-1", **fields}) == Ended(cause, "c-1")


# --- answered, or only asked for --------------------------------------------------------------------------------------


def test_a_busy_call_whose_answer_url_was_fetched_is_tried_again():
    """The fetch is a sign of life and no more: only the stream's start says that somebody picked up."""
    assert after(Sent(), Accepted("c-1"), Ringing("c-1"), Ended("3010"), dial=PATIENT).state == "queued"
    assert after(Sent(), Accepted("c-1"), Answered("c-1"), Ended("3010"), dial=PATIENT).state == "ended"


@pytest.mark.parametrize(
    ("status", "event"),
    [
        ("ringing", Ringing("c-1")),
        ("in-progress", Ringing("c-1")),
        ("", Ringing("c-1")),
        ("busy", Ended("3010", "c-1")),
        ("no-answer", Ended("3000", "c-1")),
        ("Timeout", Ended("6010", "c-1")),
        ("completed", Ended("4000", "c-1")),
        ("failed", Ended("failed", "c-1")),
    ],
)
def test_the_status_of_a_call_whose_answer_url_is_fetched_is_read(status: str, event: OutboundEvent):
    assert sign_of_life({"CallUUID": "c-1", "CallStatus": status}) == event


def test_an_answer_time_says_that_somebody_had_picked_up_although_no_stream_was_seen():
    busy = {"CallUUID": "c-1", "HangupCauseCode": "5010", "AnswerTime": "2026-07-21 13:38:41"}
    assert after(Sent(), Accepted("c-1"), over_of(busy), dial=PATIENT).state == "ended"
    assert after(Sent(), Accepted("c-1"), over_of({**busy, "AnswerTime": ""}), dial=PATIENT).state == "queued"


# --- two releases -----------------------------------------------------------------------------------------------------


def test_what_a_newer_release_adds_is_skipped():
    dial = after(Sent())
    document = dial.to_document()
    newer = {**document, "plan": {**document["plan"], "hours": "9-17"}, "purpose": "reminder"}
    newer["requests"] = [{**request, "trunk": "a"} for request in document["requests"]]
    assert OutboundCall.from_document(newer) == dial


def _growing(*news: OutboundEvent) -> list[tuple[OutboundEvent, ...]]:
    return [news[: count + 1] for count in range(len(news))]
