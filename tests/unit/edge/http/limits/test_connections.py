"""The tables and counters of connections, without a clock and without a socket."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.http.limits.connections import CONNECTIONS_MAX, strangers_max
from edge.http.limits.rare_log import QUIET_SECONDS, RareLog
from edge.http.limits.request_size import HEAD_BYTES_MAX, HEADERS_MAX, REQUEST_BYTES_MAX, RequestSize
from edge.http.limits.slow_clients import HALF_OPEN_MAX, IDLE_MAX, REQUEST_SECONDS, HalfOpen
from edge.http.limits.slow_readers import UNREAD_SECONDS, SlowReaders

pytestmark = pytest.mark.fast


class _Timer:
    def cancel(self) -> None:
        """Nothing waits."""


@pytest.mark.parametrize("seconds", [REQUEST_SECONDS, 2.0])
def test_a_place_lasts_its_time_and_is_asked_for_by_name(seconds: float) -> None:
    due: list[tuple[float, Callable[..., None], tuple[object, ...]]] = []

    def call_later(after: float, call: Callable[..., None], *about: object) -> _Timer:
        due.append((after, call, about))
        return _Timer()

    closed: list[str] = []
    table = HalfOpen(call_later)
    table.enter("c", lambda: closed.append("c"), seconds)
    assert "c" in table
    ((after, call, about),) = due
    assert after == seconds
    call(*about)
    assert closed == ["c"]
    assert "c" not in table


@pytest.mark.parametrize("descriptors", [64, 256, 1024, 20_000, 1_048_576, -1])
def test_strangers_leave_half_of_the_descriptors_to_others(descriptors: int) -> None:
    most = strangers_max(descriptors)
    assert 8 <= most <= CONNECTIONS_MAX
    if descriptors > 0:
        assert most <= descriptors / 2
    assert min(HALF_OPEN_MAX, most // 2) + min(IDLE_MAX, most // 4) <= most


@given(st.lists(st.integers(1, 2000), max_size=400))
def test_a_head_is_never_given_to_the_parser_beyond_its_limit(offered: list[int]) -> None:
    size, given_bytes = RequestSize(), 0
    for count in offered:
        if size.full():
            break
        piece = min(count, size.room())
        size.add(piece)
        given_bytes += piece
    assert given_bytes <= HEAD_BYTES_MAX
    assert (size.full() == "head too large") is (given_bytes == HEAD_BYTES_MAX)


def test_a_request_has_an_end_and_the_next_one_begins_anew() -> None:
    size = RequestSize()
    size.begin()
    for _ in range(HEADERS_MAX):
        size.header()
    size.head_complete()
    assert size.full() == ""
    size.header()  # a trailer
    assert size.full() == "too many headers"
    size.end()
    size.add(500)
    assert size.full() == ""
    size.head_complete()
    while not size.full():
        size.add(size.room())
    assert size.full() == "request too large"
    assert size.room() + REQUEST_BYTES_MAX <= REQUEST_BYTES_MAX


def test_who_reads_now_and_then_to_the_end_is_no_slow_reader() -> None:
    slow = SlowReaders()
    for second in range(100):
        assert slow.look([("reads", second % 9 != 0), ("gone", False)], float(second)) == []
    assert slow.look([("waits", True)], 200.0) == []
    assert slow.look([("waits", True), ("new", True)], 200.0 + UNREAD_SECONDS) == ["waits"]


def test_a_reason_has_one_line_in_a_while_and_none_is_lost() -> None:
    log = RareLog()
    assert [log.note("a", float(second)) for second in range(3)] == [1, 0, 0]
    assert log.note("b", 2.0) == 1
    assert log.note("a", QUIET_SECONDS) == 3
    assert log.note("a", QUIET_SECONDS + 1) == 0
