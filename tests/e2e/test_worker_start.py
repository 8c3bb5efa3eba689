"""A worker that cannot do its work says what to do, and does not start."""

import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.processes


def test_without_a_usable_voice_a_worker_names_it_and_the_setting(tmp_path: Path) -> None:
    environ = {**os.environ, "HOME": str(tmp_path), "TTS_PROVIDER": "local/piper-nobody"}
    ended = subprocess.run(
        [sys.executable, "-m", "workers.tts"], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "nobody" in ended.stderr and "TTS_PROVIDER" in ended.stderr


class _Page(http.server.BaseHTTPRequestHandler):
    """A web page, whatever is asked."""

    def do_GET(self) -> None:
        body = b"<!DOCTYPE html><title>Chat</title>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *args: object) -> None:
        """Nobody reads it."""


@pytest.mark.parametrize(
    ("path", "told"),
    [("", "answers with a web page and no API; try"), ("/v1/chat/completions", "which is added by itself; write")],
)
def test_what_is_wrong_with_the_address_of_the_model_is_the_last_line(tmp_path: Path, path: str, told: str) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "LLM_"))}
        environ |= {"HOME": str(tmp_path), "OPENAI_BASE_URL": f"http://127.0.0.1:{server.server_port}{path}"}
        ended = subprocess.run(
            [sys.executable, "-m", "workers.llm"], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60
        )
        server.shutdown()
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert told in ended.stderr and "OPENAI_BASE_URL" in ended.stderr.splitlines()[-1]


class _Vendor(http.server.BaseHTTPRequestHandler):
    """Refuses every key, and remembers it."""

    keys: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.keys.append(self.headers.get("authorization", ""))
        self.send_response(401)
        self.end_headers()

    def log_message(self, format: str, *about: object) -> None:
        """Nothing."""


def test_a_key_in_a_file_reaches_the_vendor(tmp_path: Path) -> None:
    """As Docker and Kubernetes hand secrets over: through the whole process, to the wire."""
    (tmp_path / "key").write_text("a-key-from-a-file\n")
    with http.server.HTTPServer(("127.0.0.1", 0), _Vendor) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environ = {name: value for name, value in os.environ.items() if not name.startswith("DEEPGRAM_")} | {
            "DEEPGRAM_API_KEY_FILE": str(tmp_path / "key"),
            "DEEPGRAM_BASE_URL": f"http://127.0.0.1:{server.server_port}",
        }
        ended = subprocess.run(
            [sys.executable, "-m", "workers.tts"], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60
        )
        server.shutdown()
    assert ended.returncode == 2 and "does not accept the key (401)" in ended.stderr
    assert _Vendor.keys == ["Token a-key-from-a-file"]
    assert "a-key-from" not in ended.stderr
