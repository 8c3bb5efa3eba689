"""Converts the values of the call store to Redis and back, and checks what it reads.  Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import msgpack

from common.process.skipped import unreadable
from common.protocol.codec import BadMessage, decode
from common.protocol.messages import CallOffered
from common.store import CallRecord, Claim
from common.store.suspicion import TRIAL_MS, Standing, Suspect


def fields_of(record: CallRecord) -> dict[str, Any]:
    """The record of a call as the fields of its hash."""
    return {**asdict(record), "agent": msgpack.packb(record.agent)}


class BadRecord(ValueError):
    """The value in Redis is no record of a call; the text does not quote it."""


def record_of(fields: dict[bytes, bytes], call_id: str) -> CallRecord:
    """The record in the hash of this call; a missing field has its default, and an unknown one is skipped.

    Raises BadRecord if a field has a wrong value.
    """
    known: dict[str, Any] = {}
    for name, default in _DEFAULTS.items():
        raw = fields.get(name.encode())
        if raw is not None:
            try:
                known[name] = _value(name, default, raw)
            except (ValueError, RecursionError, msgpack.UnpackException) as error:
                raise BadRecord(f"{name}: {type(error).__name__}") from None
    return replace(CallRecord(""), **known, call_id=call_id)


def readable(fields: dict[bytes, bytes], call_id: str) -> CallRecord | None:
    """The record, or None if it cannot be read, which is counted."""
    try:
        return record_of(fields, call_id)
    except BadRecord:
        unreadable("record", call_id)
        return None


def _value(name: str, default: Any, raw: bytes) -> Any:
    """The value of a field.  Raises ValueError."""
    if name == "agent":
        return _agent(raw)
    if not isinstance(default, int):
        return raw.decode()
    number = int(raw[:NUMBER_DIGITS_MAX])
    if not 0 <= number <= NUMBER_MAX:
        raise ValueError("out of range")
    return number


def _agent(raw: bytes) -> dict[str, Any]:
    """An agent's document; its content is checked where it is used (common/agents/model.py).  Raises ValueError."""
    agent = msgpack.unpackb(raw)
    if not isinstance(agent, dict):
        raise ValueError("no map")
    return agent


_DEFAULTS = {name: default for name, default in asdict(CallRecord("")).items() if name != "call_id"}
NUMBER_DIGITS_MAX = 20
NUMBER_MAX = 2**53
"""Largest valid time in ms, and largest epoch or token."""


def call_ids_of(members: Iterable[bytes]) -> list[str]:
    """The valid call ids among the members of a set; edges remove the others (common/store/mending.py)."""
    return [member.decode() for member in members if CALL_ID.fullmatch(member)]


CALL_ID = re.compile(rb"[A-Za-z0-9_-]{1,64}")


def texts_of(found: Mapping[bytes, bytes]) -> dict[str, str]:
    """A hash of texts; bytes that are no UTF-8 are replaced."""
    return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in found.items()}


def claimed(call_id: str, pool: str, owner: str, reply: Any) -> Claim | None:
    """The claim in the reply of a claim's script; None if the call cannot be claimed.  Raises Suspect."""
    token, found, *about = reply
    if not token:
        if found == b"suspect":
            raise Suspect(about[0].decode())
        return None
    fields = pairs_of(found)
    checkpoint = fields.get(f"checkpoint:{pool}".encode(), b"").decode("utf-8", "replace")
    standing, crashes, passed_on = about
    trial_ms = TRIAL_MS * max(crashes - 1, 1) if standing == Standing.ON_TRIAL else 0
    condemned = standing == Standing.CONDEMNED
    record = readable(fields, call_id)
    if record is None:
        return None  # the lease expires by itself
    return Claim(call_id, pool, owner, token, record, checkpoint, trial_ms, condemned, crashes, bool(passed_on))


def pairs_of(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """The fields of a hash or of a stream's entry, which Redis returns in one list."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def ms_of(time: Sequence[bytes]) -> int:
    """The reply of TIME, in ms."""
    seconds, micros = time
    return int(seconds) * 1000 + int(micros) // 1000


def entries_of(found: Sequence[Any]) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of a stream's reply, id and fields; those that were deleted meanwhile have no fields."""
    return [(entry_id, pairs_of(fields or ())) for entry_id, fields in found]


def offered_call(fields: Mapping[bytes, bytes]) -> str | None:
    """The call id in an entry of a pool's stream; None if it is no offer, or the id is not valid."""
    try:
        message = decode(fields.get(b"d", b""))
    except BadMessage:
        return None
    return message.call_id if isinstance(message, CallOffered) and CALL_ID.fullmatch(message.call_id.encode()) else None


def state_fields_of(names: Sequence[str], values: Sequence[bytes | None] | None) -> dict[str, str] | None:
    """One call's fields.  None: its record is missing or unreadable, so it is lost.  Empty: the server is away."""
    if values is None:
        return {}
    known = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    try:
        fields = {name: value.decode() for name, value in known.items()}
        numbers = [int(value) for name, value in fields.items() if not name.startswith("checkpoint:")]
    except ValueError:
        unreadable("notes")
        return None
    return fields if "epoch" in fields and all(0 <= number <= NUMBER_MAX for number in numbers) else None
