"""Reads the body of a make-call request, or names its first mistake.  Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulators.answer import read_extra_headers
from simulators.carrier.document import METHODS, is_web_url
from simulators.carrier.plan import CallPlan, Detection, Target

TO_MAX = 1000
CALLER_NAME_MAX = 50
NUMBER = re.compile(r"\+?\d{5,15}|sip:[^\s<>@]+@[^\s<>@]+")
DIGITS = re.compile(r"[0-9*#wW]*(@\d+)?")
SIP_HEADERS = re.compile(r"[A-Za-z0-9_-]+=[^,=]*(,[A-Za-z0-9_-]+=[^,=]*)*")
# name: (lowest, highest, default), all integers
WHOLE = {
    "time_limit": (1, 86_400, 14_400),
    "ring_timeout": (1, 600, 120),
    "hangup_on_ring": (0, 600, 0),
    "machine_detection_time": (2000, 10_000, 5000),
    "machine_detection_maximum_speech_length": (1000, 6000, 5000),
    "machine_detection_initial_silence": (2000, 10_000, 4500),
    "machine_detection_maximum_words": (2, 10, 3),
    "machine_detection_initial_greeting": (1000, 5000, 1500),
}
TARGETS = ("answer", "ring", "hangup", "fallback", "machine_detection")
TEXTS = frozenset({"from", "to", "caller_name", "send_digits", "sip_headers", "machine_detection"})
URLS = {f"{name}_{part}" for name in TARGETS for part in ("url", "method")}
KNOWN = TEXTS | set(WHOLE) | URLS | {"send_on_preanswer"}


class BadParameter(ValueError):
    """This parameter is missing or invalid; the text is the carrier's message."""


@dataclass(frozen=True, slots=True)
class CallRequest:
    from_number: str
    to_numbers: tuple[str, ...]
    plan: CallPlan
    unknown: tuple[str, ...]
    """Parameters that do not exist; the carrier ignores them, but the tester sees them."""


def read_call_request(body: Mapping[str, Any]) -> CallRequest:
    """Return the calls that the body asks for.  Raises `BadParameter` for the first mistake."""
    for name in ("from", "to", "answer_url"):
        if not body.get(name):
            raise BadParameter(f"{name} is required")
    numbers = tuple(part.strip() for part in str(body["to"]).split("<"))
    if len(numbers) > TO_MAX:
        raise BadParameter(f"to: at most {TO_MAX} numbers")
    for name, number in (("from", str(body["from"])), *(("to", number) for number in numbers)):
        if not NUMBER.fullmatch(number):
            raise BadParameter(f"{name} is not a valid number or SIP address")
    whole = {name: read_whole(body, name, *bounds) for name, bounds in WHOLE.items()}
    targets = {name: read_target(body, name) for name in TARGETS}
    texts = {name: _text(body, name) for name in TEXTS}
    _check_texts(texts)
    return CallRequest(
        str(body["from"]),
        numbers,
        CallPlan(
            answer=targets["answer"],
            hangup=targets["hangup"],
            ring=targets["ring"],
            fallback=targets["fallback"],
            detection=Detection(
                texts["machine_detection"].replace("false", ""),
                targets["machine_detection"],
                whole["machine_detection_time"],
            ),
            ring_timeout_s=whole["ring_timeout"],
            hangup_on_ring_s=whole["hangup_on_ring"],
            time_limit_s=whole["time_limit"],
            send_digits=texts["send_digits"],
            caller_name=texts["caller_name"],
            sip_headers=read_extra_headers(texts["sip_headers"]),
        ),
        tuple(sorted(set(body) - KNOWN)),
    )


def _check_texts(texts: Mapping[str, str]) -> None:
    if len(texts["caller_name"]) > CALLER_NAME_MAX:
        raise BadParameter(f"caller_name: at most {CALLER_NAME_MAX} characters")
    if not DIGITS.fullmatch(texts["send_digits"]):
        raise BadParameter("send_digits: only 0-9, *, #, w, W and @ms")
    if texts["sip_headers"] and not SIP_HEADERS.fullmatch(texts["sip_headers"]):
        raise BadParameter("sip_headers: expected name=value,name=value")
    if texts["machine_detection"] not in ("", "true", "false", "hangup"):
        raise BadParameter("machine_detection: expected true or hangup")


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name, "")
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int):
        raise BadParameter(f"{name} is not a text")
    return str(value)


def read_target(body: Mapping[str, Any], name: str) -> Target:
    """Read `<name>_url` and `<name>_method`.  Raises `BadParameter`."""
    url = body.get(f"{name}_url") or ""
    method = str(body.get(f"{name}_method") or "POST").upper()
    if url and not (isinstance(url, str) and is_web_url(url)):
        raise BadParameter(f"{name}_url is not a valid URL")
    if method not in METHODS:
        raise BadParameter(f"{name}_method: expected GET or POST")
    return Target(url, method)


def read_whole(body: Mapping[str, Any], name: str, lowest: int, highest: int, default: int) -> int:
    """Read an integer, or its digits as text.  Raises `BadParameter`."""
    value = body.get(name, default)
    try:
        whole = int(value) if isinstance(value, int | str) and not isinstance(value, bool) else None
    except ValueError:
        whole = None
    if whole is None or not lowest <= whole <= highest:
        raise BadParameter(f"{name}: expected an integer from {lowest} to {highest}")
    return whole
