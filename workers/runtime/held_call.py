"""Defines a call that this member of a pool owns."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from common.store import Claim


@dataclass(slots=True)
class HeldCall:
    """The claim of a call, and the task that runs its session."""

    claim: Claim
    task: asyncio.Task[None]
    since_s: float
    """Loop time of the claim."""
    passing: bool = False
    """The call is being passed to another member."""


def trial_left_s(held: Iterable[HeldCall], lease_ms: int, now_s: float) -> float:
    """How many seconds a suspect is still on trial; 0 without one.  Its owner's last renewal may be a lease old."""
    on_trial = [one for one in held if one.claim.trial_ms]
    return max((one.since_s + (one.claim.trial_ms + lease_ms) / 1000 - now_s for one in on_trial), default=0.0)
