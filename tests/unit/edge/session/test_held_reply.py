"""What the edge keeps of a reply until it may be heard."""

import pytest

from common.protocol.messages import AudioOut, ReplySynthesized
from edge.session.held_reply import KEPT_MAX, HeldReply

pytestmark = pytest.mark.fast


def audio(turn: int, seq: int = 0) -> AudioOut:
    return AudioOut("call-1", 1, 1, turn, 0, seq, b"\x00" * 160, held=True)


def test_it_is_kept_in_order_until_it_is_released():
    prepared = HeldReply()
    done = ReplySynthesized("call-1", 1, 1, 2, held=True)
    assert all(prepared.keep(message) for message in (audio(2), audio(2, 1), done))
    assert not prepared.released(2)
    prepared.release(2)
    assert prepared.released(2)
    assert prepared.take(2) == [audio(2), audio(2, 1), done]
    assert prepared.take(2) == []


def test_a_release_that_comes_first_lets_everything_through():
    prepared = HeldReply()
    prepared.release(3)
    assert prepared.released(3) and not prepared.released(4)
    assert not prepared.released(2), "it was taken back, and its audio is late"


def test_a_newer_reply_replaces_what_nobody_heard():
    prepared = HeldReply()
    prepared.keep(audio(2))
    prepared.keep(audio(3))
    assert not prepared.keep(audio(2, 1)), "a late frame of the old one"
    assert prepared.take(2) == []
    assert prepared.take(3) == [audio(3)]


def test_an_old_release_takes_nothing_back():
    prepared = HeldReply()
    prepared.release(4)
    prepared.release(2)
    assert prepared.released(4)


def test_what_is_kept_has_a_bound():
    prepared = HeldReply()
    assert sum(prepared.keep(audio(2, seq)) for seq in range(KEPT_MAX + 5)) == KEPT_MAX
