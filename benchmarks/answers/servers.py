"""Starts the server under test: the whole stack, or the plain forwarder."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.answers.cores import children_on
from benchmarks.answers.forwarder import ForwarderPlan, forwarder_main
from benchmarks.children import child
from benchmarks.report import FOLDER
from simulators.providers.cast import settings
from tools.stack import Stack, StackOptions

AGENTS = Path(__file__).with_name("agents")
LOGS = FOLDER / "answers-logs"
READY_SECONDS = 60.0
CALLS_MAX = "256"
PLAIN = "forwarder"
STACK = "stack"


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """The server to start.  `settings` are environment variables of the stack's processes and override ours."""

    vendors_url: str
    endpoint_ms: int
    core: int | None
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerUnderTest:
    """The port that the callers use, and the pid of each process by its name."""

    port: int
    pids: Mapping[str, int]
    llm_metrics_url: str = ""
    """Empty: this server has none."""


@contextlib.contextmanager
def serving(name: str, plan: ServerPlan) -> Iterator[ServerUnderTest]:
    """Run `STACK` or `PLAIN` while the block runs.  Raises StackError or ChildFailed."""
    with _stack(plan) if name == STACK else _forwarder(plan) as server:
        yield server


@contextlib.contextmanager
def _stack(plan: ServerPlan) -> Iterator[ServerUnderTest]:
    with asyncio.Runner() as runner:
        stack = Stack(StackOptions(_environ(plan), logs=LOGS))
        with children_on(plan.core):
            runner.run(stack.__aenter__())
        try:
            yield ServerUnderTest(
                int(stack.url.rpartition(":")[2]),
                {name: each.pid for name, each in stack.processes.items()},
                stack.metrics_url("llm"),
            )
        finally:
            runner.run(stack.__aexit__())


@contextlib.contextmanager
def _forwarder(plan: ServerPlan) -> Iterator[ServerUnderTest]:
    with child(PLAIN, forwarder_main, ForwarderPlan(plan.vendors_url, plan.endpoint_ms, plan.core)) as process:
        port, pid = process.receive(READY_SECONDS)
        yield ServerUnderTest(port, {PLAIN: pid})
        process.send("end")


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
        "STREAM_SECRET": "off",
        "LOG_LEVEL": "WARNING",
        "STT_PROVIDER": "deepgram/nova-3",
        "LLM_PROVIDER": "openai/gpt-4o-mini",
        "TTS_PROVIDER": "elevenlabs/eleven_flash_v2_5",
        **settings(plan.vendors_url),
        **plan.settings,
    }
