"""The watch over a vendor's socket: what it does at its deadlines is what a fast poll would do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.providers.interfaces import Down, SpeechEnd, SpeechStart
from workers.stt.stream.audio_feed import AudioFeed
from workers.stt.stream.liveness import Liveness
from workers.stt.stream.stt_core import PING, SocketProfile, SttStreamOptions

pytestmark = pytest.mark.fast

LOUD, QUIET = b"\x10\x90" * 80, b"\xff" * 160
OPTIONS = SttStreamOptions(mute_s=3.0, pong_s=2.0, ping_s=4.0, unresponsive_s=1.0, keepalive_s=5.0)
ANSWERS = SocketProfile("deepgram/x", answer_ms=1_000, keepalive="keep", goodbye="")
SILENT = SocketProfile("cartesia/x")


class Socket:
    """A socket on a clock of 1/64 s, which floats hold exactly."""

    def __init__(self, profile: SocketProfile, polled: bool) -> None:
        self.feed = AudioFeed(60_000)
        self.now = 1_000.0
        self.liveness = Liveness(profile, self.feed, OPTIONS, self.now)
        self.polled = polled
        self.at_ms = 0
        self.done: list[tuple[float, str]] = []
        self.failed = ""

    def passes(self, steps: int) -> None:
        for _ in range(steps):
            if self.failed:
                return
            self.look()
            self.now += 1 / 64

    def look(self) -> None:
        due = self.liveness.deadline
        if not self.polled and (due is None or due > self.now):
            return
        try:
            self.done += [(self.now, text) for text in self.liveness.check(self.now)]
        except Down as error:
            self.failed = f"{self.now} {error}"
            return
        due = self.liveness.deadline
        assert due is None or due > self.now, "the timer would fire for ever"

    def audio(self, frames: int, sound: bytes, sent: bool = True) -> None:
        for _ in range(frames):
            self.feed.put(self.at_ms, sound)
            self.liveness.fed(self.at_ms, sound, self.now)
            self.at_ms += 20
            if sent:
                self.liveness.sending(self.now)
                self.feed.take(160)
            self.passes(1)

    def does(self, step: Any) -> None:
        match step:
            case "message":
                self.liveness.received(self.now)
            case "pong":
                self.liveness.ponged(self.now)
            case "asked":
                self.liveness.asked()
            case "start":
                self.liveness.received(self.now)
                self.liveness.event(SpeechStart(0))
            case "end":
                self.liveness.received(self.now)
                self.liveness.event(SpeechEnd(0))
            case ("wait", int(steps)):
                self.passes(steps)
            case (str(sound), int(frames)):
                self.audio(frames, LOUD if sound == "loud" else QUIET, sent=sound != "stuck")
        self.passes(1)


steps = st.one_of(
    st.sampled_from(["message", "pong", "asked", "start", "end"]),
    st.tuples(st.sampled_from(["loud", "quiet", "stuck", "wait"]), st.integers(1, 300)),
)


@pytest.mark.parametrize("profile", [ANSWERS, SILENT], ids=["answers", "silent"])
@settings(max_examples=60, deadline=None)
@given(script=st.lists(steps, max_size=15))
def test_the_deadlines_miss_nothing_and_never_fire_for_ever(profile: SocketProfile, script: list[Any]) -> None:
    polled, timed = Socket(profile, polled=True), Socket(profile, polled=False)
    for step in script:
        polled.does(step)
        timed.does(step)
    assert (timed.done, timed.failed) == (polled.done, polled.failed)


def test_a_vendor_that_answers_is_pinged_when_it_does_not_and_lives_if_it_pongs() -> None:
    socket = Socket(ANSWERS, polled=False)
    socket.audio(64 * 4, QUIET)
    assert [(round(at), text) for at, text in socket.done] == [(1_003, PING)]
    socket.does("pong")
    socket.audio(64 * 2, QUIET)
    assert len(socket.done) == 1 and not socket.failed
    socket.audio(64 * 4, QUIET)
    assert len(socket.done) == 2 and "does not answer" in socket.failed


def test_a_silent_vendor_is_pinged_while_audio_is_sent_only() -> None:
    socket = Socket(SILENT, polled=False)
    socket.does(("wait", 640))
    assert not socket.done
    socket.audio(1, QUIET)
    assert [text for _, text in socket.done] == [PING]
    socket.does("pong")
    socket.does(("wait", 640))
    assert len(socket.done) == 1 and not socket.failed
