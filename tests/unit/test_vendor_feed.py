"""Audio on its way to a vendor: joined, bounded, and every millisecond found again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.providers.interfaces import Busy, Down, ProviderError, Rejected
from workers.stt.stream.audio_feed import VendorFeed
from workers.stt.stream.socket_stream import closed_error

pytestmark = pytest.mark.fast

FRAME = bytes(160)


def test_live_frames_go_out_as_they_came_and_a_backlog_is_joined() -> None:
    feed = VendorFeed(10_000)
    feed.put(0, FRAME)
    assert feed.take(1600) is FRAME
    for number in range(1, 26):
        feed.put(20 * number, FRAME)
    assert [len(feed.take(1600)) for _ in range(4)] == [1600, 1600, 800, 0]
    assert (feed.fed_ms, feed.taken_ms, feed.waiting_bytes) == (520, 520, 0)


def test_a_frame_larger_than_a_message_is_sent_all_the_same() -> None:
    feed = VendorFeed(10_000)
    feed.put(0, FRAME * 100)
    assert len(feed.take(1600)) == 16_000


def test_what_was_fed_before_is_skipped() -> None:
    feed = VendorFeed(10_000)
    feed.put(1_000, b"abcdefgh" * 20)
    feed.put(1_000, b"abcdefgh" * 20)
    feed.put(1_010, b"12345678" * 20)
    assert feed.take(1600) == b"abcdefgh" * 20 + b"12345678" * 10
    assert feed.fed_ms == 1_030 and feed.position(25) == 1_025


def test_the_oldest_goes_first_and_shifts_nothing() -> None:
    feed = VendorFeed(100)
    assert [feed.put(20 * number, FRAME) for number in range(8)] == [0, 0, 0, 0, 0, 1, 1, 1]
    assert len(feed.take(10_000)) == 800
    assert feed.position(10) == 70


def test_the_border_of_a_gap_belongs_to_the_audio_before_it() -> None:
    feed = VendorFeed(10_000)
    feed.put(40_000, FRAME)
    feed.put(50_000, FRAME)
    assert len(feed.take(1600)) == 320
    assert [feed.position(at) for at in (0, 10, 20, 20.5, 30, 45)] == [40_000, 40_010, 40_020, 50_000, 50_010, 50_025]


def test_before_any_audio_there_is_nothing_to_find() -> None:
    assert VendorFeed(100).position(500) == 500 and VendorFeed(100).take(160) == b""


@given(st.lists(st.tuples(st.integers(-3, 40), st.integers(1, 5)), min_size=1, max_size=60))
def test_every_millisecond_sent_is_found_where_it_was(runs: list[tuple[int, int]]) -> None:
    """Each frame says where it was: its bytes are its number in the call."""
    feed = VendorFeed(60_000)
    at = 0
    for gap, frames in runs:
        at = max(0, at + gap)
        for _ in range(frames):
            feed.put(20 * at, at.to_bytes(2, "big") * 80)
            at += 1
    sent = b""
    while taken := feed.take(1600):
        sent += taken
    for start in range(0, len(sent), 160):
        number = int.from_bytes(sent[start : start + 2], "big")
        assert feed.position(start / 8 + 10) == 20 * number + 10


@pytest.mark.parametrize(
    ("code", "error"),
    [(1000, Down), (1006, Down), (1011, Down), (None, Down), (1013, Busy), (1008, Rejected), (1003, Rejected)],
)
def test_how_a_vendor_closes_says_what_is_wrong(code: int | None, error: type[ProviderError]) -> None:
    assert type(closed_error("deepgram/nova-3", code)) is error
