"""What containers are given: variables, secrets, images, time to leave.  Each function returns what is wrong."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from common.settings import BadSettings, Settings
from edge.http.server import SHUTDOWN_SECONDS
from tests.deploy.k8s_manifests import Thing, containers, environment, named, of_kind, template, title, workloads

SETTINGS = frozenset(field.name.upper() for field in dataclasses.fields(Settings))
OURS = frozenset({"edge", "stt", "llm", "tts", "tools"})
HAND_OVER_SECONDS = 2
"""How long `python -m edge` waits after it has handed its calls over."""
MARGIN_SECONDS = 15
UID = 10001
SAMPLES = {
    "REDIS_URL": "redis+sentinel://edge:0123abcd@sentinel-0.sentinel:26379/voice/0?sentinel_password=0123abcd",
    "STREAM_SECRET": "0123456789abcdef",
    "VOBIZ_AUTH_ID": "MA_XXXXXXXX",
    "VOBIZ_AUTH_TOKEN": "token",
    "VOBIZ_FROM_NUMBER": "+911234567890",
}
"""For what comes out of Secrets."""


def references(objects: Sequence[Thing], documented: Mapping[str, set[str]]) -> list[str]:
    """ConfigMaps and Secrets that pods and triggers name: rendered, or documented (Secret's name -> keys)."""
    found = []
    known: dict[tuple[str, str], set[str]] = {("Secret", name): keys for name, keys in documented.items()}
    for one in of_kind(objects, "ConfigMap", "Secret"):
        known[one["kind"], one["metadata"]["name"]] = set(one.get("data", {})) | set(one.get("stringData", {}))
    for who, kind, name, key, optional in _references(objects):
        if (kind, name) not in known:
            if not optional:
                found.append(f"{who}: {kind} {name} is neither here nor in README.md")
        elif key and key not in known[kind, name] and not optional:
            found.append(f"{who}: {kind} {name} has no {key}")
    return found


def _references(objects: Sequence[Thing]) -> Iterator[tuple[str, str, str, str, bool]]:
    """(who, kind, name, key or nothing, optional)."""
    for workload in workloads(objects):
        who = title(workload)
        for container in containers(workload):
            for source in container.get("envFrom", []):
                for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                    if field in source:
                        yield who, kind, source[field]["name"], "", source[field].get("optional", False)
            for entry in environment(container).values():
                for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                    if ref := entry.get("valueFrom", {}).get(field):
                        yield who, kind, ref["name"], ref["key"], ref.get("optional", False)
        for volume in template(workload)["spec"].get("volumes", []):
            if "configMap" in volume:
                yield who, "ConfigMap", volume["configMap"]["name"], "", False
            if "secret" in volume:
                yield who, "Secret", volume["secret"]["secretName"], "", False
    for login in of_kind(objects, "TriggerAuthentication"):
        for ref in login["spec"]["secretTargetRef"]:
            yield title(login), "Secret", ref["name"], ref["key"], False


def settings(objects: Sequence[Thing]) -> list[str]:
    """Edge and workers get only variables that they read, with values that they take."""
    found = []
    for workload in workloads(objects):
        for container in containers(workload):
            if container["name"] not in OURS:
                continue
            who = title(workload)
            values = _values(objects, container)
            found += [f"{who}: {name} is no setting" for name in sorted(values.keys() - SETTINGS)]
            try:
                read = Settings.from_env(values)
            except BadSettings as error:
                found.append(f"{who}: {error}")
                continue
            listens = {port["containerPort"] for port in container["ports"]}
            expected = read.http_port if container["name"] == "edge" else read.metrics_port
            if listens != {expected}:
                found.append(f"{who} listens on {expected}, not on {listens}")
    return found


def _values(objects: Sequence[Thing], container: Thing) -> dict[str, str]:
    """What the container would see; sample values for what comes out of Secrets that are not rendered."""
    values: dict[str, str] = {}
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            values |= named(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    for name, entry in environment(container).items():
        values[name] = entry["value"] if "value" in entry else _secret(objects, name, entry)
    return values


def _secret(objects: Sequence[Thing], name: str, entry: Thing) -> str:
    ref = entry["valueFrom"].get("secretKeyRef", {})
    for one in of_kind(objects, "Secret"):
        if one["metadata"]["name"] == ref.get("name") and ref["key"] in one["data"]:
            return base64.b64decode(one["data"][ref["key"]]).decode()
    return SAMPLES.get(name, "sample-of-a-key-of-some-length")


def drain(objects: Sequence[Thing]) -> list[str]:
    """An edge has time for all its calls; others are gone quickly, since calls move."""
    found = []
    for workload in of_kind(objects, "Deployment"):
        spec = template(workload)["spec"]
        (container,) = spec["containers"]
        grace = spec.get("terminationGracePeriodSeconds", 30)
        if container["name"] == "edge":
            pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            waits = int(_values(objects, container).get("DRAIN_SECONDS", Settings().drain_seconds))
            needed = pause + waits + HAND_OVER_SECONDS + SHUTDOWN_SECONDS + MARGIN_SECONDS
            if not pause:
                found.append(f"{title(workload)} leaves before it is known to leave")
            if grace < needed:
                found.append(f"{title(workload)} has {grace} s to leave and needs {needed}")
        elif grace > 60:
            found.append(f"{title(workload)} takes {grace} s to leave")
        rolling = workload["spec"].get("strategy", {}).get("rollingUpdate", {})
        if rolling.get("maxUnavailable") != 0:
            found.append(f"{title(workload)} rolls with fewer than it needs")
    return found


def care(objects: Sequence[Thing]) -> list[str]:
    """What every container of ours has: bounds, a tagged image, probes that forgive, no token, no writable root."""
    found = []
    accounts = {one["metadata"]["name"]: one for one in of_kind(objects, "ServiceAccount")}
    for workload in workloads(objects):
        who, spec = title(workload), template(workload)["spec"]
        account = accounts.get(spec.get("serviceAccountName", "default"), {})
        if spec.get("automountServiceAccountToken") is not False or account.get("automountServiceAccountToken", True):
            found.append(f"{who} has a token of the API server")
        if spec.get("enableServiceLinks") is not False:
            found.append(f"{who} gets variables of every Service")
        if spec["securityContext"].get("runAsUser") != UID:
            found.append(f"{who} does not run as {UID}")
        if not spec.get("topologySpreadConstraints") and workload["spec"].get("replicas") != 1:
            found.append(f"{who} may be on one node only")
        mounts = {volume["name"] for volume in spec.get("volumes", [])}
        mounts |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        for container in containers(workload):
            found += [f"{who}, {container['name']}: {problem}" for problem in _container(container, mounts)]
        for container in spec["containers"]:
            for probe in ("livenessProbe", "readinessProbe"):
                if probe not in container:
                    found.append(f"{who}: no {probe}")
            if container.get("livenessProbe", {}).get("httpGet", {}).get("path") == "/readyz":
                found.append(f"{who} is restarted when Redis is away")
    return found


def _container(container: Thing, volumes: set[str]) -> Iterator[str]:
    bounds: Mapping[str, Any] = container.get("resources", {})
    for way in ("requests", "limits"):
        if not {"cpu", "memory"} <= bounds.get(way, {}).keys():
            yield f"no {way}"
    _, colon, tag = container["image"].rpartition("/")[2].partition(":")
    if not colon or tag.startswith("latest") or not re.fullmatch(r"[\w.-]+(@sha256:[0-9a-f]{64})?", tag):
        yield f"image {container['image']}"
    if not container.get("securityContext", {}).get("readOnlyRootFilesystem"):
        yield "its root can be written"
    for mount in container.get("volumeMounts", []):
        if mount["name"] not in volumes:
            yield f"there is no volume {mount['name']}"
