"""What the carrier is sent, and the bus is told, for the agent's audio and the caller's speech: no socket, no clock."""

import json

import pytest

from common.protocol.messages import (
    AudioOut,
    ClausePlayed,
    Interrupted,
    ReplyPlayed,
    ReplyReleased,
    ReplyResumed,
    ReplySynthesized,
)
from edge.session.call_options import CallOptions
from edge.session.downlink import (
    Arrived,
    Began,
    ClearAudio,
    Downlink,
    Dropped,
    Output,
    Publish,
    ReplyOver,
    Send,
    StopCall,
)
from edge.session.fences import Fences
from edge.session.turn import CONFIRM_MS, RESUME_MS, Wake

pytestmark = pytest.mark.fast

CALL = "call-1"
NOW = 1000.0
FRAME = bytes(160)


def audio(turn: int, frames: int = 10, clause: int = 0, epoch: int = 1, token: int = 1, **more: object) -> AudioOut:
    return AudioOut(CALL, epoch, token, turn, clause, 0, FRAME * frames, True, **more)  # type: ignore[arg-type]


def downlink() -> Downlink:
    return Downlink("stream-1", 1, CallOptions(), Fences(), NOW)


def played_until(one: Downlink, now: float) -> list[Output]:
    """All outputs of the wakes that come until then."""
    out: list[Output] = []
    while (due := one.next_due()) is not None and due <= now:
        out += one.wake(max(due, NOW))
    return out


def events(outputs: list[Output]) -> list[str]:
    return [json.loads(raw)["event"] for send in outputs if isinstance(send, Send) for raw in send.messages]


def published(outputs: list[Output]) -> list[object]:
    return [output.message for output in outputs if isinstance(output, Publish)]


def test_a_reply_is_sent_frame_by_frame_marked_and_confirmed() -> None:
    one = downlink()
    assert one.play(audio(1, 3, stage_ms=(1, 2)), NOW) == [Arrived(1, (1, 2))]
    assert one.reply_synthesized(ReplySynthesized(CALL, 1, 1, 1), NOW) == []
    out = one.wake(NOW)
    assert out[0] == Began(1, 0)
    assert events(out) == ["playAudio"] * 3 + ["checkpoint"]
    assert isinstance(out[1], Send)
    assert out[1].frames == 3
    assert one.next_due() is None
    assert one.played("1.1.0", NOW + 60) == [
        Publish(ClausePlayed(1, 0)),
        ReplyOver("heard"),
        Publish(ReplyPlayed(1)),
    ]


def test_the_last_reply_ends_the_call_once_it_was_heard() -> None:
    one = downlink()
    one.play(audio(1), NOW)
    one.reply_synthesized(ReplySynthesized(CALL, 1, 1, 1, "hangup"), NOW)
    one.wake(NOW)
    assert one.played("1.1.0", NOW)[-1] == StopCall("agent hung up")


def test_words_clear_the_carrier_before_anything_is_published() -> None:
    one = downlink()
    one.play(audio(1, 100), NOW)
    one.wake(NOW)
    out = one.caller_speaks(1, NOW + 90)
    assert isinstance(out[0], ClearAudio)
    assert published(out) == [Interrupted(1, 0, 100, 1)]
    assert one.next_due() is None, "the caller is speaking"
    out = one.words_detected(1, NOW + 300)
    assert out == [ReplyOver("interrupted"), Publish(Interrupted(1, 0, 100))]
    assert one.held_frames == 0
    assert one.play(audio(1, clause=1), NOW + 400) == [Dropped(10, "stale")]


def test_after_a_cough_the_rest_is_sent_from_where_it_was_cut() -> None:
    one = downlink()
    one.play(audio(1, 100), NOW)
    one.wake(NOW)
    one.caller_speaks(1, NOW + 90)
    assert one.caller_silent(1, NOW + 200) == [Wake(NOW + 200 + RESUME_MS)]
    assert published(one.wake_turn(NOW + 200 + RESUME_MS)) == [ReplyResumed(1, 1)]
    one.cleared()
    assert one.held_frames == 95
    assert events(played_until(one, NOW + 5000))[:3] == ["playAudio"] * 3


def test_long_speech_is_an_interruption() -> None:
    one = downlink()
    one.play(audio(1, 100), NOW)
    one.wake(NOW)
    assert Wake(NOW + CONFIRM_MS) in one.caller_speaks(1, NOW)
    assert ReplyOver("interrupted") in one.wake_turn(NOW + CONFIRM_MS)


def test_a_preemptive_reply_waits_for_its_release() -> None:
    one = downlink()
    assert one.play(audio(1, held=True, answers_utterance=1), NOW) == []
    assert one.next_due() is None
    one.release(ReplyReleased(CALL, 1, 1), NOW)
    assert events(one.wake(NOW))[0] == "playAudio"


@pytest.mark.parametrize(
    "stale", [audio(2, epoch=2), audio(2, token=1)], ids=["of another connection", "of an old TTS"]
)
def test_stale_audio_is_dropped(stale: AudioOut) -> None:
    one = downlink()
    one.play(audio(1, token=2), NOW)
    assert one.play(stale, NOW) == [Dropped(10, "stale")]


def test_after_redis_lost_the_call_checkpoints_of_both_epochs_count() -> None:
    one = downlink()
    one.play(audio(1), NOW)
    one.wake(NOW)
    one.continue_as(2)
    assert one.play(audio(2), NOW) == [Dropped(10, "stale")]
    assert published(one.played("1.1.0", NOW)) == [ClausePlayed(1, 0)]
    assert one.played("3.1.0", NOW) == []


def test_what_was_sent_into_a_closed_socket_was_not_heard() -> None:
    one = downlink()
    one.play(audio(1, 100), NOW)
    one.wake(NOW)
    one.disconnected(NOW + 40)
    assert one.heard(NOW + 500) == (1, 0, 40)
    assert published(one.caller_speaks(1, NOW + 500)) == [Interrupted(1, 0, 40, 1)]


def test_a_checkpoint_that_the_carrier_never_answers_counts_as_played() -> None:
    one = downlink()
    one.play(audio(1), NOW)
    one.reply_synthesized(ReplySynthesized(CALL, 1, 1, 1), NOW)
    one.wake(NOW)
    assert one.housekeep(NOW + 500, NOW + 500) == []
    assert published(one.housekeep(NOW + 5000, NOW + 5000)) == [ClausePlayed(1, 0), ReplyPlayed(1)]
