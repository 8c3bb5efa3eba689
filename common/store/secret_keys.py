"""Defines the store of secret keys: digits that a caller entered, which only tools may know (docs/keys.md).

    edge: add_secret_key ──▶ call:<id>:secrets ──▶ tools worker: read_secret

They leave with the call's end, or `SECRET_SECONDS` after the last digit.  No other process reads them: the users of
Redis (deploy/redis/acl.py) allow it to no other pool.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

SECRET_DIGITS_MAX = 64
"""Most digits of one name."""
SECRET_NAMES_MAX = 10
"""Most names of one call."""
SECRET_SECONDS = 600
"""Expiry after the last digit."""


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One digit that a caller entered on connection `epoch`; `number` counts the secret keys of the connection."""

    call_id: str
    epoch: int
    number: int
    name: str
    digit: str = field(repr=False)
    digits_max: int = SECRET_DIGITS_MAX
    """Most digits of the name; this one is not kept if they are there already."""

    @property
    def mark(self) -> str:
        """Identifies the key in its call: it is added once, however often it is written."""
        return f"{self.epoch}:{self.number}:"


class Secrets(Protocol):
    """Digits that only tools may know."""

    async def add_secret_key(self, key: SecretKey) -> bool:
        """Add the digit to those of its name, unless these are `digits_max`; repeating the newest one changes nothing.

        False, and nothing is kept: another connection has the call, the call is over, or it has too many names.
        """

    async def read_secret(self, call_id: str, name: str) -> str:
        """The digits under this name; empty if there are none (any more)."""


def digits_of(value: str) -> str:
    """The digits of a stored value, which begins with the mark of the newest key."""
    return value.rpartition(":")[2]
