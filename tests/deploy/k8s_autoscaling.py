"""Do the autoscalers ask for what exists, and never hurt a call?  Each function returns what is wrong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from common.telemetry import metrics
from tests.deploy.k8s_manifests import Thing, of_kind, title

SCALE_DOWN_WINDOW_SECONDS_MIN = 300


def targets(objects: Sequence[Thing]) -> list[str]:
    """Each Deployment has one autoscaler, or a fixed number."""
    deployments = {one["metadata"]["name"]: one for one in of_kind(objects, "Deployment")}
    scaled: Counter[str] = Counter()
    found = []
    for one in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject"):
        name = one["spec"]["scaleTargetRef"]["name"]
        scaled[name] += 1
        if name not in deployments:
            found.append(f"{title(one)} scales {name}, which is not there")
    found += [f"{name} has {count} autoscalers" for name, count in scaled.items() if count > 1]
    if scaled:
        found += [f"Deployment {name} has no autoscaler" for name in deployments if not scaled[name]]
        found += [
            f"Deployment {name} has replicas, which an apply would set back"
            for name, one in deployments.items()
            if "replicas" in one["spec"]
        ]
    return found


def gentle(objects: Sequence[Thing]) -> list[str]:
    """Down one pod at a time and late; never to fewer than two."""
    found = []
    for one in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject"):
        spec = one["spec"]
        if one["kind"] == "ScaledObject":
            spec = {
                "minReplicas": spec.get("minReplicaCount", 0),
                "maxReplicas": spec.get("maxReplicaCount", 100),
                **spec["advanced"]["horizontalPodAutoscalerConfig"],
            }
        down = spec.get("behavior", {}).get("scaleDown", {})
        if down.get("stabilizationWindowSeconds", 300) < SCALE_DOWN_WINDOW_SECONDS_MIN:
            found.append(f"{title(one)} scales down too early")
        if [(p["type"], p["value"]) for p in down.get("policies", [])] != [("Pods", 1)]:
            found.append(f"{title(one)} takes more than one pod at a time")
        if not 2 <= spec["minReplicas"] < spec["maxReplicas"]:
            found.append(f"{title(one)} may leave {spec['minReplicas']}")
    return found


def figures(objects: Sequence[Thing]) -> list[str]:
    """Each autoscaler asks for one figure: how many of its members are needed, by a rule that is there."""
    recorded = {rule["record"] for rule in _rules(objects) if "record" in rule}
    found = []
    for one in of_kind(objects, "HorizontalPodAutoscaler"):
        for metric in one["spec"]["metrics"]:
            asked = metric["external"]["metric"]
            if asked["name"] not in recorded:
                found.append(f"{title(one)} asks for {asked['name']}, which no rule records")
            if asked["selector"]["matchLabels"] != {"process": one["spec"]["scaleTargetRef"]["name"]}:
                found.append(f"{title(one)} asks for another's {asked['name']}")
    for one in of_kind(objects, "ScaledObject"):
        found += _triggers(objects, one, recorded)
    return found


def steady(objects: Sequence[Thing]) -> list[str]:
    """One metric, of which one is wanted per pod.  A Value is multiplied with the pods at every sync: it compounds."""
    found = []
    for one in of_kind(objects, "HorizontalPodAutoscaler"):
        targets = [metric["external"]["target"] for metric in one["spec"]["metrics"]]
        if targets != [{"type": "AverageValue", "averageValue": "1"}]:
            found.append(f"{title(one)} does not ask for one member for each that is needed")
    for one in of_kind(objects, "ScaledObject"):
        triggers = [(t["type"], t.get("metricType"), t["metadata"].get("threshold")) for t in one["spec"]["triggers"]]
        if triggers != [("prometheus", "AverageValue", "1")]:
            found.append(f"{title(one)} does not ask for one member for each that is needed")
    return found


def _triggers(objects: Sequence[Thing], one: Thing, recorded: set[str]) -> list[str]:
    found = []
    name = one["spec"]["scaleTargetRef"]["name"]
    (namespace,) = (space["metadata"]["name"] for space in of_kind(objects, "Namespace"))
    for trigger in (trigger for trigger in one["spec"]["triggers"] if trigger["type"] == "prometheus"):
        facts = trigger["metadata"]
        wrong = [f"{key} is no text" for key, value in facts.items() if not isinstance(value, str)]
        if f'process="{name}"' not in facts["query"] or f'namespace="{namespace}"' not in facts["query"]:
            wrong.append("it asks for another's figures")
        if not set(re.findall(r"voice_\w+", facts["query"])) <= recorded:
            wrong.append("it asks for what no rule records")
        if facts.get("ignoreNullValues") != "false":
            wrong.append("no data would look like no calls")
        found += [f"{title(one)}, {trigger['type']}: {problem}" for problem in wrong]
    return found


def rules(objects: Sequence[Thing]) -> list[str]:
    """Rules use only metrics that the processes have, or that other rules record."""
    known = set()
    for metric in vars(metrics).values():
        if hasattr(metric, "describe") and hasattr(metric, "_labelnames"):
            family = metric.describe()[0]
            suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
            known |= {family.name + suffix for suffix in suffixes}
    known |= {rule["record"] for rule in _rules(objects) if "record" in rule}
    return sorted(
        f"{name} is no metric of ours"
        for name in {name for rule in _rules(objects) for name in re.findall(r"\bvoice[_:][\w:]+", rule["expr"])}
        if name not in known
    )


def _rules(objects: Sequence[Thing]) -> list[Thing]:
    found = of_kind(objects, "PrometheusRule")
    return [rule for one in found for group in one["spec"]["groups"] for rule in group["rules"]]
