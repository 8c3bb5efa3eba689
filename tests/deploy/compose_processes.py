"""The services of docker-compose.yml as plain processes: commands, environment and health checks are the file's.

Where the file leaves a command or a health check to the image, the Dockerfile's is taken.  Rewritten is only what
containers would give: hosts and ports become free ones of this machine, `python` this Python, a volume a folder.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from simulators.redis_servers import redis_program
from tests.deploy.compose_dockerfile import ROOT, Stage, stages
from tests.deploy.compose_file import environment, seconds, services
from tests.programs import program
from tools.ports import free_port

PORTS = {"redis": 6379, "edge": 8000, "llm": 9102, "stt": 9101, "tts": 9103, "tools": 9104}
"""Where the containers listen; a test compares it with the file."""
PROBE_SECONDS = 10.0
BUSY_FACTOR = 3.0
"""This machine may be busy with other things than the stack."""


@dataclass(slots=True)
class Service:
    """One service: what would run in its container."""

    name: str
    command: list[str]
    health: list[str]
    environ: dict[str, str]
    well_within_s: float
    stop_within_s: float
    after: list[str]
    process: asyncio.subprocess.Process | None = None


@dataclass(slots=True)
class Services:
    """`async with Services(folder) as running`: all of the default profile are well; the end stops them in order."""

    folder: Path
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in PORTS})
    started: list[Service] = field(default_factory=list)
    exit_codes: dict[str, int] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        try:
            for service in in_order(self._read()):
                await self._start(service)
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    def _read(self) -> dict[str, Service]:
        return {name: self._service(name, given) for name, given in services().items()}

    def _service(self, name: str, given: dict[str, Any]) -> Service:
        build = given["build"]
        found = stages(ROOT / build["dockerfile"])
        stage = found[build["target"]] if "target" in build else list(found.values())[-1]
        health, check = self._health(given, stage)
        return Service(
            name,
            self.here(given.get("command") or stage.command),
            self.here(health),
            self._environ(name, stage, given),
            check,
            seconds(given["stop_grace_period"]),
            list(given.get("depends_on") or {}),
        )

    def _health(self, given: dict[str, Any], stage: Stage) -> tuple[list[str], float]:
        """(command, seconds within which it must succeed) of the service, else of its image."""
        check = given.get("healthcheck")
        if check:
            kind, *command = check["test"]
            assert kind == "CMD"
            within = seconds(check["start_period"]) + check["retries"] * seconds(check["interval"])
            return command, within
        return stage.health, stage.health_option("start-period") + 3 * stage.health_option("interval")

    def _environ(self, name: str, stage: Stage, given: dict[str, Any]) -> dict[str, str]:
        """Nothing of this shell's but what a process needs to run at all."""
        environ = {**stage.environment, **environment(given)}
        environ = {name: self._rewritten(value) for name, value in environ.items()}
        folder = str(self.folder / name)
        environ |= {"PATH": os.environ["PATH"], "HOME": folder, "TMPDIR": folder, "PYTHONPATH": str(ROOT)}
        for name in ("HTTP_PORT", "METRICS_PORT"):
            if name in environ:
                environ[name] = str(next(self.ports[s] for s, port in PORTS.items() if str(port) == environ[name]))
        if "HTTP_HOST" in environ:
            environ["HTTP_HOST"] = "127.0.0.1"
        return environ

    def here(self, command: list[str]) -> list[str]:
        """A container's command on this machine."""
        match command:
            case ["python", *rest]:
                return [sys.executable, *map(self._rewritten, rest)]
            case ["redis-server", *rest]:
                return [redis_program(), *rest, "--port", str(self.ports["redis"]), "--bind", "127.0.0.1"]
            case ["redis-cli", *rest]:
                return [program("redis-cli"), "-p", str(self.ports["redis"]), *rest]
            case ["bash", script, *rest]:
                return ["bash", str(ROOT / "deploy/compose" / Path(script).name), *(self.here(rest) if rest else [])]
        raise AssertionError(f"no container of ours runs {command[0]}")

    def _rewritten(self, value: str) -> str:
        for name, port in PORTS.items():
            value = value.replace(f"//{name}:{port}", f"//127.0.0.1:{self.ports[name]}")
        return value

    async def _start(self, service: Service) -> None:
        folder = self.folder / service.name
        folder.mkdir()
        with (self.folder / f"{service.name}.log").open("ab") as log:
            service.process = await asyncio.create_subprocess_exec(
                *service.command,
                cwd=folder if service.name == "redis" else ROOT,
                env=service.environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.started.append(service)
        try:
            async with asyncio.timeout(service.well_within_s * BUSY_FACTOR):
                while await run(service.health, service.environ) != 0:
                    assert service.process.returncode is None, f"{service.name} has ended: {self.log(service.name)}"
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise AssertionError(f"{service.name} does not become well: {self.log(service.name)}") from None

    def log(self, name: str) -> str:
        """Its last lines."""
        return "\n".join((self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-15:])

    async def stop(self) -> None:
        """SIGTERM in the reverse order of the start, as `docker compose down` does; SIGKILL after its time."""
        for service in reversed(self.started):
            process = service.process
            assert process is not None
            if process.returncode is None:
                process.terminate()
            try:
                async with asyncio.timeout(service.stop_within_s):
                    self.exit_codes[service.name] = await process.wait()
            except TimeoutError:
                process.kill()
                self.exit_codes[service.name] = await process.wait()
        self.started.clear()


def in_order(read: dict[str, Service]) -> list[Service]:
    """Each after those that it depends on."""
    ordered: list[Service] = []
    while len(ordered) < len(read):
        done = {service.name for service in ordered}
        ready = [s for s in read.values() if s.name not in done and set(s.after) & set(read) <= done]
        assert ready, "services depend on each other in a circle"
        ordered += ready
    return ordered


async def run(command: list[str], environ: dict[str, str]) -> int:
    """The exit code of a short command; -1 if it takes too long."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd="/", env=environ, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            return await process.wait()
    except TimeoutError:
        return -1
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
