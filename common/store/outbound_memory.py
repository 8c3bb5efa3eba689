"""Implements the outbound queue without a server, for tests, on the event loop's clock, which may be a virtual one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgpack

from common.process.backoff import Backoff
from common.store.dials import CALL_KEY_SECONDS, KEY_SECONDS, PAUSE_MS, PAUSE_MS_MAX, QUEUE_MAX, UNREADABLE_MAX
from common.store.outbound import QueuedCall, QueueFull, UnreadableOutboundCall

NEVER = float("inf")
_PAUSES = Backoff(first_s=PAUSE_MS / 1000, longest_s=PAUSE_MS_MAX / 1000)


class MemoryOutboundQueue:
    """See `common.store.outbound.OutboundQueue`.  One object takes the part of the server; simulated edges share it."""

    def __init__(self, retention_s: int, began_ms: int = 1_790_000_000_000) -> None:
        """`began_ms`: Unix time in ms at the loop's time 0."""
        self._retention_s = retention_s
        self._documents: dict[str, tuple[int, bytes, float]] = {}  # id -> (version, document, loop time of its expiry)
        self._names: dict[str, tuple[str, float]] = {}  # name of a key or call -> (id, loop time of its expiry)
        self.queued: dict[str, float] = {}
        self.open: dict[str, float] = {}
        self._leader = ("", 0.0)
        self._paused_until = self._pauses_until = 0.0
        self._pauses, self._reason = 0, ""
        self.unreadable: list[str] = []
        self._began_ms = began_ms
        self._spent: dict[int, int] = {}  # day -> requests

    async def add(self, dial_id: str, body: dict[str, Any], due_ms: int, key: str = "") -> str:
        if key and (known := self._named(f"key:{key}")):
            return known
        if len(self.queued) >= QUEUE_MAX:
            raise QueueFull(f"{QUEUE_MAX} calls wait already")
        self._documents[dial_id] = (1, msgpack.packb(body), NEVER)
        self.queued[dial_id] = due_ms
        if key:
            self._names[f"key:{key}"] = (dial_id, _now() + KEY_SECONDS)
        return dial_id

    async def read(self, dial_id: str) -> QueuedCall | None:
        if not self._exists(dial_id):
            return None
        version, packed, _ = self._documents[dial_id]
        try:
            body = msgpack.unpackb(packed)
        except (ValueError, msgpack.UnpackException) as error:
            raise UnreadableOutboundCall(type(error).__name__) from None
        if not isinstance(body, dict):
            raise UnreadableOutboundCall("no map")
        return QueuedCall(version, body, await self.now_ms())

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
        if dialer and self._leads() != dialer:
            return False
        if not self._exists(dial_id) or self._documents[dial_id][0] != version:
            return False
        over = where == "closed"
        self._documents[dial_id] = (version + 1, msgpack.packb(body), _now() + self._retention_s if over else NEVER)
        life_s = self._retention_s if over else max(self._retention_s, CALL_KEY_SECONDS)
        for call_id in call_ids:
            self._names[f"call:{call_id}"] = (dial_id, _now() + life_s)
        self.queued.pop(dial_id, None)
        self.open.pop(dial_id, None)
        if not over:
            (self.queued if where == "queued" else self.open)[dial_id] = due_ms
        return True

    def overwrite(self, dial_id: str, packed: bytes) -> None:
        """Write any bytes as a document, as any program may on a server."""
        self._documents[dial_id] = (1, packed, NEVER)

    def expires(self, dial_id: str) -> bool:
        """Whether the document has an expiry."""
        return self._documents[dial_id][2] < NEVER

    def lose(self, dial_id: str) -> None:
        """Remove the document, as a server may lose it."""
        self._documents.pop(dial_id, None)

    async def set_aside(self, dial_id: str) -> None:
        if self.queued.pop(dial_id, None) is None and self.open.pop(dial_id, None) is None:
            return
        self.unreadable = [dial_id, *self.unreadable][:UNREADABLE_MAX]
        if dial_id in self._documents:
            self._documents[dial_id] = (*self._documents[dial_id][:2], _now() + self._retention_s)

    async def mend(self) -> None:
        """Memory has no wrong types, and its locks always expire."""

    async def now_ms(self) -> int:
        return self._began_ms + round(1000 * _now())

    async def due(self, count: int) -> list[str]:
        return self._first(self.queued, await self.now_ms(), count)

    async def overdue(self, count: int) -> list[str]:
        return self._first(self.open, await self.now_ms(), count)

    async def queued_count(self) -> int:
        return len(self.queued)

    async def made_by(self, key: str) -> str:
        return self._named(f"key:{key}")

    async def spent_today(self) -> int:
        return self._spent.get(await self._today(), 0)

    async def spend(self, most: int) -> bool:
        day = await self._today()
        if self._spent.get(day, 0) >= most:
            return False
        self._spent = {day: self._spent.get(day, 0) + 1}
        return True

    async def give_back(self) -> None:
        day = await self._today()
        self._spent = {day: max(0, self._spent.get(day, 0) - 1)}

    async def _today(self) -> int:
        return await self.now_ms() // 86_400_000

    async def open_count(self) -> int:
        self._first(self.open, NEVER, 0)
        return len(self.open)

    async def lead(self, owner: str, ms: int) -> bool:
        if self._leads() not in ("", owner):
            return False
        self._leader = (owner, _now() + ms / 1000)
        return True

    async def owner(self, call_id: str) -> str:
        return self._named(f"call:{call_id}")

    async def pause(self, reason: str) -> None:
        if self._paused_until > _now():
            return
        before = self._pauses if self._pauses_until > _now() else 0
        self._pauses, self._reason = before + 1, reason
        self._paused_until = _now() + _PAUSES.pause_s(before)
        self._pauses_until = self._paused_until + PAUSE_MS_MAX / 1000

    async def paused(self) -> tuple[str, bool]:
        return (self._reason, self._paused_until > _now()) if self._pauses_until > _now() else ("", False)

    async def unpause(self) -> None:
        self._paused_until = self._pauses_until = 0.0

    def _first(self, due_at: dict[str, float], until_ms: float, count: int) -> list[str]:
        for dial_id in [dial_id for dial_id in due_at if not self._exists(dial_id)]:
            del due_at[dial_id]
        return [dial_id for dial_id in sorted(due_at, key=due_at.__getitem__) if due_at[dial_id] <= until_ms][:count]

    def _leads(self) -> str:
        leader, until = self._leader
        return leader if until > _now() else ""

    def _exists(self, dial_id: str) -> bool:
        return dial_id in self._documents and self._documents[dial_id][2] > _now()

    def _named(self, name: str) -> str:
        dial_id, until = self._names.get(name, ("", 0.0))
        return dial_id if until > _now() else ""


def _now() -> float:
    return asyncio.get_running_loop().time()
