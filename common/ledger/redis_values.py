"""How the ledger's values are written in Redis, and what its replies hold.  Pure."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import msgpack

from common.ledger import CallRecord, Claim
from common.ledger.suspicion import TRIAL_MS, Standing, Suspect
from common.messages import Offer
from common.packing import BadMessage, decode


def fields_of(record: CallRecord) -> dict[str, Any]:
    """The hash of a call's record."""
    return {**asdict(record), "agent": msgpack.packb(record.agent)}


def record_of(fields: dict[bytes, bytes]) -> CallRecord:
    """The record in a hash; what is not in it has its default."""
    texts = {name.decode(): value for name, value in fields.items()}
    known: dict[str, Any] = {}
    for name, default in asdict(CallRecord("")).items():
        if name not in texts:
            continue
        raw = texts[name]
        if name == "agent":
            known[name] = msgpack.unpackb(raw)
        else:
            known[name] = int(raw) if isinstance(default, int) else raw.decode()
    return replace(CallRecord(""), **known)


def claimed(call_id: str, pool: str, owner: str, reply: Any) -> Claim | None:
    """What the script of a claim says; None if the call cannot be had.  Raises Suspect."""
    token, found, *about = reply
    if not token:
        if found == b"suspect":
            raise Suspect(about[0].decode())
        return None
    fields = dict(zip(found[::2], found[1::2], strict=True))
    checkpoint = fields.get(f"checkpoint:{pool}".encode(), b"").decode()
    standing, crashes, passed_on = about
    trial_ms = TRIAL_MS * max(crashes - 1, 1) if standing == Standing.ON_TRIAL else 0
    condemned = standing == Standing.CONDEMNED
    record = record_of(fields)
    return Claim(call_id, pool, owner, token, record, checkpoint, trial_ms, condemned, crashes, bool(passed_on))


def entries_of(found: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of a one-stream XREADGROUP reply, in either protocol version."""
    if not found:
        return []
    if isinstance(found, dict):
        return [entry for pages in found.values() for page in pages for entry in page]
    return [entry for _, entries in found for entry in entries]


def offered_call(fields: dict[bytes, bytes] | None) -> str | None:
    """The call that an entry of a pool's stream offers; None if it is no offer."""
    try:
        message = decode((fields or {}).get(b"d", b""))
    except BadMessage:
        return None
    return message.call_id if isinstance(message, Offer) else None
