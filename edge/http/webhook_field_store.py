"""Stores the fields of webhooks with their call, within a bound for calls that have no record.

Without signatures anybody may send webhooks.  The store bounds the fields of one call; this module bounds how many
calls without a record one edge stores fields for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from common.store import CallRecords
from edge.http.limits.rate_limit import Buckets
from edge.http.webhook_urls import OURS
from edge.vobiz.webhook_events import call_id_of
from edge.vobiz.webhook_fields import webhook_fields

log = logging.getLogger(__name__)

UNKNOWN_AT_ONCE = 100
UNKNOWN_PER_SECOND = 2.0
"""Webhooks of calls without a record that one edge stores: real ones arrive just before their /answer, or long after
their call was forgotten.  At 16 KiB each for a minute that is 4 MB at most.
"""
_ALL = "all"


@dataclass(frozen=True, slots=True)
class WebhookFieldStore:
    """Stores webhook fields for one edge."""

    store: CallRecords
    strangers: Buckets = field(default_factory=lambda: Buckets(UNKNOWN_AT_ONCE, UNKNOWN_PER_SECOND))

    async def keep(self, path: str, fields: Mapping[str, str]) -> None:
        """Store the fields of a webhook if it names a call.  Never raises; an unreachable store is logged."""
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
            log.warning("the fields of a webhook could not be stored", extra={"call_id": call_id})
