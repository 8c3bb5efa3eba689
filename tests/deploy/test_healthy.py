"""The images' health check: right about who is well, quick while a container starts, and rare once it runs."""

import http.server
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deploy.compose_dockerfile import ROOT

pytestmark = pytest.mark.processes

SCRIPT = ROOT / "deploy/compose/healthy.sh"


@contextmanager
def answering(status: int | None) -> Iterator[int]:
    """A server on a free port that answers each request with the status, or (None) takes it and says nothing."""
    release = threading.Event()

    class Healthz(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if status is None:
                release.wait(20)
                return
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Healthz)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        release.set()
        server.shutdown()
        server.server_close()


def asked(folder: Path, port: int, *command: str, variable: str = "METRICS_PORT", pause: str = "0") -> int:
    environ = {"PATH": "/usr/bin:/bin", "TMPDIR": str(folder), variable: str(port), "WELL_PAUSE_S": pause}
    return subprocess.run(["bash", str(SCRIPT), *command], env=environ, capture_output=True, timeout=30).returncode


@pytest.mark.parametrize("variable", ["METRICS_PORT", "HTTP_PORT"])
def test_who_answers_is_well(tmp_path: Path, variable: str) -> None:
    with answering(200) as port:
        assert asked(tmp_path, port, variable=variable) == 0
        assert asked(tmp_path, port, variable=variable) == 0


@pytest.mark.parametrize("status", [503, 404, None])
def test_who_says_no_or_nothing_is_not(tmp_path: Path, status: int | None) -> None:
    with answering(status) as port:
        assert asked(tmp_path, port) == 1


def test_who_is_not_there_is_not(tmp_path: Path) -> None:
    with answering(200) as port:
        pass
    assert asked(tmp_path, port) == 1


def test_who_is_well_is_asked_less_often_until_they_are_not(tmp_path: Path) -> None:
    """The pause is taken only after a good answer."""
    mark = tmp_path / "container-was-well"
    with answering(200) as port:
        assert asked(tmp_path, port) == 0
        assert mark.exists()
        assert asked(tmp_path, port, pause="0.01") == 0
    assert asked(tmp_path, port) == 1
    assert not mark.exists()


def test_redis_is_asked_by_its_own_client(tmp_path: Path) -> None:
    assert asked(tmp_path, 1, "true") == 0
    assert asked(tmp_path, 1, "false") == 1
