"""Orders to Vobiz that cannot be right, phone numbers in every spelling, and why calls end."""

from __future__ import annotations

from typing import Any

import pytest

from edge.vobiz.hangup_causes import CAUSES, TEXT_CAUSES, Cause, cause_of, may_retry
from edge.vobiz.numbers import dialled, e164, without_numbers
from edge.vobiz.rest.requests import ApplicationRequest, CallRequest, MachineDetection, RecordRequest, StreamRequest
from edge.vobiz.rest.transport import CarrierOptions

pytestmark = pytest.mark.fast

ID, TOKEN = "MA_XXXXXXXX", "token-not-to-be-seen"
FROM, TO = "+91 12345 67890", "+91 98765 43210"
CALL = CallRequest(from_number=FROM, to=TO, answer_url="https://voice.example.com/answer")


def test_every_problem_of_a_call_is_listed_and_no_number_repeated() -> None:
    with pytest.raises(ValueError) as caught:
        CallRequest(
            from_number="98765-43210-98765-43210",
            to=(TO, "98765x43210"),
            answer_url="voice.example.com",
            ring_url="ftp://voice.example.com",
            hangup_method="PUT",  # type: ignore[arg-type]
            caller_name="A" * 51,
            send_digits="12,3",
            time_limit_s=0,
            hangup_on_ring_s=-1,
            sip_headers={"X-Ref": "a,b=c"},
        )
    told = str(caught.value)
    assert [problem.partition(":")[0] for problem in told.split("; ")] == [
        "from_number",
        "to[1]",
        "answer_url",
        "ring_url",
        "hangup_method",
        "caller_name",
        "send_digits",
        "time_limit_s",
        "hangup_on_ring_s",
        "sip_headers",
    ]
    assert "98765" not in told


@pytest.mark.parametrize("callees", [(), (TO,) * 1001, "", f"{TO}<{TO}"])
def test_a_call_goes_to_1_to_1000_callees(callees: Any) -> None:
    with pytest.raises(ValueError, match=r"^to"):
        CallRequest(from_number=FROM, to=callees, answer_url="https://voice.example.com/answer")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: MachineDetection(time_ms=1999), "time_ms"),
        (lambda: MachineDetection(words_max=11), "words_max"),
        (lambda: StreamRequest(service_url="https://a.example.com"), "service_url"),
        (lambda: StreamRequest(service_url="wss://a.example.com", audio_track="both"), "audio_track"),
        (lambda: StreamRequest(service_url="wss://a.example.com", extra_headers="a=" + "b" * 511), "extra_headers"),
        (lambda: RecordRequest(file_format="ogg"), "file_format"),  # type: ignore[arg-type]
        (lambda: ApplicationRequest(app_name="My App", answer_url="https://a.example.com"), "app_name"),
        (lambda: CarrierOptions("", ""), "auth_id.*auth_token"),
        (lambda: CarrierOptions(ID, "with\nnewline"), "auth_token"),
        (lambda: CarrierOptions(ID, TOKEN, "api.vobiz.ai"), "api_url"),
        (lambda: CarrierOptions(ID, TOKEN, "https://api.vobiz.ai:port"), "api_url"),
    ],
)
def test_an_order_that_cannot_be_right_is_refused(make: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        make()


def test_nothing_shows_numbers_and_tokens_in_its_representation() -> None:
    options = repr(CarrierOptions(ID, TOKEN))
    assert TOKEN not in options
    assert "98765" not in repr(CALL)
    assert "12345" not in repr(CALL)


def test_numbers_in_every_spelling() -> None:
    spellings = ("+911234567890", "00911234567890", "911234567890", "+91 12345-67890", "+91 (123) 456.7890")
    assert {e164(spelling) for spelling in spellings} == {"+911234567890"}
    for national in ("9876543210", "01234567890", "+01234567890", "1234", "", "+91 12345 6789O"):
        with pytest.raises(ValueError, match="international form"):
            e164(national)
    assert dialled("0112345 6789") == "01123456789"
    assert dialled("sip:desk@example.com:5060") == "sip:desk@example.com:5060"
    assert without_numbers(f"from {TO} to 0e516b32-104b-48b1 at sip:amit@example.com: 404") == (
        "from <number> to 0e516b32-104b-48b1 at <address> 404"
    )


def test_the_table_of_causes() -> None:
    assert {code for code, cause in CAUSES.items() if cause.retry} == {
        3000, 3010, 3070, 3080, 3090, 3100, 5000, 5010, 5020, 5030, 6010,
    }  # fmt: skip
    assert all(code == cause.code for code, cause in CAUSES.items())
    assert set(TEXT_CAUSES.values()) <= CAUSES.keys()
    assert cause_of("4000", "NORMAL_CLEARING").name == "Normal hangup"
    assert cause_of("16", "NORMAL_CLEARING").code == 4000  # Q.850 on an older page
    assert cause_of("", "USER_BUSY").code == 3010
    assert cause_of("", "busy line").code == 3010
    assert cause_of() == CAUSES[0]
    assert cause_of("7777", "SOMETHING_NEW") == Cause(0, "SOMETHING_NEW")
    assert len(cause_of("x" * 99, "y" * 999).name) == 64


@pytest.mark.parametrize("cause", [3000, "3010", "USER_BUSY", "NO_ANSWER", 6010, "5030", "busy line"])
def test_some_calls_are_worth_another_try(cause: int | str) -> None:
    assert may_retry(cause)


@pytest.mark.parametrize("cause", [2000, 2040, 2050, 3020, 3110, "CALL_REJECTED", 3050, 3130, 4000, "16", "NEW", ""])
def test_nobody_who_said_no_is_called_again(cause: int | str) -> None:
    assert not may_retry(cause)
    assert not may_retry(cause_of(cause))
