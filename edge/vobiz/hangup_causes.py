"""Vobiz's hangup causes, and which of them are worth another call.  Pure.

Source: Vobiz documentation "Hangup causes".  Webhooks and call records give a code (4000), a name ("Normal Hangup") or
a text ("NORMAL_CLEARING"); some carry Q.850 numbers or causes that the page does not list.  An unknown cause is no
error: it becomes a cause of its own that is not retried.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

UNKNOWN_CODE = 0
_NAME_CHARS_MAX = 64


@dataclass(frozen=True, slots=True)
class Cause:
    """One hangup cause; `retry`: the same call may succeed a little later."""

    code: int
    """Vobiz's number; 0 if unknown."""
    name: str
    retry: bool = False


CAUSES: dict[int, Cause] = {
    cause.code: cause
    for cause in (
        Cause(UNKNOWN_CODE, "Unknown"),
        Cause(1000, "Cancelled"),
        Cause(1010, "Out of credits"),
        Cause(1020, "Simultaneous dial limit"),
        Cause(2000, "Invalid destination address"),
        Cause(2010, "Destination out of service"),
        Cause(2020, "Endpoint not registered"),
        Cause(2030, "Destination country barred"),
        Cause(2040, "Number barred"),
        Cause(2050, "Prefix barred"),
        Cause(2060, "Loop detected"),
        Cause(2070, "Violates media anchoring"),
        Cause(3000, "No answer", retry=True),
        Cause(3010, "Busy line", retry=True),
        Cause(3020, "Rejected"),  # by the person
        Cause(3030, "Unknown caller id"),
        Cause(3040, "Forbidden"),
        Cause(3050, "Unallocated number"),
        Cause(3070, "Request timeout", retry=True),
        Cause(3080, "Carrier internal error", retry=True),
        Cause(3090, "Network congestion", retry=True),
        Cause(3100, "Busy everywhere", retry=True),
        Cause(3110, "Declined"),  # by the person
        Cause(3120, "User does not exist anywhere"),
        Cause(3130, "Spam block"),
        Cause(3140, "DNO caller id"),
        Cause(4000, "Normal hangup"),
        Cause(4010, "End of XML instructions"),
        Cause(4020, "Multiparty call ended"),
        Cause(4030, "Kicked"),
        Cause(5000, "Network error", retry=True),
        Cause(5010, "Internal error", retry=True),
        Cause(5020, "Routing error", retry=True),
        Cause(5030, "Concurrency limit breached", retry=True),
        Cause(6000, "Scheduled hangup"),
        Cause(6010, "Ring timeout", retry=True),
        Cause(6020, "Media timeout"),
        Cause(7011, "Error reaching answer URL"),
        Cause(7012, "Error reaching action URL"),
        Cause(7013, "Error reaching transfer URL"),
        Cause(7014, "Error reaching redirect URL"),
        Cause(7022, "Invalid action URL"),
        Cause(7023, "Invalid transfer URL"),
        Cause(7024, "Invalid redirect URL"),
        Cause(7032, "Invalid method for action URL"),
        Cause(7033, "Invalid method for transfer URL"),
        Cause(7034, "Invalid method for redirect URL"),
        Cause(8011, "Invalid answer XML"),
        Cause(8012, "Invalid action XML"),
        Cause(8013, "Invalid transfer XML"),
        Cause(8014, "Invalid redirect XML"),
        Cause(9000, "Lost race"),
        Cause(9100, "Machine detected"),
        Cause(9110, "Confirm-key challenge failed"),
    )
}

TEXT_CAUSES: dict[str, int] = {
    "NORMAL_CLEARING": 4000,
    "USER_BUSY": 3010,
    "NO_ANSWER": 3000,
    "ORIGINATOR_CANCEL": 1000,
    "CALL_REJECTED": 3020,
    "REJECTED": 3020,
    "INVALID_NUMBER": 2000,
    "UNALLOCATED_NUMBER": 3050,
    "MEDIA_TIMEOUT": 6020,
    "ALLOTTED_TIMEOUT": 6000,
    "LOSE_RACE": 9000,
    "UNKNOWN": UNKNOWN_CODE,
}
"""Texts whose number is given by Vobiz's page, or by their plain meaning."""

TEXTS_ALONE = frozenset(
    {
        "SERVICE_UNAVAILABLE",
        "SERVER_ERROR",
        "PROTOCOL_ERROR",
        "NETWORK_OUT_OF_ORDER",
        "DESTINATION_OUT_OF_ORDER",
        "NORMAL_TEMPORARY_FAILURE",
        "SWITCH_CONGESTION",
        "SUBSCRIBER_ABSENT",
    }
)
"""Texts documented without a number and without advice to call again."""

_ALONE = {text: Cause(UNKNOWN_CODE, text) for text in TEXTS_ALONE}
_SPELLINGS: dict[str, int] = {
    # CallStatus and DialStatus of the webhooks, and names of the same causes in other tables.
    "BUSY": 3010,
    "LINE_BUSY": 3010,
    "NOANSWER": 3000,
    "NO_USER_RESPONSE": 3000,
    "TIMEOUT": 6010,
    "CANCEL": 1000,
    "CANCELED": 1000,
    "COMPLETED": 4000,
}
_OTHER_NUMBERS: dict[int, int] = {
    # Q.850, as on an older page of Vobiz.
    1: 3050,
    16: 4000,
    17: 3010,
    18: 3000,
    19: 3000,
    20: 3000,
    21: 3020,
    28: 2000,
    31: 4000,
    34: 3090,
    38: 5000,
    41: 5000,
    42: 3090,
    44: 3090,
    47: 3090,
    102: 3070,
    # SIP statuses without a Q.850 number.
    404: 3050,
    408: 3070,
    480: 3000,
    486: 3010,
    487: 1000,
    600: 3100,
    603: 3110,
}
"""Numbers of other tables, as the nearest cause; used only if no field has a cause of Vobiz's own."""

ACCOUNT_CAUSES: dict[int, str] = {1010: "credit", 1020: "limit", 5030: "limit"}
"""Causes that concern the account and not the call -> key of `rest.account.REASONS`."""


def cause_of(code: int | str = "", text: str = "", *more: str) -> Cause:
    """The cause in a webhook's HangupCauseCode, HangupCause, HangupCauseName and CallStatus; any may be missing.

    The first that is understood decides, as a number, a text or a name, in whichever field it stands; then the numbers
    of other tables (Q.850, SIP).  Otherwise a cause with code 0, named by the first words, of bounded length.
    """
    given = [str(value).strip() for value in (code, text, *more)]
    for value in given:
        if (cause := _understood(value)) is not None:
            return cause
    for value in given:
        if _number(value) in _OTHER_NUMBERS:
            return CAUSES[_OTHER_NUMBERS[_number(value)]]
    words = next((value for value in given if value and not value.isdigit()), "")
    return Cause(UNKNOWN_CODE, words[:_NAME_CHARS_MAX]) if words else CAUSES[UNKNOWN_CODE]


def cause_text(code: int | str = "", text: str = "", *more: str) -> str:
    """The cause as one word that `cause_of` understands again: the code, else the words given, else "unknown"."""
    cause = cause_of(code, text, *more)
    if cause.code != UNKNOWN_CODE:
        return str(cause.code)
    given = (str(value).strip() for value in (code, text, *more))
    word = cause.name if cause is not CAUSES[UNKNOWN_CODE] else next(filter(None, given), "")
    return word[:_NAME_CHARS_MAX] or "unknown"


def may_retry(cause: Cause | int | str) -> bool:
    """Whether another call is worth it.  Takes a cause, a code, or a code or text as the webhooks spell it.

    Vobiz's advice: yes after no answer, busy, and network faults; no after a refusal by a person or a rule.
    """
    return (cause if isinstance(cause, Cause) else cause_of(cause, str(cause))).retry


def account_reason(cause: Cause | int | str) -> str:
    """The problem of the account (key of `rest.account.REASONS`), if the cause concerns the account; else empty."""
    found = cause if isinstance(cause, Cause) else cause_of(cause, str(cause))
    return ACCOUNT_CAUSES.get(found.code, "")


def _understood(value: str) -> Cause | None:
    """The cause that one field names, in any spelling; None if Vobiz documents no such cause."""
    number = _number(value)
    if number != UNKNOWN_CODE:
        return CAUSES.get(number)
    found = _BY_WORD.get(_word(value))
    return found if found is not CAUSES[UNKNOWN_CODE] else None


def _word(text: str) -> str:
    return re.sub(r"[\s_-]+", "_", text.strip().upper())


def _number(code: int | str) -> int:
    text = str(code).strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else UNKNOWN_CODE


_BY_WORD: dict[str, Cause] = {
    **{_word(cause.name): cause for cause in CAUSES.values()},
    **_ALONE,
    **{text: CAUSES[code] for text, code in {**_SPELLINGS, **TEXT_CAUSES}.items()},
}


def named_cause(cause: str) -> str:
    """A cause for display: "Normal hangup (4000)" for a known code; anything else unchanged."""
    known = CAUSES.get(_number(cause))
    return f"{known.name} ({known.code})" if known and known.code != UNKNOWN_CODE else cause
