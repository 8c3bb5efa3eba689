"""Lists the carrier's hangup causes: code, name, text cause and CallStatus.  Pure."""

from dataclasses import dataclass

# code: (HangupCauseName, HangupCause, CallStatus)
CAUSES: dict[int, tuple[str, str, str]] = {
    0: ("Unknown", "UNKNOWN", "failed"),
    1000: ("Cancelled", "ORIGINATOR_CANCEL", "cancel"),
    1010: ("Out Of Credits", "UNKNOWN", "failed"),
    1020: ("Simultaneous Dial Limit", "UNKNOWN", "failed"),
    2000: ("Invalid Destination Address", "INVALID_NUMBER", "failed"),
    2010: ("Destination Out Of Service", "DESTINATION_OUT_OF_ORDER", "failed"),
    2020: ("Endpoint Not Registered", "SUBSCRIBER_ABSENT", "failed"),
    2040: ("Number Barred", "REJECTED", "failed"),
    3000: ("No Answer", "NO_ANSWER", "no-answer"),
    3010: ("Busy Line", "USER_BUSY", "busy"),
    3020: ("Rejected", "CALL_REJECTED", "failed"),
    3050: ("Unallocated Number", "UNALLOCATED_NUMBER", "failed"),
    3070: ("Request Timeout", "NORMAL_TEMPORARY_FAILURE", "timeout"),
    3080: ("Carrier Internal Error", "SERVER_ERROR", "failed"),
    3090: ("Network Congestion", "SWITCH_CONGESTION", "failed"),
    3110: ("Declined", "CALL_REJECTED", "failed"),
    3130: ("Spam Block", "REJECTED", "failed"),
    4000: ("Normal Hangup", "NORMAL_CLEARING", "completed"),
    4010: ("End Of XML Instructions", "NORMAL_CLEARING", "completed"),
    4020: ("Multiparty Call Ended", "NORMAL_CLEARING", "completed"),
    5000: ("Network Error", "NETWORK_OUT_OF_ORDER", "failed"),
    5010: ("Internal Error", "SERVER_ERROR", "failed"),
    5030: ("Concurrency Limit Breached", "SERVICE_UNAVAILABLE", "failed"),
    6000: ("Scheduled Hangup", "ALLOTTED_TIMEOUT", "completed"),
    6010: ("Ring Timeout", "NO_ANSWER", "no-answer"),
    6020: ("Media Timeout", "MEDIA_TIMEOUT", "completed"),
    7011: ("Error Reaching Answer URL", "NORMAL_CLEARING", "completed"),
    7012: ("Error Reaching Action URL", "NORMAL_CLEARING", "completed"),
    7013: ("Error Reaching Transfer URL", "NORMAL_CLEARING", "completed"),
    7014: ("Error Reaching Redirect URL", "NORMAL_CLEARING", "completed"),
    7022: ("Invalid Action URL", "NORMAL_CLEARING", "completed"),
    7023: ("Invalid Transfer URL", "NORMAL_CLEARING", "completed"),
    7024: ("Invalid Redirect URL", "NORMAL_CLEARING", "completed"),
    8011: ("Invalid Answer XML", "NORMAL_CLEARING", "completed"),
    8012: ("Invalid Action XML", "NORMAL_CLEARING", "completed"),
    8013: ("Invalid Transfer XML", "NORMAL_CLEARING", "completed"),
    8014: ("Invalid Redirect XML", "NORMAL_CLEARING", "completed"),
    9000: ("Lost Race", "LOSE_RACE", "cancel"),
    9100: ("Machine Detected", "NORMAL_CLEARING", "completed"),
    9110: ("Confirm Key Challenge Failed", "NORMAL_CLEARING", "completed"),
}

WHERE = {"answer": 1, "fallback": 1, "action": 2, "transfer": 3, "redirect": 4}
"""The last digit of a 70xx or 80xx cause: which document was at fault."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One hangup.  `source` is free text: Caller, Callee, Vobiz, Carrier, API Request, Answer XML, Error."""

    code: int
    name: str
    text: str
    status: str
    source: str


def cause(code: int, source: str) -> Cause:
    """Return the cause with this code; an undocumented code is reported as `Unknown`."""
    name, text, status = CAUSES.get(code, CAUSES[0])
    return Cause(code, name, text, status, source)


class Dropped(Exception):
    """The carrier ends the call here and reports `cause`; the text is for the tester only."""

    def __init__(self, code: int, why: str, source: str = "Error") -> None:
        self.cause = cause(code, source)
        super().__init__(f"{code} {self.cause.name}: {why}")


def unreachable(where: str, why: str) -> Dropped:
    """Return the 70xx error: the document of this kind could not be fetched."""
    return Dropped(7010 + WHERE[where], why)


def invalid_url(where: str, why: str) -> Dropped:
    """Return the 702x error: the URL to fetch is invalid."""
    return Dropped(7020 + WHERE[where], why)


def invalid_xml(where: str, why: str) -> Dropped:
    """Return the 80xx error: the document was fetched and cannot be run."""
    return Dropped(8010 + WHERE[where], why)
