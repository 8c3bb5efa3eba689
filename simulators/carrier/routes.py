"""What the routes take and give."""

import uuid
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class AccountRequest:
    """One authenticated request: the path behind `/Account/{id}/`, the query, the JSON body."""

    method: str
    segments: tuple[str, ...]
    query: dict[str, str]
    body: dict[str, Any]

    def kind(self, index: int) -> str:
        """A segment in lower case, "" beyond the end: paths come in any case."""
        return self.segments[index].lower() if index < len(self.segments) else ""

    @property
    def shape(self) -> tuple[str, str, int]:
        """Method, first segment, number of segments: enough to find most routes."""
        return self.method, self.kind(0), len(self.segments)


@dataclass(frozen=True, slots=True)
class ApiReply:
    """An answer: JSON, nothing, or a file; and the calls that the request was about."""

    status: int
    body: Any = None
    call_ids: tuple[str, ...] = ()
    file: bytes | None = field(default=None, repr=False)
    media_type: str = "application/octet-stream"


def reply_body(message: str, **more: Any) -> dict[str, Any]:
    """The usual body: an api_id, a message, and more."""
    return {"api_id": str(uuid.uuid4()), "message": message, **more}
