"""The conversation of one call, folded from its story.  Pure: events in, what to answer next out.

Everything the mind must know is in the call's events, so a member that takes a call over reads them from the start
and knows as much as the one that died; there is no second copy to disagree with.

The history holds what the caller *heard*: a reply that was interrupted is cut at the word where the caller stopped
hearing it, by the carrier's account (`Interrupted`) and the length of each clause (`Spoken`).
"""

from __future__ import annotations

from dataclasses import dataclass

from common.heard import ABOUT_REPLY, Reply
from common.messages import (
    CallEnded,
    CallStarted,
    Message,
    ReplyStarted,
    UserTurn,
)
from workers.providers import ChatMessage


@dataclass(frozen=True, slots=True)
class Wanted:
    """The reply that should be under way now; its first `published` clauses are in the story already."""

    turn: int
    utterance: int
    published: int


class Dialogue:
    """One call's conversation.  `receive` every event in order; `wanted` and `messages` say what to do."""

    def __init__(self, instructions: str, interruptible: bool = True) -> None:
        self._instructions = instructions
        self._interruptible = interruptible  # if not, a reply is heard out before the next is begun
        self._items: list[str | Reply] = []
        self._replies: dict[int, Reply] = {}
        self._asked = -1  # newest utterance that wants an answer; 0 wants the greeting
        self._asked_turn: UserTurn | None = None
        self._epoch = 0
        self.over = False

    def receive(self, message: Message) -> None:
        """Fold one event.  A repeated one changes nothing."""
        if isinstance(message, ABOUT_REPLY):
            if message.turn in self._replies:
                self._replies[message.turn].receive(message)
            return
        match message:
            case CallStarted(epoch):
                self._asked = max(self._asked, 0)
                self._epoch = max(self._epoch, epoch)
            case CallEnded(epoch):
                self.over = self.over or epoch == 0 or epoch >= self._epoch
            case UserTurn(utterance, text):
                if utterance > self._asked:
                    self._asked = utterance
                    self._asked_turn = message
                    self._items.append(text)
            case ReplyStarted(turn, utterance):
                if turn not in self._replies:
                    self._replies[turn] = reply = Reply(turn, utterance)
                    self._items.append(reply)
            case _:
                pass

    def wanted(self) -> Wanted | None:
        """The reply that should be under way, or None: nobody waits for one."""
        if self.over or self._asked < 0:
            return None
        newest = self._replies[max(self._replies)] if self._replies else None
        if newest is None:
            return Wanted(1, self._asked, 0)
        over = newest.cut is not None or newest.played or self._interruptible
        if newest.utterance < self._asked and over:
            return Wanted(newest.turn + 1, self._asked, 0)
        if newest.ended or newest.cut is not None:
            return None
        return Wanted(newest.turn, newest.utterance, len(newest.clauses))

    @property
    def asked(self) -> UserTurn | None:
        """What the caller said last."""
        return self._asked_turn

    def messages(self) -> list[ChatMessage]:
        """The chat for the model, up to what the caller said last; the reply under way is not part of it."""
        chat: list[ChatMessage] = [{"role": "system", "content": self._instructions}]
        wanted = self.wanted()
        for item in self._items:
            if isinstance(item, Reply):
                if wanted is not None and item.turn == wanted.turn:
                    continue
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
