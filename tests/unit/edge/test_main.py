"""What an edge says at each start of what its settings leave open, or forbid: one line for each."""

import pytest

from common.agents.model import Agent, Agents
from common.settings import Settings
from edge.__main__ import _warn
from edge.outbound.destinations import Destinations, OperatorLimits
from tests.unit.edge.outbound.test_destinations import plain

pytestmark = pytest.mark.fast

INDIA = OperatorLimits(Destinations.of("", "+911234567890"))
SIGNED = {"VOBIZ_AUTH_ID": "MA_TEST", "VOBIZ_AUTH_TOKEN": "a-token-of-vobiz"}


def said(caplog: pytest.LogCaptureFixture, settings: dict[str, str], fallback: str = "") -> list[str]:
    desk = Agent("desk", "Hello.", "Be brief.", numbers=("*",), fallback_number=fallback)
    _warn(Settings.from_env(settings), Agents({"desk": desk}), INDIA)
    assert {record.levelname for record in caplog.records} <= {"WARNING"}
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("settings", "open_to"),
    [
        ({}, "webhooks are not verified"),
        ({**SIGNED, "WEBHOOK_SIGNATURES": "off"}, "webhooks are not verified"),
        ({**SIGNED, "WEBHOOK_SIGNATURES": "if-present"}, "webhooks without a signature are believed"),
    ],
)
def test_webhooks_that_strangers_may_forge_are_one_line(
    caplog: pytest.LogCaptureFixture, settings: dict[str, str], open_to: str
) -> None:
    (line,) = said(caplog, settings)
    assert line.startswith(open_to)
    assert "WEBHOOK_SIGNATURES=required" in line


def test_with_signatures_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    assert said(caplog, SIGNED) == []


def test_a_person_who_is_never_rung_is_named_by_the_agent_and_not_by_the_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert said(caplog, SIGNED, "+91 98765 43210") == []
    (line,) = said(caplog, SIGNED, plain("+442_071838750"))
    assert line.startswith("agent desk: ") and "DIAL_PREFIXES" in line
    assert "7183" not in line
