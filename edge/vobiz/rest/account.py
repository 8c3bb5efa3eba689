"""Decides whether a refusal by the carrier concerns the account or only the requested call.  Pure.

Without credit, with wrong credentials, or with a suspended account every call is refused.  Calls are then not given up:
they wait until the account is in order.  If the status is ambiguous, the words of the answer decide; if they are
ambiguous too, `AccountProblem.sure` is False, and the dialer tries another call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge.vobiz.rest.errors import CarrierError, Refused, Unauthorized

REASONS: dict[str, str] = {
    "credit": "the account at Vobiz has no credit",
    "credentials": "Vobiz does not accept VOBIZ_AUTH_ID and VOBIZ_AUTH_TOKEN",
    "limit": "the account at Vobiz has as many calls as it may",
    "account": "Vobiz refuses the account, or VOBIZ_API_URL is not its API",
}
"""Problems of an account: metric label -> sentence."""

_CREDIT = re.compile(r"balance|credit\b|credits|funds|recharge|top.?up|payment|prepaid|wallet|overdue|unpaid", re.I)
_CREDENTIALS = re.compile(r"credential|auth.?token|auth.?id|api.?key|authenticat|unauthori[sz]ed", re.I)
_ACCOUNT = re.compile(
    r"account|suspend|deactivat|disabled|kyc|verification|terminat|subscription|trial|quota|tenant|sub.?account", re.I
)
_CALL = re.compile(
    r"destination|country|\bgeo|international|[\"'`]?\b(?:to|from)[\"'`]?\s*(?::|is\b|must\b|should\b|number|field)"
    r"|(?<!account )\bnumbers?\b(?! of)|caller.?id|\bcli\b|\bdnd\b|ndnc|barred|prefix|recipient|callee|\broute"
    r"|_url\b|parameter|\bsip\b",
    re.I,
)
_OF_THE_CALL = frozenset({400, 406, 409, 413, 414, 415, 422})
"""Statuses that concern the request, unless their words say otherwise."""


@dataclass(frozen=True, slots=True)
class AccountProblem:
    """A problem of the account; `reason` is a key of `REASONS`."""

    reason: str
    sure: bool = True


def account_problem(error: CarrierError) -> AccountProblem | None:
    """The account's problem behind a refused call; None if the refusal concerns the call."""
    if not isinstance(error, Refused | Unauthorized):
        return None
    status, words = error.status, f"{error.message} {error.code}"
    if status < 400:
        return AccountProblem("account", sure=False)  # a redirect: these are not the API's own words
    if status == 401:
        return AccountProblem("credentials")
    if status == 402 or _CREDIT.search(words):
        return AccountProblem("credit")
    if _CREDENTIALS.search(words):
        return AccountProblem("credentials", sure=False)
    if _CALL.search(words):
        return None
    if _ACCOUNT.search(words) or status not in _OF_THE_CALL:
        return AccountProblem("account", sure=False)
    return None
