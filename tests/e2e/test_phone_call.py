"""Real processes, a real Redis, real speech engines, and a simulated Vobiz that phones in over a real socket."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from common.bus.redis import BusOptions, RedisBus
from common.call.transcript import CallTranscript
from common.protocol.redis_keys import call_events
from simulators.call import Caller, CallOptions
from simulators.result import CallResult
from simulators.script import BargeIn, Say, Step, WaitForAgent, WaitForHangUp
from tools.demo import KEYLESS
from tools.stack import Stack, StackOptions

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.anyio]


@pytest.fixture
async def stack(valkey_url: str, tmp_path: Path) -> AsyncIterator[Stack]:
    async with Stack(StackOptions({**_environ(), "REDIS_URL": valkey_url}, logs=tmp_path)) as stack:
        yield stack


def _environ() -> dict[str, str]:
    import os

    return {**{name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}, **KEYLESS}


async def phone(stack: Stack, *script: Step) -> CallResult:
    options = CallOptions(f"{stack.url}/answer", hangup_url=f"{stack.url}/hangup", call_s_max=90.0)
    result = await Caller(options).call(script)
    assert result.failures == []
    assert result.violations == []
    return result


async def story_of(stack: Stack, call_id: str) -> CallTranscript:
    transcript = CallTranscript()
    async with RedisBus.connect(BusOptions(stack.redis_url, "test")) as bus:
        for _, message in await bus.read(call_events(call_id)):
            transcript.receive(message)
    return transcript


async def test_a_caller_is_understood_interrupts_and_is_told_goodbye(stack: Stack):
    result = await phone(
        stack,
        WaitForAgent(silence_ms=600, deadline_ms=20_000),
        Say("opening-hours"),
        BargeIn("wait-stop", after_ms=1500),
        WaitForAgent(silence_ms=800),
        Say("goodbye"),
        WaitForHangUp(),
    )
    (barged,) = [turn for turn in result.turns if turn.barge_in]
    assert barged.barge_in is not None
    assert barged.barge_in.clear_ms is not None
    assert barged.barge_in.became_silent
    assert all(turn.answer for turn in result.turns)

    transcript = await story_of(stack, result.call_id)
    greeting, hours, stop, goodbye = transcript.exchanges
    assert greeting.answered.startswith("Hello")
    assert "opening hours" in hours.understood.lower()
    assert hours.interrupted
    assert 0 < len(hours.heard) < len(hours.answered)
    assert "stop" in stop.understood.lower()
    assert "goodbye" in goodbye.understood.lower()
    assert transcript.ended_by == "agent hung up"
    for exchange in (hours, stop, goodbye):
        assert list(exchange.timings_ms) == [
            *("endpoint", "transcript", "first_token", "first_clause", "first_audio", "first_frame")
        ]


async def test_a_worker_of_each_pool_is_killed_and_the_call_goes_on(stack: Stack):
    for pool in ("stt", "llm", "tts"):
        stack.start(f"{pool}-2")
    await stack.ready()

    class Killer:
        """Kills the first worker of each pool when the caller has been greeted."""

        done = False

        def __call__(self, at_ms: float, line: str) -> None:
            if not self.done and line.startswith("agent spoke"):
                self.done = True
                for pool in ("stt", "llm", "tts"):
                    stack.kill(pool, signal.SIGKILL)

    options = CallOptions(f"{stack.url}/answer", hangup_url=f"{stack.url}/hangup", call_s_max=90.0)
    killer = Killer()
    script = [
        WaitForAgent(silence_ms=600, deadline_ms=20_000),
        Say("opening-hours"),
        WaitForAgent(silence_ms=1000, deadline_ms=40_000),
        Say("goodbye"),
        WaitForHangUp(),
    ]
    result = await Caller(options, killer).call(script)
    assert killer.done
    assert result.failures == []
    transcript = await story_of(stack, result.call_id)
    assert ["opening hours" in exchange.understood.lower() for exchange in transcript.exchanges] == [False, True, False]
    assert all(exchange.answered and not exchange.interrupted for exchange in transcript.exchanges)
    assert transcript.ended_by == "agent hung up"


async def test_sigterm_ends_every_process_with_0_and_leaves_none(stack: Stack):
    for name, process in stack.processes.items():
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0, name


async def test_the_probes_and_metrics_of_every_process_answer(stack: Stack):
    async with httpx.AsyncClient(trust_env=False) as client:
        for name in ("edge", "stt", "llm", "tts"):
            url = stack.metrics_url(name)
            assert (await client.get(url.replace("/metrics", "/healthz"))).status_code == 200
            exposition = (await client.get(url)).text
            assert f'voice_calls_max{{process="{name}"}} 50.0' in exposition


def test_bad_settings_stop_a_process_with_one_message_that_lists_them_all():
    import subprocess
    import sys

    environ = {**_environ(), "HTTP_PORT": "eighty", "CALLS_MAX": "0", "STREAM_SECRET": "short"}
    for module in ("edge", "workers.stt", "workers.llm", "workers.tts"):
        ended = subprocess.run(
            [sys.executable, "-m", module], env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == 2
        for variable in ("HTTP_PORT", "CALLS_MAX", "STREAM_SECRET"):
            assert variable in ended.stderr
        assert "short" not in ended.stderr
        assert "Traceback" not in ended.stderr
