"""Keeps secret keys without a server, for tests (secret_keys.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from common.store.memory_call import MemoryCall
from common.store.secret_keys import SECRET_DIGITS_MAX, SECRET_NAMES_MAX, SECRET_SECONDS, SecretKey, digits_of


class MemorySecrets:
    """See `common.store.secret_keys.Secrets`."""

    def __init__(self, calls: Mapping[str, MemoryCall]) -> None:
        self._calls = calls
        self._kept: dict[str, tuple[dict[str, str], float]] = {}
        """call -> (name -> mark and digits, loop time at which they expire)"""

    def add(self, key: SecretKey) -> bool:
        """See `Secrets.add_secret_key`."""
        call = self._calls.get(key.call_id)
        if call is None or (call.record.status, call.record.epoch) != ("live", key.epoch):
            return False
        kept = self._of(key.call_id)
        value = kept.get(key.name, "")
        if value.startswith(key.mark):
            return True
        digits = digits_of(value)
        if len(digits) >= min(key.digits_max, SECRET_DIGITS_MAX):
            return True
        if not value and len(kept) >= SECRET_NAMES_MAX:
            return False
        kept = {**kept, key.name: f"{key.mark}{digits}{key.digit}"}
        self._kept[key.call_id] = (kept, _now() + SECRET_SECONDS)
        return True

    def read(self, call_id: str, name: str) -> str:
        """See `Secrets.read_secret`."""
        return digits_of(self._of(call_id).get(name, ""))

    def forget(self, call_id: str) -> None:
        """The call is over."""
        self._kept.pop(call_id, None)

    def _of(self, call_id: str) -> dict[str, str]:
        kept, expires_s = self._kept.get(call_id, ({}, 0.0))
        return kept if expires_s > _now() else {}


def _now() -> float:
    return asyncio.get_running_loop().time()
