"""Records calls: every request, webhook, spoken text and stream, with times."""

import asyncio
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from simulators.carrier.causes import Cause
from simulators.result import CallResult

IST = timezone(timedelta(hours=5, minutes=30))
LIVE = frozenset({"queued", "ringing", "in-progress"})


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One REST request and its answer."""

    at_ms: float
    method: str
    path: str
    body: dict[str, Any]
    status: int


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt to deliver a webhook; `status` is None without an answer in time."""

    at_ms: float
    took_ms: float
    status: int | None


@dataclass(slots=True)
class Webhook:
    """One request of the carrier to the server, with all its attempts."""

    kind: str
    url: str
    method: str
    fields: dict[str, str]
    tries: list[Try] = field(default_factory=list)

    @property
    def status(self) -> int | None:
        return self.tries[-1].status if self.tries else None


@dataclass(slots=True)
class CallRecord:
    """One call.  Times are ms since the start of the carrier."""

    call_id: str
    direction: str
    from_number: str
    to_number: str
    began_ms: float
    started: datetime
    state: str = "queued"
    """queued, ringing, in-progress, and then the CallStatus of the cause."""
    answered_ms: float | None = None
    ended_ms: float | None = None
    cause: Cause | None = None
    error: str | None = None
    """The reason why the carrier dropped the call, for the tester."""
    machine: bool | None = None
    requests: list[ApiRequest] = field(default_factory=list)
    webhooks: list[Webhook] = field(default_factory=list)
    spoken: list[str] = field(default_factory=list)
    """The texts of Speak and the URLs of Play that the callee heard."""
    digits: list[str] = field(default_factory=list)
    """Keys sent to the callee by `<DTMF>`, `send_digits` or REST."""
    verbs: list[str] = field(default_factory=list)
    """The verbs that ran, in order."""
    streams: list[CallResult] = field(default_factory=list)
    dialled: list[dict[str, Any]] = field(default_factory=list)
    """The legs of `<Dial>`: number, status, and what the callee heard before it was connected."""
    recordings: list[str] = field(default_factory=list)
    finished: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def answered_s(self) -> float:
        """The answered time of the call."""
        if self.answered_ms is None or self.ended_ms is None:
            return 0.0
        return (self.ended_ms - self.answered_ms) / 1000

    @property
    def failures(self) -> list[str]:
        """The carrier's reason to drop the call and every failed step of the callee's script."""
        steps = [failure for stream in self.streams for failure in stream.failures]
        return ([self.error] if self.error else []) + steps

    async def over(self, deadline_s: float = 600.0) -> "CallRecord":
        """Wait until the call has ended and its last webhook was delivered.  Raises TimeoutError."""
        async with asyncio.timeout(deadline_s):
            await self.finished.wait()
        return self

    def hooks(self, kind: str) -> list[Webhook]:
        """Return the webhooks of one kind, in the order in which they were due."""
        return [webhook for webhook in self.webhooks if webhook.kind == kind]

    def moment(self, at_ms: float) -> datetime:
        return self.started + timedelta(milliseconds=at_ms - self.began_ms)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain data."""
        data = {
            name: getattr(self, name)
            for name in ("call_id", "direction", "from_number", "to_number", "state", "error", "machine", "spoken")
        }
        return {
            **data,
            "answered_s": round(self.answered_s, 3),
            "cause": asdict(self.cause) if self.cause else None,
            "digits": self.digits,
            "verbs": self.verbs,
            "dialled": self.dialled,
            "recordings": self.recordings,
            "requests": [asdict(request) for request in self.requests],
            "webhooks": [asdict(webhook) for webhook in self.webhooks],
            "streams": [stream.to_json() for stream in self.streams],
        }


def utc_text(moment: datetime) -> str:
    """`SessionStart`: UTC with microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def ist_text(moment: datetime) -> str:
    """`StartTime`, `AnswerTime`, `EndTime`: Indian local time."""
    return moment.astimezone(IST).strftime("%Y-%m-%d %H:%M:%S")


def iso_text(moment: datetime | None) -> str | None:
    """Times in call detail records."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None
