"""Events come out of bytes whole, wherever the network cut them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.llm.engines.sse import EVENT_BYTES_MAX, Events

pytestmark = pytest.mark.fast

WIRE = (
    b': ping\n\nevent: x\ndata: {"a": 1}\n\ndata:{"b": "\xe0\xa4\xac"}\r\n\r\n'
    b"data: one\ndata: two\n\ndata: [DONE]\n\ndata: half"
)
WHOLE = [b'{"a": 1}', b'{"b": "\xe0\xa4\xac"}', b"one\ntwo", b"[DONE]"]


@given(st.lists(st.integers(0, len(WIRE)), max_size=12))
def test_events_do_not_depend_on_how_the_bytes_arrive(cuts: list[int]) -> None:
    events, ends = Events(), [0, *sorted(cuts), len(WIRE)]
    got = [data for begin, end in itertools.pairwise(ends) for data in events.feed(WIRE[begin:end])]
    assert got == WHOLE


def test_an_event_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="no end"):
        Events().feed(b"data: " + b"x" * EVENT_BYTES_MAX)


@given(st.lists(st.integers(0, 60), max_size=4))
def test_a_byte_order_mark_at_the_head_is_skipped(cuts: list[int]) -> None:
    wire = b"\xef\xbb\xbf" + WIRE
    events, ends = Events(), [0, *sorted(cuts), len(wire)]
    got = [data for begin, end in itertools.pairwise(ends) for data in events.feed(wire[begin:end])]
    assert got == WHOLE


def test_the_last_event_may_lack_its_blank_line() -> None:
    events = Events()
    assert events.feed(WIRE) == WHOLE
    assert events.rest() == [b"half"]
