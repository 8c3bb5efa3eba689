"""The runbook names every alert in the section that it leads to, and only panels and settings that exist."""

import re

import pytest

from common.settings import Settings
from deploy.grafana.build import DASHBOARDS
from tests.deploy.test_rules import ALERTS, RUNBOOK, heading, rules

pytestmark = pytest.mark.processes

TEXT = RUNBOOK.read_text()
NOT_SETTINGS = re.compile(r"SIG[A-Z]+|EXPIRE|LEASE_MS|API|PING")


def sections() -> dict[str, str]:
    """Anchor -> text of the sections about alerts."""
    alerts = TEXT.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    found = {}
    for part in alerts.split("\n### ")[1:]:
        title, _, body = part.partition("\n")
        found[heading(title)] = body
    return found


def test_each_section_names_its_alerts_and_their_severity() -> None:
    expected: dict[str, dict[str, str]] = {}
    for alert in rules(ALERTS):
        anchor = alert["labels"]["section"]
        expected.setdefault(anchor, {})[alert["alert"]] = alert["labels"]["severity"]
    named: dict[str, dict[str, str]] = {}
    for anchor, body in sections().items():
        first = body.strip().split("\n\n")[0]
        for names, severity in re.findall(r"((?:`Voice\w+`(?:, )?)+) \((page|ticket)\)", first.replace("\n", " ")):
            named.setdefault(anchor, {}).update(dict.fromkeys(re.findall(r"Voice\w+", names), severity))
    assert named == expected


@pytest.mark.parametrize("anchor", sections())
def test_each_section_says_what_callers_notice_and_what_to_do(anchor: str) -> None:
    body = sections()[anchor]
    assert "**Callers notice**" in body
    assert re.search(r"\*\*(?:Do this|Look)", body)


def test_panels_that_it_names_exist() -> None:
    titles = [panel.title for dashboard in DASHBOARDS for panel in dashboard.panels]
    named = re.findall(r"(?<!\*)\*([A-Z][^*\n]+)\*(?!\*)", TEXT.replace("\n", " "))
    assert len(named) > 10
    assert [name for name in named if not any(title.startswith(name) for title in titles)] == []


def test_dashboards_that_it_names_exist() -> None:
    titles = {dashboard.title for dashboard in DASHBOARDS}
    for name in re.findall(r"dashboard ([A-Z]\w+(?: and edge)?)", TEXT):
        assert name in titles, name


def test_settings_that_it_names_exist() -> None:
    fields = {name.upper() for name in Settings.__dataclass_fields__}
    named = {name for name in re.findall(r"`([A-Z][A-Z_]{3,})(?:=[^`]*)?`", TEXT) if not NOT_SETTINGS.fullmatch(name)}
    assert named - fields == set()
    assert {"STREAM_SECRET", "API_TOKEN", "VOBIZ_AUTH_TOKEN"} <= named
