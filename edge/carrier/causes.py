"""Why a call ended: Vobiz's hangup causes, and which of them are worth another call.

Source: Vobiz documentation "Hangup causes".  Webhooks and call records give a code (4000), a name ("Normal Hangup")
or a text ("NORMAL_CLEARING"); some carry Q.850 numbers or causes that the page does not list.  What is not known is
no error: it becomes a cause of its own that is not retried.
"""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN_CODE = 0
_NAME_CHARS_MAX = 64


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason; `retry` says that the same call may well succeed a little later."""

    code: int
    """Vobiz's number; 0 if it is not known."""
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
        Cause(3020, "Rejected"),  # the person said no
        Cause(3030, "Unknown caller id"),
        Cause(3040, "Forbidden"),
        Cause(3050, "Unallocated number"),
        Cause(3070, "Request timeout", retry=True),
        Cause(3080, "Carrier internal error", retry=True),
        Cause(3090, "Network congestion", retry=True),
        Cause(3100, "Busy everywhere", retry=True),
        Cause(3110, "Declined"),  # the person said no
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
"""Those whose number Vobiz's page, or their plain meaning, gives."""

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
"""Documented without a number, and without advice to call again."""

_BY_NAME = {cause.name.lower(): cause for cause in CAUSES.values()}


def cause_of(code: int | str = "", text: str = "") -> Cause:
    """The cause in a webhook's HangupCauseCode and HangupCause (or HangupCauseName), either of which may be missing.

    A code of the table decides.  Else the text; else a cause with code 0 and the text, bounded, as its name.
    """
    number = _number(code)
    if number in CAUSES and number != UNKNOWN_CODE:
        return CAUSES[number]
    word = text.strip()
    if word.upper() in TEXT_CAUSES:
        return CAUSES[TEXT_CAUSES[word.upper()]]
    if word.lower() in _BY_NAME:
        return _BY_NAME[word.lower()]
    return Cause(UNKNOWN_CODE, word[:_NAME_CHARS_MAX]) if word else CAUSES[UNKNOWN_CODE]


def may_retry(cause: Cause | int | str) -> bool:
    """Is another call worth it?  Takes a cause, a code, or a code or text as the webhooks spell it.

    Vobiz's advice: yes after no answer, busy, and faults of the network; never once a person, or a rule, said no.
    """
    return (cause if isinstance(cause, Cause) else cause_of(cause, str(cause))).retry


def _number(code: int | str) -> int:
    text = str(code).strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else UNKNOWN_CODE


def named_cause(cause: str) -> str:
    """A cause for people: "Normal hangup (4000)" for a code of the table; anything else as it is."""
    known = CAUSES.get(_number(cause))
    return f"{known.name} ({known.code})" if known and known.code != UNKNOWN_CODE else cause
