"""Debian's Prometheus on loopback, scraping what a test tells it to, and the tools that come with it.

A tool that is missing skips the test on a laptop; in CI (`CI` set) that is a failure, as with Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from tests.programs import program
from tools.ports import free_port

READY_SECONDS = 20.0
STOP_SECONDS = 5.0
TOOL_SECONDS = 60


def tool(name: str) -> str:
    """The program's path; skips or fails the test without it."""
    return program(name)


def run_tool(name: str, *arguments: str | Path) -> str:
    """What it printed; fails the test if it was not content."""
    command = [tool(name), *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    return ran.stdout + ran.stderr


class Prometheus:
    """A running one."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def range(self, expr: str, since_s: float) -> list[float]:
        """Every finite value of the expression, second by second, since then."""
        told = await self._get("query_range", {"query": expr, "start": since_s, "end": time.time(), "step": 1})
        return _finite(value for series in told["result"] for _, value in series["values"])

    async def now(self, expr: str) -> list[float]:
        """Every finite value of the expression now."""
        told = await self._get("query", {"query": expr})
        assert told["resultType"] == "vector", told
        return _finite(series["value"][1] for series in told["result"])

    async def unhealthy(self) -> list[str]:
        """What is wrong with rules and targets."""
        rules = await self._get("rules", {})
        wrong = [f"{rule['name']}: {rule['lastError']}" for group in rules["groups"] for rule in group["rules"]
                 if rule["health"] != "ok"]  # fmt: skip
        targets = await self._get("targets", {"state": "active"})
        return wrong + [f"{one['scrapeUrl']}: {one['lastError']}" for one in targets["activeTargets"]
                        if one["health"] != "up"]  # fmt: skip

    async def _get(self, path: str, asked: Mapping[str, Any]) -> Any:
        response = await self._client.get(f"/api/v1/{path}", params=dict(asked))
        assert response.status_code == 200, f"{asked}: {response.text}"
        return response.json()["data"]


@contextlib.asynccontextmanager
async def prometheus(folder: Path, targets: Mapping[str, str], rule_files: list[Path]) -> AsyncIterator[Prometheus]:
    """While the block runs: `targets` is name -> /metrics URL, everything is scraped and evaluated each second."""
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(_quickened(path, folder)) for path in rule_files],
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": [urlsplit(url).netloc]}]} for name, url in targets.items()
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    run_tool("promtool", "check", "config", folder / "prometheus.yml")
    address = f"127.0.0.1:{free_port()}"
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(tool("prometheus"), f"--config.file={folder / 'prometheus.yml'}"),
            *(f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=10.0, trust_env=False) as client:
            await _until_ready(client, process, folder)
            yield Prometheus(client)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _until_ready(client: httpx.AsyncClient, process: asyncio.subprocess.Process, folder: Path) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            assert process.returncode is None, (folder / "prometheus.log").read_text()
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/-/ready")).status_code == 200:
                    return
            await asyncio.sleep(0.1)


def _quickened(path: Path, folder: Path) -> Path:
    """The same rules, evaluated every second."""
    rules = yaml.safe_load(path.read_text())
    for group in rules["groups"]:
        group.pop("interval", None)
    copy = folder / path.name
    copy.write_text(yaml.safe_dump(rules))
    return copy


def _finite(values: Any) -> list[float]:
    return [number for value in values if math.isfinite(number := float(value))]
