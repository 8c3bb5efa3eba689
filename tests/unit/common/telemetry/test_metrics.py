"""What a call is counted as, and what stands at 0 before there was one."""

import asyncio
from typing import cast

import pytest

from common.bus.memory import MemoryBus, MemoryStreams
from common.store import Claim
from common.store.memory import MemoryCallStore
from common.telemetry import metrics
from edge.__main__ import _drain as drain
from edge.http.server import Server
from edge.session.calls import Calls
from tests.calls.phone import answered_call
from workers.runtime.runner import Runner, RunnerOptions, Session

pytestmark = pytest.mark.fast


def shown(name: str, **labels: str) -> float | None:
    """The sample as a scrape would see it, whatever the order of its labels."""
    for line in metrics.exposition().decode().splitlines():
        series, _, value = line.rpartition(" ")
        family, _, inside = series.partition("{")
        if family == name and set(inside.rstrip("}").split(",")) == {f'{k}="{v}"' for k, v in labels.items()}:
            return float(value)
    return None


def failed(reason: str) -> float:
    return shown("voice_answers_failed_total", reason=reason) or 0


@pytest.mark.anyio
async def test_an_apology_is_an_answer_that_failed() -> None:
    before = failed("no model")
    async with answered_call(answers={"hello": "Hi there."}) as phone:
        await phone.silence()
        await phone.says("hello")
        await phone.hears("Hi there.")
        await phone.silence()
        assert failed("no model") == before
        phone.mind.fails = 99
        await phone.says("hello again")
        await phone.hears("say that again, please?")
        assert failed("no model") == before + 1


@pytest.mark.anyio
async def test_a_sentence_that_no_voice_could_speak_is_an_answer_that_failed() -> None:
    before = failed("no voice")
    async with answered_call(answers={"hello": "One is here. Two is here."}) as phone:
        await phone.silence()
        phone.mouth.fails = 99
        await phone.says("hello")
        assert await phone.ended() == "error"
    assert failed("no voice") == before + 2


@pytest.mark.anyio
async def test_a_worker_that_got_sigterm_drains() -> None:
    server = MemoryStreams()
    runner = Runner(RunnerOptions("stt", "stt-1", 3, 1500), MemoryBus(server), MemoryCallStore(server), no_session)
    stop = asyncio.Event()
    assert shown("voice_draining", process="stt") == 0
    stop.set()
    await runner.run(stop)
    assert shown("voice_draining", process="stt") == 1


@pytest.mark.anyio
async def test_an_edge_that_got_sigterm_drains() -> None:
    server, stop = MemoryStreams(), asyncio.Event()
    calls = Calls("edge-1", MemoryBus(server), MemoryCallStore(server), 3)
    assert shown("voice_draining", process="edge") == 0
    stop.set()
    web = Web()
    await drain(stop, calls, cast(Server, web), 30)
    assert shown("voice_draining", process="edge") == 1
    assert web.should_exit


class Web:
    """As much of a server as a drain minds."""

    should_exit = False


def no_session(claim: Claim) -> Session:
    raise AssertionError(f"nobody offers a call, least of all {claim.call_id}")


def test_a_process_begins_at_zero() -> None:
    """The first event of a kind is then an increase, and a panel shows 0 instead of nothing."""
    for process in ("edge", "stt", "llm", "tts", "tools"):
        metrics.begin(process, 7)
        assert shown("voice_calls_max", process=process) == 7
        assert shown("voice_calls_active", process=process) == 0
        assert shown("voice_draining", process=process) == 0
        assert shown("voice_session_errors_total", process=process) is not None
    for pool in ("stt", "llm", "tts", "tools"):
        assert shown("voice_takeovers_total", pool=pool) is not None
    assert shown("voice_calls_started_total", direction="outbound") is not None
    assert shown("voice_calls_ended_total", reason="error") is not None
    assert shown("voice_redis_away_total", kind="out of memory") is not None


def test_a_provider_begins_at_zero_and_says_whether_it_has_a_price() -> None:
    metrics.begin_provider("llm", "openai/gpt-4o")
    metrics.begin_provider("tts", "nobody/knows")
    assert shown("voice_provider_errors_total", provider="openai/gpt-4o", kind="rejected") == 0
    assert shown("voice_provider_usage_total", provider="openai/gpt-4o", unit="tokens_cached") == 0
    assert shown("voice_provider_cost_dollars_total", provider="openai/gpt-4o") == 0
    assert shown("voice_provider_unpriced", provider="openai/gpt-4o") == 0
    assert shown("voice_provider_unpriced", provider="nobody/knows") == 1


def test_tokens_that_were_cached_are_not_paid_twice() -> None:
    """openai/gpt-4.1: 2.00, 0.50 and 8.00 dollars for a million."""
    metrics.begin_provider("llm", "openai/gpt-4.1")
    used = {"tokens_in": 1_000_000, "tokens_cached": 400_000, "tokens_out": 100_000}
    metrics.count_usage("llm", "openai/gpt-4.1", used)
    cost = shown("voice_provider_cost_dollars_total", provider="openai/gpt-4.1")
    assert cost == pytest.approx(0.6 * 2.00 + 0.4 * 0.50 + 0.1 * 8.00)
    assert shown("voice_provider_usage_total", provider="openai/gpt-4.1", unit="tokens_in") == 1_000_000
