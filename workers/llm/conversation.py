"""The conversation of one call, folded from its story.  Pure: events in, what to answer next out.

Everything the mind must know is in the call's events, so a member that takes a call over reads them from the start
and knows as much as the one that died; there is no second copy to disagree with.

The history holds what the caller *heard*: a reply that was interrupted is cut at the word where the caller stopped
hearing it, by the carrier's account (`Interrupted`) and the length of each clause (`Spoken`).
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import Enum

from common.call.backchannels import is_backchannel
from common.call.reply_state import ABOUT_REPLY, Reply, lose
from common.protocol.messages import (
    CallEnded,
    CallStarted,
    EagerUserTurn,
    Message,
    OwnerChanged,
    ReplyStarted,
    SpeechStarted,
    UserTurn,
    of_past_connection,
)
from workers.providers.interfaces import ChatMessage


@dataclass(frozen=True, slots=True)
class WantedReply:
    """The reply that should be under way now; its first `published` clauses are in the story already."""

    turn: int
    utterance: int
    published: int
    based_on: str = ""
    """Not empty: nobody may hear it yet, because the caller may not be done (`ReplyStarted`)."""


class Decision(Enum):
    """What became of a tentative reply."""

    RELEASE = "released"
    WITHDRAW = "withdrawn"


class Dialogue:
    """One call's conversation.  `receive` every event in order; `wanted` and `messages` say what to do."""

    def __init__(self, instructions: str, interruptible: bool = True) -> None:
        self._instructions = instructions
        self._interruptible = interruptible  # if not, a reply is heard out before the next is begun
        self._items: list[str | Reply] = []
        self._replies: dict[int, Reply] = {}
        self._asked = -1  # newest utterance that wants an answer; 0 wants the greeting
        self._asked_turn: UserTurn | None = None
        self._maybe: EagerUserTurn | None = None  # what the caller said, if they are done
        self.epoch = 0
        """Which of the call's connections that is."""
        self.mouth_holds = False
        """The mouth knows of tentative replies; one of release 0.1.0 would have them played."""
        self.edge = ""
        """The edge that has the caller on the line; empty before the call's start was read."""
        self.over = False

    def receive(self, message: Message) -> None:
        """Fold one event.  A repeated one changes nothing."""
        if of_past_connection(message, self.epoch):
            return
        if isinstance(message, ABOUT_REPLY):
            if message.turn in self._replies:
                self._replies[message.turn].receive(message)
            return
        match message:
            case CallStarted(epoch, edge, heard=heard):
                self._asked = max(self._asked, 0)
                if epoch > self.epoch:
                    self.epoch, self.edge = epoch, edge
                    lose(self._replies, heard)
                    self.over = False  # the carrier may come back with a call that was over for us
            case CallEnded(epoch, heard=heard):
                if epoch == 0 or epoch >= self.epoch:
                    self.over = True
                    lose(self._replies, heard)
            case OwnerChanged("tts", can_hold_replies=holds):
                self.mouth_holds = holds
            case SpeechStarted(_, _, utterance):
                if self._maybe is not None and utterance > self._maybe.utterance:
                    self._maybe = None  # the caller goes on
            case EagerUserTurn(utterance):
                if utterance > self._asked and not self._mere_nod(message):
                    self._maybe = message
            case UserTurn():
                if not self._mere_nod(message) and (self._waits or not message.unsure):
                    self._take(message)
            case ReplyStarted(turn, utterance, based_on):
                if turn not in self._replies:
                    self._replies[turn] = reply = Reply(turn, utterance, based_on)
                    self._items.append(reply)
            case _:
                pass

    def _mere_nod(self, said: EagerUserTurn | UserTurn) -> bool:
        """Was it a "mm-hm" into the reply that is being played?"""
        reply = self._newest
        if reply is None or reply.played or not is_backchannel(said.text):
            return False
        interrupted_by = reply.cut.utterance if reply.cut is not None else reply.resumed_by
        return 0 < interrupted_by <= said.utterance

    @property
    def _waits(self) -> bool:
        """Is it the caller's turn: has the agent said what it had to say, or been stopped for good?"""
        reply = self._newest
        return reply is None or reply.played or (reply.cut is not None and not reply.may_resume)

    def _take(self, said: UserTurn) -> None:
        """The caller has said something: their line comes before a reply that was prepared for it."""
        if said.utterance <= self._asked:
            return
        self._asked = said.utterance
        self._asked_turn = said
        if self._maybe is not None and self._maybe.utterance <= said.utterance:
            self._maybe = None
        newest = self._newest
        waiting = newest is not None and newest.preemptive and not newest.discarded
        if newest is not None and waiting and newest.utterance >= said.utterance:
            self._items.insert(self._items.index(newest), said.text)
        else:
            self._items.append(said.text)

    def wanted(self) -> WantedReply | None:
        """The reply that should be under way, or None: nobody waits for one."""
        if self.over or self._asked < 0:
            return None
        newest = self._newest
        if newest is None:
            return WantedReply(1, self._asked, 0)
        over = newest.cut is not None or newest.played
        if self._answered < self._asked and (over or self._interruptible):
            return WantedReply(newest.turn + 1, self._asked, 0)
        # Only once the last reply is over: a tentative one would replace it, and may be withdrawn.
        if over and self._maybe is not None and self.mouth_holds:
            return WantedReply(newest.turn + 1, self._maybe.utterance, 0, self._maybe.text)
        if newest.ended or (newest.cut is not None and not newest.may_resume):
            return None
        based_on = newest.based_on if newest.preemptive else ""
        return WantedReply(newest.turn, newest.utterance, len(newest.clauses), based_on)

    def verdict(self) -> Decision | None:
        """What the caller's words say of the newest reply if it is tentative; None: nothing yet."""
        newest = self._newest
        if newest is None or not newest.preemptive or newest.discarded:
            return None
        if not self.mouth_holds:
            return Decision.WITHDRAW
        said: UserTurn | EagerUserTurn | None = self._asked_turn if self._asked >= newest.utterance else self._maybe
        if said is None or said.utterance != newest.utterance or not _same(said.text, newest.based_on):
            return Decision.WITHDRAW
        return Decision.RELEASE if said is self._asked_turn else None

    @property
    def newest_turn(self) -> int:
        """The number of the newest reply; 0 before the first."""
        return max(self._replies, default=0)

    @property
    def _newest(self) -> Reply | None:
        return self._replies[max(self._replies)] if self._replies else None

    @property
    def _answered(self) -> int:
        """The newest utterance that has a reply."""
        return max((reply.utterance for reply in self._replies.values() if not reply.discarded), default=-1)

    def asked(self, utterance: int) -> UserTurn | EagerUserTurn | None:
        """What the caller said under this number, if that is the last that is known."""
        newest = self._maybe or self._asked_turn
        return newest if newest is not None and newest.utterance == utterance else None

    @property
    def last_said(self) -> UserTurn | None:
        """What the caller said last."""
        return self._asked_turn

    def said(self, turn: int) -> str:
        """As much of a reply as its published clauses hold."""
        return self._replies[turn].text if turn in self._replies else ""

    def messages(self) -> list[ChatMessage]:
        """The chat for the model, up to what the caller said last; the reply under way is not part of it.

        What was said before never changes, so that a vendor may keep the work it did on it (prompt caching), but for
        the end of an answer that was cut.
        """
        chat: list[ChatMessage] = [{"role": "system", "content": self._instructions}]
        wanted = self.wanted()
        unsaid = wanted.based_on if wanted is not None and wanted.utterance > self._asked else ""
        for item in [*self._before(wanted.turn if wanted is not None else 0), unsaid]:
            if isinstance(item, Reply):
                role, text = "assistant", item.heard()
            else:
                role, text = "user", item
            if not text:
                continue
            if chat[-1]["role"] == role:
                chat[-1]["content"] += f" {text}"  # an answer nobody heard leaves two of the caller's in a row
            else:
                chat.append({"role": role, "content": text})
        return chat

    def _before(self, turn: int) -> list[str | Reply]:
        """What was said before this reply began: what came later is not what it answers."""
        known = (at for at, item in enumerate(self._items) if isinstance(item, Reply) and item.turn == turn)
        return self._items[: next(known, len(self._items))]


def _same(one: str, other: str) -> bool:
    """The same words?  Case, punctuation and spaces do not count: a transcript's last polish changes no meaning."""
    return _letters(one) == _letters(other)


def _letters(text: str) -> str:
    # By category and not `isalnum`, which would drop the vowel signs of Indian scripts.
    return "".join(char for char in text.casefold() if unicodedata.category(char)[0] not in "PZSC")
