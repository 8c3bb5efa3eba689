"""The request for an export of recordings, validated before it is sent.

Source: Vobiz documentation "Export historical recordings": recipients by e-mail, from and to (by default the last seven
days), one export at a time, ready after 15 to 60 minutes.  The spelling of the body's fields is from that page alone
and was never tried.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Any

RECIPIENTS_MAX = 10
_EMAIL = re.compile(r"[^\s@,;<>\"]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """The recordings, and who gets the link.  Raises ValueError, whose text repeats no address."""

    recipients: tuple[str, ...]
    first_day: date | None = None
    last_day: date | None = None
    """Both days are included; both None: the last seven days."""

    def __post_init__(self) -> None:
        problems = []
        if not 0 < len(self.recipients) <= RECIPIENTS_MAX:
            problems.append(f"recipients: expected 1 to {RECIPIENTS_MAX} e-mail addresses")
        if not all(_EMAIL.fullmatch(address) for address in self.recipients):
            problems.append("recipients: expected e-mail addresses such as clinic@example.com")
        if (self.first_day is None) != (self.last_day is None):
            problems.append("from, to: set both or neither")
        elif self.first_day is not None and self.last_day is not None and self.first_day > self.last_day:
            problems.append("from, to: the first day is after the last")
        if problems:
            raise ValueError("; ".join(problems))

    def json(self) -> dict[str, Any]:
        """The body of `POST …/export/recording/`."""
        body: dict[str, Any] = {"recipients": list(self.recipients)}
        if self.first_day is not None and self.last_day is not None:
            body |= {"from": self.first_day.isoformat(), "to": self.last_day.isoformat()}
        return body
