"""Classifies the error answers of Redis: those that mean "not now", and those of one command only.

"Not now" is handled like a lost connection: wait, connect again (perhaps to another server), send again.

Any other error concerns one command, now and later: its key has another type, or the user has no permission.  It is
raised as `KeyRefused`: its caller continues without that key, and nothing waits for it.
"""

from __future__ import annotations

_KINDS = {
    "OOM": "out of memory",  # maxmemory is reached, and the policy noeviction keeps what is there
    "READONLY": "read-only",  # a replica, or a primary that was demoted while connected
    "LOADING": "loading",  # it reads its data from disk after a start
    "MASTERDOWN": "no primary",  # a replica that lost its primary
    "CLUSTERDOWN": "no primary",
    "BUSY": "busy",  # a script runs for too long
    "MISCONF": "cannot save",  # it could not write to its disk, and therefore refuses writes
    "NOREPLICAS": "no replicas",  # min-replicas-to-write
    "TRYAGAIN": "busy",
    "UNBLOCKED": "interrupted",  # a blocked read ended, as the server became a replica or the key was deleted
    "NOAUTH": "no access",
    "WRONGPASS": "no access",
    "DENIED": "no access",  # protected mode: the server has no password and accepts its own machine only
}
AWAY_KINDS = (*dict.fromkeys(_KINDS.values()), "unreachable", "silent")
"""All values of the label `kind` of `voice_redis_away`: the answers above, no connection, no answer in time."""


def away_kind(error: str) -> str:
    """The "not now" kind of an error answer, or "" if it is none."""
    return _KINDS.get(error.partition(" ")[0], "")


_REFUSED_KINDS = {
    "WRONGTYPE": "wrong type",
    "NOPERM": "no permission",
    "permission": "no permission",
    "ACL": "no permission",
}
REFUSED_KINDS = (*dict.fromkeys(_REFUSED_KINDS.values()), "other")
"""All values of the label `kind` of `voice_redis_refused`."""


class KeyRefused(ConnectionError):
    """Redis refuses this command on this key, now and later.

    It is a ConnectionError, because code that can do without Redis for a moment can do without this answer; but
    trying again does not help.  `kind` is one of `REFUSED_KINDS`.
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        """`detail` is the server's text, if it has nothing from the key."""
        super().__init__(f"refused: {kind}" + (f" ({detail})" if detail else ""))
        self.kind = kind


def refused_kind(error: str) -> str:
    """The kind of refusal in an error answer that is no "not now": one of `REFUSED_KINDS`."""
    return next((kind for word, kind in _REFUSED_KINDS.items() if word in error), "other")
