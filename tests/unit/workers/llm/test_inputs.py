"""Results that come when no reply waits for them: which reply knows of them, and where they stand in the chat."""

import pytest

from common.protocol.acts import ToolReturned, ToolsCalled
from common.protocol.messages import (
    CallStarted,
    Clause,
    EagerUserTurn,
    Interrupted,
    Message,
    PlaybackStarted,
    ReplyEnded,
    ReplyPlayed,
    ReplyReleased,
    ReplyStarted,
    UserTurn,
)
from workers.llm.conversation import Dialogue

pytestmark = pytest.mark.fast

NOTE = "[book has returned: booked]"
BEGIN = (
    CallStarted(1, "edge-1", 0),
    ReplyStarted(1, 0),
    ReplyPlayed(1),
    UserTurn(1, "a table", ()),
    ReplyStarted(2, 1),
    ToolsCalled(2, 0, (("call_0", "book", "{}"),), 0),
    Interrupted(2, 0, 0),
    UserTurn(2, "how are you", ()),
)
RETURNED = ToolReturned(2, 0, "done", "booked")


def after(*events: Message) -> Dialogue:
    dialogue = Dialogue("Be brief.")
    for event in (*BEGIN, *events):
        dialogue.receive(event)
    return dialogue


def played(turn: int, text: str) -> tuple[Message, ...]:
    return Clause(turn, 0, text), PlaybackStarted(turn, 0), ReplyEnded(turn, 1), ReplyPlayed(turn)


def last_words(dialogue: Dialogue) -> list[str]:
    return [str(message["content"]) for message in dialogue.messages()[4:]]


def test_a_result_that_comes_while_the_start_of_a_reply_is_written_follows_that_reply() -> None:
    dialogue = after(RETURNED, ReplyStarted(3, 2), *played(3, "Fine."))
    wanted = dialogue.wanted()
    assert wanted is not None and (wanted.turn, wanted.inputs) == (4, 1)
    assert last_words(dialogue) == ["how are you", "Fine.", NOTE]


def test_a_reply_that_knew_of_the_result_is_the_last_word() -> None:
    dialogue = after(RETURNED, ReplyStarted(3, 2, inputs=1), *played(3, "Fine, and it is booked."))
    assert dialogue.wanted() is None
    assert last_words(dialogue) == [f"how are you {NOTE}", "Fine, and it is booked."]


def test_so_is_one_that_was_begun_before_the_turn_of_the_caller_was_over() -> None:
    dialogue = after(ReplyStarted(3, 2), *played(3, "Fine."), EagerUserTurn(3, "and", ()))
    assert dialogue.wanted() is not None
    dialogue = after(ReplyStarted(3, 2), Interrupted(3, 0, 0), RETURNED, EagerUserTurn(3, "and", ()))
    dialogue.receive(ReplyStarted(4, 3, "and", inputs=1))
    dialogue.receive(UserTurn(3, "and", ()))
    dialogue.receive(ReplyReleased("call-1", 1, 4))
    for event in played(4, "It is booked."):
        dialogue.receive(event)
    assert dialogue.wanted() is None


def test_a_reply_that_is_discarded_has_told_nobody_of_the_result() -> None:
    dialogue = after(ReplyStarted(3, 2), Interrupted(3, 0, 0), RETURNED, EagerUserTurn(3, "and", ()))
    dialogue.receive(ReplyStarted(4, 3, "and", inputs=1))
    dialogue.receive(UserTurn(3, "and why", ()))
    wanted = dialogue.wanted()
    assert wanted is not None and wanted.inputs == 1


def test_on_hold_one_reply_is_for_the_result_and_for_what_the_caller_said_meanwhile() -> None:
    """The agent may not be interrupted, and only what ends its music lets it answer."""
    dialogue = Dialogue("Be brief.", interruptible=False)
    music = Clause(2, 0, "", sound="hold")
    for event in (*BEGIN[:5], BEGIN[5], music, ReplyEnded(2, 1), PlaybackStarted(2, 0), UserTurn(2, "hello", ())):
        dialogue.receive(event)
    assert dialogue.wanted() is None
    dialogue.receive(RETURNED)
    wanted = dialogue.wanted()
    assert wanted is not None and (wanted.turn, wanted.utterance, wanted.inputs) == (3, 2, 1)
