"""What can go wrong with a request to Vobiz, as five decisions, and the answers of Vobiz read as such.

  Limited       too fast, or too many calls: wait `retry_after_s`, then ask again
  Unauthorized  the credentials are wrong: a person must act
  Refused       the request is wrong, or the thing is not there: asking again does not help
  Unavailable   nobody answered; if `sent` is false, nothing can have happened
  Uncertain     a POST of which nobody knows whether it was done: never repeat it unasked, a person's phone may ring

Vobiz answers errors in three shapes, all read here.  No text of an error holds a phone number or a credential.
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
"""When Vobiz does not say: its limit on call starts counts by the second."""
RETRY_AFTER_S_MAX = 3600.0
MESSAGE_CHARS_MAX = 200
"""Of Vobiz's own words in an error."""
_BODY_CHARS_MAX = 8192


class CarrierError(Exception):
    """Vobiz did not do, or may not have done, what was asked."""


class CarrierLimited(CarrierError):
    """429: over the limit of calls a second, or of calls at once.  Nothing was done."""

    def __init__(self, retry_after_s: float, message: str = "") -> None:
        super().__init__(f"Vobiz wants us to wait {retry_after_s:g} s{_suffix(message)}")
        self.retry_after_s = retry_after_s


class Unauthorized(CarrierError):
    """401 or 403.  Nothing was done."""

    def __init__(self, status: int, message: str = "", code: str = "") -> None:
        super().__init__(f"Vobiz does not accept VOBIZ_AUTH_ID and VOBIZ_AUTH_TOKEN ({status}){_suffix(message)}")
        self.status = status
        self.message = message
        self.code = code


class Refused(CarrierError):
    """Another 4xx: bad parameters, no balance (402), not found (404), a conflict (409).  Nothing was done."""

    def __init__(self, status: int, message: str = "", code: str = "") -> None:
        super().__init__(f"Vobiz refused the request ({status}){_suffix(message)}")
        self.status = status
        self.message = message
        self.code = code
        """Vobiz's name for the reason, where it gave one: "did_cool_off_in_effect"."""


class Unavailable(CarrierError):
    """Vobiz could not be reached, or could not answer.  Nothing was done, or it can safely be asked again."""

    def __init__(self, message: str, *, sent: bool, retry_after_s: float | None = None) -> None:
        super().__init__(f"Vobiz is unavailable: {message}")
        self.sent = sent
        """May the request have reached Vobiz?"""
        self.retry_after_s = retry_after_s


class Uncertain(CarrierError):
    """A POST was sent and its answer is lost: it may have been done."""

    def __init__(self, message: str) -> None:
        super().__init__(f"Vobiz may or may not have done it: {message}")


def _suffix(message: str) -> str:
    return f": {message}" if message else ""


@dataclass(frozen=True, slots=True)
class CarrierAnswer:
    """What came back: the body in full, or None if it was lost or too large."""

    status: int
    body: bytes | None
    retry_after: str = ""
    """The Retry-After header."""


def error_of(method: str, answer: CarrierAnswer, now_s: float, secrets: Sequence[str] = ()) -> CarrierError:
    """Any answer but 2xx, as the error it stands for.

    `now_s` is the Unix time (Retry-After may be a date); `secrets` are never repeated from the body.
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
    # A gateway's 502 or 504, and a crash half-way, say nothing about what has happened; 503 says that nothing has.
    if method == "POST" and status != 503:
        return Uncertain(f"status {status}{_suffix(body.message)}")
    return Unavailable(f"status {status}{_suffix(body.message)}", sent=True, retry_after_s=wait_s)


@dataclass(frozen=True, slots=True)
class _ErrorBody:
    """An error body, understood: Vobiz's message (bounded, redacted), code and wish to be left alone."""

    message: str = ""
    code: str = ""
    retry_after: Any = None

    @classmethod
    def read(cls, body: bytes | None, secrets: Sequence[str]) -> _ErrorBody:
        text = (body or b"")[:_BODY_CHARS_MAX].decode("utf-8", "replace").strip()
        try:
            found: Any = json.loads(text)
        except (ValueError, RecursionError):
            # A sentence may help; a gateway's HTML page does not.
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
    # Numbers go before the text is cut: the half of one would no longer be known as one.
    text = without_numbers(" ".join(text.split()))
    return text if len(text) <= MESSAGE_CHARS_MAX else text[: MESSAGE_CHARS_MAX - 1] + "…"


def _code(code: Any) -> str:
    return code if isinstance(code, str) and re.fullmatch(r"[A-Za-z][A-Za-z_]{0,63}", code) else ""


def _seconds(wait: Any, now_s: float) -> float | None:
    """Seconds from a number, a text with a number, or an HTTP date."""
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
