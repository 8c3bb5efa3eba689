"""How the ledger's values are written in Redis, and what its replies hold.  Pure."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import msgpack

from common.ledger import CallRecord
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
