"""`make run` as a person has it: started, left alone, stopped at any moment; as real processes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from simulators.carrier import Callee, Carrier, CarrierOptions
from tools.fake_providers import fake_providers
from tools.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
SENDER, CALLED = "+911234567890", "+911234567891"
START_SECONDS, STOP_SECONDS = 60.0, 25.0
VENDORS = {
    "STT_PROVIDER": "deepgram/nova-3",
    "LLM_PROVIDER": "local/receptionist",
    "TTS_PROVIDER": "deepgram/aura-2-thalia-en",
    "DEEPGRAM_API_KEY": "nobody-listens-there",
    "DEEPGRAM_BASE_URL": "http://127.0.0.1:9",
}
"""Vendors that are away: a process that starts has no model to load."""

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.anyio]

TOKEN = "the token of the test, long enough"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@dataclass
class Terminal:
    """One `make run`, and the file that its terminal is."""

    process: subprocess.Popen[bytes]
    screen: Path

    @property
    def lines(self) -> list[str]:
        return self.screen.read_text(errors="replace").splitlines()

    async def until(self, text: str, seconds: float = START_SECONDS) -> None:
        async with asyncio.timeout(seconds):
            while not any(text in line for line in self.lines):
                assert self.process.poll() is None, self.lines
                await asyncio.sleep(0.05)

    async def ended(self, seconds: float = STOP_SECONDS) -> int:
        async with asyncio.timeout(seconds):
            while (status := self.process.poll()) is None:
                await asyncio.sleep(0.05)
        return status

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


_screens = itertools.count()


@asynccontextmanager
async def make_run(folder: Path, **settings: str) -> AsyncIterator[Terminal]:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "HTTP_PORT": str(free_port()),
        "DATA_DIR": str(folder / "data"),
        "AGENTS_DIR": str(ROOT / "agents"),
        **settings,
    }
    screen = folder / f"screen-{next(_screens)}"
    with screen.open("ab") as output:
        process = subprocess.Popen(  # noqa: ASYNC220 - it returns once the process has begun
            [sys.executable, "-u", "-m", "tools.run"],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Terminal(process, screen)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def children(folder: Path) -> list[str]:
    """The commands of all processes of this stack: each has its HOME, and its Redis works in its data folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if not entry.name.isdecimal():
                continue
            environ, cwd = (entry / "environ").read_bytes(), (entry / "cwd").readlink()
            if f"HOME={folder}\0".encode() in environ or cwd.is_relative_to(folder):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if command and "tools.run" not in command:
                    found.append(command)
    return found


async def until_alone(folder: Path, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while children(folder):
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_or_a_closed_terminal_ends_it_in_order(number: signal.Signals, tmp_path: Path) -> None:
    async with make_run(tmp_path, **VENDORS) as terminal:
        await terminal.until("ready; Ctrl-C stops everything")
        terminal.signal(number)
        assert await terminal.ended() == 0
    ended = [line for line in terminal.lines if "has ended" in line]
    assert len(ended) == 5 and "edge" in ended[0]
    assert children(tmp_path) == []


@pytest.mark.parametrize("after", ["valkey", "workers.stt", "piper"])
async def test_ctrl_c_while_it_starts_works_at_once(after: str, tmp_path: Path) -> None:
    """With the local engines, whose models take their time."""
    async with make_run(tmp_path, STT_PROVIDER="local/whisper-tiny.en", TTS_PROVIDER="local/piper") as terminal:
        async with asyncio.timeout(START_SECONDS):
            while after and not any(after in command for command in children(tmp_path)):
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        terminal.signal(signal.SIGINT)
        await terminal.ended(6.0)
    assert not any("ready" in line or "Traceback" in line for line in terminal.lines)
    assert children(tmp_path) == []


async def test_its_children_die_with_it(tmp_path: Path) -> None:
    async with make_run(tmp_path, **VENDORS) as terminal:
        await terminal.until("ready; Ctrl-C stops everything")
        assert len(children(tmp_path)) == 6
        terminal.signal(signal.SIGKILL)
        await until_alone(tmp_path, STOP_SECONDS)


@pytest.mark.parametrize("text", ["redis://:hunter2@127.0.0.1:9/0", "redis+sentinel://127.0.0.1:9/voice/0"])
async def test_a_redis_that_is_not_there_is_said_first_in_one_line(text: str, tmp_path: Path) -> None:
    async with make_run(tmp_path, REDIS_URL=text, **VENDORS) as terminal:
        assert await terminal.ended(8.0) == 1
    (line,) = terminal.lines
    assert line.startswith("Redis at 127.0.0.1:9") and "REDIS_URL" in line and "hunter2" not in line


async def test_a_redis_that_says_nothing_is_given_three_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # the kernel takes the connection, and nobody answers
        port = server.getsockname()[1]
        async with make_run(tmp_path, REDIS_URL=f"redis://127.0.0.1:{port}/0", **VENDORS) as terminal:
            assert await terminal.ended(10.0) == 1
    assert terminal.lines == [
        f"Redis at 127.0.0.1:{port} cannot be used: no answer within 3 s. "
        "Start it, or correct REDIS_URL; unset, one is included."
    ]


async def test_nothing_starts_with_a_configuration_that_cannot_work(tmp_path: Path) -> None:
    async with make_run(tmp_path, **{**VENDORS, "LLM_PROVIDER": "gorq/llama"}) as terminal:
        assert await terminal.ended(10.0) == 2
    assert any("LLM_PROVIDER: unknown language model provider 'gorq/llama'" in line for line in terminal.lines)
    assert not any("is up" in line for line in terminal.lines)


# --- with a carrier -------------------------------------------------------------------------------------------------


def account(carrier: Carrier, options: CarrierOptions, api_url: str = "") -> dict[str, str]:
    return {
        "VOBIZ_AUTH_ID": options.auth_id,
        "VOBIZ_AUTH_TOKEN": options.auth_token,
        "VOBIZ_FROM_NUMBER": SENDER,
        "VOBIZ_API_URL": api_url or carrier.api_url,
    }


async def test_ctrl_c_hangs_up_the_live_call_at_the_carrier(tmp_path: Path) -> None:
    """Not "we lost the connection", and not 30 s of silence: the call is over when the terminal is."""
    options = CarrierOptions(callee=Callee(hangs_up_after_ms=60_000), numbers=(SENDER,))
    async with Carrier(options) as carrier, fake_providers() as vendors:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        settings = {**vendors, **account(carrier, options), "PUBLIC_URL": url, "HTTP_PORT": str(port)}
        settings |= {"API_TOKEN": TOKEN}
        async with make_run(tmp_path, **settings) as terminal:
            await terminal.until("ready; Ctrl-C stops everything")
            async with httpx.AsyncClient(base_url=url, headers=BEARER, trust_env=False) as http:
                asked = (await http.post("/v1/calls", json={"to": CALLED})).json()
                async with asyncio.timeout(30):
                    while not (await http.get("/v1/calls")).json()["calls"]:
                        await asyncio.sleep(0.1)
                await asyncio.sleep(1.0)  # in the middle of the greeting
            assert asked["state"] in ("queued", "dialing")
            terminal.signal(signal.SIGINT)
            assert await terminal.ended() == 0
        ended = [request for request in carrier.requests if request.method == "DELETE"]
        assert [request.status for request in ended] == [204]
        assert not any(re.search("lost the connection", line) for line in terminal.lines)


async def test_a_queued_call_is_there_after_a_restart(tmp_path: Path) -> None:
    options = CarrierOptions(callee=Callee(hangs_up_after_ms=700), numbers=(SENDER,))
    async with Carrier(options) as carrier:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        settings = {**VENDORS, "PUBLIC_URL": url, "HTTP_PORT": str(port), "API_TOKEN": TOKEN}
        away = account(carrier, options, f"http://127.0.0.1:{free_port()}/api/v1")
        async with make_run(tmp_path, **settings, **away) as terminal:
            await terminal.until("ready; Ctrl-C stops everything")
            async with httpx.AsyncClient(base_url=url, headers=BEARER, trust_env=False) as http:
                asked = (await http.post("/v1/calls", json={"to": CALLED, "attempts_max": 3})).json()
            await asyncio.sleep(1.5)  # the append-only file is written every second
            terminal.signal(signal.SIGINT)
            assert await terminal.ended() == 0
        async with make_run(tmp_path, **settings, **account(carrier, options)) as terminal:
            await terminal.until("ready; Ctrl-C stops everything")
            async with httpx.AsyncClient(base_url=url, headers=BEARER, trust_env=False) as http, asyncio.timeout(40):
                while (call := (await http.get(f"/v1/calls/{asked['id']}")).json()).get("state") != "ended":
                    await asyncio.sleep(0.2)
            assert call["id"] == asked["id"]
            terminal.signal(signal.SIGINT)
            assert await terminal.ended() == 0


async def test_two_runs_do_not_share_a_data_folder(tmp_path: Path) -> None:
    async with make_run(tmp_path, **VENDORS) as first:
        await first.until("ready; Ctrl-C stops everything")
        async with make_run(tmp_path, **VENDORS) as second:
            assert await second.ended(15.0) == 1
            assert "DATA_DIR=" in second.lines[-1]
        first.signal(signal.SIGINT)
        assert await first.ended() == 0


# --- where it listens -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "listens"),
    [
        ({}, "127.0.0.1"),  # webhooks may be unsigned: nobody else's business
        ({"HTTP_HOST": "127.0.0.2"}, "127.0.0.2"),
        ({"HTTP_HOST": "::1"}, "::1"),
        ({"PUBLIC_URL": "https://voice.example.com"}, "0.0.0.0"),
    ],
)
async def test_it_listens_on_loopback_until_it_has_a_public_url(
    settings: dict[str, str], listens: str, tmp_path: Path
) -> None:
    async with make_run(tmp_path, **VENDORS, **settings) as terminal:
        await terminal.until("ready; Ctrl-C stops everything")
        assert any(f"is up on {listens}:" in line for line in terminal.lines)
        terminal.signal(signal.SIGINT)
        assert await terminal.ended() == 0
