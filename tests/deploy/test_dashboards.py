"""The Grafana dashboards: what is on disk is what the code says, well laid out, and asks for what exists."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.build import DASHBOARDS, FOLDER, file, text
from deploy.grafana.panels import COLUMNS, Dashboard, Panel
from deploy.runbook_url import runbook
from tests.deploy.prometheus_server import run_tool
from tests.deploy.promql import selectors, unknown
from tests.deploy.test_rules import ALERTS, RUNBOOK, heading, recorded, rules

pytestmark = pytest.mark.processes

PANELS = [(dashboard, panel) for dashboard in DASHBOARDS for panel in dashboard.panels]
named = pytest.mark.parametrize(
    ("dashboard", "panel"), PANELS, ids=[f"{dashboard.name}: {panel.title}" for dashboard, panel in PANELS]
)
UNITS = {"short", "s", "percentunit", "bytes", "ops", "currencyUSD", "dateTimeAsIso"}


def asked(expr: str) -> str:
    """As Grafana sends it."""
    return expr.replace("$__rate_interval", "1m").replace("$__range", "1h")


def test_the_files_are_what_the_code_says() -> None:
    for dashboard in DASHBOARDS:
        assert file(dashboard).read_text("utf-8") == text(dashboard), "run: python -m deploy.grafana.build"
    assert {path.name for path in FOLDER.glob("*.json")} == {file(dashboard).name for dashboard in DASHBOARDS}


@named
def test_a_panel_asks_for_what_exists(dashboard: Dashboard, panel: Panel) -> None:
    for query in panel.queries:
        assert unknown(asked(query.expr), recorded()) == []


@named
def test_a_panel_says_what_is_good_and_what_to_do(dashboard: Dashboard, panel: Panel) -> None:
    assert len(panel.description) > 60
    assert panel.description.endswith(".")
    if panel.kind == "stat" and panel.steps:
        assert [at for at, _ in panel.steps][1:] == sorted(at for at, _ in panel.steps[1:] if at is not None)


@named
def test_a_panel_leads_to_its_section_of_the_runbook(dashboard: Dashboard, panel: Panel) -> None:
    """Whoever reads "else …" at night gets there by one click."""
    headings = {heading(line) for line in RUNBOOK.read_text("utf-8").splitlines() if re.match(r"##+ ", line)}
    assert panel.runbook in headings
    (shown,) = (
        one for one in json.loads(text(dashboard))["panels"] if one["title"] == panel.title and "targets" in one
    )
    assert [link["url"] for link in shown["links"]] == [runbook(panel.runbook)]


def test_one_panel_lists_what_fires() -> None:
    """First of all, with the time since when, and a link from each alert to its section."""
    panel = next(one for one in json.loads(file(DASHBOARDS[0]).read_text("utf-8"))["panels"] if one["type"] == "table")
    assert panel["gridPos"]["y"] < 6
    (target,) = panel["targets"]
    assert target["instant"] and target["format"] == "table" and 'alertstate="firing"' in target["expr"]
    links = [p["value"] for o in panel["fieldConfig"]["overrides"] for p in o["properties"] if p["id"] == "links"]
    assert [link["url"] for (link,) in links] == [f"{runbook()}#${{__value.raw}}"]
    kept = set(re.findall(r"\w+", re.findall(r"by \(([^)]*)\)", target["expr"])[0]))
    for alert in rules(ALERTS):
        labels = {name for names in re.findall(r"\bby \(([^)]*)\)", alert["expr"]) for name in re.split(r", *", names)}
        assert labels - {"le"} <= kept, f"{alert['alert']}: two of them would be one line"
        assert {"alertname", "severity", "section"} <= kept


def test_the_list_shows_an_alert_that_fires_and_since_when(tmp_path: Path) -> None:
    """VoicePoolGone is asked for from the first moment on, and fires after two minutes; one that waits is not shown."""
    (panel,) = (panel for panel in DASHBOARDS[0].panels if panel.kind == "table")
    (query,) = panel.queries
    labels = 'alertname="VoicePoolGone", severity="page", section="a-pool-starves"'
    samples = [
        {"labels": f'{{{labels}, process="{process}"}}', "value": 0} for process in ("edge", "stt", "llm", "tts")
    ]
    shown = [
        {"expr": query.expr, "eval_time": "1m", "exp_samples": []},
        {"expr": query.expr, "eval_time": "5m", "exp_samples": samples},
    ]
    case = {"interval": "15s", "input_series": [], "promql_expr_test": shown}
    test = {"rule_files": [str(ALERTS)], "evaluation_interval": "15s", "tests": [case]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test), "utf-8")
    run_tool("promtool", "test", "rules", tmp_path / "test.yml")


@named
def test_legends_name_labels_that_the_series_keep(dashboard: Dashboard, panel: Panel) -> None:
    for query in panel.queries:
        kept = {label for names in re.findall(r"by \(([^)]*)\)", query.expr) for label in re.split(r", *", names)}
        for name, _ in selectors(asked(query.expr)):
            if "by (" not in query.expr:
                kept |= recorded().get(name, {"instance", "process"} if name == "voice_calls_active" else set())
        assert set(re.findall(r"\{\{(\w+)\}\}", query.legend)) <= kept, query


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.name)
def test_a_dashboard_is_laid_out_and_belongs_to_no_installation(dashboard: Dashboard) -> None:
    told: dict[str, Any] = json.loads(file(dashboard).read_text("utf-8"))
    panels = told["panels"]
    assert panels[0]["type"] == "text", "what it is about comes first"
    assert len(re.findall(r"[.?](?:\W|$)", re.sub(r"\([^)]*\)|\S+\.\S+", "", dashboard.about))) >= 2
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel.title for panel in dashboard.panels}) == len(list(dashboard.panels))
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < COLUMNS
        taken |= cells
        if panel["type"] not in ("text", "row"):
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert [one["name"] for one in told["templating"]["list"]] == ["datasource"]
    assert "id" not in told and told["uid"] == f"voice-{dashboard.name}"


def test_lines_of_panels_are_full() -> None:
    """No ragged edges: each line of a row is as wide as the screen, but for the last of a row of equal panels."""
    for dashboard in DASHBOARDS:
        lines: dict[int, int] = {}
        for panel in json.loads(text(dashboard))["panels"]:
            at = panel["gridPos"]
            lines[at["y"]] = lines.get(at["y"], 0) + at["w"]
        assert set(lines.values()) == {COLUMNS}, (dashboard.name, lines)
        assert all(earlier < later for earlier, later in pairwise(lines))


UNMODELLED = {
    # Prometheus' own fields of an annotation, which the model leaves to the data source.
    "annotations.list.titleFormat",
    "annotations.list.step",
    # Spelt otherwise by the model, as Grafana's heatmap writes it.
    "panels.options.tooltip.mode",
    "panels.options.tooltip.showColorScale",
}


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.name)
def test_grafanas_own_model_reads_every_field(dashboard: Dashboard) -> None:
    """There is no Grafana to be had from a package registry; its makers' model of a dashboard is."""
    pytest.importorskip("grafana_foundation_sdk", reason="uv pip install grafana-foundation-sdk")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard as Model

    register_default_plugins()
    told = json.loads(text(dashboard))
    understood = json.loads(JSONEncoder().encode(Model.from_json(told)))
    assert set(_lost(told, understood)) <= UNMODELLED


def _lost(told: Any, understood: Any, path: str = "") -> Iterator[str]:
    """The fields that the model did not keep."""
    if isinstance(told, dict) and isinstance(understood, dict):
        for name, value in told.items():
            where = f"{path}.{name}" if path else name
            if name in understood:
                yield from _lost(value, understood[name], where)
            else:
                yield where
    elif isinstance(told, list) and isinstance(understood, list):
        for one, same in zip(told, understood, strict=True):
            yield from _lost(one, same, path)
