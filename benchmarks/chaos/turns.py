"""What one caller lived through: each sentence, when it was answered, and every part of an answer that was heard. Pure.

All times are wall clock milliseconds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.chaos.sentences import GREETING, PARDON, PARTS, read_clause, read_joined
from benchmarks.chaos.tones import Phrase
from common.audio.g711 import FRAME_MS

ANSWER_MS_MAX = 10_000
"""A sentence without any answer for so long is unanswered."""
IN_FLIGHT_MS = 60.0
"""Sound this young when a connection is lost may not have left it, nor the word that it was heard."""


@dataclass(slots=True)
class Turn:
    """One sentence of the caller and its answer."""

    number: int
    began_ms: float
    asked_ms: float = 0.0
    """The end of the caller's last sound; 0 while speaking."""
    cut: bool = False
    """The connection was lost while the sentence was said: it never left the caller's phone whole."""
    first_ms: float = 0.0
    """The first sound of the answer; 0 without one."""
    last_ms: float = 0.0
    silence_ms: float = 0.0
    """The longest silence inside the answer."""
    parts: dict[int, int] = field(default_factory=dict)
    """How often each part of the answer was heard whole."""
    ended_ms: dict[int, float] = field(default_factory=dict)
    """When each part was heard to its end last."""
    unconfirmed: int = 0
    """Parts that were heard again because the connection was lost with the word that they had been heard."""
    torn: int = 0
    """Parts that began and were not heard to their end."""

    @property
    def answered(self) -> bool:
        """Was the whole answer heard?"""
        return len(self.parts) == len(PARTS)

    @property
    def delay_ms(self) -> float | None:
        """From the caller's last sound to the first of the answer."""
        return self.first_ms - self.asked_ms if self.first_ms and self.asked_ms else None

    @property
    def repeated(self) -> int:
        """Parts that were heard again, although the platform could know that they had been heard."""
        return sum(count - 1 for count in self.parts.values()) - self.unconfirmed

    @property
    def until_ms(self) -> float:
        """The end of the answer, or of the wait for it."""
        return self.last_ms or (self.asked_ms or self.began_ms) + ANSWER_MS_MAX


@dataclass(slots=True)
class Lived:
    """One call, as its caller lived it."""

    caller: int
    call_id: str
    turns: list[Turn] = field(default_factory=list)
    breaks: list[tuple[float, float]] = field(default_factory=list)
    """When the connection was lost, and when it was back (0: never)."""
    died: str = ""
    """Why the call ended although the caller did not want it to."""
    greeted: int = 0
    pardons: int = 0
    foreign: list[str] = field(default_factory=list)
    """Phrases that are none of this call's, each behind what was torn off before it."""
    unreadable: int = 0
    torn_text: str = ""
    """The phrase that was torn off last, if no whole one was heard since."""

    def sounds(self, at_ms: float) -> None:
        """Something is heard from `at_ms` on, for a frame: it counts for the newest answer, as long as that is open."""
        turn = self.turns[-1] if self.turns else None
        if turn is None or not turn.asked_ms or at_ms < turn.asked_ms or turn.answered:
            return
        if turn.first_ms:
            turn.silence_ms = max(turn.silence_ms, at_ms - turn.last_ms)
        else:
            turn.first_ms = at_ms
        turn.last_ms = at_ms + FRAME_MS

    def hears(self, phrase: Phrase) -> None:
        """A phrase has ended, or was torn off."""
        newest = self.turns[-1] if self.turns else None
        if not phrase.whole:
            if newest is not None:
                newest.torn += 1
            self.torn_text = phrase.text
            return
        torn, self.torn_text = self.torn_text, ""
        part = read_clause(phrase.text) or read_joined(torn, phrase.text)
        turn = self._turn(part.number) if part is not None and part.caller == self.caller else None
        if part is not None and turn is not None:
            turn.first_ms = turn.first_ms or phrase.began_ms
            turn.last_ms = max(turn.last_ms, phrase.ended_ms)
            turn.parts[part.part] = turn.parts.get(part.part, 0) + 1
            ended_ms = turn.ended_ms.get(part.part, float("-inf"))
            turn.unconfirmed += any(ended_ms <= lost <= ended_ms + IN_FLIGHT_MS for lost, _ in self.breaks)
            turn.ended_ms[part.part] = phrase.ended_ms
        elif phrase.text == GREETING.lower():
            self.greeted += 1
        elif phrase.text == PARDON.lower():
            self.pardons += 1
        else:
            self.foreign.append(f"{torn}|{phrase.text}")
        if newest is not None and turn is not newest and not newest.parts:
            newest.first_ms = newest.last_ms = newest.silence_ms = 0.0  # what sounded was not its answer

    def _turn(self, number: int) -> Turn | None:
        return next((turn for turn in self.turns if turn.number == number), None)

    def to_json(self) -> dict[str, Any]:
        """Everything, for out/chaos/*.json."""
        return asdict(self)
