"""The checks of deploy/k8s see what they are for: one mistake each, of the kind that a tired person makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.deploy import k8s_autoscaling, k8s_environment, k8s_wiring
from tests.deploy.k8s_manifests import Thing, containers, environment, named, of_kind, overlay, selects, template

pytestmark = pytest.mark.processes

Objects = list[Thing]


def deployment(objects: Objects, name: str) -> Thing:
    return named(objects, "Deployment", name)


def pod(objects: Objects, name: str) -> Thing:
    spec: Thing = template(deployment(objects, name))["spec"]
    return spec


def container(objects: Objects, name: str) -> Thing:
    found: Thing = pod(objects, name)["containers"][0]
    return found


def variable(objects: Objects, pool: str, name: str) -> Thing:
    return environment(container(objects, pool))[name]


def policy(objects: Objects, name: str) -> Thing:
    spec: Thing = named(objects, "NetworkPolicy", name)["spec"]
    return spec


def autoscaler(objects: Objects, name: str) -> Thing:
    kind = "ScaledObject" if of_kind(objects, "ScaledObject") else "HorizontalPodAutoscaler"
    spec: Thing = named(objects, kind, name)["spec"]
    return spec


def settings_of(objects: Objects, key: str) -> dict[str, str]:
    return next(one["data"] for one in of_kind(objects, "ConfigMap") if key in one["data"])


# --- what goes wrong, and which check must say so, with which words -----------------------------------------------


def pods_renamed(objects: Objects) -> None:
    template(deployment(objects, "stt"))["metadata"]["labels"]["app.kubernetes.io/name"] = "ears"


def two_with_one_selector(objects: Objects) -> None:
    labels = {"app.kubernetes.io/part-of": "voice"}
    deployment(objects, "llm")["spec"]["selector"]["matchLabels"] = labels


def service_of_nobody(objects: Objects) -> None:
    named(objects, "Service", "edge")["spec"]["selector"] = {"app": "edge"}


def port_renamed(objects: Objects) -> None:
    container(objects, "edge")["ports"][0]["name"] = "web"


def ingress_to_another(objects: Objects) -> None:
    rules = of_kind(objects, "Ingress")[0]["spec"]["rules"]
    rules[0]["http"]["paths"][3]["backend"]["service"]["name"] = "edges"


def no_last_resort(objects: Objects) -> None:
    objects.remove(named(objects, "Service", "edge-last-resort"))


def nothing_denied(objects: Objects) -> None:
    objects.remove(named(objects, "NetworkPolicy", "default-deny"))


def policy_of_another_port(objects: Objects) -> None:
    policy(objects, "workers-from-monitoring")["ingress"][0]["ports"][0]["port"] = 9100


def policy_for_everybody(objects: Objects) -> None:
    del policy(objects, "edge-from-ingress")["ingress"][0]["from"]


def redis_shut(objects: Objects) -> None:
    policy(objects, "redis")["ingress"][0]["ports"].pop()


def budget_of_nobody(objects: Objects) -> None:
    named(objects, "PodDisruptionBudget", "tts")["spec"]["selector"]["matchLabels"] = {"app": "tts"}


def budget_that_blocks(objects: Objects) -> None:
    named(objects, "PodDisruptionBudget", "edge")["spec"]["maxUnavailable"] = 0


def scraped_at_the_wrong_port(objects: Objects) -> None:
    named(objects, "PodMonitor", "edge")["spec"]["podMetricsEndpoints"][0]["port"] = "metrics"


def scraped_twice(objects: Objects) -> None:
    named(objects, "PodMonitor", "workers")["spec"]["selector"] = {}


def twice(objects: Objects) -> None:
    objects.append(named(objects, "ServiceAccount", "edge"))


def elsewhere(objects: Objects) -> None:
    named(objects, "ServiceAccount", "edge")["metadata"]["namespace"] = "default"


def scaled_by_two(objects: Objects) -> None:
    autoscaler(objects, "tts")["scaleTargetRef"]["name"] = "stt"


def replicas_beside_an_autoscaler(objects: Objects) -> None:
    deployment(objects, "edge")["spec"]["replicas"] = 2


def all_at_once(objects: Objects) -> None:
    autoscaler(objects, "edge")["behavior"]["scaleDown"]["policies"][0]["value"] = 10


def down_at_once(objects: Objects) -> None:
    autoscaler(objects, "stt")["behavior"]["scaleDown"]["stabilizationWindowSeconds"] = 0


def metric_that_nobody_records(objects: Objects) -> None:
    autoscaler(objects, "stt")["metrics"][0]["external"]["metric"]["name"] = "voice_lag"


def metric_of_another_pool(objects: Objects) -> None:
    autoscaler(objects, "stt")["metrics"][0]["external"]["metric"]["selector"]["matchLabels"]["process"] = "llm"


def rule_over_a_metric_that_is_not_there(objects: Objects) -> None:
    groups = named(objects, "PrometheusRule", "voice-rules")["spec"]["groups"]
    rules = next(group["rules"] for group in groups if group["name"] == "voice-autoscaling")
    rules[1]["expr"] = rules[1]["expr"].replace("voice_calls_active", "voice_calls_live")


def another_pools_query(objects: Objects) -> None:
    facts = autoscaler(objects, "stt")["triggers"][0]["metadata"]
    facts["query"] = facts["query"].replace("stt", "tts")


def query_that_nobody_records(objects: Objects) -> None:
    facts = autoscaler(objects, "stt")["triggers"][0]["metadata"]
    facts["query"] = facts["query"].replace("voice_members_needed", "voice_processes_wanted")


def value_of_what_waits(objects: Objects) -> None:
    autoscaler(objects, "stt")["metrics"][0]["external"]["target"] = {"type": "Value", "value": "10"}


def second_metric(objects: Objects) -> None:
    metrics = autoscaler(objects, "tts")["metrics"]
    metrics.append(metrics[0])


def value_of_the_query(objects: Objects) -> None:
    autoscaler(objects, "llm")["triggers"][0]["metricType"] = "Value"


def length_of_the_stream(objects: Objects) -> None:
    facts = {"addresses": "redis-0.redis.voice.svc:6379", "stream": "pool:stt:calls", "streamLength": "10"}
    autoscaler(objects, "stt")["triggers"].append({"type": "redis-streams", "metadata": facts})


def no_data_is_no_calls(objects: Objects) -> None:
    del autoscaler(objects, "edge")["triggers"][0]["metadata"]["ignoreNullValues"]


def misspelt_variable(objects: Objects) -> None:
    variable(objects, "stt", "DEEPGRAM_API_KEY")["name"] = "DEEPGRAM_KEY"


def value_that_is_refused(objects: Objects) -> None:
    settings_of(objects, "CALLS_MAX")["CALLS_MAX"] = "0"


def signatures_asked_of_workers(objects: Objects) -> None:
    settings_of(objects, "CALLS_MAX")["WEBHOOK_SIGNATURES"] = "required"


def another_metrics_port(objects: Objects) -> None:
    variable(objects, "tts", "METRICS_PORT")["value"] = "9102"


def longer_drain(objects: Objects) -> None:
    settings_of(objects, "DRAIN_SECONDS")["DRAIN_SECONDS"] = "1840"


def no_pre_stop(objects: Objects) -> None:
    del container(objects, "edge")["lifecycle"]


def fewer_while_rolling(objects: Objects) -> None:
    deployment(objects, "edge")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = 1


def latest(objects: Objects) -> None:
    container(objects, "llm")["image"] = "registry.example.com:5000/voice/llm"


def without_limits(objects: Objects) -> None:
    del container(objects, "llm")["resources"]["limits"]["memory"]


def with_a_token(objects: Objects) -> None:
    named(objects, "ServiceAccount", "tts")["automountServiceAccountToken"] = True


def restarted_for_redis(objects: Objects) -> None:
    container(objects, "stt")["livenessProbe"]["httpGet"]["path"] = "/readyz"


def volume_that_is_not_there(objects: Objects) -> None:
    pod(objects, "edge")["volumes"].clear()


Check = Callable[[Sequence[Thing]], list[str]]
Plant = Callable[[Objects], None]

FAULTS: dict[Check, dict[Plant, str]] = {
    k8s_wiring.selectors: {
        pods_renamed: "Deployment stt selects nothing",
        two_with_one_selector: "Deployment llm selects",
        service_of_nobody: "Service edge has nobody behind it",
    },
    k8s_wiring.service_ports: {
        port_renamed: "Service edge sends to http",
        ingress_to_another: "sends to edges:http",
        no_last_resort: "edge-last-resort",
    },
    k8s_wiring.policies: {
        nothing_denied: "nothing is denied",
        policy_of_another_port: "opens 9100",
        policy_for_everybody: "lets everybody through",
        redis_shut: "StatefulSet sentinel: nobody may reach sentinel",
    },
    k8s_wiring.budgets: {budget_of_nobody: "Deployment tts has 0", budget_that_blocks: "lets nobody go"},
    k8s_wiring.monitors: {
        scraped_at_the_wrong_port: "Deployment edge does not listen",
        scraped_twice: "Deployment edge is scraped 2 times",
    },
    k8s_wiring.duplicates: {twice: "ServiceAccount edge is there 2 times", elsewhere: "is outside voice"},
    k8s_autoscaling.targets: {
        scaled_by_two: "stt has 2 autoscalers",
        replicas_beside_an_autoscaler: "Deployment edge has replicas",
    },
    k8s_autoscaling.gentle: {all_at_once: "more than one pod", down_at_once: "too early"},
    k8s_autoscaling.figures: {
        metric_that_nobody_records: "voice_lag, which no rule records",
        metric_of_another_pool: "asks for another's",
    },
    k8s_autoscaling.steady: {
        value_of_what_waits: "HorizontalPodAutoscaler stt does not ask for one",
        second_metric: "HorizontalPodAutoscaler tts does not ask for one",
    },
    k8s_autoscaling.rules: {rule_over_a_metric_that_is_not_there: "voice_calls_live is no metric"},
    k8s_environment.settings: {
        misspelt_variable: "DEEPGRAM_KEY is no setting",
        value_that_is_refused: "CALLS_MAX: expected",
        signatures_asked_of_workers: "Deployment stt: These settings cannot be used",
        another_metrics_port: "Deployment tts listens on 9102",
    },
    k8s_environment.drain: {
        longer_drain: "Deployment edge has 1860 s to leave and needs",
        no_pre_stop: "before it is known",
        fewer_while_rolling: "rolls with fewer",
    },
    k8s_environment.care: {
        latest: "image registry.example.com:5000/voice/llm",
        without_limits: "no limits",
        with_a_token: "Deployment tts has a token",
        restarted_for_redis: "is restarted when Redis is away",
        volume_that_is_not_there: "there is no volume scratch",
    },
}
KEDA_FAULTS: dict[Check, dict[Plant, str]] = {
    k8s_autoscaling.figures: {
        another_pools_query: "asks for another's",
        query_that_nobody_records: "what no rule records",
        no_data_is_no_calls: "no data would look like no calls",
    },
    k8s_autoscaling.steady: {
        value_of_the_query: "ScaledObject llm does not ask for one",
        length_of_the_stream: "ScaledObject stt does not ask for one",
    },
}


@pytest.mark.parametrize(
    ("check", "plant", "words"),
    [(check, plant, words) for check, faults in FAULTS.items() for plant, words in faults.items()],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_mistake_is_seen(check: Check, plant: Plant, words: str) -> None:
    objects = overlay("prod")
    assert not check(objects)
    plant(objects)
    assert [problem for problem in check(objects) if words in problem], check(objects)


@pytest.mark.parametrize(
    ("check", "plant", "words"),
    [(check, plant, words) for check, faults in KEDA_FAULTS.items() for plant, words in faults.items()],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_mistake_of_kedas_triggers_is_seen(check: Check, plant: Plant, words: str) -> None:
    objects = overlay("prod-keda")
    assert not check(objects)
    plant(objects)
    assert [problem for problem in check(objects) if words in problem]


@pytest.mark.parametrize(
    ("secrets", "words"),
    [
        ({}, "Secret voice-redis-stt is neither here nor in README.md"),
        ({"voice-redis-edge": {"REDIS_URL"}, "voice-edge": {"STREAM_TOKEN"}}, "has no STREAM_SECRET"),
    ],
)
def test_a_secret_that_nobody_documents_is_seen(secrets: dict[str, set[str]], words: str) -> None:
    assert [problem for problem in k8s_environment.references(overlay("prod"), secrets) if words in problem]


# --- the small parts -----------------------------------------------------------------------------------------------


def test_selectors_select_as_kubernetes_does() -> None:
    labels = {"name": "stt", "part-of": "voice"}
    assert selects({}, labels)
    assert selects({"matchLabels": {"name": "stt"}}, labels)
    assert not selects({"matchLabels": {"name": "stt", "tier": "1"}}, labels)
    assert selects({"matchExpressions": [{"key": "name", "operator": "In", "values": ["llm", "stt"]}]}, labels)
    assert not selects({"matchExpressions": [{"key": "name", "operator": "NotIn", "values": ["stt"]}]}, labels)
    assert not selects({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, labels)
    assert selects({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, labels)


def test_a_variable_that_is_there_twice_is_seen() -> None:
    edge = container(overlay("prod"), "edge")
    edge["env"].append({"name": "HTTP_PORT", "value": "8001"})
    with pytest.raises(AssertionError, match="twice"):
        environment(edge)


def test_init_containers_are_containers() -> None:
    redis = named(overlay("prod"), "StatefulSet", "redis")
    assert [one["name"] for one in containers(redis)] == ["who-is-primary", "redis"]
