"""Each event of a transfer, in any order: a state never goes back, and there is one result."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from common.call.acts import TransferState as S
from common.call.transfer import TRANSFERS_MAX, Transfer, TransferChange
from common.protocol.acts import ToolReturned, TransferUpdated
from common.protocol.messages import Message
from edge.transfer.state import (
    SHORT_TALK_MS,
    CallerGone,
    CallerLeft,
    Dialled,
    Failure,
    Joined,
    NotReached,
    OrderStanding,
    PersonAccepted,
    PersonAnswered,
    PersonRings,
    TalkEnded,
    TransferAsked,
    TransferEvent,
    advance,
    standing,
)

pytestmark = pytest.mark.fast

COLD = Transfer(3, 1, "sales", "+911234567890")
WARM = replace(COLD, mode="warm")


@dataclass
class Walk:
    """Applies events one after the other."""

    known: Transfer | None = None
    now_ms: int = 1_000
    events: list[Message] = field(default_factory=list)
    changes: list[TransferChange] = field(default_factory=list)

    def takes(self, *events: TransferEvent | int) -> Walk:
        """Events, and ms that pass."""
        for event in events:
            if isinstance(event, int):
                self.now_ms += event
            elif (step := advance(self.known, event, self.now_ms, 7)) is not None:
                self.known = step.transfer
                self.events += step.events
                self.changes.append(step.change)
        return self

    @property
    def states(self) -> list[str]:
        return [event.state for event in self.events if isinstance(event, TransferUpdated)]

    @property
    def result(self) -> str:
        (returned,) = [event for event in self.events if isinstance(event, ToolReturned)]
        return returned.outcome


def test_a_cold_transfer_takes_the_caller_off_the_stream_at_once() -> None:
    walk = Walk().takes(TransferAsked(COLD), 100, CallerLeft(), 8_000, PersonAnswered(), Joined(), 30_000, TalkEnded())
    assert walk.states == ["asked", "dialled", "answered", "joined", "over"]
    assert walk.changes[0] is TransferChange.LEAVE
    assert set(walk.changes[1:]) == {TransferChange.NOTE}
    assert walk.result == "done"


def test_a_cold_transfer_that_nobody_answers_brings_the_caller_back() -> None:
    walk = Walk().takes(TransferAsked(COLD), CallerLeft(), 30_000, NotReached(Failure.NO_ANSWER))
    assert walk.states == ["asked", "dialled", "failed"]
    assert walk.changes[-1] is TransferChange.COME_BACK
    assert walk.events[-1] == ToolReturned(3, 1, "failed", "Nobody answered.", 30_000)


def test_a_warm_transfer_takes_the_caller_off_the_stream_once_the_person_accepts() -> None:
    walk = Walk().takes(TransferAsked(WARM), Dialled("out-1"), PersonRings(), PersonAnswered())
    assert walk.changes == [TransferChange.STAY, TransferChange.NOTE, TransferChange.NOTE, TransferChange.NOTE]
    walk.takes(CallerLeft(), Joined())  # of nobody: the caller is with the agent
    assert walk.states == ["asked", "dialled", "ringing", "answered"]
    walk.takes(PersonAccepted("room-1"), PersonAccepted("room-2"))
    assert walk.known is not None
    assert walk.known.room == "room-1"
    assert walk.changes[-1] is TransferChange.LEAVE
    walk.takes(CallerLeft(), Joined(), SHORT_TALK_MS, TalkEnded())
    assert walk.states == ["asked", "dialled", "ringing", "answered", "joined", "over"]
    assert walk.result == "done"


@pytest.mark.parametrize("why", [Failure.NO_ANSWER, Failure.BUSY, Failure.DECLINED, Failure.TIMEOUT])
def test_a_warm_transfer_that_fails_before_it_was_accepted_leaves_the_caller_where_they_are(why: Failure) -> None:
    walk = Walk().takes(TransferAsked(WARM), Dialled("out-1"), NotReached(why))
    assert walk.changes[-1] is TransferChange.NOTE
    assert walk.states[-1] == "failed"
    assert walk.result == "failed"


@pytest.mark.parametrize("transfer", [COLD, WARM], ids=["cold", "warm"])
@pytest.mark.parametrize("talk_ms", [0, SHORT_TALK_MS - 1, SHORT_TALK_MS])
def test_a_short_talk_is_none(transfer: Transfer, talk_ms: int) -> None:
    walk = Walk().takes(
        TransferAsked(transfer), PersonAccepted("room"), CallerLeft(), 20_000, Joined(), talk_ms, TalkEnded()
    )
    if talk_ms < SHORT_TALK_MS:
        assert (walk.states[-1], walk.changes[-1], walk.result) == ("failed", TransferChange.COME_BACK, "failed")
    else:
        assert (walk.states[-1], walk.changes[-1], walk.result) == ("over", TransferChange.NOTE, "done")


def test_a_talk_whose_begin_is_not_known_counts_from_the_xml_for_it() -> None:
    assert Walk().takes(TransferAsked(COLD), CallerLeft(), 1_000, TalkEnded()).states[-1] == "failed"
    assert Walk().takes(TransferAsked(COLD), CallerLeft(), 20_000, TalkEnded()).states[-1] == "over"
    assert (
        Walk().takes(TransferAsked(WARM), PersonAccepted("room"), 20_000, TalkEnded()).states[-1] == "failed"
    )  # nobody was joined


@pytest.mark.parametrize("transfer", [COLD, WARM], ids=["cold", "warm"])
def test_a_caller_who_hangs_up_does_not_come_back(transfer: Transfer) -> None:
    walk = Walk().takes(TransferAsked(transfer), CallerLeft(), CallerGone())
    assert (walk.states[-1], walk.changes[-1], walk.result) == ("failed", TransferChange.NOTE, "failed")
    talked = Walk().takes(TransferAsked(COLD), CallerLeft(), Joined(), CallerGone())
    assert (talked.states[-1], talked.result) == ("over", "done")


EVENTS: tuple[TransferEvent, ...] = (
    CallerLeft(), Dialled("out-1"), PersonRings(), PersonAnswered(), PersonAccepted("room"), Joined(),
    NotReached(Failure.BUSY), TalkEnded(), CallerGone(),
)  # fmt: skip


@pytest.mark.parametrize("transfer", [COLD, WARM], ids=["cold", "warm"])
def test_in_any_order_and_twice_states_only_go_on_and_the_result_comes_once(transfer: Transfer) -> None:
    rank = [S.ASKED, S.DIALLED, S.RINGING, S.ANSWERED, S.JOINED, S.OVER, S.FAILED]
    for order in itertools.permutations(EVENTS, 5):
        walk = Walk().takes(TransferAsked(transfer), *(event for event in order for _ in range(2)))
        ranks = [rank.index(S(state)) for state in walk.states]
        assert ranks == sorted(set(ranks)), order
        results = [event for event in walk.events if isinstance(event, ToolReturned)]
        assert len(results) == (walk.known is not None and not walk.known.under_way), order
        assert walk.changes.count(TransferChange.LEAVE) <= 1


def test_another_transfer_waits_for_the_one_that_is_under_way() -> None:
    walk = Walk().takes(TransferAsked(COLD))
    assert standing(None, 3, 1) is OrderStanding.NEW
    assert standing(walk.known, 3, 1) is OrderStanding.SAME
    assert standing(walk.known, 3, 2) is OrderStanding.NOT_NOW
    walk.takes(NotReached(Failure.BUSY))
    assert standing(walk.known, 3, 1) is OrderStanding.SETTLED
    assert standing(walk.known, 4, 0) is OrderStanding.NEW
    walk.takes(TransferAsked(replace(COLD, turn=4)))
    assert walk.known is not None
    assert walk.known.attempt == 2
    assert standing(walk.known, 3, 1) is OrderStanding.NOT_NOW
    walk.takes(NotReached(Failure.BUSY))
    assert standing(walk.known, 3, 1) is OrderStanding.SETTLED, "an order that comes again, two transfers later"
    spent = replace(walk.known, attempt=TRANSFERS_MAX, state=S.FAILED)
    assert standing(spent, 5, 0) is OrderStanding.NOT_NOW
