"""What deploy/k8s renders to, as plain objects, and how Kubernetes finds one by another."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from tests.programs import program

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "deploy" / "k8s"
OVERLAYS = tuple(sorted(path.name for path in (K8S / "overlays").iterdir() if path.is_dir()))
RENDER_SECONDS = 60

Thing: TypeAlias = dict[str, Any]
"""One Kubernetes object, or a part of one, as YAML has it."""


def kubectl() -> str:
    """The program: of the environment that runs the tests, else of the machine."""
    return program("kubectl")


def render_text(folder: Path) -> str:
    """What `kubectl kustomize` makes of a folder; fails the test with its message if it does not."""
    ran = subprocess.run([kubectl(), "kustomize", folder], capture_output=True, text=True, timeout=RENDER_SECONDS)
    assert ran.returncode == 0, ran.stderr
    assert not ran.stderr, ran.stderr  # such as a deprecated field
    return ran.stdout


@functools.cache
def _overlay(name: str) -> str:
    return render_text(K8S / "overlays" / name)


def overlay(name: str) -> list[Thing]:
    """The objects of an overlay, anew for every caller."""
    return list(yaml.safe_load_all(_overlay(name)))


def of_kind(objects: Sequence[Thing], *kinds: str) -> list[Thing]:
    return [one for one in objects if one["kind"] in kinds]


def named(objects: Sequence[Thing], kind: str, name: str) -> Thing:
    """The one object of this kind and name."""
    (found,) = (one for one in of_kind(objects, kind) if one["metadata"]["name"] == name)
    return found


def title(thing: Thing) -> str:
    return f"{thing['kind']} {thing['metadata']['name']}"


WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")


def workloads(objects: Sequence[Thing]) -> list[Thing]:
    """Whatever makes pods."""
    return of_kind(objects, *WORKLOADS)


def template(workload: Thing) -> Thing:
    found: Thing = workload["spec"]["template"]
    return found


def labels(workload: Thing) -> dict[str, str]:
    """Of its pods."""
    found: dict[str, str] = template(workload)["metadata"].get("labels", {})
    return found


def containers(workload: Thing) -> Iterator[Thing]:
    """Init containers too."""
    spec = template(workload)["spec"]
    yield from spec.get("initContainers", [])
    yield from spec["containers"]


def selects(selector: Mapping[str, Any], found: Mapping[str, str]) -> bool:
    """A LabelSelector (matchLabels and matchExpressions), on labels.  The empty one selects everything."""
    if any(found.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for expression in selector.get("matchExpressions", []):
        key, operator, values = expression["key"], expression["operator"], expression.get("values", [])
        fits = {
            "In": found.get(key) in values,
            "NotIn": found.get(key) not in values,
            "Exists": key in found,
            "DoesNotExist": key not in found,
        }[operator]
        if not fits:
            return False
    return True


def selected(objects: Sequence[Thing], selector: Mapping[str, Any]) -> list[Thing]:
    """The workloads whose pods a LabelSelector selects."""
    return [workload for workload in workloads(objects) if selects(selector, labels(workload))]


def behind(objects: Sequence[Thing], service: Thing) -> list[Thing]:
    """The workloads whose pods a Service sends to."""
    return selected(objects, {"matchLabels": service["spec"]["selector"]})


def ports(workload: Thing) -> dict[str, int]:
    """Name -> number of what the containers of its pods listen on."""
    return {port["name"]: port["containerPort"] for one in containers(workload) for port in one.get("ports", [])}


def has_port(workload: Thing, port: str | int) -> bool:
    found = ports(workload)
    return port in found or port in found.values()


def environment(container: Thing) -> dict[str, Thing]:
    """Its `env`, by name; a name that is there twice would be a silent mistake."""
    entries = container.get("env", [])
    by_name = {entry["name"]: entry for entry in entries}
    assert len(by_name) == len(entries), f"{container['name']} has a variable twice"
    return by_name
