"""Kubernetes' HorizontalPodAutoscaler controller and KEDA's, as pure arithmetic on a virtual clock.

Written from the documented algorithm of `autoscaling/v2`: one sync every 15 s; the largest proposal of all metrics;
a tolerance of 10 %; stabilisation windows; scaling policies by period; minimum and maximum.  External metrics only,
since the overlays have no other.  A metric that cannot be had is None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.deploy.k8s_manifests import Thing

SYNC_SECONDS = 15
TOLERANCE = 0.1
SUFFIXES = {"m": 1e-3, "k": 1e3, "": 1.0}


@dataclass(frozen=True, slots=True)
class Scale:
    """What the controller sees of a Deployment: replicas asked for, replicas there (a rollout has more), ready pods."""

    wanted: int
    there: int
    ready: int


@dataclass(frozen=True, slots=True)
class Target:
    """One metric of the autoscaler: `per_pod` is an AverageValue, otherwise it is a Value."""

    name: str
    amount: float
    per_pod: bool


@dataclass(slots=True)
class Autoscaler:
    """One HorizontalPodAutoscaler.  `sync` returns the replicas that it sets."""

    targets: tuple[Target, ...]
    least: int
    most: int
    behavior: Mapping[str, Any]
    _proposals: list[tuple[float, int]] = field(default_factory=list)
    _changes: list[tuple[float, int]] = field(default_factory=list)

    @classmethod
    def of(cls, one: Thing) -> Autoscaler:
        """From a HorizontalPodAutoscaler, or from the one that KEDA makes of a ScaledObject."""
        spec = one["spec"]
        if one["kind"] == "ScaledObject":
            behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
            targets = tuple(
                Target(trigger["name"], quantity(str(threshold(trigger))), trigger["metricType"] == "AverageValue")
                for trigger in spec["triggers"]
            )
            return cls(targets, spec["minReplicaCount"], spec["maxReplicaCount"], behavior)
        found = []
        for metric in spec["metrics"]:
            target, name = metric["external"]["target"], metric["external"]["metric"]["name"]
            per_pod = target["type"] == "AverageValue"
            found.append(Target(name, quantity(target["averageValue" if per_pod else "value"]), per_pod))
        return cls(tuple(found), spec["minReplicas"], spec["maxReplicas"], spec["behavior"])

    def sync(self, now: float, scale: Scale, values: Mapping[str, float | None]) -> int:
        """One round, `values` being the metrics by name; call it every `SYNC_SECONDS`."""
        if scale.wanted == 0:
            return 0  # switched off by hand
        if not self._proposals:
            self._proposals.append((now, scale.wanted))
        if scale.wanted > self.most:
            desired = self.most
        elif scale.wanted < self.least:
            desired = self.least
        else:
            proposal = self._proposal(scale, values)
            if proposal is None:
                return scale.wanted
            desired = self._limited(now, scale.wanted, self._stable(now, scale.wanted, proposal))
        if desired != scale.wanted:
            self._changes.append((now, desired - scale.wanted))
        return desired

    def _proposal(self, scale: Scale, values: Mapping[str, float | None]) -> int | None:
        known = [(one, value) for one in self.targets if (value := values.get(one.name)) is not None]
        proposals = [_replicas(one, value, scale) for one, value in known]
        missing = len(known) < len(self.targets)
        if not proposals or (missing and max(proposals) < scale.wanted):
            return None  # what cannot be seen never scales down
        return max(proposals)

    def _stable(self, now: float, current: int, proposal: int) -> int:
        self._proposals.append((now, proposal))
        up = [n for at, n in self._proposals if at > now - self._window("scaleUp", 0)] or [proposal]
        down = [n for at, n in self._proposals if at > now - self._window("scaleDown", 300)] or [proposal]
        return min(max(current, min(*up, proposal)), max(*down, proposal))

    def _window(self, direction: str, default: float) -> float:
        return float(self.behavior.get(direction, {}).get("stabilizationWindowSeconds", default))

    def _limited(self, now: float, current: int, desired: int) -> int:
        if desired > current:
            limit = self._limit(now, current, "scaleUp", 1)
            return min(desired, max(limit, current), self.most)
        if desired < current:
            limit = self._limit(now, current, "scaleDown", -1)
            return max(desired, min(limit, current), self.least)
        return current

    def _limit(self, now: float, current: int, direction: str, sign: int) -> int:
        """How far the policies let it go in this sync."""
        rules = self.behavior[direction]
        limits = []
        for policy in rules["policies"]:
            began = current - sum(by for at, by in self._changes if at > now - policy["periodSeconds"])
            if policy["type"] == "Pods":
                limits.append(began + sign * policy["value"])
            else:
                share = began * (1 + sign * policy["value"] / 100)
                limits.append(math.ceil(share) if sign > 0 else int(share))
        # "Max" is the largest change, which downwards is the smallest number.
        return max(limits) if (rules["selectPolicy"] == "Max") == (sign > 0) else min(limits)


def _replicas(target: Target, value: float, scale: Scale) -> int:
    """What one metric asks for."""
    if target.per_pod:
        ratio = value / (target.amount * scale.there) if scale.there else math.inf
        return scale.there if abs(ratio - 1) <= TOLERANCE else math.ceil(value / target.amount)
    ratio = value / target.amount
    return scale.wanted if abs(ratio - 1) <= TOLERANCE else math.ceil(ratio * scale.ready)


@dataclass(slots=True)
class Keda:
    """KEDA of one ScaledObject: it lifts what is below the minimum, and leaves the rest to an autoscaler of its own."""

    autoscaler: Autoscaler

    def sync(self, now: float, scale: Scale, values: Mapping[str, float | None]) -> int:
        """One round; a trigger whose query has no result is an error, which changes nothing (`ignoreNullValues`)."""
        if scale.wanted < self.autoscaler.least:
            return self.autoscaler.least
        return self.autoscaler.sync(now, scale, values)


def controller(one: Thing) -> Autoscaler | Keda:
    """The one that would act on this object."""
    autoscaler = Autoscaler.of(one)
    return Keda(autoscaler) if one["kind"] == "ScaledObject" else autoscaler


def threshold(trigger: Thing) -> str:
    """KEDA calls it by another name in each kind of trigger."""
    facts: dict[str, str] = trigger["metadata"]
    return facts["threshold"] if trigger["type"] == "prometheus" else facts["streamLength"]


def quantity(text: str) -> float:
    """A Kubernetes quantity: "700m" is 0.7."""
    number = text.rstrip("mk")
    return float(number) * SUFFIXES[text[len(number) :]]
