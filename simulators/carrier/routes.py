"""Defines the request and the reply of the REST routes."""

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
        """Return a segment in lower case, "" beyond the end: the documents write paths in both cases."""
        return self.segments[index].lower() if index < len(self.segments) else ""

    @property
    def shape(self) -> tuple[str, str, int]:
        """Method, first segment and number of segments, which identify most routes."""
        return self.method, self.kind(0), len(self.segments)


@dataclass(frozen=True, slots=True)
class ApiReply:
    """A reply: JSON, nothing, or a file; and the calls that the request concerned."""

    status: int
    body: Any = None
    call_ids: tuple[str, ...] = ()
    file: bytes | None = field(default=None, repr=False)
    media_type: str = "application/octet-stream"


def reply_body(message: str, **more: Any) -> dict[str, Any]:
    """Return the usual body: an api_id, a message, and more fields."""
    return {"api_id": str(uuid.uuid4()), "message": message, **more}
