"""When Redis answers with an error that says "not now": it is there, and cannot serve us.

Such an answer is handled like a lost connection: wait, connect again (perhaps to another server), say it again.

Any other error is about the one command, now and later: its key holds another type, or we have no right to it.  It is a
`KeyRefused`: whoever asked goes on without that key, and nobody waits for it.
"""

from __future__ import annotations

_KINDS = {
    "OOM": "out of memory",  # maxmemory is reached, and noeviction keeps what is there
    "READONLY": "read-only",  # a replica, or a primary that was demoted under us
    "LOADING": "loading",  # it reads its data from disk after a start
    "MASTERDOWN": "no primary",  # a replica that lost its primary
    "CLUSTERDOWN": "no primary",
    "BUSY": "busy",  # a script runs for too long
    "MISCONF": "cannot save",  # it could not write to its disk, and so refuses writes
    "NOREPLICAS": "no replicas",  # min-replicas-to-write
    "TRYAGAIN": "busy",
    "UNBLOCKED": "interrupted",  # a blocked read, when the server became a replica or the key went
    "NOAUTH": "no access",
    "WRONGPASS": "no access",
    "DENIED": "no access",  # protected mode: it has no password and listens to this machine only
}
AWAY_KINDS = (*dict.fromkeys(_KINDS.values()), "unreachable", "silent")
"""All values of the label `kind` of `voice_redis_away`: the answers above, no connection, or no answer in time."""


def away_kind(error: str) -> str:
    """Which "not now" an error answer is, or "" if it is none."""
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
    """Redis is there and refuses this command on this key, whenever it is asked.

    A ConnectionError, because whoever can do without Redis for a moment can do without this answer; but to ask again
    helps nobody.
    """

    def __init__(self, kind: str, said: str = "") -> None:
        """`said` are the server's own words, if they hold nothing of the key's."""
        super().__init__(f"refused: {kind}" + (f" ({said})" if said else ""))
        self.kind = kind


def refused_kind(error: str) -> str:
    """Of an error answer that is no "not now": why it was refused; one of `REFUSED_KINDS`."""
    return next((kind for word, kind in _REFUSED_KINDS.items() if word in error), "other")
