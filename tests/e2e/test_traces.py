"""One call through real processes: every turn is one trace, made of spans from all four of them."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from common.protocol.fields import STAGES
from common.telemetry.traces import TurnTrace
from simulators.call import Caller, CallOptions
from simulators.otlp_collector import ReceivedSpan, collector
from simulators.script import HangUp, Say, WaitForAgent
from tools.demo import KEYLESS
from tools.fake_providers import fake_providers
from tools.stack import Stack, StackOptions

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

WORDS = {"said": ["Where are you located?"], "answers": ["In Lake Road, near the library. Which day suits you?"]}
CALL = (WaitForAgent(silence_ms=600), Say("location"), WaitForAgent(silence_ms=800), HangUp())
BY = {
    "turn": "edge", "first_frame": "edge", "playing": "edge", "endpoint": "stt", "transcript": "stt",
    "model": "llm", "first_token": "llm", "first_clause": "llm", "voice": "tts", "first_audio": "tts",
}  # fmt: skip
CLOCK_MS = 1
"""Stamps are whole milliseconds."""


async def test_a_turn_of_a_call_is_one_trace_across_the_processes(valkey_url: str, tmp_path: Path) -> None:
    words = tmp_path / "words.json"
    words.write_text(json.dumps(WORDS))
    with collector() as collecting:
        async with fake_providers(words) as vendors:
            environ = {**os.environ, **KEYLESS, **vendors, "REDIS_URL": valkey_url, "NO_PROXY": "127.0.0.1"}
            environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collecting.url
            async with Stack(StackOptions(environ, logs=tmp_path)) as stack:
                options = CallOptions(f"{stack.url}/answer", hangup_url=f"{stack.url}/hangup", call_s_max=60.0)
                result = await Caller(options).call(CALL)
                assert result.failures == []
                await asyncio.to_thread(collecting.until, 12)
    traces = {span.trace for span in collecting.spans}
    asked = TurnTrace(result.call_id, 1)
    assert traces == {f"{TurnTrace(result.call_id, utterance).trace_id:032x}" for utterance in (0, 1)}
    turn = [span for span in collecting.spans if span.trace == f"{asked.trace_id:032x}"]
    assert {span.name: span.service for span in turn} == {name: f"voice-{pool}" for name, pool in BY.items()}
    check_the_waterfall({span.name: span for span in turn})
    check_what_it_says(result.call_id, {span.name: span for span in turn})
    for secret in (options.from_number.removeprefix("+"), "located", "Lake Road"):
        assert secret.encode() not in collecting.raw


def check_the_waterfall(turn: dict[str, ReceivedSpan]) -> None:
    root = turn["turn"]
    assert root.parent == ""
    assert {span.parent for name, span in turn.items() if name != "turn"} == {root.span}
    assert turn["endpoint"].begun_ms == root.begun_ms
    for name, span in turn.items():
        assert root.begun_ms - CLOCK_MS <= span.begun_ms <= span.done_ms, name
        assert span.done_ms <= root.done_ms + CLOCK_MS or name == "voice", name
    reached = [turn[stage].done_ms for stage in STAGES[3:]]
    assert reached == sorted(reached), "first token, first clause, first audio, first frame"
    assert turn["playing"].begun_ms >= turn["transcript"].begun_ms


def check_what_it_says(call_id: str, turn: dict[str, ReceivedSpan]) -> None:
    assert {span.attributes["call.id"] for span in turn.values()} == {call_id}
    assert turn["turn"].attributes["voice.agent"] == "receptionist"
    assert turn["turn"].attributes["voice.outcome"] in ("heard", "call over")
    providers = {name: turn[name].attributes["voice.provider"] for name in ("transcript", "model", "voice")}
    assert providers == {
        "transcript": "deepgram/nova-3",
        "model": "openai/gpt-4o-mini",
        "voice": "elevenlabs/eleven_flash_v2_5",
    }
