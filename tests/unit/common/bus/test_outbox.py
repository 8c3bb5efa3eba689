"""What waits while Redis is away: in order, and no call at the expense of another."""

import pytest

from common.bus.outbox import AUDIO_IN_MAX, ENTRIES_MAX, OTHERS_MAX, Outbox, OutboxEntry

pytestmark = pytest.mark.fast


def frame(owner: str, number: int) -> OutboxEntry:
    return OutboxEntry(f"{owner} frame {number}".encode(), owner, is_caller_audio=True)


def event(owner: str, number: int) -> OutboxEntry:
    return OutboxEntry(f"{owner} event {number}".encode(), owner)


def test_everything_leaves_in_the_order_in_which_it_came() -> None:
    outbox = Outbox()
    entries = [make(owner, number) for number in range(20) for owner in "ab" for make in (frame, event)]
    for entry in entries:
        outbox.add(entry)
    assert outbox.take() == entries
    assert outbox.take() == []


def test_of_a_callers_audio_the_newest_five_seconds_stay_and_of_the_story_everything() -> None:
    outbox = Outbox()
    for number in range(AUDIO_IN_MAX + 50):
        outbox.add(frame("call", number))
        if number % 10 == 0:
            outbox.add(event("call", number))
    left = outbox.take()
    assert [entry for entry in left if entry.is_caller_audio] == [
        frame("call", number) for number in range(50, AUDIO_IN_MAX + 50)
    ]
    assert [entry for entry in left if not entry.is_caller_audio] == [
        event("call", number) for number in range(0, AUDIO_IN_MAX + 50, 10)
    ]


def test_a_call_that_floods_drops_its_own_and_nobody_elses() -> None:
    outbox = Outbox()
    outbox.add(event("quiet", 0))
    for number in range(2 * OTHERS_MAX):
        outbox.add(event("loud", number))
        outbox.add(frame("loud", number))
    left = outbox.take()
    assert left[0] == event("quiet", 0)
    assert len(left) == 1 + OTHERS_MAX + AUDIO_IN_MAX
    assert left[-1] == frame("loud", 2 * OTHERS_MAX - 1)


def test_the_whole_process_has_a_bound_too_and_then_the_oldest_goes() -> None:
    outbox = Outbox()
    for number in range(ENTRIES_MAX + 5):
        outbox.add(event(f"call {number % 100}", number))
    left = outbox.take()
    assert (len(left), left[0]) == (ENTRIES_MAX, event("call 5", 5))


def test_what_was_written_and_not_acknowledged_comes_first_again_within_the_bounds() -> None:
    outbox = Outbox()
    sent = [frame("call", number) for number in range(10)] + [event("call", 0)]
    for number in range(10, 10 + AUDIO_IN_MAX):
        outbox.add(frame("call", number))
    outbox.put_back(sent)
    left = outbox.take()
    assert left == [event("call", 0), *(frame("call", number) for number in range(10, 10 + AUDIO_IN_MAX))]
