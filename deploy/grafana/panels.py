"""Defines rows, panels and queries, and renders dashboards as JSON.  Pure: the output is the same on every machine.

A panel says in its description what is good, and what to do when it is not.  Panels flow from left to right, 24
columns wide, in the order of their rows; coordinates are computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.runbook_url import runbook

COLUMNS = 24
TEXT_HEIGHT = 3
SCHEMA_VERSION = 39
"""Of Grafana 11; newer ones migrate it when they load it."""
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, RED, NEUTRAL = "green", "#EAB839", "red", "text"


@dataclass(frozen=True, slots=True)
class Query:
    """One expression and the legend of its series: `{{label}}` is replaced."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """`kind` is stat, timeseries, heatmap or table; `steps` are (from, colour), the first from the lowest.

    `runbook` is the anchor of the section that says what to do.  `empty_text` stands in place of a value where there is
    none, without a colour: no calls at all are neither good nor bad.
    """

    title: str
    description: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 7
    steps: tuple[tuple[float | None, str], ...] = ()
    stack: bool = False
    least: float | None = 0
    most: float | None = None
    runbook: str = ""
    empty_text: str = "no data"


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """`name` is the file and the stable part of its address; `about` is the two sentences on top."""

    name: str
    title: str
    about: str
    rows: tuple[Row, ...]

    @property
    def panels(self) -> Iterator[Panel]:
        """The panels that have queries."""
        return (panel for row in self.rows for panel in row.panels)


def warns_above(warn: float, bad: float) -> tuple[tuple[float | None, str], ...]:
    """Green, then yellow from `warn`, red from `bad`."""
    return ((None, GREEN), (warn, YELLOW), (bad, RED))


def warns_below(warn: float, bad: float) -> tuple[tuple[float | None, str], ...]:
    """Red from 0 up to `bad`, yellow up to `warn`, then green.  Grafana shows no value in the lowest colour of all."""
    return ((None, NEUTRAL), (0, RED), (bad, YELLOW), (warn, GREEN))


def document(dashboard: Dashboard) -> dict[str, Any]:
    """Return the dashboard as Grafana reads it, without any id of an installation."""
    return {
        "uid": f"voice-{dashboard.name}",
        "title": f"Voice / {dashboard.title}",
        "tags": ["voice"],
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "schemaVersion": SCHEMA_VERSION,
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "",
        "links": [{"title": "Voice", "type": "dashboards", "tags": ["voice"], "asDropdown": True, "includeVars": True}],
        "templating": {
            "list": [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "annotations": {"list": [_alerts()]},
        "panels": _placed(dashboard),
    }


def _alerts() -> dict[str, Any]:
    """Return the annotation that marks fired alerts in every panel."""
    return {
        "name": "Alerts",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": RED,
        "expr": 'ALERTS{alertstate="firing", alertname=~"Voice.*"}',
        "titleFormat": "{{alertname}}",
        "step": "60s",
    }


def _placed(dashboard: Dashboard) -> list[dict[str, Any]]:
    placed: list[dict[str, Any]] = [_text(dashboard.about)]
    y = TEXT_HEIGHT
    for row in dashboard.rows:
        heading = {"type": "row", "title": row.title, "collapsed": False, "panels": []}
        placed.append(heading | {"gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}})
        y += 1
        for line in _lines(row.panels):
            x = 0
            for panel in line:
                at = {"x": x, "y": y, "w": panel.width, "h": panel.height}
                placed.append(_panel(panel) | {"gridPos": at})
                x += panel.width
            y += max(panel.height for panel in line)
    return [panel | {"id": number} for number, panel in enumerate(placed, 1)]


def _lines(panels: Sequence[Panel]) -> Iterator[list[Panel]]:
    line: list[Panel] = []
    for panel in panels:
        if sum(one.width for one in line) + panel.width > COLUMNS:
            yield line
            line = []
        line.append(panel)
    if line:
        yield line


def _text(about: str) -> dict[str, Any]:
    return {
        "type": "text",
        "title": "",
        "transparent": True,
        "options": {"mode": "markdown", "content": about},
        "gridPos": {"x": 0, "y": 0, "w": COLUMNS, "h": TEXT_HEIGHT},
    }


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "links": [{"title": "What to do: the runbook", "url": runbook(panel.runbook), "targetBlank": True}],
        "targets": [_target(panel, number, query) for number, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _field(panel), "overrides": _overrides(panel)},
        "options": _options(panel),
    } | _transformed(panel)


def _target(panel: Panel, number: int, query: Query) -> dict[str, Any]:
    return {
        "refId": chr(ord("A") + number),
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "format": panel.kind if panel.kind in ("heatmap", "table") else "time_series",
        "instant": panel.kind in ("stat", "table"),
        "range": panel.kind not in ("stat", "table"),
    }


def _transformed(panel: Panel) -> dict[str, Any]:
    """Return the overrides of a table of labels, whose value is the time since which each row is true."""
    if panel.kind != "table":
        return {}
    shown = {"excludeByName": {"Time": True}, "renameByName": {"Value": "since"}}
    return {"transformations": [{"id": "organize", "options": shown}]}


def _overrides(panel: Panel) -> list[dict[str, Any]]:
    """In a table of alerts each section is a link to it."""
    if panel.kind != "table":
        return []
    link = {"title": "What to do: the runbook", "url": runbook("${__value.raw}"), "targetBlank": True}
    section = {"matcher": {"id": "byName", "options": "section"}, "properties": [{"id": "links", "value": [link]}]}
    since = {"matcher": {"id": "byName", "options": "Value"}, "properties": [{"id": "unit", "value": panel.unit}]}
    return [section, since]


def _field(panel: Panel) -> dict[str, Any]:
    nothing = {"match": "null+nan", "result": {"text": panel.empty_text, "color": NEUTRAL, "index": 0}}
    field: dict[str, Any] = {"noValue": panel.empty_text, "unit": "short" if panel.kind == "table" else panel.unit}
    if panel.kind != "table":
        field["mappings"] = [{"type": "special", "options": nothing}]
    if panel.least is not None:
        field["min"] = panel.least
    if panel.most is not None:
        field["max"] = panel.most
    steps = panel.steps or ((None, GREEN),)
    field["thresholds"] = {"mode": "absolute", "steps": [{"value": at, "color": colour} for at, colour in steps]}
    if panel.kind == "stat":
        field["color"] = {"mode": "thresholds"}
    elif panel.kind == "timeseries":
        field["color"] = {"mode": "palette-classic"}
        field["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 25 if panel.stack else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stack else "none"},
            "thresholdsStyle": {"mode": "line" if panel.steps else "off"},
        }
    return field


def _options(panel: Panel) -> dict[str, Any]:
    match panel.kind:
        case "stat":
            return {
                "colorMode": "value",
                "graphMode": "none",
                "justifyMode": "auto",
                "textMode": "auto" if len(panel.queries) == 1 else "value_and_name",
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            }
        case "table":
            return {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}}
        case "heatmap":
            return {
                "calculate": False,
                "cellGap": 1,
                "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5},
                "tooltip": {"mode": "single", "showColorScale": True},
                "yAxis": {"unit": panel.unit},
            }
    legend = {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"], "showLegend": True}
    return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
