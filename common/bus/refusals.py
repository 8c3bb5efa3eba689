"""When Redis answers with an error that says "not now": it is there, and cannot serve us.

Such an answer is handled like a lost connection: wait, connect again (perhaps to another server), say it again.  Any
other error is a fault of ours.
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
