"""When an entry of keys is over: full, finished, after a pause, or because nobody pressed a key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.call.key_entry import BETWEEN_KEYS_MS, KEYS_MAX, EnteredKeys, EntryEnd, EntryOptions, KeyEntry

pytestmark = pytest.mark.fast


def pressed(entry: KeyEntry, keys: str, now_ms: float = 0.0) -> EnteredKeys | None:
    """All keys at once; returns the entry if it is over then."""
    for key in keys:
        entry.press(key, now_ms)
    return entry.entered


def test_the_last_key_that_is_wanted_ends_the_entry() -> None:
    entry = KeyEntry(EntryOptions(keys_max=4))
    assert pressed(entry, "471") is None
    assert entry.press("1", 0.0) == EnteredKeys("4711", 4, EntryEnd.FULL)
    assert entry.press("2", 0.0) == EnteredKeys("4711", 4, EntryEnd.FULL), "nothing changes it any more"


def test_the_finish_key_ends_the_entry_and_is_no_part_of_it() -> None:
    assert pressed(KeyEntry(EntryOptions()), "47#") == EnteredKeys("47", 2, EntryEnd.FINISHED)
    assert pressed(KeyEntry(EntryOptions(finish_key="*")), "4#*") == EnteredKeys("4#", 2, EntryEnd.FINISHED)
    assert pressed(KeyEntry(EntryOptions(finish_key="")), "4#") is None
    assert pressed(KeyEntry(EntryOptions()), "#") == EnteredKeys("", 0, EntryEnd.NONE)


def test_where_nobody_asked_for_keys_the_finish_key_may_be_the_first() -> None:
    assert pressed(KeyEntry(EntryOptions(is_free=True)), "#") is None
    assert pressed(KeyEntry(EntryOptions(is_free=True)), "##") == EnteredKeys("#", 1, EntryEnd.FINISHED)


def test_a_pause_ends_the_entry_and_each_key_gives_more_time() -> None:
    entry = KeyEntry(EntryOptions())
    entry.press("4", 100.0)
    entry.press("7", 1_000.0)
    assert entry.due_ms == 1_000 + BETWEEN_KEYS_MS
    assert entry.wake(entry.due_ms - 1) is None
    assert entry.wake(entry.due_ms) == EnteredKeys("47", 2, EntryEnd.TIMEOUT)
    assert entry.due_ms is None


def test_the_first_key_is_waited_for_once_the_caller_knows_what_to_enter() -> None:
    entry = KeyEntry(EntryOptions(first_key_ms=5_000))
    assert entry.wake(60_000) is None
    entry.wait(60_000)
    entry.wait(70_000)  # changes nothing
    assert entry.wake(64_999) is None
    assert entry.wake(65_000) == EnteredKeys("", 0, EntryEnd.NONE)


def test_secret_keys_are_counted_and_letters_are_none() -> None:
    entry = KeyEntry(EntryOptions(keys_max=3))
    entry.press("", 0.0)
    entry.press("A", 0.0)
    entry.press("", 0.0)
    assert entry.count == 2
    assert entry.press("", 0.0) == EnteredKeys("", 3, EntryEnd.FULL)


@given(st.lists(st.tuples(st.sampled_from("0123456789*#A"), st.integers(0, 5_000)), max_size=100), st.integers(1, 100))
def test_an_entry_is_bounded_and_never_waits_without_an_end(keys: list[tuple[str, int]], keys_max: int) -> None:
    entry, now_ms = KeyEntry(EntryOptions(keys_max=keys_max, first_key_ms=1_000)), 0.0
    entry.wait(now_ms)
    for key, pause_ms in keys:
        now_ms += pause_ms
        entry.wake(now_ms)
        entry.press(key, now_ms)
        assert (entry.entered is None) == (entry.due_ms is not None)
    over = entry.wake(now_ms + 5_000)
    assert over is not None
    assert over.count == len(over.keys) <= min(keys_max, KEYS_MAX)
    assert entry.finish() == over
