"""What is due for a transfer whose announcement the caller does not hear to its end."""

import pytest

from common.call.reply_state import Reply
from common.protocol.acts import ToolReturned, ToolsCalled
from common.protocol.messages import Clause, ClausePlayed, Interrupted, PlaybackStarted, ReplyDiscarded
from workers.llm.tools.due import Due, TransferDue, due

pytestmark = pytest.mark.fast

CALLED = ToolsCalled(2, 0, (("call_0", "transfer_call", '{"target": "desk"}'),), 1)


def announced() -> Reply:
    """The announcement is being played, and a sound has stopped it, which may be nothing."""
    reply = Reply(2, 1)
    for message in (Clause(2, 0, "I put you through."), CALLED, PlaybackStarted(2, 0), Interrupted(2, 0, 100, 2)):
        reply.receive(message)
    return reply


def outcomes(*replies: Reply) -> list[Due | str]:
    return [each.outcome if isinstance(each, ToolReturned) else each for each in due(replies)]


def test_while_it_may_go_on_nothing_is_due() -> None:
    assert outcomes(announced()) == []


def test_a_reply_that_is_begun_after_it_ends_it() -> None:
    assert outcomes(announced(), Reply(3, 2)) == ["cancelled"]


def test_a_reply_that_may_be_taken_back_does_not() -> None:
    preemptive = Reply(3, 2, "hello")
    assert outcomes(announced(), preemptive) == []
    preemptive.receive(ReplyDiscarded(3))
    assert outcomes(announced(), preemptive) == []


def test_what_was_ordered_stays_ordered_whatever_is_said_meanwhile() -> None:
    heard = announced()
    heard.receive(ClausePlayed(2, 0))
    assert outcomes(heard, Reply(3, 2)) == [TransferDue(2, 0, "desk", "")]
