"""Do the autoscalers ask for what exists, and never hurt a call?  Each function returns what is wrong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from common import metrics
from common.streams import pool_calls
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
    """The metrics and streams that autoscalers ask for exist, with these labels."""
    recorded = {rule["record"]: rule["expr"] for rule in _rules(objects) if "record" in rule}
    processes = {one["metadata"]["name"] for one in of_kind(objects, "Deployment")}
    found = []
    for one in of_kind(objects, "HorizontalPodAutoscaler"):
        for metric in one["spec"]["metrics"]:
            asked = metric["external"]["metric"]
            if asked["name"] not in recorded:
                found.append(f"{title(one)} asks for {asked['name']}, which no rule records")
            if asked["selector"]["matchLabels"] != {"process": one["spec"]["scaleTargetRef"]["name"]}:
                found.append(f"{title(one)} asks for another's {asked['name']}")
    for one in of_kind(objects, "ScaledObject"):
        found += _triggers(objects, one, recorded, processes)
    return found


def _triggers(objects: Sequence[Thing], one: Thing, recorded: dict[str, str], processes: set[str]) -> list[str]:
    found = []
    name = one["spec"]["scaleTargetRef"]["name"]
    logins = {login["metadata"]["name"] for login in of_kind(objects, "TriggerAuthentication")}
    (namespace,) = (space["metadata"]["name"] for space in of_kind(objects, "Namespace"))
    for trigger in one["spec"]["triggers"]:
        facts = trigger["metadata"]
        wrong = [f"{key} is no text" for key, value in facts.items() if not isinstance(value, str)]
        login = trigger.get("authenticationRef", {}).get("name")
        if login and login not in logins:
            wrong.append(f"{login} is no TriggerAuthentication")
        if trigger["type"] == "prometheus":
            if f'process="{name}"' not in facts["query"] or f'namespace="{namespace}"' not in facts["query"]:
                wrong.append("it asks for another's figures")
            if not set(re.findall(r"voice_\w+", facts["query"])) <= recorded.keys():
                wrong.append("it asks for what no rule records")
            if facts.get("ignoreNullValues") != "false":
                wrong.append("no data would look like no calls")
        elif name in processes:
            if facts["stream"] != pool_calls(name):
                wrong.append(f"{facts['stream']} is not its offers' stream")
            found += [f"{title(one)}: {problem}" for problem in _addresses(objects, facts["addresses"], namespace)]
        found += [f"{title(one)}, {trigger['type']}: {problem}" for problem in wrong]
    return found


def _addresses(objects: Sequence[Thing], text: str, namespace: str) -> list[str]:
    """KEDA asks from a namespace of its own: names must be whole."""
    pods = {
        f"{one['metadata']['name']}-{number}.{one['spec']['serviceName']}.{namespace}.svc:26379"
        for one in of_kind(objects, "StatefulSet")
        for number in range(one["spec"]["replicas"])
    }
    return [f"{address} is no pod" for address in text.split(",") if address not in pods]


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
