"""Replies begun before the turn is over: how many may be in vain, and what is counted of them."""

from __future__ import annotations

import pytest

from common.protocol.messages import (
    CallStarted,
    Clause,
    EagerUserTurn,
    Message,
    PlaybackStarted,
    ReplyDiscarded,
    ReplyEnded,
    ReplyPlayed,
    ReplyReleased,
    ReplyStarted,
    SpeechStarted,
    UserTurn,
)
from common.telemetry import metrics
from workers.llm.conversation import Decision, Dialogue, WantedReply
from workers.llm.preemption import MINUTE_MS, ON_INTERIMS, ON_SIGNAL, Allowance, PreemptionBudget
from workers.llm.reply_work import ReplyWork

pytestmark = pytest.mark.fast

GREETED = (CallStarted(1, "edge-1", 0), ReplyStarted(1, 0), Clause(1, 0, "Hello."), ReplyEnded(1, 1), ReplyPlayed(1))


def after(*events: Message) -> Dialogue:
    dialogue = Dialogue("Be brief.")
    for event in (*GREETED, *events):
        dialogue.receive(event)
    return dialogue


def eager(utterance: int, text: str, at_ms: int = 0, *, unsure: bool = False) -> EagerUserTurn:
    return EagerUserTurn(utterance, text, (at_ms, at_ms, at_ms), unsure=unsure)


def in_vain(utterance: int, turn: int, at_ms: int, *, unsure: bool = False) -> list[Message]:
    """A reply was begun, and the caller went on."""
    return [
        SpeechStarted("call-1", 1, utterance, 0),
        eager(utterance, f"words {utterance}", at_ms, unsure=unsure),
        ReplyStarted(turn, utterance, f"words {utterance}"),
        SpeechStarted("call-1", 1, utterance + 1, 0),
        ReplyDiscarded(turn),
    ]


# --- the bounds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowance", [ON_SIGNAL, ON_INTERIMS])
def test_a_turn_has_so_many_and_the_next_one_begins_anew(allowance: Allowance) -> None:
    budget = PreemptionBudget(allowance)
    for number in range(allowance.per_turn):
        assert budget.allows(number)
        budget.discard(number, turn_open=True)
    assert not budget.allows(MINUTE_MS * 10)
    budget.end_turn()
    assert budget.allows(allowance.per_turn)


@pytest.mark.parametrize("allowance", [ON_SIGNAL, ON_INTERIMS])
def test_a_minute_has_so_many(allowance: Allowance) -> None:
    budget = PreemptionBudget(allowance)
    for number in range(allowance.per_minute):
        budget.end_turn()
        assert budget.allows(1_000 * number)
        budget.discard(1_000 * number, turn_open=False)
    budget.end_turn()
    assert not budget.allows(MINUTE_MS - 1)
    assert budget.allows(MINUTE_MS), "the oldest is a minute ago"


def test_a_caller_who_stops_at_every_word_is_answered_when_the_turn_is_over() -> None:
    events = [event for n in range(ON_SIGNAL.per_turn) for event in in_vain(n + 1, n + 2, 1_000 * n)]
    dialogue = after(*events, eager(9, "so it goes", 5_000))
    assert dialogue.wanted() is None
    dialogue.receive(UserTurn(9, "so it goes", ()))
    assert dialogue.wanted() == WantedReply(2 + ON_SIGNAL.per_turn, 9, 0)
    assert dialogue.decision() is None


def test_interim_words_that_were_in_vain_leave_the_providers_signal_what_it_had() -> None:
    count = ON_INTERIMS.per_turn
    events = [event for n in range(count) for event in in_vain(n + 1, n + 2, 1_000 * n, unsure=True)]
    dialogue = after(*events, eager(9, "so it goes", 5_000, unsure=True))
    assert dialogue.wanted() is None
    dialogue.receive(eager(9, "So it goes.", 5_100))
    assert dialogue.wanted() == WantedReply(2 + count, 9, 0, "So it goes.")


def test_a_discarded_reply_counts_once_though_it_comes_back_through_the_log() -> None:
    first = in_vain(1, 2, 0)
    dialogue = after(*first, first[-1], first[-1], eager(2, "words 2", 1_000))
    assert dialogue.wanted() == WantedReply(3, 2, 0, "words 2")


def test_a_reply_that_is_released_costs_nothing() -> None:
    dialogue = after()
    for turn in range(2, 12):
        words = f"question {turn}"
        dialogue.receive(eager(turn, words, turn * 1_000))
        assert dialogue.wanted() == WantedReply(turn, turn, 0, words)
        for event in (
            ReplyStarted(turn, turn, words),
            UserTurn(turn, words, ()),
            ReplyReleased("call-1", 1, turn),
            PlaybackStarted(1, turn),
            ReplyEnded(turn, 0),
            ReplyPlayed(turn),
        ):
            dialogue.receive(event)


def test_without_a_right_to_begin_another_the_one_under_way_is_discarded_when_the_words_change() -> None:
    events = [event for n in range(ON_INTERIMS.per_turn) for event in in_vain(n + 1, n + 2, 1_000 * n, unsure=True)]
    begun = [eager(9, "so", 5_000), ReplyStarted(9, 9, "so")]
    dialogue = after(*events, *begun, eager(9, "so it goes", 5_100, unsure=True))
    assert dialogue.decision() is Decision.DISCARD
    dialogue.receive(ReplyDiscarded(9))
    assert dialogue.wanted() is None


# --- words that are not sure ----------------------------------------------------------------------------------------


def test_interim_words_begin_a_reply_while_the_agent_waits() -> None:
    assert after(eager(1, "hello", unsure=True)).wanted() == WantedReply(2, 1, 0, "hello")


def test_interim_words_begin_none_while_the_agent_speaks_or_may_go_on() -> None:
    dialogue = Dialogue("Be brief.")
    for event in (*GREETED[:-1], PlaybackStarted(1, 1), eager(1, "hello", unsure=True)):
        dialogue.receive(event)
    wanted = dialogue.wanted()
    assert wanted is None or wanted.turn == 1


def test_words_that_stood_in_interims_only_release_the_reply_that_was_begun_for_them() -> None:
    dialogue = after(eager(1, "yes", unsure=True), ReplyStarted(2, 1, "yes"), UserTurn(1, "yes", (), unsure=True))
    assert dialogue.decision() is Decision.RELEASE


# --- what is counted ------------------------------------------------------------------------------------------------


def counted() -> dict[str, tuple[float, float]]:
    return {
        outcome: (
            metrics.REPLY_TOKENS.labels(outcome)._value.get(),
            metrics.REPLY_CHARACTERS.labels(outcome)._value.get(),
        )
        for outcome in ("used", "wasted")
    }


def work(preemptive: bool) -> ReplyWork:
    reply = ReplyWork(2, preemptive)
    reply.tokens, reply.characters = 7, 30
    return reply


@pytest.mark.parametrize("settled_first", [True, False])
@pytest.mark.parametrize("discarded", [True, False])
def test_a_reply_is_counted_once_whatever_is_known_first(settled_first: bool, discarded: bool) -> None:
    before, reply = counted(), work(preemptive=True)
    first, then = (
        (lambda: reply.settle(discarded), reply.end) if settled_first else (reply.end, lambda: reply.settle(discarded))
    )
    first()
    assert counted() == before, "it may still be generated, or is not decided"
    then()
    then()
    outcome = "wasted" if discarded else "used"
    tokens, characters = before[outcome]
    assert counted() == before | {outcome: (tokens + 7, characters + 30)}


def test_a_reply_to_a_turn_that_was_over_is_used() -> None:
    before, reply = counted(), work(preemptive=False)
    reply.end()
    tokens, characters = before["used"]
    assert counted() == before | {"used": (tokens + 7, characters + 30)}
