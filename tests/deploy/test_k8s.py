"""deploy/k8s: every overlay renders, is valid for Kubernetes 1.32 and 1.36, and its parts find each other."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.settings import Settings
from deploy.k8s import prometheus_rules
from tests.deploy import k8s_autoscaling, k8s_environment, k8s_wiring
from tests.deploy.k8s_manifests import (
    K8S,
    OVERLAYS,
    ROOT,
    Thing,
    named,
    of_kind,
    overlay,
    render_text,
    selected,
    selects,
    template,
    title,
)
from tests.deploy.k8s_pod_security import violations

pytestmark = pytest.mark.processes

VERSIONS = ("1.32", "1.36")
SCHEMAS = {
    "ScaledObject": "keda.v1alpha1",
    "PodMonitor": "prometheus_operator.v1",
    "PrometheusRule": "prometheus_operator.v1",
}
"""Custom resources, and the module of cloudcoil.models that knows them."""

CHECKS: tuple[Callable[[Sequence[Thing]], list[str]], ...] = (
    k8s_wiring.duplicates,
    k8s_wiring.selectors,
    k8s_wiring.budgets,
    k8s_wiring.service_ports,
    k8s_wiring.policies,
    k8s_wiring.monitors,
    k8s_autoscaling.targets,
    k8s_autoscaling.gentle,
    k8s_autoscaling.figures,
    k8s_autoscaling.steady,
    k8s_autoscaling.rules,
    k8s_environment.settings,
    k8s_environment.drain,
    k8s_environment.care,
)


def documented_secrets() -> dict[str, set[str]]:
    """Secret -> keys, by the table of README.md."""
    found: dict[str, set[str]] = {}
    for line in (K8S / "README.md").read_text("utf-8").splitlines():
        cells = [re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[1:3]]
        if len(cells) == 2 and cells[0] and cells[0][0].startswith("voice-"):
            found.setdefault(cells[0][0], set()).update(cells[1])
    return found


def none_of(problems: Sequence[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


# --- valid ---------------------------------------------------------------------------------------------------------


def refused(objects: Sequence[Thing], version: str) -> list[str]:
    """What a server of this version would refuse, by its own schemas."""
    validator = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    problems = []
    for one in objects:
        if one["kind"] in SCHEMAS:
            continue
        try:
            validator.validate(one, version, strict=True)
        except validator.ValidationError as error:
            problems.append(f"{title(one)}: {error.message}")
    return problems


def misunderstood(objects: Sequence[Thing]) -> list[str]:
    """The same for custom resources, by pydantic models of their definitions; what these would ignore is a typo."""
    problems = []
    for one in of_kind(objects, *SCHEMAS):
        module = pytest.importorskip(
            f"cloudcoil.models.{SCHEMAS[one['kind']]}", reason="pip install cloudcoil-models-keda and its like"
        )
        try:
            model = getattr(module, one["kind"]).model_validate(one)
        except ValueError as error:
            problems.append(f"{title(one)}: {error}")
            continue
        understood = model.model_dump(by_alias=True, exclude_unset=True, mode="json")
        problems += [f"{title(one)}: {path} is unknown" for path in _ignored(one, understood)]
    return problems


def _ignored(given: Any, understood: Any, path: str = "") -> list[str]:
    if isinstance(given, dict) and isinstance(understood, dict):
        found = [f"{path}.{key}" for key in given if key not in understood]
        return found + [
            p for key in given if key in understood for p in _ignored(given[key], understood[key], f"{path}.{key}")
        ]
    if isinstance(given, list) and isinstance(understood, list):
        return [
            p for i, pair in enumerate(zip(given, understood, strict=True)) for p in _ignored(*pair, f"{path}[{i}]")
        ]
    return []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", OVERLAYS)
def test_every_object_is_valid(name: str, version: str) -> None:
    none_of(refused(overlay(name), version))


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_custom_resource_is_valid(name: str) -> None:
    none_of(misunderstood(overlay(name)))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_see_a_misspelt_field_and_a_wrong_value(version: str) -> None:
    objects = overlay("prod")
    template(named(objects, "Deployment", "edge"))["spec"]["terminationGraceSeconds"] = 60
    named(objects, "HorizontalPodAutoscaler", "stt")["spec"]["minReplicas"] = "two"
    found = refused(objects, version)
    assert [problem.partition(":")[0] for problem in found] == ["Deployment edge", "HorizontalPodAutoscaler stt"]


def test_the_models_see_a_misspelt_field_and_a_wrong_value() -> None:
    objects = overlay("prod-keda")
    named(objects, "ScaledObject", "stt")["spec"]["minReplicas"] = 2
    named(objects, "ScaledObject", "tts")["spec"]["maxReplicaCount"] = "many"
    named(objects, "PodMonitor", "edge")["spec"]["podMetricsEndpoints"][0]["intervall"] = "15s"
    found = misunderstood(objects)
    assert len(found) == 3 and all(word in "".join(found) for word in ("minReplicas", "maxReplicaCount", "intervall"))


@pytest.mark.parametrize("name", OVERLAYS)
def test_only_known_kinds_are_used(name: str) -> None:
    """Whatever no schema knows would be passed over in silence."""
    groups = {one["apiVersion"] for one in overlay(name) if one["kind"] not in SCHEMAS}
    assert groups <= {"v1", "apps/v1", "autoscaling/v2", "networking.k8s.io/v1", "policy/v1"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_pods_are_restricted(name: str) -> None:
    objects = overlay(name)
    (namespace,) = of_kind(objects, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    workloads = of_kind(objects, "Deployment", "StatefulSet")
    assert len(workloads) >= 5
    none_of([f"{title(one)}: {problem}" for one in workloads for problem in violations(template(one))])


# --- consistent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.__module__.rpartition('_')[2]}.{check.__name__}")
@pytest.mark.parametrize("name", OVERLAYS)
def test_parts_fit(name: str, check: Callable[[Sequence[Thing]], list[str]]) -> None:
    none_of(check(overlay(name)))


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_pods_refer_to_is_there_or_documented(name: str) -> None:
    secrets = {} if name == "dev" else documented_secrets()  # the dev overlay must bring all that it needs
    none_of(k8s_environment.references(overlay(name), secrets))


def test_keda_replaces_every_autoscaler() -> None:
    """Two for one Deployment would fight."""
    plain, keda = overlay("prod"), overlay("prod-keda")
    assert len(of_kind(plain, "HorizontalPodAutoscaler")) == len(of_kind(keda, "ScaledObject")) == 5
    assert not of_kind(keda, "HorizontalPodAutoscaler") and not of_kind(plain, "ScaledObject")
    for one in of_kind(keda, "ScaledObject"):
        twin = named(plain, "HorizontalPodAutoscaler", one["metadata"]["name"])["spec"]
        spec = one["spec"]
        assert spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == twin["behavior"]
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (twin["minReplicas"], twin["maxReplicas"])


def webhooks() -> set[str]:
    """The paths that edge/http/webhooks.py serves."""
    found = set(
        re.findall(r'^ +"(/[\w-]+)": self\.', (ROOT / "edge/http/webhooks.py").read_text("utf-8"), re.MULTILINE)
    )
    assert {"/answer", "/hangup", "/fallback"} <= found
    return found


def test_the_ingress_lets_in_what_the_carrier_calls_and_nothing_else() -> None:
    """The routes of edge/http/webhooks.py; the API, the probes and /metrics stay inside."""
    hooks = webhooks()
    (ingress,) = of_kind(overlay("prod"), "Ingress")
    (rule,) = ingress["spec"]["rules"]
    paths = {(path["path"], path["pathType"]) for path in rule["http"]["paths"]}
    assert paths == {(hook, "Exact") for hook in hooks} | {("/ws", "Prefix")}
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
    settings = next(one for one in of_kind(overlay("prod"), "ConfigMap") if "PUBLIC_URL" in one["data"])
    assert settings["data"]["PUBLIC_URL"] == f"https://{rule['host']}"


def test_production_checks_signatures_and_takes_no_engine_by_chance() -> None:
    values = {key: value for one in of_kind(overlay("prod"), "ConfigMap") for key, value in one["data"].items()}
    settings = Settings.from_env({**values, "VOBIZ_AUTH_ID": "MA_XXXXXXXX", "VOBIZ_AUTH_TOKEN": "token"})
    assert settings.signature_policy == "required"
    assert not [
        spec for pool in ("stt", "llm", "tts") for spec in settings.providers(pool) if spec.startswith("local/")
    ]


def test_the_rules_are_those_of_compose() -> None:
    assert prometheus_rules.rendered() == prometheus_rules.TARGET.read_text("utf-8"), (
        "deploy/prometheus has changed: python -m deploy.k8s.prometheus_rules"
    )


# --- what an overlay of one's own would choose ---------------------------------------------------------------------


def chosen(folder: Path, *components: str) -> list[Thing]:
    """overlays/prod with other components."""
    shutil.copytree(K8S, folder / "k8s", ignore=shutil.ignore_patterns("__pycache__"))
    place = folder / "k8s/overlays/prod/kustomization.yaml"
    made = yaml.safe_load(place.read_text("utf-8"))
    made["components"] = [f"../../components/{name}" for name in components]
    place.write_text(yaml.safe_dump(made), "utf-8")
    return list(yaml.safe_load_all(render_text(place.parent)))


def test_a_redis_of_ones_own_and_agents_from_a_config_map(tmp_path: Path) -> None:
    objects = chosen(tmp_path, "redis-external", "prometheus-operator", "agents")
    assert not of_kind(objects, "StatefulSet")
    for check in CHECKS:
        none_of(check(objects))
    for name, port in (("edge", "HTTP_PORT"), ("tools", "METRICS_PORT"), ("tts", "METRICS_PORT")):
        container = template(named(objects, "Deployment", name))["spec"]["containers"][0]
        (agents,) = (entry["value"] for entry in container["env"] if entry["name"] == "AGENTS_DIR")
        assert agents in [mount["mountPath"] for mount in container["volumeMounts"]]
        assert port in [entry["name"] for entry in container["env"]], "the component must add, not replace"
    problems = k8s_environment.references(objects, documented_secrets())
    assert sorted(problems) == [
        f"Deployment {name}: ConfigMap agents is neither here nor in README.md" for name in ("edge", "tools", "tts")
    ]


@pytest.mark.parametrize("name", OVERLAYS)
def test_tools_reach_the_internet_and_redis_and_nothing_else(name: str) -> None:
    """They run code of others: not a private network, not the cluster, not a cloud's metadata service."""
    objects = overlay(name)
    pods = {"app.kubernetes.io/name": "tools", "app.kubernetes.io/part-of": "voice"}
    rules = [one["spec"] for one in of_kind(objects, "NetworkPolicy") if selects(one["spec"]["podSelector"], pods)]
    peers = [peer for rule in rules for way in rule.get("egress", []) for peer in way["to"]]
    blocks = [ip_network(peer["ipBlock"]["cidr"]) for peer in peers if "ipBlock" in peer]
    assert sorted(map(str, blocks)) == ["0.0.0.0/0", "::/0"]
    closed = [ip_network(net) for peer in peers if "ipBlock" in peer for net in peer["ipBlock"]["except"]]
    inside = ("127.0.0.1", "10.0.0.1", "172.31.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "224.0.0.1")
    inside += ("::1", "fd00:ec2::254", "fe80::1", "64:ff9b::a9fe:a9fe")
    assert not [address for address in inside if not any(ip_address(address) in net for net in closed)]
    assert not [address for address in ("8.8.8.8", "2606:4700::1") if any(ip_address(address) in net for net in closed)]
    named_pods = [peer["podSelector"] for peer in peers if "podSelector" in peer and "namespaceSelector" not in peer]
    reached = {title(one) for selector in named_pods for one in selected(objects, selector)}
    assert reached <= {"StatefulSet redis", "StatefulSet sentinel"}
    (way_in,) = [way for rule in rules for way in rule.get("ingress", [])]
    assert way_in["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]


def test_a_gateway_in_place_of_the_ingress(tmp_path: Path) -> None:
    """No schema here knows an HTTPRoute: at least it leads where the Ingress leads."""
    objects = chosen(tmp_path, "redis-sentinel", "prometheus-operator", "gateway")
    assert not of_kind(objects, "Ingress")
    for check in CHECKS:
        none_of(check(objects))
    (host,) = of_kind(overlay("prod"), "Ingress")[0]["spec"]["tls"][0]["hosts"]
    route = named(objects, "HTTPRoute", "edge")["spec"]
    assert route["hostnames"] == [host]
    paths = {(m["path"]["value"], m["path"]["type"]) for rule in route["rules"] for m in rule["matches"]}
    assert paths == {(hook, "Exact") for hook in webhooks()} | {("/ws", "PathPrefix")}
    (port,) = named(objects, "Service", "edge")["spec"]["ports"]
    assert [rule["backendRefs"] for rule in route["rules"]] == [[{"name": "edge", "port": port["port"]}]] * 2
    assert route["rules"][0]["timeouts"] == {"request": "0s", "backendRequest": "0s"}
