"""How long a voice is waited for, and what an HTTP answer's type says about its audio."""

from __future__ import annotations

import pytest

from workers.providers.deadlines import SpeechDeadlines, SynthesisDeadline
from workers.tts.audio.resample import PcmToMulaw

pytestmark = pytest.mark.fast

DEADLINES = SpeechDeadlines(connect_s=1.0, first_audio_s=4.0, gap_s=2.0)
SECOND = 8000
"""Bytes of mu-law."""


def test_until_the_first_audio_everything_counts() -> None:
    deadline = SynthesisDeadline(DEADLINES, 8)
    assert deadline.left_s == 4.0
    deadline.waited(1.0)  # connecting
    deadline.waited(2.5)
    deadline.heard(0)
    assert deadline.left_s == 0.5


def test_then_each_piece_has_its_own_time() -> None:
    deadline = SynthesisDeadline(DEADLINES, 8)
    deadline.waited(3.5)
    deadline.heard(SECOND)
    assert deadline.left_s == 2.0
    deadline.waited(1.9)
    deadline.heard(5 * SECOND)
    assert deadline.left_s == 2.0


def test_a_voice_that_trickles_runs_out_of_it() -> None:
    deadline = SynthesisDeadline(DEADLINES, 8)
    deadline.heard(SECOND // 10)
    for _ in range(3):
        deadline.waited(0.9)
        deadline.heard(SECOND // 10)
    assert deadline.left_s < 0


def test_a_listener_that_takes_its_time_costs_the_vendor_none() -> None:
    deadline = SynthesisDeadline(DEADLINES, 8)
    deadline.heard(SECOND // 50)
    deadline.waited(0.0)  # it was there already, however late it was asked for
    assert deadline.left_s == 2.0


def test_samples_cut_in_two_by_the_network_are_joined() -> None:
    samples = bytes(range(256)) * 300
    whole = PcmToMulaw(24_000)
    expected = whole.feed(samples) + whole.finish()
    for size in (1, 3, 4801):
        cut = PcmToMulaw(24_000)
        pieces = [cut.feed(samples[at : at + size]) for at in range(0, len(samples), size)]
        assert len(b"".join(pieces) + cut.finish()) == len(expected)
