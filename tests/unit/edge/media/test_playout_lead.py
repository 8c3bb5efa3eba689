"""The lead at the carrier, against a model that plays frame by frame: wakes are late, and clears come at any time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.media.playout import Out, Playout
from tests.unit.edge.media.test_playout import T, audio

pytestmark = pytest.mark.fast


class Carrier:
    """Plays what it gets, frame by frame; the model that the playout's own account is compared with."""

    def __init__(self) -> None:
        self.queue: list[tuple[float, bytes]] = []
        """(when it begins to be heard, frame)"""
        self.dry_at = 0.0
        self.gaps_ms: list[float] = []

    def take(self, out: list[Out], now: float) -> None:
        for frame in (item for item in out if isinstance(item, bytes)):
            if self.queue and now > self.dry_at:
                self.gaps_ms.append(now - self.dry_at)
            self.queue.append((max(self.dry_at, now), frame))
            self.dry_at = self.queue[-1][0] + 20

    def clear(self, now: float) -> None:
        self.queue = [(start, frame) for start, frame in self.queue if start < now]
        self.dry_at = now

    def heard(self, now: float) -> list[bytes]:
        return [frame for start, frame in self.queue if start < now]


STALLS = st.lists(st.integers(0, 119), min_size=1, max_size=40)
"""How late each wake is, in ms; a lead of 200 ms leaves 120 when it is filled up."""


@given(STALLS, st.integers(0, 999))
def test_the_lead_is_never_exceeded_and_never_runs_dry_in_a_stall(late_ms: list[int], fraction: int) -> None:
    playout, carrier = Playout(lead_ms=200), Carrier()
    playout.push(1, 0, 0, audio(*range(200)), last=True)
    now = T + fraction / 1000
    for late in [*late_ms, *[5] * 60]:
        out = playout.due(now)
        assert out, "no wake is for nothing"
        carrier.take(out, now)
        assert carrier.dry_at - now <= 200 + 1e-6
        if (due := playout.next_due()) is None:
            break
        assert carrier.dry_at - due == pytest.approx(120, abs=1e-6)
        now = due + late
    assert carrier.gaps_ms == []
    assert b"".join(frame for _, frame in carrier.queue) == audio(*range(len(carrier.queue)))
    assert len(carrier.queue) == 200 or len(late_ms) == 40


def test_a_stall_that_is_longer_than_the_lead_is_heard_as_one_gap() -> None:
    playout, carrier = Playout(lead_ms=200), Carrier()
    playout.push(1, 0, 0, audio(*range(60)), last=False)
    carrier.take(playout.due(T), T)
    carrier.take(playout.due(T + 80 + 150), T + 80 + 150)
    assert carrier.gaps_ms == [30.0]
    assert carrier.dry_at == T + 80 + 150 + 200


@given(
    st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=8),
    STALLS,
    st.integers(1, 1500),
    st.data(),
)
def test_a_clear_at_any_time_tells_and_takes_back_to_the_frame(
    pieces: list[tuple[int, bool]], late_ms: list[int], cut_after_ms: int, data: st.DataObject
) -> None:
    """Clauses in pieces, wakes that are late, a cut anywhere, also between two milliseconds."""
    playout, carrier = Playout(lead_ms=200), Carrier()
    places: list[tuple[int, int]] = []  # of each frame: clause, number within it
    clause = seq = 0
    for frames, last in pieces:
        first = len(places)
        playout.push(1, clause, seq, audio(*range(first, first + frames)), last)
        places += [(clause, seq + number) for number in range(frames)]
        clause, seq = (clause + 1, 0) if last else (clause, seq + frames)
    cut_at, now = T + cut_after_ms + data.draw(st.sampled_from([0.0, 0.25, 0.001])), T
    lateness = iter(late_ms)
    while now <= cut_at:
        carrier.take(playout.due(now), now)
        if (due := playout.next_due()) is None:
            break
        now = due + next(lateness, 0)
    heard = len(carrier.heard(cut_at))
    before = playout.position(cut_at)
    cut = playout.cut(cut_at)
    assert cut == before
    assert cut.at_carrier == (carrier.dry_at > cut_at)
    if heard < len(places):
        assert (cut.clause, cut.heard_ms) == (places[heard][0], places[heard][1] * 20)
    else:
        assert (cut.clause, cut.heard_ms) == (places[-1][0], (places[-1][1] + 1) * 20)
    carrier.clear(cut_at)
    left = playout.position(cut_at)
    assert sum(place < (left.clause, left.heard_ms // 20) for place in places) == heard, "it goes on from there"
    playout.cleared()
    now = cut_at + 300
    while (due := playout.next_due()) is not None:
        now = max(now, due)
        carrier.take(playout.due(now), now)
    assert b"".join(frame for _, frame in carrier.queue) == audio(*range(len(places))), "each frame is heard once"
