"""The keys that callers press, and what must hold of them whatever breaks.  Pure.

Digits of secret entries are 5 to 9, all others 0 to 4: a secret that is told anywhere shows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from common.call.acts import ToolOutcome
from common.protocol.acts import KeysEntered, ToolReturned
from common.protocol.messages import DtmfReceived, Message
from tests.simulation.errands import Errand, Request

ENTRY = "j"
"""A caller's word that begins so makes the model ask for digits, which are the name in the agent's mind."""
OPEN_DIGITS, SECRET_DIGITS = "01234", "56789"
LEAK = re.compile(r"[5-9] ?[5-9]")
PRESSED = re.compile(r"\[The caller pressed the keys ([0-9*# ]*)\]")
"""What the model is told of keys that nobody asked for."""
ENTERED = re.compile(r"The digits are (\d*)\.")


def draw_entry(random: Random, word: str) -> tuple[Errand, str, bool]:
    """What the model asks for, the digits that the caller presses then, and whether they are secret."""
    secret, length = random.random() < 0.6, random.randint(2, 6)
    wanted = {"name": f"pin_{word}", "length": length, "secret": secret}
    asked = Request("collect_digits", "0.0", arguments=json.dumps(wanted))
    digits = "".join(random.choices(SECRET_DIGITS if secret else OPEN_DIGITS, k=length))
    return Errand(word, ((asked,),), (random.choice(("", f"{word}k then {word}kb.")),)), digits, secret


def draw_burst(random: Random) -> str:
    """Keys that nobody asked for."""
    return "".join(random.choices(OPEN_DIGITS, k=random.randint(1, 12))) + "#"


def told_keys(text: str) -> list[str]:
    """The keys of which a message to the model tells, an entry each."""
    return [found.replace(" ", "") for found in PRESSED.findall(text)]


@dataclass(slots=True)
class KeyTrial:
    """The keys of one call before the judge."""

    call_id: str
    wrong: Callable[[str], None]
    secret_of: Callable[[str], str]
    """The digits that the tools would get under a name."""
    told: set[str]
    """Keys of which a model was told."""
    pressed: str = ""
    """Keys that reached an edge."""
    names: dict[tuple[int, int], str] = field(default_factory=dict)
    """Call of `collect_digits` -> the name, for those that are secret."""
    _received: list[str] = field(default_factory=list)
    _seen: set[tuple[int, int]] = field(default_factory=set)
    _entries: dict[int, KeysEntered] = field(default_factory=dict)

    def event(self, message: Message) -> None:
        """An entry of the event log."""
        match message:
            case DtmfReceived(digit, at_ms, epoch=epoch) if (epoch, at_ms) not in self._seen:
                self._seen.add((epoch, at_ms))
                self._received.append(digit)
                if digit and digit in SECRET_DIGITS:
                    self._breach("a secret key is in the event log")
                self._was_pressed("".join(known or "." for known in self._received))
            case KeysEntered(entry, keys) if entry not in self._entries:
                self._entries[entry] = message
                if LEAK.search(keys):
                    self._breach("secret keys are in the event log")
                if sum(each.count for each in self._entries.values()) > len(self._received):
                    self._breach(f"entry {entry} has more keys than were pressed")
                self._was_pressed("".join(each.keys for each in self._entries.values()))
            case ToolReturned(turn, n, outcome, result) if (turn, n) in self.names:
                self._is_right(self.names.pop((turn, n)), outcome, result)
            case _:
                pass

    def _is_right(self, name: str, outcome: str, result: str) -> None:
        if LEAK.search(result):
            self._breach("secret keys are in a result")
        if outcome != ToolOutcome.DONE:
            return
        found = ENTERED.search(result)
        digits = found[1] if found else self.secret_of(name)
        if not digits or digits not in self.pressed:
            self._breach(f"an entry has {len(digits)} digits that were not pressed so")

    def _was_pressed(self, keys: str) -> None:
        """Were these pressed in this order?  A dot is any key."""
        pressed = iter(self.pressed)
        if not all(any(key in (".", one) for one in pressed) for key in keys):
            self._breach(f"the keys {keys!r} were not pressed, or not in this order")

    @property
    def missing(self) -> str:
        """Entries of which no model was told; empty if none is missing."""
        free = [each.keys for each in self._entries.values() if not each.turn and each.keys]
        return ", ".join(keys for keys in free if keys not in self.told)

    def finish(self, whole: bool) -> None:
        """The call is over; `whole`: nothing happened by which a key may be lost."""
        if whole and len(self._received) != len(self.pressed):
            self._breach(f"{len(self.pressed)} keys were pressed, {len(self._received)} were received")

    def _breach(self, text: str) -> None:
        self.wrong(f"{self.call_id}: {text}")
