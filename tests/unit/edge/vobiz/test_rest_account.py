"""What the carrier says no with: is it about the account, so that all calls wait, or about the one call?"""

import json

import pytest

from edge.vobiz.rest.account import AccountProblem, account_problem
from edge.vobiz.rest.errors import CarrierAnswer, CarrierError, CarrierLimited, Unavailable, Uncertain, error_of

pytestmark = pytest.mark.fast


def said(status: int, body: object) -> CarrierError:
    return error_of("POST", CarrierAnswer(status, json.dumps(body).encode()), 0.0)


@pytest.mark.parametrize(
    ("status", "body", "reason", "sure"),
    [
        (402, {"error": "Insufficient balance"}, "credit", True),
        (402, {}, "credit", True),
        (400, {"error": {"code": "INSUFFICIENT_BALANCE", "message": "Please recharge"}}, "credit", True),
        (403, {"error": "forbidden", "message": "Your wallet is empty"}, "credit", True),
        (401, {"error": "invalid credentials"}, "credentials", True),
        (403, {"error": "invalid API key"}, "credentials", False),
        (403, {"error": "Forbidden"}, "account", False),
        (403, {"error": "account suspended"}, "account", False),
        (403, {"error": "You are not allowed to make calls"}, "account", False),
        (422, {"error": "KYC is pending"}, "account", False),
        (404, {"error": "not found"}, "account", False),
        (405, {}, "account", False),
        (301, {}, "account", False),
    ],
)
def test_an_answer_about_the_account(status: int, body: object, reason: str, sure: bool) -> None:
    assert account_problem(said(status, body)) == AccountProblem(reason, sure)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": "to is not a valid number or SIP address"}),
        (400, {"error": "a parameter is missing or invalid"}),
        (400, {}),
        (403, {"error": "Calls to this destination are not permitted"}),
        (403, {"error": "geo permission: this country is barred"}),
        (403, {"error": "from is not a number of yours"}),
        (404, {"error": "caller id not found"}),
        (409, {"error": "conflict"}),
        (422, {"error": "the number is on the DND list"}),
    ],
)
def test_an_answer_about_the_call(status: int, body: object) -> None:
    assert account_problem(said(status, body)) is None


@pytest.mark.parametrize("error", [CarrierLimited(1.0), Unavailable("no connection", sent=False), Uncertain("lost")])
def test_what_is_no_refusal_says_nothing_of_the_account(error: CarrierError) -> None:
    assert account_problem(error) is None
