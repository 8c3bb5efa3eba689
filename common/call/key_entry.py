"""Decides when the caller has finished entering keys.  Pure: keys and times in, the end of the entry out.

    press ──▶ "#"                                  ──▶ finished
      │  └──▶ the longest length                   ──▶ full
      └─wake─▶ no further key for `between_keys_ms` ──▶ timeout
    wait ─wake─▶ no key at all for `first_key_ms`   ──▶ none

Times are milliseconds of any one monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

KEYS = frozenset("0123456789*#")
"""Keys that are entered; the letters A to D, which few telephones have, are ignored."""
KEYS_MAX = 64
"""Most keys of one entry (`Keys` in common/protocol/acts.py)."""
BETWEEN_KEYS_MS = 2_000
"""Default of the time after which the caller is taken to have finished."""


class EntryEnd(StrEnum):
    """Why an entry is over."""

    FULL = "full"
    """As many keys as are wanted at most."""
    FINISHED = "finished"
    """The finish key was pressed."""
    TIMEOUT = "timeout"
    """No further key came in time."""
    NONE = "none"
    """No key came at all, or only the finish key."""


@dataclass(frozen=True, slots=True)
class EntryOptions:
    """How keys are entered."""

    keys_max: int = KEYS_MAX
    finish_key: str = "#"
    """Ends the entry and is not part of it; empty: none."""
    first_key_ms: int = 0
    """How long the first key is waited for once `KeyEntry.wait` was called; 0: for ever."""
    between_keys_ms: int = BETWEEN_KEYS_MS
    is_free: bool = False
    """Nobody asked for keys: as the first one the finish key is a key like any other."""


@dataclass(frozen=True, slots=True)
class EnteredKeys:
    """A finished entry.  `keys` lacks those that are secret; `count` has them all."""

    keys: str
    count: int
    end: EntryEnd


class KeyEntry:
    """One entry of keys.  Once it is over, nothing changes it any more."""

    def __init__(self, options: EntryOptions) -> None:
        self._options = options
        self._keys: list[str] = []
        self._due_ms: float | None = None
        self.entered: EnteredKeys | None = None
        """The entry once it is over."""

    def wait(self, now_ms: float) -> None:
        """The caller has heard what to enter: the time for the first key begins.  Later calls change nothing."""
        if not self._keys and self._due_ms is None and self._options.first_key_ms:
            self._due_ms = now_ms + self._options.first_key_ms

    def press(self, key: str, now_ms: float) -> EnteredKeys | None:
        """Take a key; an empty one is a digit that is kept secret.  Returns the entry if it is over by this key."""
        if self.entered is not None or (key and key not in KEYS):
            return self.entered
        if key and key == self._options.finish_key and (self._keys or not self._options.is_free):
            return self._over(EntryEnd.FINISHED if self._keys else EntryEnd.NONE)
        self._keys.append(key)
        self._due_ms = now_ms + self._options.between_keys_ms
        return self._over(EntryEnd.FULL) if len(self._keys) >= min(self._options.keys_max, KEYS_MAX) else None

    def wake(self, now_ms: float) -> EnteredKeys | None:
        """Returns the entry if it is over by now; call it at `due_ms`."""
        if self.entered is None and self._due_ms is not None and now_ms >= self._due_ms:
            return self._over(EntryEnd.TIMEOUT if self._keys else EntryEnd.NONE)
        return self.entered

    def finish(self) -> EnteredKeys:
        """End the entry for another reason, with what was entered so far."""
        return self.entered or self._over(EntryEnd.TIMEOUT if self._keys else EntryEnd.NONE)

    def _over(self, end: EntryEnd) -> EnteredKeys:
        self._due_ms = None
        self.entered = EnteredKeys("".join(self._keys), len(self._keys), end)
        return self.entered

    @property
    def due_ms(self) -> float | None:
        """When to call `wake`; None: not before the next key."""
        return self._due_ms

    @property
    def count(self) -> int:
        """How many keys were entered so far."""
        return len(self._keys)
