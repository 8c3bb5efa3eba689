"""The plan of a deployment; and that page, manifests and settings say what the measured constants say."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import yaml

from benchmarks.capacity.constants import ROLES, NoConstants, read, taken_from
from benchmarks.capacity.pages import DOC, MANIFESTS, page_parts, plan_page, with_parts, with_size
from benchmarks.capacity.plan import CALLS_MAX, REPLICAS_MAX, PodSize, calls_by_core, plan, pod_size
from common.settings import Settings

pytestmark = pytest.mark.fast

ANEW = "run: .venv/bin/python -m benchmarks.capacity --measure"
CONSTANTS = read()


def container(role: str) -> dict[str, Any]:
    documents = yaml.safe_load_all((MANIFESTS / f"{role}.yaml").read_text())
    deployment = next(each for each in documents if each["kind"] == "Deployment")
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def test_the_page_says_what_the_constants_say() -> None:
    page = DOC.read_text()
    assert page == with_parts(page, page_parts(CONSTANTS)), ANEW


@pytest.mark.parametrize("role", ROLES)
def test_a_pod_requests_what_its_calls_cost(role: str) -> None:
    size = pod_size(CONSTANTS, role)
    resources = container(role)["resources"]
    assert resources["requests"] == {"cpu": f"{size.cpu_m}m", "memory": f"{size.memory_mi}Mi"}, ANEW
    assert resources["limits"] == {"cpu": size.limit_cpu, "memory": f"{size.limit_mi}Mi"}, ANEW


def test_a_pool_of_tools_is_counted_and_its_cost_is_not_invented() -> None:
    assert plan(CONSTANTS, 1000).tools_members == 0
    asked = plan(CONSTANTS, 1000, with_tools=100)
    assert (asked.tools_members, asked.cores) == (math.ceil(100 / 35), plan(CONSTANTS, 1000).cores)
    (row,) = [line for line in plan_page(CONSTANTS, asked).splitlines() if line.startswith("| tools")]
    assert [cell.strip() for cell in row.strip("|").split("|")] == ["tools", "3", *["not measured yet"] * 3]


@pytest.mark.parametrize("role", ROLES)
def test_no_process_takes_more_calls_than_its_core_carries(role: str) -> None:
    most = calls_by_core(CONSTANTS, role)
    assert Settings.from_env({}).calls_max == CALLS_MAX <= most
    settings = (MANIFESTS / "kustomization.yaml").read_text()
    assert f"- CALLS_MAX={CALLS_MAX}\n" in settings


def test_the_autoscaler_may_start_as_many_pods_as_the_plan_thinks() -> None:
    scalers = yaml.safe_load_all((MANIFESTS / "autoscaling.yaml").read_text())
    assert {scaler["spec"]["maxReplicas"] for scaler in scalers} == {REPLICAS_MAX}


def test_members_are_planned_with_room_and_never_alone() -> None:
    assert plan(CONSTANTS, 1).members == dict.fromkeys(ROLES, 2)
    assert plan(CONSTANTS, 1000).members == dict.fromkeys(ROLES, math.ceil(1000 / 35))
    assert plan(CONSTANTS, 1000, calls_max=100).members == dict.fromkeys(ROLES, math.ceil(1000 / 70))


def test_redis_servers_follow_their_core_and_cells_their_number() -> None:
    cheap = replace(CONSTANTS, cores_per_call={**CONSTANTS.cores_per_call, "valkey": 0.001})
    assert [plan(cheap, calls).redis_servers for calls in (1, 600, 601, 6000)] == [1, 1, 2, 10]
    assert plan(cheap, 6000, calls_max=1000).cells == 1
    assert plan(cheap, 60_000, calls_max=100_000).cells == math.ceil(100 / 32)
    assert plan(cheap, 1400).cells == 1
    assert plan(cheap, 1401).cells == 2  # 41 pods


def test_a_plan_names_every_process() -> None:
    page = plan_page(CONSTANTS, plan(CONSTANTS, 10_000))
    assert all(f"| {role} |" in page for role in ROLES)
    assert "10,000 calls" in page


def run(**changed: Any) -> dict[str, Any]:
    by_process = dict.fromkeys((*ROLES, "valkey"), 0.3)
    return {
        "server": "stack", "calls": 50, "call_s": 28.0, "seconds": 28.0, "void": False, "tls": False, "core_share": 0.8,
        "cpu_by_process": by_process, "idle_mb": by_process, "memory_by_process": {**by_process, "llm": -0.1},
        "redis_per_call_s": {"commands": 123.456, "in_bytes": 1e4, "out_bytes": 1e4, "used_bytes": 1e3},
        "carrier_in_bytes_per_call_s": 2e4, "carrier_out_bytes_per_call_s": 1e4, **changed,
    }  # fmt: skip


def document(*runs: dict[str, Any]) -> dict[str, Any]:
    around = {"command": "c", "commit": "abc", "date": "2026-01-02T03:04:05+00:00", "cpus": 2}
    return json.loads(json.dumps({"around": around, "runs": list(runs)}))


def test_constants_are_those_of_the_busiest_valid_run_whose_core_was_not_full() -> None:
    taken = taken_from(document(run(), run(calls=100, core_share=0.99), run(calls=80, void=True), run(calls=10)))
    assert (taken.calls, taken.redis_commands_per_s, taken.cores_per_call["edge"]) == (50, 123, 0.005)
    assert taken.mb_per_call["llm"] == 0
    assert taken.redis_bytes_per_call == 28_000
    with pytest.raises(NoConstants):
        taken_from(document(run(void=True), run(server="forwarder"), run(call_s=0.0)))


def test_only_the_requests_and_limits_of_a_manifest_change() -> None:
    before = 'a:\n  requests:\n    cpu: 1m\n    memory: 2Mi\n  limits:\n    cpu: "1"\n    memory: 3Mi\nb: 1\n'
    after = with_size(before, PodSize(250, 192, 384))
    assert yaml.safe_load(after) == {
        "a": {"requests": {"cpu": "250m", "memory": "192Mi"}, "limits": {"cpu": "1", "memory": "384Mi"}},
        "b": 1,
    }
