"""Checks that a webhook's URL is one that we gave the carrier for the call that the webhook names.

    a proof in the query     must be ours, in time, for this path and for the call or request that the webhook names
    no proof                 accepted only if the call, or the request for it, was never given URLs with a proof:
                             this is its first webhook, at a URL from the carrier's console

At a URL from the console (/answer, /fallback, /hangup) a webhook of an inbound call cannot have a proof: only Vobiz's
signature protects it (webhook_auth.py).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from common.protocol.redis_keys import CALL_ID
from common.store import CallRecord, CallRecords
from edge.outbound.dialer import Dialer
from edge.session.calls import Calls
from edge.session.url_proof import Proof, check
from edge.vobiz.webhook_events import call_id_of, dial_id_of

OF_CALLS = frozenset({"/after-stream", "/stream-status", "/dial-status", "/transfer-events", "/whisper"})
OF_DIALS = frozenset({"/ring", "/machine", "/voicemail", "/transfer-accept"})
GIVEN_ONLY = OF_CALLS | OF_DIALS
"""Paths that only our own XML and requests give to the carrier."""
OURS = ("call", "proof", "dial", "attempt")
"""Parameters of our own URLs; with a proof, only their values in the URL count."""

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WebhookUrls:
    """Checks webhooks after their signature.  `secret` None: our URLs have no proof, and none is required."""

    calls: Calls
    store: CallRecords
    dialer: Dialer | None
    secret: bytes | None

    async def refusal(self, path: str, query: Fields, fields: Fields) -> str:
        """Why the webhook is refused (a value of `Proof`); empty if it is accepted, as while Redis is away."""
        if self.secret is None:
            return ""
        proof = check(self.secret, path, query, time.time())
        if proof is Proof.FORGED or proof is Proof.EXPIRED:
            return str(proof)
        try:
            if proof is Proof.GOOD:
                return "" if await self._is_of(query, fields) else str(Proof.FORGED)
            return str(Proof.NONE) if await self._was_given(path, fields) else ""
        except (ConnectionError, TimeoutError):
            return ""

    async def _is_of(self, query: Fields, fields: Fields) -> bool:
        """Whether the webhook names the call that its URL was given for."""
        named = call_id_of(fields)
        if any(fields.get(name, query[name]) != query[name] for name in OURS if name in query):
            return False
        if "call" in query:
            return named in ("", query["call"])
        record = await self._record(named)
        if record is None:
            return True
        return record.direction == "outbound" and record.dial_id in ("", query["dial"])

    async def _was_given(self, path: str, fields: Fields) -> bool:
        """Whether the carrier was given URLs with a proof for the call that this webhook names."""
        call_id = call_id_of(fields)
        record = await self._record(call_id)
        if record is not None and record.status != "ended" and record.signed_urls and _is_given(path, record):
            return True
        if self.dialer is None:
            return False
        dial_id = dial_id_of(fields) or (record.dial_id if record is not None else "")
        return await self.dialer.outbound.has_signed(dial_id, call_id)

    async def _record(self, call_id: str) -> CallRecord | None:
        """The call's record; for a call at this edge without asking Redis, which may be away."""
        if not CALL_ID.fullmatch(call_id):
            return None
        here = self.calls.get(call_id)
        return here.record if here is not None else await self.store.read(call_id)


def _is_given(path: str, record: CallRecord) -> bool:
    """Whether the carrier can only know this path from the answer to this call."""
    return path in OF_CALLS or (path in OF_DIALS and not record.dial_id)
