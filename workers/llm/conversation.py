"""Folds one call's event log into its conversation, and decides which reply is wanted next.  Pure.

The event log is the only state.  An LLM worker that takes a call over reads the log from the start and has the same
state as the worker that died; there is no second copy that could differ.

The history holds what the caller *heard*: an interrupted reply is cut at the word that the caller heard last, computed
from the carrier's checkpoint (`Interrupted`) and the duration of each clause (`ClauseSynthesized`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from math import inf

from common.agents.acts import MenuEntry
from common.call.acts import ToolOutcome
from common.call.reply_state import ABOUT_REPLY, AboutReply, Reply, ReplyState, lose
from common.call.same_words import same_words
from common.protocol.acts import KeysEntered, ToolReturned, ToolsCalled
from common.protocol.messages import (
    CallEnded,
    CallStarted,
    EagerUserTurn,
    Message,
    ReplyStarted,
    SpeechStarted,
    UserTurn,
    of_past_connection,
)
from workers.llm.call_keys import CallKeys
from workers.llm.caller_floor import CallerFloor
from workers.llm.chat import Item, Note, chat_of, late_result
from workers.llm.inputs import Inputs
from workers.llm.preemption import ON_INTERIMS, ON_SIGNAL, PreemptionBudget
from workers.llm.tools.due import Due, due
from workers.providers.interfaces import ChatMessage


@dataclass(frozen=True, slots=True)
class WantedReply:
    """The reply that should be generated now.  Its first `published` clauses are in the event log already."""

    turn: int
    utterance: int
    published: int
    based_on: str = ""
    """The eager transcript that a preemptive reply answers (`ReplyStarted.based_on`); empty for any other reply.

    A preemptive reply must not be played until it is released, because the caller may still be speaking.
    """
    inputs: int = 0
    """See `ReplyStarted.inputs`."""
    menu: MenuEntry | None = None
    """The key of the agent's `keypad` that the caller pressed: what it says is done before the model is asked."""

    @property
    def is_greeting(self) -> bool:
        """Whether it answers nothing."""
        return self.turn == 1 and not self.utterance and not self.inputs


STRAY_KEY = Note("A key without a meaning has interrupted you: say again what was not heard")


class Decision(Enum):
    """The outcome of a preemptive reply; the value is the `outcome` label of `metrics.PREPARED`."""

    RELEASE = "released"
    DISCARD = "discarded"


class Dialogue:
    """One call's conversation.

    Call `receive` with every event in order; `wanted`, `decision` and `messages` return what to do next.
    """

    def __init__(
        self, instructions: str, interruptible: bool = True, menu: Mapping[str, MenuEntry] | None = None
    ) -> None:
        """`menu` is the agent's `keypad`."""
        self._instructions = instructions
        self._interruptible = interruptible  # False: a reply is played to its end before the next one starts
        self._items: list[Item] = []
        self._replies: dict[int, Reply] = {}
        self._utterance = -1  # the newest utterance to answer; 0 is the greeting, -1 before `CallStarted`
        self._inputs = Inputs()
        self._floor = CallerFloor()
        self._acting: set[int] = set()  # replies that have called tools
        self._key_entries = 0
        self._dictated = -1  # the newest utterance that was no turn, but digits for a tool
        self.keys = CallKeys(menu)
        """The keys that the caller presses."""
        self._user_turn: UserTurn | None = None
        self._eager_turn: EagerUserTurn | None = None  # the newest eager end of turn, while not confirmed or superseded
        self._budgets = {True: PreemptionBudget(ON_INTERIMS), False: PreemptionBudget(ON_SIGNAL)}  # by `unsure`
        self._begun_on: EagerUserTurn | None = None  # the eager end of turn of the newest preemptive reply
        self.epoch = 0
        """Number of the newest media connection of the call; 0 before `CallStarted`."""
        self.edge = ""
        """The edge that holds the caller's connection; empty before `CallStarted`."""
        self.over = False
        """True after `CallEnded`, unless the carrier reconnects."""

    def hand_over(self, instructions: str, interruptible: bool, menu: Mapping[str, MenuEntry] | None = None) -> None:
        """Another agent has the conversation from the next reply on; `menu` is its `keypad`."""
        self._instructions, self._interruptible = instructions, interruptible
        self.keys.menu = menu or {}

    def receive(self, message: Message, now_ms: float = 0.0) -> None:
        """Fold one event.  A repeated event changes nothing.  `now_ms` is for the entry of keys (`keys.due`)."""
        if of_past_connection(message, self.epoch):
            return
        self._floor.receive(message, now_ms)
        strays = self.keys.strays
        self.keys.receive(message, now_ms)
        if self.keys.strays > strays:
            self._add_stray_key()
        if isinstance(message, ABOUT_REPLY):
            self._about_reply(message)
            return
        match message:
            case CallStarted(epoch, edge, heard=heard):
                self._utterance = max(self._utterance, 0)
                if epoch > self.epoch:
                    self.epoch, self.edge = epoch, edge
                    lose(self._replies, heard)
                    self.over = False  # the carrier may reconnect a call that has ended here
            case CallEnded(epoch, heard=heard):
                if epoch == 0 or epoch >= self.epoch:
                    self.over = True
                    lose(self._replies, heard)
            case SpeechStarted(_, _, utterance):
                if self._eager_turn is not None and utterance > self._eager_turn.utterance:
                    self._eager_turn = None  # the caller continues to speak
            case EagerUserTurn(utterance):
                if utterance > self._utterance and not self._is_backchannel(message) and not self.keys.takes(message):
                    self._add_eager_turn(message)
            case UserTurn(utterance) if utterance in self.keys.dictated:
                self._add_dictation(message)
            case UserTurn():
                if not self._is_backchannel(message) and (self._caller_has_floor or not message.unsure):
                    self._add_user_turn(message)
            case KeysEntered(entry) if entry > self._key_entries:
                self._key_entries = entry
                self._add_keys(message)
            case ReplyStarted(turn) if turn not in self._replies:
                self._start_reply(message)
            case _:
                pass

    def _start_reply(self, started: ReplyStarted) -> None:
        if (newest := self._newest) is not None:
            newest.superseded = True
        self._replies[started.turn] = reply = Reply(started.turn, started.utterance, started.based_on)
        self._inputs.start(started)
        self._insert(reply, self._inputs.unknown_to(started))
        if started.based_on and self._eager_turn is not None:
            self._begun_on = self._eager_turn

    def _insert(self, reply: Reply, unknown: list[Item]) -> None:
        """Put a reply before the inputs that it does not know."""
        at = len(self._items)
        for position in reversed(range(len(self._items))):
            if unknown and self._items[position] is unknown[-1]:
                unknown.pop()
                at = position
        self._items.insert(at, reply)

    def _add_input(self, item: Note | str, entry: MenuEntry | None = None) -> None:
        """Add an input beside speech: a reply is wanted once the newest one is over."""
        self._inputs.add(item, entry)
        self._items.append(item)

    def _add_keys(self, entered: KeysEntered) -> None:
        """Add keys, unless a tool asked for them, whose result says what they were."""
        if entered.turn:
            return
        entry = self.keys.menu.get(entered.keys)
        asks = entry.ask if entry is not None else ""
        self._add_input(asks or keys_note(entered), None if asks else entry)

    def _add_stray_key(self) -> None:
        """A key without a meaning: if it interrupted the agent, nothing else would begin a reply again."""
        newest = self._newest
        if newest is not None and newest.state is ReplyState.INTERRUPTED and not self._inputs.are_open:
            self._add_input(STRAY_KEY)

    def _add_dictation(self, turn: UserTurn) -> None:
        """Add words that were digits for a tool: they want no reply, its result will."""
        if turn.utterance > self._utterance:
            self._utterance = self._dictated = turn.utterance
            self._user_turn = self._eager_turn = None
            is_hidden = turn.utterance in self.keys.hidden
            self._items.append(Note("The caller spoke digits, which are secret") if is_hidden else turn.text)

    def _is_backchannel(self, turn: EagerUserTurn | UserTurn) -> bool:
        """True if the words are a backchannel ("mm-hm") during the reply that is being played."""
        reply = self._newest
        if not turn.backchannel or reply is None or reply.state is ReplyState.PLAYED:
            return False
        interrupted_by = reply.cut.utterance if reply.cut is not None else reply.resumed_by
        return 0 < interrupted_by <= turn.utterance

    @property
    def _caller_has_floor(self) -> bool:
        """True if the newest reply was played to its end, or interrupted and cannot resume, or is not heard yet."""
        reply = self._newest
        return reply is None or reply.closed or reply.preemptive

    def _about_reply(self, message: AboutReply) -> None:
        reply = self._replies.get(message.turn)
        if reply is None:
            return
        preemptive = reply.preemptive
        known_late = len(reply.tools.late)
        reply.receive(message)
        if isinstance(message, ToolsCalled):
            self._acting.add(reply.turn)
        if isinstance(message, ToolReturned) and len(reply.tools.late) > known_late:
            note = late_result(reply.tools.name_of(message.n), message)
            if message.outcome == ToolOutcome.CANCELLED:
                self._items.append(note)  # the caller said something else, and that is answered
            else:
                self._add_input(note)
        if isinstance(message, ToolReturned) and not any(reply.tools.open()):
            self._acting.discard(reply.turn)
        if preemptive and reply.state is ReplyState.QUEUED:
            self._inputs.release()
        if preemptive and reply.state is ReplyState.DISCARDED and self._begun_on is not None:
            budget = self._budgets[self._begun_on.unsure]
            budget.discard(_written_ms(self._begun_on), turn_open=reply.utterance > self._utterance)

    def _add_eager_turn(self, turn: EagerUserTurn) -> None:
        """Take the newest likely end of turn, if a reply to it may be begun; a reply to an earlier one is void."""
        wanted = self._caller_has_floor or not turn.unsure
        known = self._eager_turn is not None and same_words(turn.text, self._eager_turn.text)
        if wanted and (known or self._budgets[turn.unsure].allows(_written_ms(turn))):
            self._eager_turn = turn
        else:
            self._eager_turn = None

    def _add_user_turn(self, turn: UserTurn) -> None:
        """Add a turn of the caller; it precedes a preemptive reply that was started for it."""
        if turn.utterance <= self._utterance:
            return
        for budget in self._budgets.values():
            budget.end_turn()
        self._utterance = turn.utterance
        self._user_turn = turn
        if self._eager_turn is not None and self._eager_turn.utterance <= turn.utterance:
            self._eager_turn = None
        newest = self._newest
        if newest is not None and newest.preemptive and newest.utterance >= turn.utterance:
            self._items.insert(self._items.index(newest), turn.text)
        else:
            self._items.append(turn.text)

    def wanted(self, now_ms: float = inf) -> WantedReply | None:
        """Return the reply that should be generated now; None if no reply is due (see `wake_ms`)."""
        if self.over or self._utterance < 0:
            return None
        newest = self._newest
        if newest is None:
            return WantedReply(1, self._utterance, 0)
        over = newest.closed or newest.state is ReplyState.POSSIBLE_INTERRUPTION
        menu, known = self._inputs.menu, self._inputs.known
        is_answer_due = max(self._answered, self._dictated) < self._utterance
        if is_answer_due and (over or self._interruptible):
            return WantedReply(newest.turn + 1, self._utterance, 0, inputs=known)
        silent = newest.closed or newest.on_hold
        if self._inputs.are_open and silent and not self._caller_comes_first(now_ms):
            utterance = self._utterance if is_answer_due and menu is None else 0  # one reply to both
            return WantedReply(newest.turn + 1, utterance, 0, inputs=self._inputs.count, menu=menu)
        # Only after the last reply is over: a preemptive reply would replace it, and may be discarded.
        if over and self._eager_turn is not None:
            return WantedReply(newest.turn + 1, self._eager_turn.utterance, 0, self._eager_turn.text, known)
        if newest.ended or newest.closed:
            return None
        based_on = newest.based_on if newest.preemptive else ""
        inputs, menu = self._inputs.known_to(newest.turn, newest.preemptive)
        return WantedReply(newest.turn, newest.utterance, len(newest.clauses), based_on, inputs, menu)

    def _caller_comes_first(self, now_ms: float) -> bool:
        """Whether a reply to an input waits: the caller speaks, or a reply to both can be begun."""
        return self._floor.is_taken(now_ms) or self._eager_turn is not None

    def wake_ms(self, now_ms: float) -> float | None:
        """When to ask again, should nothing happen before; None: not before another event."""
        times = [
            self.keys.wake_ms(now_ms),
            self._floor.wake_ms(now_ms) if self._inputs.are_open else None,
        ]
        return min((time for time in times if time is not None), default=None)

    def decision(self) -> Decision | None:
        """Decide about the newest reply if it is preemptive; None if it is not, or if the turn is not confirmed yet."""
        newest = self._newest
        if newest is None or not newest.preemptive:
            return None
        turn: UserTurn | EagerUserTurn | None = (
            self._user_turn if self._utterance >= newest.utterance else self._eager_turn
        )
        if turn is None or turn.utterance != newest.utterance or not same_words(turn.text, newest.based_on):
            return Decision.DISCARD
        return Decision.RELEASE if turn is self._user_turn else None

    @property
    def newest_turn(self) -> int:
        """Number of the newest reply; 0 before the first."""
        return max(self._replies, default=0)

    @property
    def _newest(self) -> Reply | None:
        return self._replies[max(self._replies)] if self._replies else None

    @property
    def _answered(self) -> int:
        """The newest utterance that has a reply which was not discarded; -1 if none has."""
        return max(
            (reply.utterance for reply in self._replies.values() if reply.state is not ReplyState.DISCARDED), default=-1
        )

    def user_turn(self, utterance: int) -> UserTurn | EagerUserTurn | None:
        """Return the caller's newest turn, confirmed or eager, if it has this utterance number; else None."""
        newest = self._eager_turn or self._user_turn
        return newest if newest is not None and newest.utterance == utterance else None

    @property
    def last_user_turn(self) -> UserTurn | None:
        """The caller's newest confirmed turn; None before the first."""
        return self._user_turn

    def reply(self, turn: int) -> Reply | None:
        """Return the reply of this number; None if it has not begun."""
        return self._replies.get(turn)

    def due(self) -> list[Due]:
        """Return what is due for the tools that replies have called, in order."""
        return list(due(self._replies.values())) if self._acting else []

    def published_text(self, turn: int) -> str:
        """Return the text of a reply's published clauses after its last round of tools; empty for an unknown reply."""
        reply = self._replies.get(turn)
        return " ".join(filter(None, reply.clauses[reply.tools.clauses :])) if reply is not None else ""

    def messages(self) -> list[ChatMessage]:
        """Return the chat for the model, up to the caller's newest turn, without the reply that is being generated.

        Earlier messages never change, so that the vendor's prompt cache applies; the one exception is the end of an
        interrupted reply.
        """
        wanted = self.wanted()
        items = self._before(wanted.turn if wanted is not None else 0)
        if wanted is not None and wanted.utterance > self._utterance:
            items.append(wanted.based_on)
        open_reply = self._replies.get(wanted.turn) if wanted is not None else None
        return chat_of(self._instructions, items, open_reply)

    def _before(self, turn: int) -> list[Item]:
        """Return the items before this reply: what came later is not what it answers."""
        known = (at for at, item in enumerate(self._items) if isinstance(item, Reply) and item.turn == turn)
        return self._items[: next(known, len(self._items))]


def keys_note(entered: KeysEntered) -> Note:
    """What the model is told about keys that the caller pressed."""
    if not entered.keys:
        return Note(f"The caller has entered {entered.count} keys, which are kept secret")
    return Note(f"The caller pressed the keys {' '.join(entered.keys)}")


def _written_ms(turn: EagerUserTurn) -> int:
    """When the STT worker wrote it, wall clock ms; 0 if it does not say."""
    return turn.stage_ms[-1] if turn.stage_ms else 0
