"""A key of the telephone interrupts without a doubt: what the edge does about it, in each state of a reply."""

from __future__ import annotations

import pytest

from common.call.reply_state import ReplyState
from common.protocol.messages import AudioOut, Interrupted
from edge.session.call_options import CallOptions
from edge.session.downlink import ClearAudio, Downlink, Publish, ReplyOver
from edge.session.fences import Fences
from edge.session.turn import DiscardReply, Effect, Interrupt, PauseOutput, ResumeOutput, Turn

pytestmark = pytest.mark.fast

NOW = 5000.0


def playing(interruptible: bool = True) -> Turn:
    turn = Turn(interruptible)
    turn.audio_arrived(1)
    return turn


def test_a_reply_that_is_being_heard_is_over_and_nothing_of_it_resumes() -> None:
    turn = playing()
    assert turn.key_pressed(begun=1) == [Interrupt()]
    assert turn.state is ReplyState.INTERRUPTED
    assert not turn.admits(1)
    assert turn.key_pressed(begun=1) == [], "the second key finds nothing to interrupt"
    assert turn.wake(NOW + 60_000) == []
    assert turn.audio_arrived(2) == []
    assert turn.speaking


@pytest.mark.parametrize("case", ["nothing plays", "not begun", "not interruptible"])
def test_a_key_that_interrupts_nothing(case: str) -> None:
    turn = Turn() if case == "nothing plays" else playing(interruptible=case != "not interruptible")
    before = turn.state
    assert turn.key_pressed(begun=0 if case == "not begun" else 1) == []
    assert turn.state is before
    assert turn.admits(1)


@pytest.mark.parametrize("silent", [False, True])
def test_a_key_confirms_what_may_have_been_a_cough(silent: bool) -> None:
    turn = playing()
    turn.caller_speaks(1, begun=1, now=NOW)
    if silent:
        turn.caller_silent(1, NOW)
    confirmed: list[Effect] = [DiscardReply(), ResumeOutput()] if silent else [DiscardReply()]
    assert turn.key_pressed(begun=1) == confirmed
    assert turn.state is ReplyState.INTERRUPTED


def test_audio_waits_while_the_caller_speaks_whatever_they_press() -> None:
    turn = Turn()
    assert turn.caller_speaks(1, begun=0, now=NOW) == [PauseOutput()]
    assert turn.key_pressed(begun=0) == []
    assert turn.caller_silent(1, NOW) == [ResumeOutput()]


def test_the_carrier_is_cleared_before_anything_is_published() -> None:
    line = Downlink("stream-1", 1, CallOptions(), Fences(), NOW)
    line.play(AudioOut("call-1", 1, 1, 1, 0, 0, bytes(160 * 50), True), NOW)
    line.wake(NOW)
    cleared, over, published = line.key_pressed(NOW + 40)
    assert isinstance(cleared, ClearAudio)
    assert over == ReplyOver("interrupted")
    assert isinstance(published, Publish)
    assert published.message == Interrupted(1, 0, 40, 0)
    assert line.key_pressed(NOW + 60) == []
