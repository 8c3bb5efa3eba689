"""The outbound calls of the whole deployment: documents with a version, a queue, and one dialer at a time.

`common.store.dials` keeps them in Redis, `common.store.outbound_memory` for tests; tests/contract/test_outbound.py
holds both to this page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class QueueFull(Exception):
    """`QUEUE_MAX` calls wait already."""


class UnreadableOutboundCall(ValueError):
    """What is stored is no document; the text does not quote it."""


@dataclass(frozen=True, slots=True)
class QueuedCall:
    """A stored dial; `version` must be given back to `write`.  `now_ms`: the server's clock when it was read."""

    version: int
    body: dict[str, Any]
    now_ms: int = 0


class OutboundQueue(Protocol):
    """Every method raises ConnectionError or TimeoutError while the server is away."""

    async def add(self, dial_id: str, body: dict[str, Any], due_ms: int, key: str = "") -> str:
        """Queue a new dial and return its id; with a known idempotency key, the id of the dial it made before.

        Raises QueueFull.
        """

    async def read(self, dial_id: str) -> QueuedCall | None:
        """The dial as it stands, or None if it is not known (any more).  Raises UnreadableDial."""

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
        With a `dialer`, only while that is the one who dials.
        """

    async def set_aside(self, dial_id: str) -> None:
        """A dial that cannot be read waits no more and takes no line; what there is of it is kept for a while."""

    async def mend(self) -> None:
        """Remove keys of another type, and give locks without an end one: nobody could place a call."""

    async def now_ms(self) -> int:
        """The server's clock, Unix time in ms: every time in the queue is of it, since any edge may dial next."""

    async def due(self, count: int) -> list[str]:
        """Queued dials whose time has come, the earliest first; ids without a document are removed."""

    async def overdue(self, count: int) -> list[str]:
        """Open dials of which nothing was heard for too long; ids without a document are removed."""

    async def open_count(self) -> int:
        """Dials that take a line now; one whose document is gone takes none."""

    async def queued_count(self) -> int:
        """Dials that wait."""

    async def made_by(self, key: str) -> str:
        """The dial that an idempotency key made; empty if it made none."""

    async def spent_today(self) -> int:
        """Requests that have left today, a day of UTC by the server's clock."""

    async def spend(self, most: int) -> bool:
        """Count a request that is about to leave; False, and it is not counted, if today has had `most`."""

    async def give_back(self) -> None:
        """A request that was counted has rung nobody."""

    async def lead(self, owner: str, ms: int) -> bool:
        """Be, or go on being, the one who dials."""

    async def owner(self, call_id: str) -> str:
        """The dial that the carrier's call belongs to; empty if it is none of ours, or not known to be."""

    async def pause(self, reason: str) -> None:
        """Place no call for a while, which grows with each pause that follows another; one that is on goes on."""

    async def paused(self) -> tuple[str, bool]:
        """Why calls were refused of late, empty if they were not; and whether none may be placed now."""

    async def unpause(self) -> None:
        """A call was placed again: the next pause is a short one."""
