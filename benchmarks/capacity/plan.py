"""Says how many processes, servers and bytes a number of calls needs.  Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.answers.servers import REDIS
from benchmarks.capacity.constants import ROLES, Constants
from common.redis.url import SHARDS_MAX

CALLS_MAX = 50
"""The default of the setting (common/settings.py), and of the manifests."""
FILL = 0.7
"""Share of CALLS_MAX that the autoscaler plans with (deploy/prometheus/voice.rules.yml)."""
MEMBERS_MIN = 2
"""Of each kind: one may go at any time."""
REPLICAS_MAX = 40
"""`maxReplicas` of deploy/k8s/base/autoscaling.yaml."""
CORE_SHARE_MAX = 0.6
"""So much of its core may a process or a Redis server use: beyond it, frames wait for each other."""
RETENTION_S = 86_400
ENDED_CALL_BYTES = 6_300
"""Of an ended call in Redis, shortened (docs/bus.md, `python -m benchmarks.retained`)."""
VENDOR_BYTES_PER_S = {"stt": 8_000.0, "tts": 11_000.0}
"""To and from the vendors, per call: mu-law as bytes; in base64, while the agent speaks."""
MEAN_CALL_S = 120.0
MB = 1 << 20


@dataclass(frozen=True, slots=True)
class PodSize:
    """Requests and limits of one process: millicores and MiB.  One event loop never uses more than a core."""

    cpu_m: int
    memory_mi: int
    limit_mi: int
    limit_cpu: str = "1"


@dataclass(frozen=True, slots=True)
class Deployment:
    """What `calls` calls at the same time need."""

    calls: int
    calls_max: int
    members: dict[str, int]
    sizes: dict[str, PodSize]
    cores: dict[str, float]
    """Used, by role and "valkey"."""
    memory_gb: float
    redis_servers: int
    redis_commands_per_s: float
    redis_mbit_s: float
    redis_gb: float
    """Live calls, and those that ended within CALL_RETENTION_S."""
    carrier_mbit_s: float
    vendors_mbit_s: float
    starts_per_s: float
    tools_members: int = 0
    """Processes of the pool tools.  What a call costs them is not measured yet."""

    @property
    def cells(self) -> int:
        """Deployments of their own that it takes: neither more shards than there may be, nor more pods."""
        by_shards = -(-self.redis_servers // SHARDS_MAX)
        return max(by_shards, -(-max(self.members.values()) // REPLICAS_MAX))


def pod_size(constants: Constants, role: str, calls_max: int = CALLS_MAX) -> PodSize:
    """Return what a process that holds `calls_max` calls should request.

    Memory is three times what was measured, which counts pages that processes share once, and no long call, agent file
    or backlog; the limit is twice that.
    """
    need_mb = constants.idle_mb[role] + calls_max * constants.mb_per_call[role]
    request_mi = 64 * math.ceil(3 * need_mb / 64)
    cpu_m = 50 * math.ceil(1000 * calls_max * constants.cores_per_call[role] / 50)
    return PodSize(cpu_m, request_mi, 2 * request_mi)


def calls_by_core(constants: Constants, role: str) -> int:
    """Return how many calls one process (or server) can hold: as many as CALLS_MAX may be at most."""
    return int(CORE_SHARE_MAX / constants.cores_per_call[role])


def calls_on_one_core(constants: Constants) -> int:
    """Return how many calls a core carries that all processes and Redis share."""
    return int(1 / sum(constants.cores_per_call.values()))


def members_for(calls: int, calls_max: int) -> int:
    """Return how many processes of one kind hold so many calls."""
    return max(MEMBERS_MIN, math.ceil(calls / (FILL * calls_max)))


def plan(constants: Constants, calls: int, calls_max: int = CALLS_MAX, with_tools: int = 0) -> Deployment:
    """Return what so many calls at the same time need; `with_tools` of them have an agent with tools."""
    members = {role: members_for(calls, calls_max) for role in ROLES}
    ended = calls * RETENTION_S / MEAN_CALL_S
    memory_mb = sum(members[role] * constants.idle_mb[role] + calls * constants.mb_per_call[role] for role in ROLES)
    redis_bytes = calls * constants.redis_bytes_per_call + ended * ENDED_CALL_BYTES
    return Deployment(
        calls,
        calls_max,
        members,
        {role: pod_size(constants, role, calls_max) for role in ROLES},
        {name: calls * share for name, share in constants.cores_per_call.items()},
        memory_mb / 1024,
        max(1, math.ceil(calls * constants.cores_per_call[REDIS] / CORE_SHARE_MAX)),
        calls * constants.redis_commands_per_s,
        _mbit(calls * (constants.redis_in_bytes_per_s + constants.redis_out_bytes_per_s)),
        redis_bytes / (1 << 30),
        _mbit(calls * (constants.carrier_in_bytes_per_s + constants.carrier_out_bytes_per_s)),
        _mbit(calls * sum(VENDOR_BYTES_PER_S.values())),
        calls / MEAN_CALL_S,
        members_for(with_tools, calls_max) if with_tools else 0,
    )


def _mbit(bytes_per_s: float) -> float:
    return 8 * bytes_per_s / 1e6
