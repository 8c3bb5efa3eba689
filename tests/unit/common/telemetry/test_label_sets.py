"""Strange values never widen the sets of labels, whichever way they come."""

import ast
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.store.redis_values import record_of
from common.telemetry import metrics
from common.telemetry.label_sets import OTHER
from common.telemetry.metrics import CLOSED
from edge.session.fences import ORDERS
from edge.vobiz.media_format import BadFormat, media_format
from edge.vobiz.rest.account import REASONS
from tests.hypothesis_profile import examples

pytestmark = [pytest.mark.fast, pytest.mark.exhaustive]

ROOT = Path(__file__).resolve().parents[4]
STRANGE = st.one_of(
    st.text(max_size=40),
    st.from_regex(r"\+?[0-9]{6,15}", fullmatch=True),
    st.integers(),
    st.binary(max_size=10),
    st.none(),
)
families = pytest.mark.parametrize("family", CLOSED, ids=lambda family: family._name)
NOT_CLOSED = {
    "BUILD_INFO": "of the build itself",
    "CALLS_MAX": "the process's own name",
    "CALLS_REFUSED": "every reason is written in edge/",
    "BAD_INPUT": "the kinds of vobiz.BadFrame, written in edge/",
    "WEBHOOKS_REFUSED": "an enum, and one reason of the gate",
    "HALF_OPEN_CLOSED": "every reason is written beside it",
    "FAILURES_LIMITED": "the kind of an ASGI scope",
    "STREAM_ENTRIES": "the names of redis_watch.shared_streams",
    "CALLS_RETAINED": "the number of a server in REDIS_URL",
    "REDIS_UP": "the number of a server in REDIS_URL",
    "REDIS_MEMORY_BYTES": "likewise",
    "REDIS_MEMORY_MAX_BYTES": "likewise",
    "REDIS_OPS_PER_SECOND": "likewise",
    "REDIS_CPU_SECONDS": "likewise",
    "REDIS_REPLICAS": "likewise",
    "REDIS_CHANGES": "likewise",
    "CLOCK_OFFSET_SECONDS": "likewise",
    "HEDGES": "one of two texts",
    "TRACE_SPANS": "one of two texts",
}
"""Families whose labels are not literals where they are counted, and why no strange value can be among them."""


@families
@given(data=st.data())
@settings(max_examples=examples(40), deadline=None)
def test_a_strange_value_makes_no_series_of_its_own(family: metrics.Counter, data: st.DataObject):
    values = [data.draw(STRANGE) for _ in CLOSED[family]]
    family.labels(*values)
    for series in family._metrics:
        for value, known in zip(series, CLOSED[family], strict=True):
            assert value in known or value == OTHER


@families
def test_a_known_value_is_counted_as_itself(family: metrics.Counter):
    metrics.begin_provider("stt", "deepgram/nova-3")
    values = [next(iter(sorted(known))) for known in CLOSED[family]]
    family.labels(*values)
    assert tuple(values) in family._metrics


def test_the_sets_are_those_of_the_code_that_counts():
    assert CLOSED[metrics.DIALS_PAUSED] == (tuple(REASONS),)
    assert CLOSED[metrics.STALE_ORDERS] == (tuple(ORDERS.values()),)


def test_a_process_counts_a_bounded_number_of_providers():
    for number in range(2 * metrics.PROVIDERS_MAX):
        metrics.PROVIDER_SWITCHES.labels(f"stranger/{number}")
    assert not [series for series in metrics.PROVIDER_SWITCHES._metrics if series[0].startswith("stranger/")]


@given(direction=st.text(max_size=30))
@settings(max_examples=examples(40), deadline=None)
def test_a_record_of_another_release_makes_no_direction(direction: str):
    record = record_of({b"call_id": b"c-1", b"direction": direction.encode("utf-8", "replace")}, "c-1")
    metrics.CALLS_STARTED.labels(record.direction)
    assert {series[0] for series in metrics.CALLS_STARTED._metrics} <= {"inbound", "outbound", OTHER}


def test_every_label_that_is_no_literal_is_of_a_closed_set():
    """Add the family to `CLOSED` of common/telemetry/metrics.py, or say here why no strange value can be in it."""
    closed = {name for name, value in vars(metrics).items() if any(value is family for family in CLOSED)}
    open_families = set()
    for folder in ("common", "edge", "workers"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                literal = all(isinstance(argument, ast.Constant) for argument in node.args)
                if node.func.attr != "labels" or literal:
                    continue
                family = node.func.value
                name = family.attr if isinstance(family, ast.Attribute) else getattr(family, "id", "")
                if name.isupper():
                    open_families.add(name)
    assert open_families - closed - set(NOT_CLOSED) == set()


@pytest.mark.parametrize(
    ("name", "rate"),
    [("+911234567890", ""), ("my name is Asha", "911234567890"), ("mulaw\n+911234567890", ""), ("x" * 500, "8000")],
)
def test_what_a_stranger_calls_a_format_is_not_repeated(name: str, rate: str):
    with pytest.raises(BadFormat) as caught:
        media_format(name, rate)
    assert "1234567890" not in str(caught.value)
    assert len(str(caught.value)) < 200
