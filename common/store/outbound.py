"""Defines the queue of outbound calls of a deployment: documents with a version, a queue, one dialer at a time.

`common.store.dials` keeps it in Redis, `common.store.outbound_memory` in memory for tests;
tests/contract/test_outbound.py checks both against this page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class QueueFull(Exception):
    """`QUEUE_MAX` calls wait already."""


class UnreadableOutboundCall(ValueError):
    """The stored value is no document; the text does not quote it."""


@dataclass(frozen=True, slots=True)
class QueuedCall:
    """A stored outbound call; `write` needs its `version`.  `now_ms`: the server's clock when it was read."""

    version: int
    body: dict[str, Any]
    now_ms: int = 0


class OutboundQueue(Protocol):
    """The outbound calls of all edges.

    Every method raises ConnectionError or TimeoutError while the server is away.
    """

    async def add(self, dial_id: str, body: dict[str, Any], due_ms: int, key: str = "") -> str:
        """Queue a new outbound call and return its id; for a known idempotency key, the id of the one it made.

        Raises QueueFull.
        """

    async def read(self, dial_id: str) -> QueuedCall | None:
        """The outbound call, or None if it is not known (any more).  Raises UnreadableOutboundCall."""

    async def write(
        self,
        dial_id: str,
        version: int,
        body: dict[str, Any],
        where: str,
        due_ms: int,
        call_ids: Sequence[str] = (),
        dialer: str = "",
    ) -> bool:
        """Replace the document if it still has this version.  `where`: "queued", "open" or "closed".

        Only a closed one expires.  `call_ids` are the carrier's calls that belong to it: `owner` finds it by them.
        With a `dialer`, only while that one dials.  False: nothing was written.
        """

    async def set_aside(self, dial_id: str) -> None:
        """Take an unreadable outbound call out of the queue and the open calls; keep what there is for a while."""

    async def mend(self) -> None:
        """Remove keys of a wrong type and give locks an expiry, since otherwise no call could be placed."""

    async def now_ms(self) -> int:
        """The server's clock, Unix time in ms: all times of the queue use it, since any edge may dial next."""

    async def due(self, count: int) -> list[str]:
        """Ids of queued calls that are due, the earliest first; ids without a document are removed."""

    async def overdue(self, count: int) -> list[str]:
        """Ids of open calls without an event for too long; ids without a document are removed."""

    async def open_count(self) -> int:
        """How many calls are open now; one without a document does not count."""

    async def queued_count(self) -> int:
        """How many calls wait."""

    async def made_by(self, key: str) -> str:
        """The id of the outbound call that an idempotency key made, or ""."""

    async def spent_today(self) -> int:
        """How many requests were sent today, a day of UTC by the server's clock."""

    async def spend(self, most: int) -> bool:
        """Count a request that is about to be sent.  False, without counting it, if today has had `most`."""

    async def give_back(self) -> None:
        """Take a counted request back, because it rang nobody."""

    async def lead(self, owner: str, ms: int) -> bool:
        """Become the dialer, or stay it, for `ms`.  False: another edge is."""

    async def owner(self, call_id: str) -> str:
        """The id of the outbound call of a carrier's call, or "" if there is none, or it is not known."""

    async def pause(self, reason: str) -> None:
        """Stop placing calls for a while, which doubles with each pause in a row; a pause that is on stays."""

    async def paused(self) -> tuple[str, bool]:
        """(why calls were refused lately, or ""; whether no call may be placed now)."""

    async def unpause(self) -> None:
        """Record that a call was placed: the next pause is a short one again."""
