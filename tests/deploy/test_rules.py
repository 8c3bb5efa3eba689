"""The Prometheus rules and alerts: valid, about metrics that exist, each shown to fire and to keep quiet."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.runbook_url import runbook
from tests.deploy.prometheus_server import run_tool
from tests.deploy.promql import unknown

pytestmark = pytest.mark.processes

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"
RULES, ALERTS = FOLDER / "voice.rules.yml", FOLDER / "voice.alerts.yml"
RUNBOOK = FOLDER.parents[1] / "docs" / "runbook.md"
TESTS = sorted((FOLDER / "tests").glob("*.yml"))
SEVERITIES = {"page", "ticket"}


def rules(path: Path) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def recorded() -> dict[str, frozenset[str]]:
    """Recording rules -> their labels: those of the rule, and what its expression keeps."""
    found: dict[str, frozenset[str]] = {}
    for rule in rules(RULES):
        kept = set(rule.get("labels", {}))
        for names in re.findall(r"\bby \(([^)]*)\)", rule["expr"]):
            kept |= {name.strip() for name in names.split(",")}
        found[rule["record"]] = frozenset(kept)
    return found


def test_promtool_accepts_the_rules() -> None:
    assert "SUCCESS" in run_tool("promtool", "check", "rules", RULES, ALERTS)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should(path: Path) -> None:
    # promtool evaluates groups that are not in this list in any order, and alerts would see old recordings.
    groups = [group["name"] for source in (RULES, ALERTS) for group in yaml.safe_load(source.read_text())["groups"]]
    assert yaml.safe_load(path.read_text())["group_eval_order"] == groups
    run_tool("promtool", "test", "rules", path)


def test_amtool_accepts_the_configuration() -> None:
    run_tool("amtool", "check-config", FOLDER / "alertmanager.yml")


@pytest.mark.parametrize("rule", [*rules(RULES), *rules(ALERTS)], ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_what_exists(rule: dict[str, Any]) -> None:
    assert unknown(rule["expr"], recorded()) == []


@pytest.mark.parametrize("alert", rules(ALERTS), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    assert re.fullmatch(r"Voice[A-Za-z]+", alert["alert"])
    assert alert["labels"]["severity"] in SEVERITIES
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert len(notes["summary"]) <= 90 and not notes["summary"].endswith(".")
    assert notes["description"].endswith(".")
    section = alert["labels"]["section"]
    assert section in {heading(line) for line in RUNBOOK.read_text().splitlines() if line.startswith("### ")}
    assert notes["runbook_url"] == runbook(section), "make generated"


def test_every_alert_is_shown_to_fire_and_to_keep_quiet() -> None:
    names = {alert["alert"] for alert in rules(ALERTS)}
    assert len(names) == len(rules(ALERTS)), "one name, one alert: or a test cannot tell which"
    fired, quiet = set(), set()
    for path in TESTS:
        for case in yaml.safe_load(path.read_text())["tests"]:
            for asked in case["promql_expr_test"]:
                about = matched(asked["expr"], names)
                shown = " ".join(sample["labels"] for sample in asked["exp_samples"])
                there = {name for name in about if f'alertname="{name}"' in shown}
                if asked["exp_samples"] and len(about) == 1:
                    there = about
                fired |= there
                quiet |= about - there
    assert names - fired == set(), "never shown to fire"
    # An alert by server, pool or vendor keeps quiet about the others in the very case in which it fires.
    by_label = {alert["alert"] for alert in rules(ALERTS) if " by (" in alert["expr"]}
    assert names - quiet - by_label == set(), "never shown to keep quiet"


def matched(expr: str, names: set[str]) -> set[str]:
    """The alerts that an expression of a test is about."""
    found = set()
    for operator, pattern in re.findall(r'alertname(=~?)"([^"]*)"', expr):
        found |= {name for name in names if (re.fullmatch(pattern, name) if operator == "=~" else pattern == name)}
    return found


def heading(line: str) -> str:
    """The anchor that a Markdown heading gets."""
    return re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")


def test_the_objective_is_counted_and_not_guessed() -> None:
    """1.2 s is a bucket, in the rules as in the runbook; a quantile would be interpolated."""
    for rule in rules(RULES):
        if rule["record"].startswith("voice:answers_slow"):
            assert 'le="1.2"' in rule["expr"]
            assert unknown(rule["expr"].replace('le="1.2"', 'le="1.1"'), {}), "the check itself sees a wrong bucket"
