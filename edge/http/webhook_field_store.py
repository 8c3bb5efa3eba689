"""Keeps what the carrier's webhooks say with their call, and little of what strangers say of calls that there are not.

Without signatures anybody may send webhooks.  A call's facts are bounded by the ledger; calls without a record are
bounded here, by how many of them one edge keeps in a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from common.store import CallStore
from edge.http.limits.rate_limit import Buckets
from edge.http.webhook_urls import OURS
from edge.vobiz.webhook_events import call_id_of
from edge.vobiz.webhook_fields import webhook_fields

log = logging.getLogger(__name__)

UNKNOWN_AT_ONCE = 100
UNKNOWN_PER_SECOND = 2.0
"""Webhooks of calls without a record that one edge keeps: a real one comes a moment before its /answer, or long after
its call was forgotten.  With 16 KiB each for a minute that is 4 MB at most.
"""
_ALL = "all"


@dataclass(frozen=True, slots=True)
class WebhookFieldStore:
    """One for each edge."""

    store: CallStore
    strangers: Buckets = field(default_factory=lambda: Buckets(UNKNOWN_AT_ONCE, UNKNOWN_PER_SECOND))

    async def keep(self, path: str, fields: Mapping[str, str]) -> None:
        """Keep what the webhook says, if it names a call; never raises."""
        call_id = call_id_of(fields)
        if not call_id:
            return
        event = fields.get("Event") or path.strip("/")
        kept = webhook_fields(event, {name: value for name, value in fields.items() if name not in OURS})
        now_s = asyncio.get_running_loop().time()
        room = self.strangers.wait_s(_ALL, now_s) == 0
        try:
            if not await self.store.add_webhook_fields(call_id, kept, unknown=room):
                self.strangers.charge(_ALL, now_s)
        except (ConnectionError, TimeoutError):
            log.warning("what the carrier said could not be kept", extra={"call_id": call_id})
