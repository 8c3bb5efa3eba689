"""When nobody phones: no panel is red, no figure is NaN, no alert fires.  By promtool, on everything that we expose."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.telemetry import metrics
from deploy.grafana.build import DASHBOARDS, text
from deploy.grafana.panels import NEUTRAL, Panel
from tests.deploy.prometheus_server import run_tool
from tests.deploy.test_rules import ALERTS, RULES, rules

pytestmark = pytest.mark.processes

PROVIDERS = {"stt": "deepgram/nova-3", "llm": "openai/gpt-4o-mini", "tts": "openai/gpt-4o-mini-tts"}
LIVELY = {
    "voice_calls_max": 50,
    "voice_build_info": 1,
    "voice_redis_up": 1,
    "voice_redis_memory_bytes": 1_000_000,
    "voice_redis_memory_max_bytes": 500_000_000,
    "voice_redis_replicas": 2,
}
"""What stands at more than 0 though nobody phones."""
PANELS = [(dashboard, panel) for dashboard in DASHBOARDS for panel in dashboard.panels]
SAMPLES = 480
SHARES = {
    *("Answered in 1.2 s", "Outbound: answer rate", "Inbound: connected", "Answers within 1.2 s", "Answer time"),
    *("The answer, stage by stage (mean)", "Per minute of call", "Per call", "Frames from the callers, of those due"),
    *("Speech start to clearAudio", "Lag of the bus", "Stage: first_token", "Tools: seconds, p95"),
}
"""A share, a mean or a quantile of what callers do."""


def idle(counted: int) -> list[dict[str, str]]:
    """Every series of one edge and of a worker of each pool for two hours; counters stand at `counted`."""
    for process in ("edge", "stt", "llm", "tts", "tools"):
        metrics.begin(process, 50)
    for pool, spec in PROVIDERS.items():
        metrics.begin_provider(pool, spec)
    found = {}
    for line in metrics.exposition().decode().splitlines():
        if line.startswith("voice_") and (name := re.match(r"\w+", line)):
            series = line.rpartition(" ")[0]
            ever = re.search(r"_(?:total|bucket|sum|count)$", name[0])
            found[series] = counted if ever else LIVELY.get(name[0], 0)
    for server in "01":
        for name in ("up", "memory_bytes", "memory_max_bytes", "replicas", "cpu_seconds"):
            found[f'voice_redis_{name}{{server="{server}"}}'] = LIVELY.get(f"voice_redis_{name}", 0)
    return [{"series": series, "values": f"{value}x{SAMPLES}"} for series, value in found.items()]


def asked(expr: str) -> str:
    """As Grafana sends it."""
    return expr.replace("$__rate_interval", "1m").replace("$__range", "1h")


def shown(folder: Path, given: list[dict[str, str]], tests: list[dict[str, Any]]) -> None:
    case = {"interval": "15s", "input_series": given, "promql_expr_test": tests}
    groups = [group["name"] for path in (RULES, ALERTS) for group in yaml.safe_load(path.read_text())["groups"]]
    document = {
        "rule_files": [str(RULES), str(ALERTS)],
        "group_eval_order": groups,
        "evaluation_interval": "15s",
        "tests": [case],
    }
    (folder / "test.yml").write_text(yaml.safe_dump(document), "utf-8")
    run_tool("promtool", "test", "rules", folder / "test.yml")


def empty(expr: str) -> dict[str, Any]:
    return {"expr": expr, "eval_time": "110m", "exp_samples": []}


@pytest.mark.parametrize("counted", [0, 700], ids=["since the start", "since last night"])
def test_no_figure_is_a_division_by_nothing(tmp_path: Path, counted: int) -> None:
    exprs = [asked(query.expr) for _, panel in PANELS for query in panel.queries]
    exprs += [rule["expr"] for rule in rules(RULES)]
    # NaN is what does not equal itself.
    tests = [empty(f"({expr}) != ({expr})") for expr in exprs] + [empty(f"abs({expr}) == Inf") for expr in exprs]
    shown(tmp_path, idle(counted), tests)


@pytest.mark.parametrize("counted", [0, 700], ids=["since the start", "since last night"])
def test_a_share_of_no_calls_is_no_value(tmp_path: Path, counted: int) -> None:
    """Neither 0 %, which is red, nor 100 %, which is as wrong."""
    panels = [panel for _, panel in PANELS if panel.title in SHARES]
    assert {panel.title for panel in panels} == SHARES
    shares = [rule["record"] for rule in rules(RULES) if ":ratio_" in rule["record"]]
    assert len(shares) == 11
    shown(
        tmp_path,
        idle(counted),
        [empty(asked(q.expr)) for panel in panels for q in panel.queries] + [*map(empty, shares)],
    )


def test_no_alert_fires(tmp_path: Path) -> None:
    shown(tmp_path, idle(700), [empty("ALERTS")])


def test_the_event_loop_is_shown_of_edges_only(tmp_path: Path) -> None:
    """Workers expose the histogram too, and observe nothing: they had lines without a value."""
    (panel,) = (panel for _, panel in PANELS if panel.title == "Event loop late")
    given = [
        {"series": f'voice_loop_lag_seconds_bucket{{instance="{instance}",le="{le}"}}', "values": f"0+{by}x{SAMPLES}"}
        for instance, by in (("edge", 10), ("stt", 0), ("llm", 0), ("tts", 0))
        for le in ("0.001", "+Inf")
    ]
    (query,) = panel.queries
    (labels,) = ({"labels": '{instance="edge"}', "value": 1},)
    shown(
        tmp_path,
        given,
        [{"expr": f"count by (instance) ({asked(query.expr)})", "eval_time": "9m", "exp_samples": [labels]}],
    )


# --- how it looks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("panel", [panel for _, panel in PANELS], ids=lambda panel: panel.title)
def test_no_value_has_words_and_no_colour(panel: Panel) -> None:
    (field,) = (
        one["fieldConfig"]["defaults"]
        for dashboard in DASHBOARDS
        if panel in dashboard.panels
        for one in json.loads(text(dashboard))["panels"]
        if one["title"] == panel.title and one["type"] == panel.kind
    )
    assert field["noValue"] == panel.empty_text
    if panel.kind == "table":
        return
    (mapping,) = field["mappings"]
    assert mapping["type"] == "special" and mapping["options"]["match"] == "null+nan"
    assert mapping["options"]["result"] == {"text": panel.empty_text, "color": NEUTRAL, "index": 0}
    lowest = field["thresholds"]["steps"][0]
    assert lowest["value"] is None and lowest["color"] != "red", "Grafana shows no value in the lowest colour"


def test_shares_say_that_nobody_phones() -> None:
    for _, panel in PANELS:
        if panel.title in SHARES or panel.title.startswith("Stage: "):
            assert panel.empty_text in ("no calls", "no interruptions", "no tools"), panel.title
        if panel.kind == "stat" and panel.unit == "percentunit":
            assert panel.empty_text != "no data", panel.title
