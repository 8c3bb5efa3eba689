"""How long a voice is waited for, and what an HTTP answer's type says about its audio."""

from __future__ import annotations

from workers.providers.deadlines import Patience, SpeechDeadlines
from workers.providers.http import http_form, socket_form
from workers.tts.audio.resample import Telephone

DEADLINES = SpeechDeadlines(connect_s=1.0, first_audio_s=4.0, gap_s=2.0)
SECOND = 8000
"""Bytes of mu-law."""


def test_until_the_first_audio_everything_counts() -> None:
    patience = Patience(DEADLINES, 8)
    assert patience.left_s == 4.0
    patience.waited(1.0)  # connecting
    patience.waited(2.5)
    patience.heard(0)
    assert patience.left_s == 0.5


def test_then_each_piece_has_its_own_time() -> None:
    patience = Patience(DEADLINES, 8)
    patience.waited(3.5)
    patience.heard(SECOND)
    assert patience.left_s == 2.0
    patience.waited(1.9)
    patience.heard(5 * SECOND)
    assert patience.left_s == 2.0


def test_a_voice_that_trickles_runs_out_of_it() -> None:
    patience = Patience(DEADLINES, 8)
    patience.heard(SECOND // 10)
    for _ in range(3):
        patience.waited(0.9)
        patience.heard(SECOND // 10)
    assert patience.left_s < 0


def test_a_listener_that_takes_its_time_costs_the_vendor_none() -> None:
    patience = Patience(DEADLINES, 8)
    patience.heard(SECOND // 50)
    patience.waited(0.0)  # it was there already, however late it was asked for
    assert patience.left_s == 2.0


def test_one_address_serves_both_ways() -> None:
    assert http_form("wss://api.example.com/") == http_form("https://api.example.com") == "https://api.example.com"
    assert socket_form("http://127.0.0.1:80/x/") == socket_form("ws://127.0.0.1:80/x") == "ws://127.0.0.1:80/x"


def test_samples_cut_in_two_by_the_network_are_joined() -> None:
    samples = bytes(range(256)) * 300
    whole = Telephone(24_000)
    expected = whole.feed(samples) + whole.finish()
    for size in (1, 3, 4801):
        cut = Telephone(24_000)
        pieces = [cut.feed(samples[at : at + size]) for at in range(0, len(samples), size)]
        assert len(b"".join(pieces) + cut.finish()) == len(expected)
