"""Counts what wants a reply and is no speech: late results of tools, and keys.  Pure.

A reply says how many inputs it knows of (`ReplyStarted.inputs`).  As long as no reply that may be heard knows of all,
another one is wanted.
"""

from __future__ import annotations

from common.agents.acts import MenuEntry
from common.protocol.messages import ReplyStarted
from workers.llm.chat import Item


class Inputs:
    """The inputs of one conversation, numbered from 1."""

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._answered = 0  # how many a reply knows of that was not discarded
        self._preemptive = 0  # how many the newest preemptive reply knows of
        self._menu: dict[int, MenuEntry] = {}  # number of an input -> the menu's entry that it is
        self._menu_replies: dict[int, MenuEntry] = {}  # the same, by the reply that it began

    def add(self, item: Item, entry: MenuEntry | None = None) -> None:
        """Add an input; `entry`: it is this key of the menu, which has a reply of its own."""
        self._items.append(item)
        if entry is not None:
            self._menu[self.count] = entry

    def start(self, started: ReplyStarted) -> None:
        """A reply begins; a preemptive one answers nothing before its release."""
        known = started.inputs
        if self._answered < known in self._menu and not (started.utterance or started.based_on):
            self._menu_replies[started.turn] = self._menu[known]
        if started.based_on:
            self._preemptive = known
        else:
            self._answered = max(self._answered, known)

    def release(self) -> None:
        """The newest preemptive reply is the answer."""
        self._answered = max(self._answered, self._preemptive)

    @property
    def count(self) -> int:
        """How many inputs there were so far."""
        return len(self._items)

    @property
    def are_open(self) -> bool:
        """Whether there is one that no reply knows of."""
        return self._answered < self.count

    @property
    def menu(self) -> MenuEntry | None:
        """The menu's entry that is to be answered; None if the newest input is none, or is answered."""
        return self._menu.get(self.count) if self.are_open else None

    @property
    def known(self) -> int:
        """How many inputs a new reply to speech knows of: all, but for a key of the menu."""
        return self.count if self.menu is None else self._answered

    def known_to(self, turn: int, preemptive: bool) -> tuple[int, MenuEntry | None]:
        """(how many inputs the newest reply knows of, the menu's entry that it answers)."""
        return self._preemptive if preemptive else self._answered, self._menu_replies.get(turn)

    def unknown_to(self, started: ReplyStarted) -> list[Item]:
        """The inputs that came while the start of this reply was written, in order."""
        return self._items[started.inputs :]
