"""Is a webhook's URL one that we gave the carrier for the call that it names?

    a proof in the query     must be ours, in time, for this path and for the call or request that the webhook names
    none                     let in only if the call, or the request for it, was never given URLs with a proof: one that
                             an older release began, or the first webhook of a call at a URL from the carrier's console

What comes to a console's URL (/answer, /fallback, /hangup) about an inbound call cannot have a proof: there Vobiz's own
signature is all there is (gate.py).
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

OF_CALLS = frozenset({"/after-stream", "/stream-status", "/dial-status"})
OF_DIALS = frozenset({"/ring", "/machine", "/voicemail"})
GIVEN_ONLY = OF_CALLS | OF_DIALS
"""Paths that nobody but us writes down for the carrier: in the answer to a call, or when one is placed."""
OURS = ("call", "proof", "dial", "attempt")
"""Parameters that we put into our own URLs: only the URL's are believed where it has a proof."""

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WebhookUrls:
    """Checks each webhook after its signature.  `secret` None: no URL of ours has a proof, and none is asked for."""

    calls: Calls
    store: CallRecords
    dialer: Dialer | None
    secret: bytes | None

    async def refusal(self, path: str, query: Fields, fields: Fields) -> str:
        """Why the webhook is refused (a value of `Proof`); empty if it is let in.  Redis being away lets it in."""
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
        """Does the webhook name the call that its URL was given for?"""
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
        """Has the carrier URLs with a proof for what this webhook names?"""
        call_id = call_id_of(fields)
        record = await self._record(call_id)
        if record is not None and record.status != "ended" and record.signed_urls and _is_given(path, record):
            return True
        if self.dialer is None:
            return False
        dial_id = dial_id_of(fields) or (record.dial_id if record is not None else "")
        return await self.dialer.outbound.has_signed(dial_id, call_id)  # an edge of an older release may have placed it

    async def _record(self, call_id: str) -> CallRecord | None:
        """Of a call that is here without asking Redis, which may be away."""
        if not CALL_ID.fullmatch(call_id):
            return None
        here = self.calls.get(call_id)
        return here.record if here is not None else await self.store.read(call_id)


def _is_given(path: str, record: CallRecord) -> bool:
    """Does only that reach the path which the answer to this call named?"""
    return path in OF_CALLS or (path in OF_DIALS and not record.dial_id)
