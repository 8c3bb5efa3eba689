"""Spans on their way to a collector: what arrives, what is counted, and that nobody waits for one that is away."""

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from common.settings import Settings
from common.telemetry import otlp, traces
from common.telemetry.metrics import TRACE_SPANS
from simulators.otlp_collector import Collector, collector
from tools.ports import free_port

pytestmark = pytest.mark.processes

NODE = "llm-host-0123abcd"


@pytest.fixture
def collecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    with collector() as one:
        yield one


def counted(outcome: str) -> float:
    return float(TRACE_SPANS.labels(outcome)._value.get())


def exporting(collecting: Collector) -> AbstractContextManager[None]:
    return traces.exporting(traces.Collector(collecting.url), NODE)


def a_turn(utterance: int = 1) -> traces.TurnTrace:
    return traces.TurnTrace("call-1", utterance, 2)


def test_a_span_arrives_under_the_ids_of_its_turn(collecting: Collector) -> None:
    sent = counted("sent")
    with exporting(collecting):
        traces.stage("first_token", 1_000, 1_250, turn=a_turn(), provider="vendor/model")
        traces.stage(traces.TURN, 900, 3_000, turn=a_turn(), outcome="heard")
    stage, root = sorted(collecting.spans, key=lambda span: span.name)
    assert stage.service == "voice-llm"
    assert (stage.trace, stage.parent) == (f"{a_turn().trace_id:032x}", f"{a_turn().root_id:016x}")
    assert (root.trace, root.span, root.parent) == (stage.trace, stage.parent, "")
    assert (stage.begun_ms, stage.done_ms) == (1_000, 1_250)
    assert stage.attributes == {
        "call.id": "call-1", "voice.utterance": 1, "voice.turn": 2, "voice.provider": "vendor/model"
    }  # fmt: skip
    assert counted("sent") == sent + 2


def test_without_an_endpoint_there_are_no_spans(collecting: Collector) -> None:
    with traces.exporting(traces.Collector(), NODE):
        traces.stage(traces.TURN, 900, 3_000, turn=a_turn())
    assert collecting.requests == 0


def test_a_span_never_ends_before_it_begins(collecting: Collector) -> None:
    with exporting(collecting):
        traces.stage("endpoint", 1_000, 990, turn=a_turn())
    (span,) = collecting.spans
    assert (span.begun_ms, span.done_ms) == (1_000, 1_000)


def test_every_process_chooses_the_same_turns(collecting: Collector) -> None:
    for node in ("edge-host-0123abcd", "stt-host-0123abcd"):
        with traces.exporting(traces.Collector(collecting.url, share=0.5), node):
            for utterance in range(100):
                traces.stage("endpoint", 1_000, 1_100, turn=a_turn(utterance))
    chosen = {
        service: {span.trace for span in collecting.spans if span.service == service}
        for service in ("voice-edge", "voice-stt")
    }
    assert chosen["voice-edge"] == chosen["voice-stt"]
    assert 25 <= len(chosen["voice-edge"]) <= 75


@pytest.mark.parametrize("status", [400, 503])
def test_a_collector_that_refuses_is_counted_and_waited_for_no_longer(status: int, collecting: Collector) -> None:
    collecting.status = status
    failed, begun = counted("failed"), time.monotonic()
    with exporting(collecting):
        traces.stage(traces.TURN, 900, 3_000, turn=a_turn())
    assert time.monotonic() - begun < otlp.CLOSE_SECONDS + 2
    assert collecting.requests >= 1
    assert collecting.spans == []
    if status == 400:
        assert counted("failed") == failed + 1


def test_a_collector_that_is_away_costs_a_call_nothing(collecting: Collector) -> None:
    dropped, begun = counted("dropped"), time.monotonic()
    with traces.exporting(traces.Collector(f"http://127.0.0.1:{free_port()}"), NODE):
        for utterance in range(otlp.SPANS_MAX + 700):
            traces.stage(traces.TURN, 900, 3_000, turn=a_turn(utterance))
        recorded_s = time.monotonic() - begun
    assert recorded_s < 2.0, "a span is put down, not sent"
    assert counted("dropped") >= dropped + 100, "what has no room to wait is given up"
    assert time.monotonic() - begun < recorded_s + otlp.CLOSE_SECONDS + 2


def test_the_collector_gets_the_headers_that_it_wants(collecting: Collector) -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"{collecting.url}/",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20a%3Db,x-scope=voice",
    }
    settings = Settings.from_env(environ)
    with traces.exporting(settings.collector, NODE):
        traces.stage(traces.TURN, 900, 3_000, turn=a_turn())
    assert collecting.authorization == "Bearer a=b"
    assert len(collecting.spans) == 1
    assert "Bearer" not in repr(settings) + repr(settings.collector)
