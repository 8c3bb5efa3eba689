"""Which keys are an entry, and whose, told as event logs: with repetitions, and with another worker at any event."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.agents.acts import MenuEntry
from common.call.acts import ToolOutcome
from common.call.key_entry import BETWEEN_KEYS_MS
from common.protocol.acts import KeysEntered, ToolReturned, ToolsCalled
from common.protocol.messages import (
    DtmfReceived,
    EagerUserTurn,
    Message,
    ReplyEnded,
    ReplyPlayed,
    SpeechEnded,
    SpeechStarted,
    UserTurn,
)
from workers.llm.call_keys import LINGER_MS, SPEECH_MS_MAX, CallKeys
from workers.llm.tools.collect_digits import OTHER_ENTRY

pytestmark = pytest.mark.fast

MENU = {"1": MenuEntry(say="We open at nine.")}
CALL = "call-1"


class Log:
    """The log of a call and the worker that folds it; `now_ms` is the worker's clock, `at_ms` the edge's."""

    def __init__(self) -> None:
        self.events: list[Message] = []
        self.now_ms = 0.0
        self.keys = CallKeys(MENU)

    def add(self, *messages: Message) -> None:
        for message in messages:
            self.events.append(message)
            self.keys.receive(message, self.now_ms)
        while due := self.keys.due(self.now_ms):
            self.events += due
            for message in due:
                self.keys.receive(message, self.now_ms)

    def press(self, keys: str, after_ms: float = 100.0) -> None:
        for key in keys:
            self.pass_by(after_ms)
            self.add(DtmfReceived("" if key == "?" else key, round(1_000_000 + self.now_ms + len(self.events)), 1))

    def collect(self, turn: int = 2, **arguments: object) -> None:
        self.add(ToolsCalled(turn, 0, (("", "collect_digits", json.dumps({"name": "pin", **arguments})),), 1))
        self.add(ReplyEnded(turn, 1))

    def pass_by(self, ms: float) -> None:
        """Time passes, and the worker wakes when it wanted to."""
        until_ms = self.now_ms + ms
        while (wake_ms := self.keys.wake_ms(self.now_ms)) is not None and self.now_ms < wake_ms <= until_ms:
            self.now_ms = wake_ms
            self.add()
        self.now_ms = until_ms

    def taken_over(self) -> None:
        """Another worker reads the log from its start, of which a part comes twice."""
        self.keys = CallKeys(MENU)
        for message in [*self.events, *self.events[-3:]]:
            self.keys.receive(message, self.now_ms)
        self.add()

    @property
    def entered(self) -> list[str]:
        return [event.keys for event in self.events if isinstance(event, KeysEntered)]

    @property
    def results(self) -> list[tuple[str, str]]:
        return [(event.outcome, event.result) for event in self.events if isinstance(event, ToolReturned)]


def test_keys_that_come_after_the_decision_are_the_next_entry() -> None:
    log = Log()
    log.press("74")
    log.pass_by(BETWEEN_KEYS_MS)
    log.press("9")
    log.pass_by(BETWEEN_KEYS_MS)
    assert log.entered == ["74", "9"]


def test_words_that_come_twice_are_none_that_the_caller_speaks_into_the_entry() -> None:
    log = Log()
    log.add(spoke := UserTurn(1, "my account", (0, 0, 0)))
    log.collect(length=2)
    log.add(spoke)
    log.press("74")
    assert log.results[0][0] == ToolOutcome.DONE


def test_a_key_that_another_worker_entered_before_is_not_entered_again() -> None:
    log = Log()
    log.press("74")
    log.events.append(KeysEntered(1, "7", 1))  # it knew of one key
    log.taken_over()
    log.pass_by(BETWEEN_KEYS_MS)
    assert log.entered == ["7", "4"]


def test_a_finish_key_that_came_while_the_entry_was_written_belongs_to_it() -> None:
    log = Log()
    log.press("74")
    log.events += [DtmfReceived("#", 2_000_000, 1), KeysEntered(1, "74", 2)]
    log.taken_over()
    log.pass_by(BETWEEN_KEYS_MS)
    assert log.entered == ["74"]


def test_only_the_first_key_of_an_entry_may_be_one_of_the_menu() -> None:
    log = Log()
    log.press("1")
    assert log.entered == ["1"]
    log.press("91#")
    assert log.entered == ["1", "91"]


def test_a_finish_key_after_a_full_entry_means_nothing_and_later_it_does() -> None:
    log = Log()
    log.collect(length=2)
    log.press("47#")
    assert (log.entered, log.keys.strays) == (["47"], 1)
    log.press("#", after_ms=10_000)
    log.pass_by(BETWEEN_KEYS_MS)
    assert log.entered == ["47", "#"]


def test_keys_that_were_pressed_before_the_tool_was_called_are_part_of_the_entry() -> None:
    log = Log()
    log.press("4")
    log.collect(length=2)
    log.press("7")
    assert [outcome for outcome, _ in log.results] == [ToolOutcome.DONE]
    assert "The digits are 47." in log.results[0][1]


def test_the_result_waits_for_the_end_of_the_reply_that_asked() -> None:
    log = Log()
    log.press("47")
    log.add(ToolsCalled(2, 0, (("", "collect_digits", '{"name": "pin", "length": 2}'),), 1))
    assert not log.results, "it would be taken for one of the next round, which this reply does not have"
    log.add(ReplyEnded(2, 1))
    assert [outcome for outcome, _ in log.results] == [ToolOutcome.DONE]


def test_the_time_for_the_first_key_begins_when_the_question_was_heard() -> None:
    log = Log()
    log.collect(timeout_s=5)
    log.pass_by(30_000)
    assert not log.results
    log.add(ReplyPlayed(2, 1))
    log.pass_by(4_999)
    assert not log.results
    log.pass_by(1)
    assert [outcome for outcome, _ in log.results] == [ToolOutcome.TIMEOUT]


def test_while_the_caller_speaks_the_entry_does_not_end() -> None:
    log = Log()
    log.collect(min=4, timeout_s=5)
    log.add(ReplyPlayed(2, 1))
    log.pass_by(4_000)
    log.add(SpeechStarted(CALL, 1, 1, 0, 0))
    log.pass_by(SPEECH_MS_MAX - 2_000)
    assert not log.results
    log.add(SpeechEnded(CALL, 1, 1, 0), UserTurn(1, "nine eight seven six five", ()))
    assert "The digits are 98765." in log.results[0][1]


def test_two_entries_at_once_are_one_and_the_older_call_is_told_so() -> None:
    log = Log()
    log.collect()
    log.collect(turn=3, length=2)
    assert log.results == [(ToolOutcome.CANCELLED, OTHER_ENTRY)]
    log.press("47")
    assert [(each.turn, each.outcome) for each in log.events if isinstance(each, ToolReturned)][1:] == [(3, "done")]


@pytest.mark.parametrize(
    ("arguments", "pressed", "text", "taken"),
    [
        ({"length": 4}, "", "four seven one one", True),
        ({"length": 4}, "", "four seven", True),
        ({"length": 4}, "", "four seven one one nine", False),
        ({"length": 4}, "", "what do you mean", False),
        ({"length": 4}, "4", "four seven", True),
        ({"length": 4, "spoken_too": False}, "", "four seven one one", True),
        ({"length": 4, "secret": True}, "", "four seven one one", True),
        ({"length": 4, "secret": True}, "", "I do not know it", False),
    ],
)
def test_whether_words_are_part_of_the_entry(
    arguments: dict[str, object], pressed: str, text: str, taken: bool
) -> None:
    log = Log()
    assert not log.keys.takes(EagerUserTurn(1, text, ())), "nobody asked"
    log.collect(**arguments)
    log.press(pressed)
    assert log.keys.takes(EagerUserTurn(1, text, ())) == taken


def test_the_edge_is_told_of_a_secret_and_its_end_a_moment_later() -> None:
    log = Log()
    assert log.keys.secret(0) is None
    log.collect(length=2, secret=True)
    assert log.keys.secret(log.now_ms) == ("pin", 2)
    log.press("??")
    assert log.keys.secret(log.now_ms) == ("pin", 0), "one too many is secret, too, and kept nowhere"
    log.press("?")
    assert log.keys.strays == 1
    log.pass_by(LINGER_MS)
    assert log.keys.secret(log.now_ms) == ("", 0)
    log.taken_over()
    log.pass_by(LINGER_MS)
    assert log.keys.secret(log.now_ms) == ("", 0), "whoever takes the call over ends what the other one may not have"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("press"), st.sampled_from(["1", "4", "47", "4711", "#", "*", "?", "A"])),
        st.tuples(st.just("wait"), st.sampled_from([50, 1_000, 2_500, 5_000, 80_000])),
        st.tuples(
            st.just("collect"), st.sampled_from([{"length": 2}, {"min": 2, "max": 4}, {"secret": True, "length": 2}])
        ),
        st.tuples(st.just("say"), st.sampled_from(["four seven", "double one", "hello"])),
    ),
    max_size=12,
)  # fmt: skip


def played(steps: Sequence[tuple[str, object]], takeover: int) -> Log:
    log, turn = Log(), 1
    for number, (what, value) in enumerate(steps):
        if number == takeover:
            log.taken_over()
        if what == "press":
            log.press(str(value))
        elif what == "wait":
            log.pass_by(float(str(value)))
        elif what == "collect":
            turn += 1
            log.collect(turn, **value)  # type: ignore[arg-type]
        else:
            log.add(UserTurn(number + 1, str(value), ()))
    log.pass_by(200_000)
    return log


@given(STEPS, st.integers(0, 12))
def test_each_entry_is_written_once_each_call_returns_once_and_nothing_stays_open(
    steps: list[tuple[str, object]], takeover: int
) -> None:
    log = played(steps, takeover)
    entries = [event for event in log.events if isinstance(event, KeysEntered)]
    assert [event.entry for event in entries] == list(range(1, len(entries) + 1))
    pressed = sum(1 for event in log.events if isinstance(event, DtmfReceived) and event.digit not in ("", "A"))
    assert sum(len(event.keys) for event in entries) <= pressed
    called = [event.turn for event in log.events if isinstance(event, ToolsCalled)]
    assert sorted(event.turn for event in log.events if isinstance(event, ToolReturned)) == called
    assert log.keys.collecting is None
    assert log.keys.due(log.now_ms) == []
    assert log.keys.wake_ms(log.now_ms) is None
