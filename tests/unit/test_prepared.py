"""What the edge keeps of a reply until it may be heard."""

from common.messages import AudioOut, Release, ReplySpoken
from edge.prepared import KEPT_MAX, Prepared


def audio(turn: int, seq: int = 0) -> AudioOut:
    return AudioOut("call-1", 1, 1, turn, 0, seq, b"\x00" * 160, held=True)


def release(turn: int, *stamps: int) -> Release:
    return Release("call-1", 1, turn, stamps)


def test_it_is_kept_in_order_until_it_is_released():
    prepared = Prepared()
    done = ReplySpoken("call-1", 1, 1, 2, held=True)
    assert all(prepared.keep(message) for message in (audio(2), audio(2, 1), done))
    assert not prepared.released(2)
    prepared.release(release(2))
    assert prepared.released(2)
    assert prepared.take(2) == [audio(2), audio(2, 1), done]
    assert prepared.take(2) == []


def test_a_release_that_comes_first_lets_everything_through():
    prepared = Prepared()
    prepared.release(release(3))
    assert prepared.released(3) and not prepared.released(4)
    assert not prepared.released(2), "it was taken back, and its audio is late"


def test_a_newer_reply_replaces_what_nobody_heard():
    prepared = Prepared()
    prepared.keep(audio(2))
    prepared.keep(audio(3))
    assert not prepared.keep(audio(2, 1)), "a late frame of the old one"
    assert prepared.take(2) == []
    assert prepared.take(3) == [audio(3)]


def test_an_old_release_takes_nothing_back():
    prepared = Prepared()
    prepared.release(release(4))
    prepared.release(release(2))
    assert prepared.released(4)


def test_what_is_kept_has_a_bound():
    prepared = Prepared()
    assert sum(prepared.keep(audio(2, seq)) for seq in range(KEPT_MAX + 5)) == KEPT_MAX


def test_work_done_ahead_of_the_end_of_the_turn_took_none_of_the_callers_time():
    prepared = Prepared()
    prepared.release(release(2, 1000, 1500, 1510))
    assert prepared.stamped(2, (1000, 1200, 1200, 1300, 1310, 1600)) == (1000, 1500, 1510, 1510, 1510, 1600)
    assert prepared.stamped(3, (5000, 5500, 5510)) == (5000, 5500, 5510), "another reply's"
