"""What the caller said stands before the reply to it, in whatever order the news came.  Found by the simulation."""

import pytest

from common.protocol.messages import (
    CallStarted,
    Clause,
    ClausePlayed,
    EagerUserTurn,
    ReplyEnded,
    ReplyStarted,
    SpeechStarted,
    UserTurn,
)
from workers.llm.conversation import Dialogue
from workers.tts.plan import SpeechPlan, Synthesize

pytestmark = pytest.mark.fast

GREETING = (CallStarted(1, "edge-1", 0), ReplyStarted(1, 0), Clause(1, 0, "Hello."), ReplyEnded(1, 1))


def test_who_takes_a_reply_over_asks_only_for_what_it_answers() -> None:
    dialogue = Dialogue("Be brief.", interruptible=False)
    transcript = [
        UserTurn(1, "Hours?", ()),
        ReplyStarted(2, 1),
        Clause(2, 0, "Nine to six."),
        UserTurn(2, "Sunday?", ()),
    ]
    for message in [*GREETING, *transcript]:
        dialogue.receive(message)
    wanted = dialogue.wanted()
    assert wanted is not None
    assert (wanted.turn, wanted.published) == (2, 1)
    assert dialogue.messages()[-1] == {"role": "user", "content": "Hours?"}


def test_words_of_an_earlier_speech_that_come_late_stand_before_the_reply_to_a_later_one() -> None:
    dialogue = Dialogue("Be brief.")
    transcript = [
        SpeechStarted("call-1", 1, 2, 0),
        EagerUserTurn(2, "On Sunday?", ()),
        ReplyStarted(2, 2, "On Sunday?"),
        UserTurn(1, "Hours?", ()),
        UserTurn(2, "On Sunday?", ()),
    ]
    for message in [*GREETING, *transcript]:
        dialogue.receive(message)
    assert dialogue.messages()[-1]["content"].endswith("Hours? On Sunday?")


def test_a_clause_was_played_if_a_later_one_was() -> None:
    script = SpeechPlan()
    hello, help_ = Clause(1, 0, "Hello."), Clause(1, 1, "How can I help?")
    for message in (GREETING[0], ReplyStarted(1, 0), hello, help_, ClausePlayed(1, 0), Clause(1, 2, "Or not?")):
        script.receive(message)
    script.receive(ClausePlayed(1, 1))
    assert script.next() == Synthesize(hello, 1)  # Spoken is not told, but on this connection all goes on
    script = SpeechPlan()
    for message in (GREETING[0], ReplyStarted(1, 0), hello, help_, Clause(1, 2, "Or not?"), ClausePlayed(1, 1)):
        script.receive(message)
    script.receive(CallStarted(2, "edge-2", 0))
    assert script.next() == Synthesize(Clause(1, 2, "Or not?"), 2)
