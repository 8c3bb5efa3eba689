"""Does everything that points at something find it?  No schema tells: a selector that matches nothing is valid.

Each function takes the objects of one overlay and returns what is wrong, a sentence each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.deploy.k8s_manifests import (
    Thing,
    behind,
    containers,
    has_port,
    labels,
    of_kind,
    ports,
    selected,
    selects,
    template,
    title,
    workloads,
)

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
CLUSTER_WIDE = ("Namespace",)
ELSEWHERE = frozenset({"kube-system", "ingress-nginx", "gateway", "monitoring", "keda"})
"""Namespaces of others that our policies name; README.md says so."""


def duplicates(objects: Sequence[Thing]) -> list[str]:
    """Two objects that would overwrite each other, and objects outside the namespace."""
    keys = Counter((one["apiVersion"].split("/")[0], title(one), one["metadata"].get("namespace")) for one in objects)
    found = [f"{name} is there {count} times" for (_, name, _), count in keys.items() if count > 1]
    (namespace,) = (one["metadata"]["name"] for one in of_kind(objects, "Namespace"))
    return found + [
        f"{title(one)} is outside {namespace}"
        for one in objects
        if one["kind"] not in CLUSTER_WIDE and one["metadata"].get("namespace") != namespace
    ]


def selectors(objects: Sequence[Thing]) -> list[str]:
    """Whatever selects pods selects some, and a workload its own and nobody else's."""
    found = []
    for workload in workloads(objects):
        chosen = selected(objects, workload["spec"]["selector"])
        if chosen != [workload]:
            found.append(f"{title(workload)} selects {', '.join(map(title, chosen)) or 'nothing'}")
        for spread in template(workload)["spec"].get("topologySpreadConstraints", []):
            if not selects(spread["labelSelector"], labels(workload)):
                found.append(f"{title(workload)} spreads over pods of others")
    found += [f"{title(one)} has nobody behind it" for one in of_kind(objects, "Service") if not behind(objects, one)]
    for one in of_kind(objects, "PodDisruptionBudget", "PodMonitor"):
        if not selected(objects, one["spec"]["selector"]):
            found.append(f"{title(one)} selects nothing")
    for one in of_kind(objects, "ServiceMonitor"):
        services = of_kind(objects, "Service")
        if not any(selects(one["spec"]["selector"], s["metadata"].get("labels", {})) for s in services):
            found.append(f"{title(one)} selects no Service")
    for one in of_kind(objects, "NetworkPolicy"):
        if not selected(objects, one["spec"]["podSelector"]):
            found.append(f"{title(one)} selects nothing")
    return found


def budgets(objects: Sequence[Thing]) -> list[str]:
    """Each workload has one disruption budget, and one that lets a node be drained."""
    found = []
    for workload in workloads(objects):
        own = [
            one for one in of_kind(objects, "PodDisruptionBudget") if selects(one["spec"]["selector"], labels(workload))
        ]
        if len(own) != 1 and workload["spec"].get("replicas") != 1:
            found.append(f"{title(workload)} has {len(own)} disruption budgets")
        found += [f"{title(one)} lets nobody go" for one in own if one["spec"].get("maxUnavailable") in (0, "0%")]
    return found


def service_ports(objects: Sequence[Thing]) -> list[str]:
    """Services send to ports that are there, Ingresses to Services that are there, probes to their own container."""
    found = []
    services = {one["metadata"]["name"]: one for one in of_kind(objects, "Service")}
    for name, service in services.items():
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            if not all(has_port(workload, target) for workload in behind(objects, service)):
                found.append(f"Service {name} sends to {target}, where nobody listens")
    for ingress in of_kind(objects, "Ingress"):
        for name, port in _backends(ingress):
            known = services[name]["spec"]["ports"] if name in services else []
            if not any(port in (None, one["port"], one.get("name")) for one in known):
                found.append(f"{title(ingress)} sends to {name}:{port}, which is not there")
    for workload in workloads(objects):
        for container in containers(workload):
            here = {port["name"] for port in container.get("ports", [])}
            for probe in PROBES:
                for way in ("httpGet", "tcpSocket"):
                    port = container.get(probe, {}).get(way, {}).get("port")
                    if port is not None and port not in here:
                        found.append(f"{title(workload)}: {probe} asks {port}, where nobody listens")
        if workload["kind"] == "StatefulSet" and workload["spec"]["serviceName"] not in services:
            found.append(f"{title(workload)}: its pods have no names")
    return found


def _backends(ingress: Thing) -> Iterator[tuple[str, str | int | None]]:
    for rule in ingress["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            service = path["backend"]["service"]
            yield service["name"], service["port"].get("name") or service["port"].get("number")
    last_resort = ingress["metadata"].get("annotations", {}).get("nginx.ingress.kubernetes.io/default-backend")
    if last_resort:
        yield last_resort, None


def policies(objects: Sequence[Thing]) -> list[str]:
    """All traffic is refused but what is named; what is named exists, and every port is reached by somebody."""
    found = []
    rules = of_kind(objects, "NetworkPolicy")
    if not any(not one["spec"]["podSelector"] and set(one["spec"]["policyTypes"]) == {"Ingress", "Egress"}
               and not one["spec"].get("ingress") and not one["spec"].get("egress") for one in rules):  # fmt: skip
        found.append("nothing is denied by default")
    opened: set[tuple[str, str | int]] = set()
    for one in rules:
        ours = selected(objects, one["spec"]["podSelector"])
        for way, peers in (("ingress", "from"), ("egress", "to")):
            for rule in one["spec"].get(way, []):
                found += _peers(objects, one, rule.get(peers, []))
                targets = ours if way == "ingress" else _targets(objects, rule.get(peers, []))
                for port in rule["ports"]:
                    if targets and not any(has_port(workload, port["port"]) for workload in targets):
                        found.append(f"{title(one)} opens {port['port']}, where nobody listens")
                    if way == "ingress":
                        opened |= {(title(w), p) for w in ours for p in _both(w, port["port"])}
    for workload in workloads(objects):
        for name, number in ports(workload).items():
            if not {(title(workload), name), (title(workload), number)} & opened:
                found.append(f"{title(workload)}: nobody may reach {name}")
    return found


def _both(workload: Thing, port: str | int) -> set[str | int]:
    return {x for pair in ports(workload).items() for x in pair if port in pair}


def _peers(objects: Sequence[Thing], policy: Thing, peers: Sequence[Thing]) -> Iterator[str]:
    if not peers:
        yield f"{title(policy)} lets everybody through"
    for peer in peers:
        if "podSelector" in peer and "namespaceSelector" not in peer and not selected(objects, peer["podSelector"]):
            yield f"{title(policy)} names pods that are not there"
        where = peer.get("namespaceSelector", {}).get("matchLabels", {})
        if "namespaceSelector" in peer and where.get("kubernetes.io/metadata.name") not in ELSEWHERE:
            yield f"{title(policy)} names a namespace that README.md does not"


def _targets(objects: Sequence[Thing], peers: Sequence[Thing]) -> list[Thing]:
    """Our own workloads among the peers."""
    return [
        workload
        for peer in peers
        if "podSelector" in peer and "namespaceSelector" not in peer
        for workload in selected(objects, peer["podSelector"])
    ]


def monitors(objects: Sequence[Thing]) -> list[str]:
    """What is scraped listens, and of edge and pools each is scraped once."""
    found = []
    scraped: Counter[str] = Counter()
    for one in of_kind(objects, "PodMonitor"):
        for workload in selected(objects, one["spec"]["selector"]):
            scraped[title(workload)] += 1
            for endpoint in one["spec"]["podMetricsEndpoints"]:
                if not has_port(workload, endpoint["port"]):
                    found.append(f"{title(one)} scrapes {endpoint['port']}, where {title(workload)} does not listen")
    if of_kind(objects, "PodMonitor"):
        for workload in of_kind(objects, "Deployment"):
            if scraped[title(workload)] != 1:
                found.append(f"{title(workload)} is scraped {scraped[title(workload)]} times")
    return found
