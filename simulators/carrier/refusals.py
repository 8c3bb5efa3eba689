"""Makes REST errors: bodies in their three shapes, limits, and ordered faults.  Pure."""

import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CODES = {
    400: "INVALID_REQUEST",
    401: "AUTHENTICATION_FAILED",
    402: "INSUFFICIENT_BALANCE",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "CONFLICT",
    422: "UNPROCESSABLE",
    429: "RATE_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "SERVICE_UNAVAILABLE",
}
SHAPES = 3
MESSAGES = {
    400: "a parameter is missing or invalid",
    401: "invalid credentials",
    402: "Insufficient balance",
    403: "Forbidden",
    404: "not found",
    422: "unprocessable",
}
"""The default message of an ordered fault."""
FAULTS = (*map(str, MESSAGES), "429", "500", "503", "timeout-before", "timeout-after", "malformed")
FAULTS_MAX = 10_000


class Refusal(Exception):
    """The request is refused with this HTTP status; `details` is part of the first shape."""

    def __init__(self, status: int, message: str, details: Mapping[str, Any] | None = None, shape: int | None = None):
        super().__init__(message)
        self.status, self.message, self.details, self.shape = status, message, dict(details or {}), shape

    @property
    def headers(self) -> dict[str, str]:
        retry_after = self.details.get("retryAfter")
        return {"Retry-After": str(retry_after)} if retry_after is not None else {}


def error_body(refusal: Refusal, shape: int, timestamp: str) -> dict[str, Any]:
    """Return one of the three documented bodies, 0 to 2."""
    if shape == 0:
        return {
            "status": "error",
            "error": {
                "code": CODES.get(refusal.status, "ERROR"),
                "message": refusal.message,
                "details": refusal.details,
            },
            "timestamp": timestamp,
            "requestId": str(uuid.uuid4()),
        }
    if shape == 1:
        return {"error": refusal.message}
    code = CODES.get(refusal.status, "error").lower()
    return {"api_id": str(uuid.uuid4()), "error": code, "message": refusal.message}


@dataclass(slots=True)
class Limits:
    """Limits of call starts per second (a sliding window; 0: none) and of concurrent calls."""

    cps: int
    calls_max: int
    _starts_ms: deque[float] = field(default_factory=deque)

    def admit(self, calls: int, live: int, now_ms: float) -> None:
        """Count `calls` new calls while `live` are live.  Raises `Refusal` 429, and then counts none."""
        while self._starts_ms and self._starts_ms[0] <= now_ms - 1000:
            self._starts_ms.popleft()
        if live + calls > self.calls_max:
            raise _over("concurrency", "Concurrent call limit exceeded", self.calls_max, live + calls)
        if self.cps and len(self._starts_ms) + calls > max(self.cps, calls if not self._starts_ms else 0):
            raise _over("cps", "CPS limit exceeded", self.cps, len(self._starts_ms) + calls)
        self._starts_ms.extend([now_ms] * calls)


def _over(kind: str, message: str, limit: int, current: int) -> Refusal:
    return Refusal(429, message, {"limitType": kind, "limit": limit, "current": current, "retryAfter": 1})


@dataclass(frozen=True, slots=True)
class RequestFault:
    """One ordered fault; `path` must be a part of the request's path, in any case."""

    kind: str
    path: str = ""
    method: str = ""
    shape: int | None = None
    retry_after_s: int | None = 1
    message: str = ""


@dataclass(slots=True)
class RequestFaults:
    """Faults in the order of their requests; the next request that matches one uses it up."""

    waiting: list[RequestFault] = field(default_factory=list)

    def add(self, fault: RequestFault, times: int) -> None:
        """Order a fault for `times` requests.  Raises `Refusal` 400 for an unknown fault or too many."""
        if fault.kind not in FAULTS:
            raise Refusal(400, f"kind: expected one of {', '.join(FAULTS)}")
        if not 1 <= times <= FAULTS_MAX - len(self.waiting):
            raise Refusal(400, f"next: at most {FAULTS_MAX} faults can wait")
        self.waiting += [fault] * times

    def take(self, method: str, path: str) -> RequestFault | None:
        """Return and remove the fault of this request; None without one."""
        for index, fault in enumerate(self.waiting):
            if fault.path.lower() in path.lower() and fault.method in ("", method):
                return self.waiting.pop(index)
        return None
