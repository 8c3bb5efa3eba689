"""An alert's links lead somewhere: to the runbook's section, and to addresses that people reach."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from deploy.k8s import prometheus_rules
from deploy.runbook_url import addressed, runbook, whole
from tests.deploy.compose_file import PROFILES, services
from tests.deploy.k8s_manifests import ROOT, of_kind, overlay
from tests.deploy.prometheus_server import run_tool, tool
from tools.ports import free_port

pytestmark = pytest.mark.processes

FOLDER = ROOT / "deploy" / "prometheus"
ALERTS = FOLDER / "voice.alerts.yml"
WAIT_SECONDS = 30
RESEND = "--rules.alert.resend-delay=1s"
"""What it sent before it knew Alertmanager, a few seconds after its start, is lost."""
ADDRESSES = {
    "PROMETHEUS_URL": "https://ops.example.com/prometheus",
    "ALERTMANAGER_URL": "https://ops.example.com/alertmanager",
    "GRAFANA_URL": "https://grafana.example.com",
}


def links(document: Any) -> list[str]:
    """Every runbook_url in a file of rules."""
    groups = document["groups"]
    return [r["annotations"]["runbook_url"] for group in groups for r in group["rules"] if "alert" in r]


def test_the_address_stands_once_and_is_in_everything() -> None:
    assert urlsplit(runbook()).scheme in ("http", "https") and urlsplit(runbook()).netloc
    compose = links(yaml.safe_load(ALERTS.read_text("utf-8")))
    cluster = [link for one in of_kind(overlay("prod"), "PrometheusRule") for link in links(one["spec"])]
    assert len(compose) >= 27 and sorted(compose) == sorted(cluster)
    assert [link for link in compose if not link.startswith(runbook() + "#")] == []


def test_another_address_is_put_into_the_alerts_and_the_rules(tmp_path: Path) -> None:
    """As whoever runs it would: write the one file, then make the rest anew."""
    for path in FOLDER.glob("voice.*.yml"):
        (tmp_path / path.name).write_text(path.read_text("utf-8"), "utf-8")
    theirs = "https://wiki.example.com/display/voice/runbook"
    text = ALERTS.read_text("utf-8").replace(runbook(), theirs)
    assert addressed(text) == ALERTS.read_text("utf-8"), "whatever stood there, sections stay"
    assert addressed(text.replace(theirs, "docs/runbook.md")) == ALERTS.read_text("utf-8")
    (tmp_path / "voice.alerts.yml").write_text(text, "utf-8")
    rendered = [link for one in yaml.safe_load_all(prometheus_rules.rendered(tmp_path)) for link in links(one["spec"])]
    assert rendered and all(link.startswith(theirs + "#") for link in rendered)


def test_promtool_sees_the_whole_link(tmp_path: Path) -> None:
    """As it is sent, after Prometheus has filled in the texts."""
    rule = next(
        rule
        for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
        for rule in group["rules"]
        if rule.get("alert") == "VoicePoolGone"
    )
    expected = [
        {
            "exp_labels": {**rule["labels"], "process": process},
            "exp_annotations": {
                name: text.replace("{{ $labels.process }}", process) for name, text in rule["annotations"].items()
            },
        }
        for process in ("edge", "stt", "llm", "tts")
    ]
    asked = {"alertname": "VoicePoolGone", "eval_time": "5m", "exp_alerts": expected}
    case = {"interval": "15s", "input_series": [], "alert_rule_test": [asked]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "tests": [case]}), "utf-8")
    run_tool("promtool", "test", "rules", tmp_path / "test.yml")


def test_without_settings_the_links_lead_to_this_machine() -> None:
    every = services(PROFILES)
    assert "--web.external-url=http://127.0.0.1:9090" in every["prometheus"]["command"]
    assert "--web.external-url=http://127.0.0.1:9093" in every["alertmanager"]["command"]
    assert every["grafana"]["environment"]["GF_SERVER_ROOT_URL"] == "http://127.0.0.1:3000"


def test_the_page_about_kubernetes_sets_all_three() -> None:
    values: dict[str, Any] = {}
    for block in re.findall(r"```yaml\n(.*?)```", (ROOT / "deploy/k8s/README.md").read_text("utf-8"), re.DOTALL):
        values |= yaml.safe_load(block)
    assert values["prometheus"]["prometheusSpec"]["externalUrl"].startswith("https://")
    assert values["alertmanager"]["alertmanagerSpec"]["externalUrl"].startswith("https://")
    assert values["grafana"]["grafana.ini"]["server"]["root_url"].startswith("https://")


@pytest.mark.parametrize("text", ["", "docs/runbook.md", "//wiki/runbook", "https://x.example.com/a#b", "ftp://x/y"])
def test_an_address_that_is_no_whole_one_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected one line such as"):
        whole(text)


# --- the programs themselves ---------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, asyncio.Queue[Any]]]:
    """Slack's incoming webhook: (URL, what was posted to it)."""
    posted: asyncio.Queue[Any] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
        posted.put_nowait(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", posted


@contextlib.asynccontextmanager
async def running(folder: Path, name: str, *arguments: str) -> AsyncIterator[None]:
    with (folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(tool(name), *arguments, cwd=folder, stdout=log, stderr=log)
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def program_of(name: str) -> str:
    return {"alertmanager": "prometheus-alertmanager"}.get(name, name)


@pytest.mark.anyio
async def test_what_is_sent_links_to_addresses_that_people_reach(tmp_path: Path) -> None:
    """Prometheus and Alertmanager with the flags of docker-compose.yml: no pool is there, and somebody is told."""
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in ADDRESSES.items()), "utf-8")
    every = services(PROFILES, tmp_path / ".env")
    flags = {
        name: [f for f in every[name]["command"] if f.startswith("--web.")] for name in ("prometheus", "alertmanager")
    }
    ports = {name: free_port() for name in flags}
    assert every["grafana"]["environment"]["GF_SERVER_ROOT_URL"] == ADDRESSES["GRAFANA_URL"]

    alerts = yaml.safe_load(ALERTS.read_text("utf-8"))
    for group in alerts["groups"]:
        for rule in group["rules"]:
            rule.pop("for", None)
    (tmp_path / "quick.alerts.yml").write_text(yaml.safe_dump(alerts), "utf-8")
    target = {"static_configs": [{"targets": [f"127.0.0.1:{ports['alertmanager']}"]}]}
    config = {
        "global": {"evaluation_interval": "1s"},
        "rule_files": ["quick.alerts.yml"],
        "alerting": {"alertmanagers": [target]},
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")

    async with receiver() as (url, posted), contextlib.AsyncExitStack() as stack:
        routed = (FOLDER / "alertmanager.yml").read_text("utf-8").replace("group_wait: 15s", "group_wait: 1s")
        (tmp_path / "url").write_text(url, "utf-8")
        routed = re.sub(r"api_url_file: \S+", f"api_url_file: {tmp_path / 'url'}", routed)
        (tmp_path / "alertmanager.yml").write_text(routed, "utf-8")
        for name, more in {"alertmanager": ["--cluster.listen-address="], "prometheus": [RESEND]}.items():
            listen = f"--web.listen-address=127.0.0.1:{ports[name]}"
            place = f"--storage.{'path' if name == 'alertmanager' else 'tsdb.path'}={tmp_path / name}"
            own = [f"--config.file={tmp_path / name}.yml", place, listen]
            await stack.enter_async_context(running(tmp_path, program_of(name), *own, *flags[name], *more))
        async with asyncio.timeout(WAIT_SECONDS):
            (message,) = (await posted.get())["attachments"]
            async with httpx.AsyncClient(trust_env=False) as client:
                told = (await client.get(f"http://127.0.0.1:{ports['alertmanager']}/api/v2/alerts")).json()

    assert message["title"].startswith("VoicePoolGone")
    assert runbook("a-pool-starves") in message["text"]
    assert message["title_link"].startswith(ADDRESSES["ALERTMANAGER_URL"])
    assert len(told) == 4
    for alert in told:
        assert alert["generatorURL"].startswith(ADDRESSES["PROMETHEUS_URL"] + "/graph")
        assert alert["annotations"]["runbook_url"] == runbook(alert["labels"]["section"])
