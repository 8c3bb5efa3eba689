"""Starts the server under test: the whole stack, or the plain forwarder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.answers.cores import children_on
from benchmarks.answers.forwarder import ForwarderPlan, forwarder_main
from benchmarks.answers.plan import AGENTS
from benchmarks.children import child
from benchmarks.report import FOLDER
from simulators.providers.cast import settings
from tools.stack import Stack, StackOptions

LOGS = FOLDER / "answers-logs"
READY_SECONDS = 60.0
CALLS_MAX = "256"
PLAIN = "forwarder"
STACK = "stack"
REDIS = "valkey"
TRUSTED = "SSL_CERT_FILE"
"""Names a file of authorities that Python's TLS believes in place of the system's."""
OPENSSL_SECONDS = 30.0


class NoCertificate(Exception):
    """A run by TLS needs the program openssl; the text says what went wrong."""


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """The server to start.  `settings` are environment variables of the stack's processes and override ours."""

    vendors_url: str
    endpoint_ms: int
    core: int | None
    greeting: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    aof: bool = False
    """The stack's Redis writes an append-only file, fsync every second, as in production."""


@dataclass(frozen=True, slots=True)
class ServerUnderTest:
    """The URL that the carrier asks, and the pid of each process by its name.

    `metrics_urls` and `redis_url` are empty for the forwarder.
    """

    answer_url: str
    pids: Mapping[str, int]
    metrics_urls: Mapping[str, str] = field(default_factory=dict)
    redis_url: str = ""


@contextlib.contextmanager
def serving(name: str, plan: ServerPlan) -> Iterator[ServerUnderTest]:
    """Run `STACK` or `PLAIN` while the block runs.  Raises StackError or ChildFailed."""
    with _stack(plan) if name == STACK else _forwarder(plan) as server:
        yield server


@contextlib.contextmanager
def _stack(plan: ServerPlan) -> Iterator[ServerUnderTest]:
    with asyncio.Runner() as runner, tempfile.TemporaryDirectory(prefix="voice-bench-") as folder:
        data = Path(folder) if plan.aof else None
        stack = Stack(StackOptions(_environ(plan), logs=LOGS, data=data))
        with children_on(plan.core):
            runner.run(stack.__aenter__())
        try:
            pids = {name: each.pid for name, each in stack.processes.items()}
            metrics_urls = {name: stack.metrics_url(name) for name in pids if name != REDIS}
            yield ServerUnderTest(f"{stack.url}/answer", pids, metrics_urls, stack.redis_url)
        finally:
            runner.run(stack.__aexit__())


@contextlib.contextmanager
def _forwarder(plan: ServerPlan) -> Iterator[ServerUnderTest]:
    forwarder = ForwarderPlan(plan.vendors_url, plan.endpoint_ms, plan.core, plan.greeting)
    with child(PLAIN, forwarder_main, forwarder) as process:
        port, pid = process.receive(READY_SECONDS)
        yield ServerUnderTest(f"http://127.0.0.1:{port}/answer", {PLAIN: pid})
        process.send("end")


@contextlib.contextmanager
def certificate(wanted: bool) -> Iterator[Path | None]:
    """Yield a certificate for 127.0.0.1 with its key, trusted by processes that start in the block; or None.

    Raises NoCertificate without openssl.
    """
    if not wanted:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="voice-bench-") as folder:
        pem, before = Path(folder, "vendors.pem"), os.environ.get(TRUSTED)
        words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "certificate.pem"]
        try:
            subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=OPENSSL_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            raise NoCertificate(f"openssl made no certificate: {error}") from None
        pem.write_text(Path(folder, "key.pem").read_text() + Path(folder, "certificate.pem").read_text())
        os.environ[TRUSTED] = str(pem)
        try:
            yield pem
        finally:
            del os.environ[TRUSTED]
            if before is not None:
                os.environ[TRUSTED] = before


def _environ(plan: ServerPlan) -> dict[str, str]:
    """Return the environment without keys and servers of the person who runs the benchmark."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith(("_API_KEY", "_BASE_URL", "_PROVIDER")) and not name.startswith(("VOBIZ_", "REDIS_"))
    }
    return {
        **inherited,
        "AGENTS_DIR": str(AGENTS),
        "CALLS_MAX": CALLS_MAX,
        "LOG_LEVEL": "WARNING",
        "STT_PROVIDER": "deepgram/nova-3",
        "LLM_PROVIDER": "openai/gpt-4o-mini",
        "TTS_PROVIDER": "elevenlabs/eleven_flash_v2_5",
        **settings(plan.vendors_url),
        **plan.settings,
    }
