"""What the autoscalers act on, and how many members that makes: it settles, and no step asks for the next one.

The rule's figures come from Prometheus' own rule tester, the controllers are `tests/deploy/hpa_controller.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.deploy.hpa_controller import SYNC_SECONDS, Autoscaler, Keda, Scale, Target, controller
from tests.deploy.k8s_manifests import Thing, named, of_kind, overlay
from tests.deploy.prometheus_server import run_tool

pytestmark = pytest.mark.processes

CALLS_MAX = 50
PLANNED = 0.7
"""Of CALLS_MAX: the share that voice.rules.yml plans with."""
START_SECONDS = 60.0
"""From a pod's birth to its first call."""
LAG_SYNCS = 3
"""A scrape, a rule and the adapter's cache: the controller sees what was 45 s ago."""
NEVER = math.inf

Load = Callable[[float], int]


# --- the figure ----------------------------------------------------------------------------------------------------


def needed(held: int, waiting: int, calls_max: int = CALLS_MAX) -> int:
    """Members that so many calls need, as `voice_members_needed` counts them."""
    return math.ceil((held + waiting) / (PLANNED * calls_max))


def series(name: str, process: str, value: str, pod: str = "a", namespace: str = "voice") -> dict[str, str]:
    labels = f'process="{process}",namespace="{namespace}",pod="{process}-{pod}"'
    return {"series": f"{name}{{{labels}}}", "values": value}


def asked(folder: Path, given: list[dict[str, str]], at: str, expected: dict[str, float]) -> None:
    """promtool must find these numbers of members, by kind of process, in the namespace `voice`."""
    groups = named(overlay("prod"), "PrometheusRule", "voice-rules")["spec"]["groups"]
    rules = {"groups": [group for group in groups if group["name"] == "voice-autoscaling"]}
    (folder / "rules.yml").write_text(yaml.safe_dump(rules), "utf-8")
    samples = [
        {"labels": f'voice_members_needed{{namespace="voice",process="{process}"}}', "value": value}
        for process, value in expected.items()
    ]
    asking = {"expr": 'voice_members_needed{namespace="voice"}', "eval_time": at, "exp_samples": samples}
    case = {"interval": "15s", "input_series": given, "promql_expr_test": [asking]}
    test = {"rule_files": ["rules.yml"], "evaluation_interval": "15s", "tests": [case]}
    (folder / "test.yml").write_text(yaml.safe_dump(test), "utf-8")
    run_tool("promtool", "test", "rules", folder / "test.yml")


def test_calls_at_the_edges_say_how_many_of_each_are_needed(tmp_path: Path) -> None:
    """Two edges with 90 and 50 calls; five ears that take 20 calls each are full; a mouth that still has a call that
    is over; another namespace, which is nobody's business."""
    given = [
        *(series("voice_calls_active", "edge", f"{n}x4", pod) for pod, n in (("a", 90), ("b", 50))),
        *(series("voice_calls_max", "edge", "100x4", pod) for pod in "ab"),
        *(series("voice_calls_active", "stt", "20x4", pod) for pod in "abcde"),
        *(series("voice_calls_max", "stt", "20x4", pod) for pod in "abcde"),
        series("voice_calls_active", "tts", "141x4"),
        series("voice_calls_max", "tts", "200x4"),
        series("voice_calls_active", "edge", "999x4", namespace="staging"),
        series("voice_calls_max", "edge", "100x4", namespace="staging"),
    ]
    expected = {"edge": needed(140, 0, 100), "stt": needed(100, 40, 20), "tts": needed(141, 0, 200)}
    assert expected == {"edge": 2, "stt": 10, "tts": 2}
    asked(tmp_path, given, "30s", dict(expected))


def test_only_calls_with_tools_ask_for_members_that_run_tools(tmp_path: Path) -> None:
    """Of 140 calls 30 have an agent with tools: 20 are held by the one member there is, and ten wait."""
    given = [
        series("voice_calls_active", "edge", "140x4"),
        series("voice_calls_max", "edge", "200x4"),
        series("voice_calls_active", "tools", "20x4"),
        series("voice_calls_max", "tools", "20x4"),
        {"series": 'voice_calls_with_tools{namespace="voice", pod="a"}', "values": "30x4"},
    ]
    expected = {"edge": needed(140, 0, 200), "tools": needed(20, 10, 20)}
    assert expected == {"edge": 1, "tools": 3}
    asked(tmp_path, given, "30s", dict(expected))


@pytest.mark.parametrize(
    ("calls", "held", "calls_max"), [(0, 0, 50), (35, 0, 50), (35, 35, 50), (36, 20, 50), (700, 100, 50), (7, 7, 1)]
)
def test_held_and_waiting_calls_count_alike(tmp_path: Path, calls: int, held: int, calls_max: int) -> None:
    """Whether a call is held or waits changes nothing, so that no step of the autoscaler changes its own figure."""
    given = [
        series("voice_calls_active", "edge", f"{calls}x4"),
        series("voice_calls_max", "edge", "1000x4"),
        series("voice_calls_active", "llm", f"{held}x4"),
        series("voice_calls_max", "llm", f"{calls_max}x4"),
    ]
    expected = {"edge": needed(calls, 0, 1000), "llm": needed(held, calls - held, calls_max)}
    asked(tmp_path, given, "30s", dict(expected))


def test_a_pool_of_which_nothing_is_left_is_needed_all_the_same(tmp_path: Path) -> None:
    """All its pods crash: what one could hold is known from before."""
    given = [
        series("voice_calls_active", "edge", "140x60"),
        series("voice_calls_max", "edge", "100x60"),
        series("voice_calls_active", "stt", "20x10 stale"),
        series("voice_calls_max", "stt", "20x10 stale"),
    ]
    asked(tmp_path, given, "12m", {"edge": 2, "stt": 10})


def test_an_edge_that_cannot_be_scraped_takes_nothing_from_the_pools(tmp_path: Path) -> None:
    given = [
        series("voice_calls_active", "edge", "35x60", "a"),
        series("voice_calls_max", "edge", "50x60", "a"),
        series("voice_calls_active", "edge", "70x10 stale", "b"),
        series("voice_calls_max", "edge", "50x10 stale", "b"),
        series("voice_calls_active", "stt", "105x60"),
        series("voice_calls_max", "stt", "50x60"),
    ]
    asked(tmp_path, given, "12m", {"edge": 1, "stt": 3})


def test_without_any_edge_in_sight_nothing_is_known(tmp_path: Path) -> None:
    given = [series("voice_calls_active", "stt", "20x20"), series("voice_calls_max", "stt", "20x20")]
    asked(tmp_path, given, "2m", {})


# --- the controllers -----------------------------------------------------------------------------------------------


class Deployment:
    """A kind of process under an autoscaler, while callers come and go.  Reads the objects that are applied."""

    def __init__(self, one: Thing, load: Load, start_s: float = START_SECONDS, replicas: int = 2) -> None:
        self.now = 0.0
        self._name = one["spec"]["scaleTargetRef"]["name"]
        self._controller = controller(one)
        self._load, self._start_s = load, start_s
        self._born = [-start_s if start_s < NEVER else 0.0] * replicas
        self._seen: list[int] = []
        self.sizes = [replicas]
        self.surge = 0
        self.hidden = False

    @property
    def replicas(self) -> int:
        return len(self._born)

    @property
    def held(self) -> int:
        return min(self._load(self.now), CALLS_MAX * sum(self.now - born >= self._start_s for born in self._born))

    def run(self, minutes: float) -> list[int]:
        """The numbers of replicas, one for each sync from now on."""
        first = len(self.sizes)
        for _ in range(round(minutes * 60 / SYNC_SECONDS)):
            self.now += SYNC_SECONDS
            # Full edges turn callers away, so only what they hold is known; a pool is behind the edges.
            known = self.held if self._name == "edge" else self._load(self.now)
            self._seen.append(needed(self.held, known - self.held))
            value = self._seen[-1 - LAG_SYNCS] if len(self._seen) > LAG_SYNCS and not self.hidden else None
            ready = sum(self.now - born >= self._start_s for born in self._born)
            scale = Scale(self.replicas, self.replicas + self.surge, ready)
            size = self._controller.sync(self.now, scale, dict.fromkeys(self._metrics(), value))
            self._born = self._born[:size] + [self.now] * (size - self.replicas)
            self.sizes.append(size)
        return self.sizes[first:]

    def _metrics(self) -> list[str]:
        autoscaler = self._controller.autoscaler if isinstance(self._controller, Keda) else self._controller
        return [target.name for target in autoscaler.targets]


SCALED = [
    pytest.param(one, id=f"{one['kind']} {one['metadata']['name']}")
    for name in ("prod", "prod-keda")
    for one in of_kind(overlay(name), "HorizontalPodAutoscaler", "ScaledObject")
]
scaled = pytest.mark.parametrize("one", SCALED)
POOLS = [param for param in SCALED if not str(param.id).endswith("edge")]
pools = pytest.mark.parametrize("one", POOLS)


def test_the_controller_compounds_what_is_a_value() -> None:
    """What was seen of a real one: 35 calls that wait, `type: Value` of 10, and a pool went from 2 to 40."""
    policies = [
        {"type": "Percent", "value": 100, "periodSeconds": 30},
        {"type": "Pods", "value": 4, "periodSeconds": 30},
    ]
    behavior = {"scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": policies}}
    autoscaler = Autoscaler((Target("waiting", 10, per_pod=False),), 2, 40, behavior)
    size, sizes = 2, [2]
    for sync in range(12):
        size = autoscaler.sync(SYNC_SECONDS * sync, Scale(size, size, size), {"waiting": 35.0})
        if size != sizes[-1]:
            sizes.append(size)
    assert sizes == [2, 6, 12, 24, 40]


@scaled
@pytest.mark.parametrize("calls", [0, 1, 35, 71, 350, 1000])
def test_a_constant_load_settles(one: Thing, calls: int) -> None:
    deployment = Deployment(one, lambda _: calls)
    sizes = deployment.run(40)
    wanted = max(2, needed(calls, 0))
    assert sizes == sorted(sizes), "never down while the load stays"
    assert len(set(sizes[-80:])) == 1, "it comes to rest"
    assert wanted * 0.9 <= sizes[-1] <= wanted, "as many as are needed, less the controller's tolerance"
    assert deployment.held == calls, "everybody is held"


@pools
@pytest.mark.parametrize("start_s", [NEVER, 600.0])
def test_pods_that_are_not_ready_call_for_no_more(one: Thing, start_s: float) -> None:
    """350 calls wait, for ever or for ten minutes: ten members are asked for, and never an eleventh."""
    sizes = Deployment(one, lambda _: 350, start_s).run(60)
    assert max(sizes) == sizes[-1] == 10


@scaled
def test_a_rising_load_is_followed(one: Thing) -> None:
    """From nobody to 1,000 callers in an hour: never more than are needed, and nobody waits."""
    deployment = Deployment(one, lambda now: min(1000, round(now / 3.6)))
    waiting = []
    for _ in range(70):
        sizes = deployment.run(1)
        calls = min(1000, round(deployment.now / 3.6))
        assert sizes[-1] <= max(2, needed(calls, 0))
        waiting.append(calls - deployment.held)
    assert max(waiting) == 0, "the spare share of each member covers the time in which members start"
    assert deployment.replicas >= 0.9 * needed(1000, 0)


@scaled
def test_a_falling_load_is_followed_slowly_and_down_to_two(one: Thing) -> None:
    deployment = Deployment(one, lambda now: 1000 if now < 1200 else 0, replicas=20)
    before = deployment.run(20)
    after = deployment.run(120)
    assert before[-1] >= 0.9 * needed(1000, 0)
    steps = [earlier - later for earlier, later in zip([before[-1], *after], after, strict=False)]
    assert set(steps) == {0, 1}, "one at a time"
    quiet = next(number for number, step in enumerate(steps) if step) * SYNC_SECONDS
    assert quiet >= 300, "and not before five quiet minutes"
    assert after[-1] == 2


@pools
def test_a_short_burst_does_not_swing(one: Thing) -> None:
    """500 callers for two minutes in every five: up once, and it stays there."""
    deployment = Deployment(one, lambda now: 500 if now % 300 < 120 else 100)
    deployment.run(15)
    sizes = deployment.run(30)
    assert max(sizes) <= needed(500, 0) and max(sizes) - min(sizes) <= 1


@scaled
def test_a_metric_that_is_absent_changes_nothing(one: Thing) -> None:
    deployment = Deployment(one, lambda now: 700 if now < 1800 else 0)
    deployment.run(25)
    size = deployment.replicas
    assert size > 10
    deployment.hidden = True
    assert set(deployment.run(60)) == {size}, "not down, though nobody phones any more"
    deployment.hidden = False
    assert deployment.run(60)[-1] < size


@scaled
def test_a_pool_at_zero(one: Thing) -> None:
    """Switched off by hand it stays off under an HPA; KEDA brings the minimum back, and goes on from there."""
    deployment = Deployment(one, lambda _: 350, replicas=0)
    sizes = deployment.run(20)
    if one["kind"] == "ScaledObject":
        assert sizes[0] == 2
        assert max(sizes) == sizes[-1] and deployment.held == 350
    else:
        assert set(sizes) == {0}


@pools
def test_a_rollouts_second_set_of_pods_counts_for_nothing(one: Thing) -> None:
    """`maxSurge: 100%` doubles the pods for some minutes."""
    deployment = Deployment(one, lambda _: 350)
    settled = deployment.run(15)[-1]
    deployment.surge = settled
    assert set(deployment.run(5)) == {settled}
    deployment.surge = 0
    assert set(deployment.run(30)) == {settled}


@scaled
def test_more_than_the_maximum_is_never_asked_for(one: Thing) -> None:
    sizes = Deployment(one, lambda _: 100_000).run(30)
    most = controller(one)
    assert max(sizes) == (most.autoscaler if isinstance(most, Keda) else most).most
