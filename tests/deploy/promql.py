"""What an expression asks for, by the PyPI package promql-parser: which series, matched by which labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from common.telemetry import metrics

promql_parser = pytest.importorskip("promql_parser", reason="uv pip install promql-parser")

ADDED_LABELS = frozenset({"instance", "job"})
"""By Prometheus, to whatever it scrapes."""


def selectors(expr: str) -> Iterator[tuple[str, dict[str, tuple[str, str]]]]:
    """(metric, label -> (operator, value)) of every selector in it.  Raises ValueError if it is no PromQL."""
    yield from _within(promql_parser.parse(expr))


def _within(node: Any) -> Iterator[tuple[str, dict[str, tuple[str, str]]]]:
    kind = type(node).__name__
    match kind:
        case "VectorSelector":
            yield node.name, {m.name: (str(m.op), m.value) for m in node.matchers.matchers}
        case "MatrixSelector":
            yield from _within(node.vector_selector)
        case "Call":
            for argument in node.args:
                yield from _within(argument)
        case "BinaryExpr":
            yield from _within(node.lhs)
            yield from _within(node.rhs)
        case "AggregateExpr" | "ParenExpr" | "SubqueryExpr" | "UnaryExpr":
            yield from _within(node.expr)
        case "NumberLiteral" | "StringLiteral":
            pass
        case _:
            raise AssertionError(f"an expression of a kind that this test does not know: {kind}")


def series() -> dict[str, frozenset[str]]:
    """Every series that our processes expose -> its labels."""
    # Prometheus' own, of the alerts that wait or fire.
    asked = frozenset({"alertname", "severity", "section", "process", "pool", "server", "provider", "reason", "hop"})
    found = {"ALERTS": asked | ADDED_LABELS | {"alertstate"}, "ALERTS_FOR_STATE": asked | ADDED_LABELS}
    for metric in vars(metrics).values():
        if not (hasattr(metric, "describe") and hasattr(metric, "_labelnames")):
            continue
        family, labels = metric.describe()[0], frozenset(metric._labelnames) | ADDED_LABELS
        match family.type:
            case "counter":
                found[f"{family.name}_total"] = labels
            case "histogram":
                found |= {f"{family.name}_{part}": labels for part in ("sum", "count")}
                found[f"{family.name}_bucket"] = labels | {"le"}
            case _:
                found[family.name] = labels
    return found


def unknown(expr: str, recorded: dict[str, frozenset[str]]) -> list[str]:
    """What the expression asks for that nobody exposes or records."""
    known = series() | recorded
    wrong = []
    for name, matchers in selectors(expr):
        if name not in known:
            wrong.append(f"{name}: there is no such metric")
            continue
        wrong += [f"{name} has no label {label}" for label in matchers if label not in known[name]]
        bounds = matchers.get("le")
        if bounds and f'{name}_le="{bounds[1]}"' not in _bounds():
            wrong.append(f"{name} has no bucket {bounds[1]}")
    return wrong


def _bounds() -> set[str]:
    text = metrics.exposition().decode()
    return {
        f'{line.partition("{")[0]}_le="{line.partition("le=")[2].split(chr(34))[1]}"'
        for line in text.splitlines()
        if "_bucket{" in line
    }
