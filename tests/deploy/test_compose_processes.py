"""What docker-compose.yml says is run as it says it, without containers, and phoned by its own caller.

What only a Docker engine shows is not seen here: that the images build, the read-only root, the networks, the limits.
"""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from tests.deploy.compose_dockerfile import ROOT
from tests.deploy.compose_file import environment, services
from tests.deploy.compose_processes import PORTS, Service, Services, in_order
from tests.programs import program

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.anyio]
CALL_SECONDS = 200.0


def test_services_start_after_those_whom_they_need() -> None:
    def service(name: str, *after: str) -> Service:
        return Service(name, [], [], {}, 1.0, 1.0, list(after))

    phone = (service("edge", "ears", "another profile's"), service("ears", "redis"), service("redis"))
    assert [s.name for s in in_order({s.name: s for s in phone})] == ["redis", "ears", "edge"]
    with pytest.raises(AssertionError, match="circle"):
        in_order({"a": service("a", "b"), "b": service("b", "a")})


def test_the_ports_are_the_files() -> None:
    for name, service in services().items():
        given = environment(service)
        assert str(PORTS[name]) == (given.get("METRICS_PORT") or given.get("HTTP_PORT") or "6379")


async def test_a_caller_is_answered_by_the_services_of_the_compose_file(tmp_path: Path) -> None:
    """`docker compose up --wait`, `docker compose run --rm demo`, `docker compose down`."""
    program("redis-cli")
    async with Services(tmp_path) as running:
        assert [service.name for service in running.started] == ["redis", "llm", "stt", "tools", "tts", "edge"]
        demo = services(("demo",))["demo"]
        environ = {**running.started[-1].environ, **environment(demo)}
        environ["REDIS_URL"] = running.started[-1].environ["REDIS_URL"]
        code, told = await _told(running.here(demo["command"]), environ)
        assert code == 0, told + running.log("edge")
    assert len(re.findall(r"^agent       \S", told, re.MULTILINE)) >= 4
    assert "every turn was answered" in told
    assert running.exit_codes == dict.fromkeys(("redis", "llm", "tools", "stt", "tts", "edge"), 0)
    assert _files(tmp_path / "redis", "*.aof"), "Redis kept nothing"
    assert "Traceback" not in "".join(_files(tmp_path, "*.log").values())


async def test_a_caller_whom_nobody_answers_is_no_success(tmp_path: Path) -> None:
    """The demo's exit code must not be a formality."""
    environ = {"REDIS_URL": "redis://127.0.0.1:1/0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "deploy.compose.demo", "--url", "http://127.0.0.1:1"]
    code, _ = await _told(command, environ)
    assert code != 0


def _files(folder: Path, pattern: str) -> dict[str, str]:
    return {path.name: path.read_text(errors="replace") for path in folder.rglob(pattern)}


async def _told(command: list[str], environ: dict[str, str]) -> tuple[int, str]:
    """(exit code, output) of a caller."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(CALL_SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode()
