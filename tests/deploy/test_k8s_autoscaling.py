"""The figures that the autoscalers act on, computed by Prometheus' own rule tester."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.deploy.k8s_manifests import named, overlay
from tests.deploy.prometheus_server import run_tool

EDGES = 'process="edge",namespace="voice"'


def series(text: str, value: int) -> dict[str, str]:
    return {"series": text, "values": f"{value}x4"}


def sample(name: str, process: str, value: float) -> dict[str, object]:
    return {"labels": f'{name}{{namespace="voice",process="{process}"}}', "value": value}


def test_calls_at_the_edges_say_how_many_of_each_are_wanted(tmp_path: Path) -> None:
    """Two edges with 90 and 50 calls, one of them draining; ears that take 20 calls each and have fallen behind."""
    groups = named(overlay("prod"), "PrometheusRule", "voice-autoscaling")["spec"]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(groups), "utf-8")
    given = [
        *(series(f'voice_calls_active{{{EDGES},pod="edge-{n}"}}', calls) for n, calls in enumerate((90, 50))),
        *(series(f'voice_calls_max{{{EDGES},pod="edge-{n}"}}', 100) for n in range(2)),
        *(series(f'voice_calls_active{{process="stt",namespace="voice",pod="stt-{n}"}}', 20) for n in range(5)),
        *(series(f'voice_calls_max{{process="stt",namespace="voice",pod="stt-{n}"}}', 20) for n in range(5)),
        series('voice_calls_active{process="tts",namespace="voice",pod="tts-0"}', 141),
        series('voice_calls_max{process="tts",namespace="voice",pod="tts-0"}', 200),
        series('voice_calls_active{process="edge",namespace="staging",pod="edge-9"}', 999),
    ]
    wanted: list[tuple[str, float]] = [("edge", 1.4), ("stt", 7), ("tts", 0.7)]
    waiting: list[tuple[str, float]] = [
        ("stt", 40),
        ("tts", 0),
    ]  # a call that just ended is at its mouth for a moment longer
    expected = {"voice_processes_wanted": wanted, "voice_calls_waiting": waiting}
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": given,
                "promql_expr_test": [
                    {"expr": name, "eval_time": "30s", "exp_samples": [sample(name, *pair) for pair in pairs]}
                    for name, pairs in expected.items()
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test), "utf-8")
    run_tool("promtool", "test", "rules", tmp_path / "test.yml")
