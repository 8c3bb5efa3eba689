"""Deepgram's ear on a line that stands still for some seconds: Redis fails over, or an edge is frozen."""

import pytest

from tests.unit.workers.stt.engines.test_deepgram_nova_core import (
    AGAIN,
    HELLO,
    THERE,
    Call,
    interim_only,
    results,
    started,
)
from workers.providers.interfaces import EndOfTurn

pytestmark = pytest.mark.fast


def test_a_line_that_stands_still_for_a_failover_splits_no_sentence() -> None:
    call = Call()
    interim_only(call)
    assert call.wait(3_000) == []
    assert call.put(3_500) == []  # the caller went on meanwhile, and it comes at once
    heard = call.hear(results(0, 3.4, HELLO, THERE, AGAIN, speech_final=True))
    assert heard[-1] == EndOfTurn("Hello, there. Again.", 500, 2_100, decided_ms=3_500)


def test_a_line_that_stands_still_in_the_silence_after_a_sentence_ends_it_when_it_goes_on() -> None:
    call = Call()
    call.audio(1_700)
    call.hear(started(0.5), results(0, 1.6, HELLO, THERE, speech_final=True))
    assert call.wait(3_000) == []
    assert call.put(1_820) == [EndOfTurn("Hello, there.", 500, 1_300, decided_ms=1_820)]
