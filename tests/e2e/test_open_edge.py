"""An edge process that somebody set up without a token and without signatures, and strangers who fill its Redis."""

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
import redis

from tests.e2e.nginx import nginx
from tools.demo import KEYLESS
from tools.ports import free_port
from tools.stack import ROOT, Stack, StackOptions

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

KEYS = {
    "VOBIZ_AUTH_ID": "MA_TEST",
    "VOBIZ_AUTH_TOKEN": "a-token-of-vobiz",
    "VOBIZ_API_URL": "http://127.0.0.1:9/api/v1",
}
CALL = {"to": "+919876543210", "from": "+911234567890"}


@asynccontextmanager
async def edge_process(
    redis_url: str, folder: Path, **settings: str
) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, str]]]:
    port = free_port()
    environ = {
        **{name: value for name, value in os.environ.items() if name != "API_TOKEN"},
        **KEYLESS,
        "OFFER_WAIT_MS": "0",
        "REDIS_URL": redis_url,
        "DATA_DIR": str(folder / "data"),
        "HTTP_PORT": str(port),
        **settings,
    }
    async with (
        Stack(StackOptions(environ, port=port, logs=folder, workers=())) as stack,
        httpx.AsyncClient(base_url=stack.url, trust_env=False) as http,
    ):
        yield http, environ


def log_of(folder: Path) -> str:
    return (folder / "edge.log").read_text("utf-8")


async def test_where_calls_can_be_placed_a_token_is_made_and_shown_and_found(valkey_url: str, tmp_path: Path) -> None:
    async with edge_process(valkey_url, tmp_path, PUBLIC_URL="https://voice.example.com", **KEYS) as (http, environ):
        kept = tmp_path / "data" / "api-token"
        token = kept.read_text("ascii").strip()
        assert len(token) >= 24
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        shown = [line for line in log_of(tmp_path).splitlines() if token in line]
        assert len(shown) == 1
        right = {"authorization": f"Bearer {token}"}
        async with nginx(int(environ["HTTP_PORT"])) as port:
            for url in ("", f"http://127.0.0.1:{port}"):
                assert (await http.get(f"{url}/v1/calls")).status_code == 401
                assert (await http.post(f"{url}/v1/calls", json=CALL)).status_code == 401
                assert (await http.get(f"{url}/v1/calls", headers=right)).status_code == 200
        command = [sys.executable, "-m", "edge.call", "--to", CALL["to"], "--from", CALL["from"], "--no-wait"]
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environ, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        assert (process.returncode, out.split()[0]) == (0, b"queued")


async def test_where_no_file_can_be_kept_the_token_is_not_shown_but_can_be_asked_for(
    valkey_url: str, tmp_path: Path
) -> None:
    (tmp_path / "data").write_text("no folder")
    async with edge_process(valkey_url, tmp_path, PUBLIC_URL="https://voice.example.com") as (http, environ):
        assert "python -m edge.http.api_token" in log_of(tmp_path)
        command = [sys.executable, "-m", "edge.http.api_token"]
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environ, stdout=asyncio.subprocess.PIPE)
        token = (await process.communicate())[0].decode().strip()
        assert token not in log_of(tmp_path)
        assert (await http.get("/v1/calls")).status_code == 401
        assert (await http.get("/v1/calls", headers={"authorization": f"Bearer {token}"})).status_code == 200


@pytest.mark.parametrize("behind_nginx", [False, True], ids=["bare", "behind nginx"])
async def test_webhooks_of_801_unknown_calls_fill_no_redis_and_a_full_one_is_not_ready(
    valkey_url: str, tmp_path: Path, behind_nginx: bool
) -> None:
    with redis.Redis.from_url(valkey_url) as server:
        before = server.info("memory")["used_memory"]
        async with edge_process(valkey_url, tmp_path) as (http, environ), AsyncExitStack() as stack:
            strangers = ""
            if behind_nginx:
                strangers = f"http://127.0.0.1:{await stack.enter_async_context(nginx(int(environ['HTTP_PORT'])))}"
            warned = [line for line in log_of(tmp_path).splitlines() if "webhooks are not verified" in line]
            assert len(warned) == 1
            assert (await http.get("/v1/calls")).status_code == 200  # nobody can come but this machine
            large = {f"Field{number}": "x" * 4000 for number in range(14)}
            for number in range(801):
                told = {"CallUUID": f"unknown-{number}", "Event": "StopStream", **large}
                assert (await http.post(f"{strangers}/stream-status", data=told)).status_code == 200
            assert server.info("memory")["used_memory"] - before < 8_000_000
            facts = list(server.scan_iter("call:*:facts"))
            assert len(facts) < 200
            assert all(0 < server.ttl(key) <= 60 for key in facts)
            assert (await http.get("/readyz")).status_code == 200
            server.config_set("maxmemory", 1_000_000)
            try:
                assert "Redis refuses writes (out of memory)" in await until(http, 503)
            finally:
                server.config_set("maxmemory", 0)
            await until(http, 200)
            server.execute_command("REPLICAOF", "127.0.0.1", "1")  # a primary that was demoted
            try:
                assert "read-only" in await until(http, 503)
            finally:
                server.execute_command("REPLICAOF", "NO", "ONE")
            await until(http, 200)


async def until(http: httpx.AsyncClient, status: int) -> str:
    async with asyncio.timeout(15):
        while (response := await http.get("/readyz")).status_code != status:
            await asyncio.sleep(0.1)
    return response.text
