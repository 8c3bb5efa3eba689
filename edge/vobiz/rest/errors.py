"""Errors of requests to Vobiz, by what the caller should do, and the parsing of Vobiz's error answers.

  CarrierLimited  too fast, or too many calls: wait `retry_after_s`, then repeat
  Unauthorized    the credentials are wrong: a person must act
  Refused         the request is wrong, or the object does not exist: a repeat does not help
  Unavailable     no answer; if `sent` is False, nothing can have happened
  Uncertain       a POST that may or may not have been carried out: never repeat it blindly, a phone may be ringing

Vobiz sends errors in three shapes, all read here.  No error's text contains a phone number or a credential.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from edge.vobiz.numbers import without_numbers

RETRY_AFTER_S = 1.0
"""Used if Vobiz does not say: its limit on call starts is per second."""
RETRY_AFTER_S_MAX = 3600.0
MESSAGE_CHARS_MAX = 200
"""Length of Vobiz's own words in an error."""
_BODY_CHARS_MAX = 8192


class CarrierError(Exception):
    """Base class: Vobiz did not carry out the request, or may not have."""


class CarrierLimited(CarrierError):
    """Status 429: over the limit of calls per second, or of concurrent calls.  Nothing was done."""

    def __init__(self, retry_after_s: float, message: str = "") -> None:
        super().__init__(f"Vobiz asks for a pause of {retry_after_s:g} s{_suffix(message)}")
        self.retry_after_s = retry_after_s


class Unauthorized(CarrierError):
    """Status 401 or 403: the credentials are not accepted.  Nothing was done."""

    def __init__(self, status: int, message: str = "", code: str = "") -> None:
        super().__init__(f"Vobiz does not accept VOBIZ_AUTH_ID and VOBIZ_AUTH_TOKEN ({status}){_suffix(message)}")
        self.status = status
        self.message = message
        self.code = code


class Refused(CarrierError):
    """Another status of 4xx: bad parameters, no balance (402), not found (404), a conflict (409).  Nothing was done."""

    def __init__(self, status: int, message: str = "", code: str = "") -> None:
        super().__init__(f"Vobiz refused the request ({status}){_suffix(message)}")
        self.status = status
        self.message = message
        self.code = code
        """Vobiz's code for the reason, if it gave one: "did_cool_off_in_effect"."""


class Unavailable(CarrierError):
    """Vobiz could not be reached or could not answer.  Nothing was done, or the request can safely be repeated."""

    def __init__(self, message: str, *, sent: bool, retry_after_s: float | None = None) -> None:
        super().__init__(f"Vobiz is unavailable: {message}")
        self.sent = sent
        """Whether the request may have reached Vobiz."""
        self.retry_after_s = retry_after_s


class Uncertain(CarrierError):
    """A POST was sent and its answer is lost: Vobiz may or may not have carried it out."""

    def __init__(self, message: str) -> None:
        super().__init__(f"Vobiz may or may not have done it: {message}")


def _suffix(message: str) -> str:
    return f": {message}" if message else ""


@dataclass(frozen=True, slots=True)
class CarrierAnswer:
    """An answer of Vobiz; `body` is None if it was lost or too large."""

    status: int
    body: bytes | None
    retry_after: str = ""
    """The Retry-After header."""


def error_of(method: str, answer: CarrierAnswer, now_s: float, secrets: Sequence[str] = ()) -> CarrierError:
    """The error for an answer with any status but 2xx.

    `now_s` is the Unix time in seconds, since Retry-After may be a date.  `secrets` are removed from the body's words.
    """
    body = _ErrorBody.read(answer.body, secrets)
    wait_s = _seconds(answer.retry_after, now_s)
    if wait_s is None:
        wait_s = _seconds(body.retry_after, now_s)
    status = answer.status
    if status == 429:
        return CarrierLimited(RETRY_AFTER_S if wait_s is None else wait_s, body.message)
    if status in (401, 403):
        return Unauthorized(status, body.message, body.code)
    if 400 <= status < 500:
        return Refused(status, body.message, body.code)
    if status < 400:
        return Refused(status, "an unexpected redirect; is VOBIZ_API_URL right?")
    # A gateway's 502 or 504, and a crash half-way, leave open what happened; 503 means that nothing did.
    if method == "POST" and status != 503:
        return Uncertain(f"status {status}{_suffix(body.message)}")
    return Unavailable(f"status {status}{_suffix(body.message)}", sent=True, retry_after_s=wait_s)


@dataclass(frozen=True, slots=True)
class _ErrorBody:
    """A parsed error body: Vobiz's message (bounded, redacted), code, and requested pause."""

    message: str = ""
    code: str = ""
    retry_after: Any = None

    @classmethod
    def read(cls, body: bytes | None, secrets: Sequence[str]) -> _ErrorBody:
        text = (body or b"")[:_BODY_CHARS_MAX].decode("utf-8", "replace").strip()
        try:
            found: Any = json.loads(text)
        except (ValueError, RecursionError):
            # A plain sentence is useful; a gateway's HTML page is not.
            return cls(_clean(text, secrets)) if not text.startswith(("<", "{", "[")) else cls()
        if not isinstance(found, dict):
            return cls(_clean(found, secrets)) if isinstance(found, str) else cls()
        error = found.get("error")
        if isinstance(error, dict):
            details = error.get("details")
            wait = details.get("retryAfter") if isinstance(details, dict) else None
            return cls(_clean(error.get("message") or error.get("code"), secrets), _code(error.get("code")), wait)
        words = [word for word in (error, found.get("message")) if isinstance(word, str) and word]
        return cls(_clean(": ".join(dict.fromkeys(words)), secrets), _code(found.get("code") or error))


def _clean(words: Any, secrets: Sequence[str]) -> str:
    text = words if isinstance(words, str) else ""
    for secret in filter(None, secrets):
        text = text.replace(secret, "<hidden>")
    # Numbers are removed before the text is cut, since half of one would not be recognised.
    text = without_numbers(" ".join(text.split()))
    return text if len(text) <= MESSAGE_CHARS_MAX else text[: MESSAGE_CHARS_MAX - 1] + "…"


def _code(code: Any) -> str:
    return code if isinstance(code, str) and re.fullmatch(r"[A-Za-z][A-Za-z_]{0,63}", code) else ""


def _seconds(wait: Any, now_s: float) -> float | None:
    """Seconds from a number, a text with a number, or an HTTP date; None if it is neither."""
    if isinstance(wait, bool) or not isinstance(wait, int | float | str) or wait == "":
        return None
    try:
        seconds = float(wait)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(str(wait)).timestamp() - now_s
        except (ValueError, OverflowError):
            return None
    except OverflowError:
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_S_MAX) if math.isfinite(seconds) else None
