"""Every panel on a live Prometheus that scrapes a running stack, while a caller phones: "no data" is a failure.

There is no Grafana to be had from a package registry: what is checked is every expression that it would ask, and that
the files are well formed (test_dashboards.py).
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.build import DASHBOARDS
from deploy.grafana.panels import Panel
from simulators.call import Caller, CallOptions
from simulators.script import BargeIn, Say, WaitForAgent
from tests.deploy.prometheus_server import Prometheus, prometheus, tool
from tools.demo import KEYLESS
from tools.fake_providers import fake_providers
from tools.stack import ROOT, Stack, StackOptions

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.anyio]

RULES = [ROOT / "deploy" / "prometheus" / name for name in ("voice.rules.yml", "voice.alerts.yml")]
EMPTY_IS_RIGHT = {"Alerts that fire", "Outbound: answer rate", "Tools by outcome", "Tools: seconds, p95"}
"""All is well, no call was placed, and the agent has no tools."""
SETTLE_SECONDS = 3.0
"""After the call: a scrape, the rules, and the next question to Redis see it."""


@pytest.fixture
async def scraped(tmp_path: Path) -> AsyncIterator[tuple[Stack, Prometheus]]:
    """A stack with the fake vendors, so that sockets, tokens and dollars have something to show."""
    tool("promtool"), tool("prometheus")
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    environ.pop("REDIS_URL", None)
    async with (
        fake_providers() as vendors,
        Stack(StackOptions({**environ, **KEYLESS, **vendors}, logs=tmp_path / "logs")) as stack,
        prometheus(
            tmp_path, {name: stack.metrics_url(name) for name in ("edge", "stt", "llm", "tts")}, RULES
        ) as scraping,
    ):
        yield stack, scraping


async def test_every_panel_and_rule_has_data_after_a_call(scraped: tuple[Stack, Prometheus]) -> None:
    stack, scraping = scraped
    await _scraped(scraping)
    began = time.time()
    script = [
        WaitForAgent(silence_ms=800, deadline_ms=20_000),
        Say("opening-hours"),
        BargeIn("location", after_ms=1500),
        WaitForAgent(silence_ms=800),
    ]
    options = CallOptions(f"{stack.url}/answer", hangup_url=f"{stack.url}/hangup", call_s_max=60.0)
    result = await Caller(options).call(script)
    assert result.failures == []
    await _settled(scraping)

    assert await scraping.unhealthy() == []
    empty = []
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            for query in panel.queries:
                if panel.title in EMPTY_IS_RIGHT:
                    assert await _values(scraping, panel, query.expr, began) == [], panel.title
                elif not await _values(scraping, panel, query.expr, began):
                    empty.append(f"{dashboard.title} / {panel.title}: {query.expr}")
    for group in _groups():
        for rule in group["rules"]:
            if "record" in rule and ":tool_" not in rule["record"] and not await scraping.range(rule["record"], began):
                empty.append(f"rule {rule['record']}")
    assert not empty, "no data:\n" + "\n".join(empty)

    # The figures are this call's, not just any.
    assert await scraping.now("sum(voice_calls_started_total)") == [1]
    assert await scraping.now('sum(voice_calls_ended_total{reason="caller hung up"})') == [1]
    assert (await scraping.now("sum(voice_answer_seconds_count)"))[0] >= 2
    assert await scraping.now("count(count by (process) (voice_build_info))") == [4]
    assert await scraping.now("count(count by (version, revision) (voice_build_info))") == [1]
    assert (await scraping.now("sum(voice_provider_cost_dollars_total)"))[0] > 0
    assert await scraping.now('max by (stream) (voice_stream_entries{stream="edge audio"})') != [0]
    assert await scraping.now("max(voice_provider_unpriced)") == [0]
    firing = await scraping.now('ALERTS{alertstate="firing", severity="page"}')
    assert firing == [], "a healthy stack wakes nobody"


async def _scraped(scraping: Prometheus) -> None:
    """Until the counters were seen at 0: what is counted before the first scrape is no increase."""
    async with asyncio.timeout(20):
        while await scraping.now("sum(voice_calls_started_total)") != [0] or not await scraping.now("voice_calls_max"):
            await asyncio.sleep(0.2)


async def _settled(scraping: Prometheus) -> None:
    """Until the end of the call is scraped and Redis has been asked since."""
    async with asyncio.timeout(20):
        while await scraping.now("sum(voice_calls_ended_total)") != [1]:
            await asyncio.sleep(0.2)
    await asyncio.sleep(SETTLE_SECONDS)


async def _values(scraping: Prometheus, panel: Panel, expr: str, began: float) -> list[float]:
    asked = expr.replace("$__rate_interval", "30s").replace("$__range", "5m")
    assert "$" not in asked
    return await (scraping.now(asked) if panel.kind in ("stat", "table") else scraping.range(asked, began))


def _groups() -> list[Any]:
    return [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
