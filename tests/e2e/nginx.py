"""Debian's nginx on loopback in front of an edge, with nginx's default proxy settings.

    async with nginx(edge_port) as port:      # everything that comes to `port` is passed on to `edge_port`

`location /` has a plain `proxy_pass` and nothing else: nginx then speaks HTTP/1.0 to the edge, sends
`Host: 127.0.0.1:<edge_port>` and adds no header that names the client.  `location /ws` passes an upgrade on, as nginx's
page on WebSocket proxying says (https://nginx.org/en/docs/http/websocket.html).  `settings` are further lines of the
`server` block, for a test of what an operator adds.  Without nginx the test is skipped with a word (tests/programs.py).
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.programs import program
from tools.ports import free_port

READY_SECONDS = 10.0
STOP_SECONDS = 5.0

# One process, so that to end it by its pid ends nginx; folders of its own, so that it needs no rights.
_CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    server {{
        listen 127.0.0.1:{port};
{settings}
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
        }}
        location /ws {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }}
    }}
}}
"""


@asynccontextmanager
async def nginx(upstream: int, *settings: str) -> AsyncIterator[int]:
    """The loopback port of an nginx in front of the loopback port `upstream`; it ends with the block."""
    found = program("nginx")
    with tempfile.TemporaryDirectory(prefix="nginx-") as name:
        folder, port = Path(name), free_port()
        configuration = folder / "nginx.conf"
        lines = "\n".join(f"        {line}" for line in settings)
        configuration.write_text(
            _CONFIGURATION.format(folder=folder, port=port, upstream=upstream, settings=lines), "utf-8"
        )
        process = await asyncio.create_subprocess_exec(
            *(found, "-p", name, "-c", str(configuration), "-e", str(folder / "error.log")),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await _listens(process, port, folder / "error.log")
            yield port
        finally:
            await _end(process)


async def _listens(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            if process.returncode is not None:
                raise AssertionError(f"nginx did not start: {_text(log)}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


def _text(log: Path) -> str:
    return log.read_text("utf-8") if log.is_file() else "it says nothing"


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
