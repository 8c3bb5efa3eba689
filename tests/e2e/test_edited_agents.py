"""A real edge whose agent files are edited while it runs, and the command that goes back to an earlier version."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.conftest import server_url
from tests.deadlines import WAIT_S
from tests.e2e.edge_process import ROOT, EdgeProcess, edge_process

pytestmark = [pytest.mark.processes, pytest.mark.anyio]


@pytest.fixture(params=["valkey"])
def url(request: pytest.FixtureRequest) -> str:
    return server_url(request)


def write(folder: Path, greeting: str) -> None:
    (made := folder / "desk.tmp").write_text(f"{greeting}\ninstructions: Be kind.\n")
    made.replace(folder / "desk.yaml")


async def shown(edge: EdgeProcess) -> tuple[str, list[str]]:
    """The version that calls get, and the problems of the files."""
    found = (await edge.ask("GET", "/v1/agents")).json()
    return found["agents"][0]["version"], found["problems"]


async def changes(edge: EdgeProcess, before: tuple[str, list[str]]) -> tuple[str, list[str]]:
    async with asyncio.timeout(WAIT_S):
        while (found := await shown(edge)) == before:
            await asyncio.sleep(0.1)
    return found


async def command(url: str, *words: str) -> str:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "REDIS_URL": url}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge.agents", *words), cwd=ROOT, env=environ, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def test_an_edge_follows_its_files_a_signal_and_the_command(url: str, tmp_path: Path) -> None:
    write(tmp_path, "greeting: Hello.")
    async with edge_process(url, tmp_path, AGENTS_DIR=str(tmp_path)) as edge:
        first = await shown(edge)
        write(tmp_path, "greeting: Namaste.")
        second = await changes(edge, first)
        assert second[0] != first[0] and second[1] == []
        write(tmp_path, "greting: Hi.")
        os.kill(edge.pid, signal.SIGHUP)
        broken = await changes(edge, second)
        assert broken[0] == second[0] and "desk.yaml:1: unknown key 'greting'" in "".join(broken[1])
        write(tmp_path, "greeting: Namaste.")
        assert await changes(edge, broken) == second
        assert first[0] in await command(url, "rollback", "desk")
        assert await changes(edge, second) == first
        assert "calls get it" in await command(url, "list")
        await command(url, "unpin", "desk")
        assert await changes(edge, first) == second
