"""Audio on its way to a vendor: joined, bounded, and every millisecond found again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.providers.interfaces import Busy, Down, ProviderError, Rejected
from workers.stt.stream.audio_feed import TEXTS_MAX, AudioFeed
from workers.stt.stream.socket_stream import closed_error

pytestmark = pytest.mark.fast

FRAME = bytes(160)


def test_live_frames_go_out_as_they_came_and_a_backlog_is_joined() -> None:
    feed = AudioFeed(10_000)
    feed.put(0, FRAME)
    assert feed.take(1600) is FRAME
    for number in range(1, 26):
        feed.put(20 * number, FRAME)
    assert [len(feed.take(1600)) for _ in range(4)] == [1600, 1600, 800, 0]
    assert (feed.fed_ms, feed.taken_ms, feed.waiting_bytes) == (520, 520, 0)


def test_a_frame_larger_than_a_message_is_sent_all_the_same() -> None:
    feed = AudioFeed(10_000)
    feed.put(0, FRAME * 100)
    assert len(feed.take(1600)) == 16_000


def test_what_was_fed_before_is_skipped() -> None:
    feed = AudioFeed(10_000)
    feed.put(1_000, b"abcdefgh" * 20)
    feed.put(1_000, b"abcdefgh" * 20)
    feed.put(1_010, b"12345678" * 20)
    assert feed.take(1600) == b"abcdefgh" * 20 + b"12345678" * 10
    assert feed.fed_ms == 1_030 and feed.position(25) == 1_025


def test_the_oldest_goes_first_and_shifts_nothing() -> None:
    feed = AudioFeed(100)
    assert [feed.put(20 * number, FRAME) for number in range(8)] == [0, 0, 0, 0, 0, 1, 1, 1]
    assert len(feed.take(10_000)) == 800
    assert feed.position(10) == 70


def test_the_border_of_a_gap_belongs_to_the_audio_before_it() -> None:
    feed = AudioFeed(10_000)
    feed.put(40_000, FRAME)
    feed.put(50_000, FRAME)
    assert len(feed.take(1600)) == 320
    assert [feed.position(at) for at in (0, 10, 20, 20.5, 30, 45)] == [40_000, 40_010, 40_020, 50_000, 50_010, 50_025]


def test_before_any_audio_there_is_nothing_to_find() -> None:
    assert AudioFeed(100).position(500) == 500 and AudioFeed(100).take(160) == b""


@given(st.lists(st.tuples(st.integers(-3, 40), st.integers(1, 5)), min_size=1, max_size=60))
def test_every_millisecond_sent_is_found_where_it_was(runs: list[tuple[int, int]]) -> None:
    """Each frame says where it was: its bytes are its number in the call."""
    feed = AudioFeed(60_000)
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


def test_a_text_is_sent_after_the_audio_before_it_and_is_never_dropped() -> None:
    feed = AudioFeed(100)
    feed.put(0, FRAME)
    assert feed.put_text("finalize")
    assert [feed.put(20 * number, FRAME) for number in range(1, 7)] == [0, 0, 0, 0, 1, 1]
    assert feed.take(10_000) == "finalize"
    assert len(feed.take(10_000)) == 800


def test_a_text_parts_the_audio_around_it() -> None:
    feed = AudioFeed(10_000)
    feed.put(0, FRAME)
    feed.put_text("flush")
    feed.put(20, FRAME)
    assert [feed.take(1600) for _ in range(4)] == [FRAME, "flush", FRAME, b""]
    assert not [feed.put_text("more") for _ in range(TEXTS_MAX + 1)][-1], "texts are bounded"
    feed.clear()
    assert feed.take(1600) == b"" and feed.put_text("anew")


def test_less_than_a_message_waits_for_the_rest_unless_a_text_follows() -> None:
    feed = AudioFeed(10_000)
    feed.put(0, FRAME)
    assert feed.take(480, 480) == b""
    feed.put(20, FRAME * 2)
    feed.put(60, FRAME)
    assert [len(feed.take(480, 480)) for _ in range(2)] == [480, 0]
    feed.put_text("flush")
    assert [feed.take(480, 480) for _ in range(2)] == [FRAME, "flush"]


@pytest.mark.parametrize(("gap_ms", "filled_ms"), [(0, 0), (500, 500), (5_000, 1_000), (40_000, 0)])
def test_a_gap_is_filled_with_some_silence_if_the_vendor_gives_no_positions(gap_ms: int, filled_ms: int) -> None:
    feed = AudioFeed(60_000, gap_fill_ms=1_000)
    feed.put(7_000, FRAME)
    feed.put(7_020 + gap_ms, FRAME)
    assert feed.take(100_000) == FRAME + b"\xff" * 8 * filled_ms + FRAME
    assert feed.position(30 + filled_ms) == 7_030 + gap_ms


def test_a_replay_is_reduced_to_what_is_unseen() -> None:
    feed = AudioFeed(10_000)
    assert feed.unseen(1_000, FRAME) == (1_000, FRAME)
    feed.put(1_000, FRAME)
    assert feed.unseen(980, FRAME) == (1_020, b"")
    assert feed.unseen(1_010, FRAME) == (1_020, FRAME[80:])
    assert feed.unseen(2_000, FRAME) == (2_000, FRAME)
