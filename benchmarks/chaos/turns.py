"""Records one caller's turns: each sentence, the time of its answer, and every part of an answer heard.  Pure.

All times are wall clock milliseconds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.chaos.sentences import ANNOUNCEMENT, GREETING, PARDON, PARTS, read_clause, read_joined
from benchmarks.chaos.tones import Phrase
from common.audio.g711 import FRAME_MS

ANSWER_MS_MAX = 10_000
"""Time without an answer after which a sentence counts as unanswered."""
IN_FLIGHT_MS = 60.0
"""When a connection is lost, audio and acknowledgements of the last 60 ms may be lost with it."""


@dataclass(slots=True)
class Turn:
    """One sentence of the caller and its answer."""

    number: int
    began_ms: float
    asked_ms: float = 0.0
    """The end of the caller's last sound; 0 while speaking."""
    cut: bool = False
    """The connection was lost during the sentence, which was not sent completely."""
    first_ms: float = 0.0
    """The first sound of the answer; 0 without one."""
    last_ms: float = 0.0
    silence_ms: float = 0.0
    """The longest silence inside the answer."""
    parts: dict[int, int] = field(default_factory=dict)
    """Number of times that each part of the answer was heard whole."""
    ended_ms: dict[int, float] = field(default_factory=dict)
    """Time at which each part was last heard to its end."""
    unconfirmed: int = 0
    """Parts that were repeated because their acknowledgement was lost with the connection."""
    torn: int = 0
    """Parts that began and were not heard to their end."""

    @property
    def answered(self) -> bool:
        """Whether the whole answer was heard."""
        return len(self.parts) == len(PARTS)

    @property
    def delay_ms(self) -> float | None:
        """Time from the caller's last sound to the first of the answer."""
        return self.first_ms - self.asked_ms if self.first_ms and self.asked_ms else None

    @property
    def repeated(self) -> int:
        """Parts that were repeated although the platform could know that they were heard."""
        return sum(count - 1 for count in self.parts.values()) - self.unconfirmed

    @property
    def until_ms(self) -> float:
        """The end of the answer, or of the wait for it."""
        return self.last_ms or (self.asked_ms or self.began_ms) + ANSWER_MS_MAX


@dataclass(frozen=True, slots=True)
class AwayTime:
    """An absence in turn `turn`: the stream ended, and nobody took the call (0: that never happened)."""

    turn: int
    left_ms: float
    unanswered_ms: float = 0.0


@dataclass(slots=True)
class Lived:
    """The record of one call on the caller's side."""

    caller: int
    call_id: str
    turns: list[Turn] = field(default_factory=list)
    breaks: list[tuple[float, float]] = field(default_factory=list)
    """Times at which the connection was lost and restored (0: never)."""
    aways: list[AwayTime] = field(default_factory=list)
    """Absences from the agent, for a transfer."""
    died: str = ""
    """The reason of an unwanted end of the call."""
    greeted: int = 0
    pardons: int = 0
    announced: int = 0
    foreign: list[str] = field(default_factory=list)
    """Phrases that do not belong to this call, each with the torn phrase before it."""
    unreadable: int = 0
    torn_text: str = ""
    """The last torn phrase, if no whole one followed."""

    def sounds(self, at_ms: float) -> None:
        """Record a frame of sound from `at_ms` on; it counts for the newest answer while that is open."""
        turn = self.turns[-1] if self.turns else None
        if turn is None or not turn.asked_ms or at_ms < turn.asked_ms or turn.answered:
            return
        if turn.first_ms:
            turn.silence_ms = max(turn.silence_ms, at_ms - turn.last_ms)
        else:
            turn.first_ms = at_ms
        turn.last_ms = at_ms + FRAME_MS

    def hears(self, phrase: Phrase) -> None:
        """Record a phrase that has ended or was torn."""
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
        elif phrase.text == ANNOUNCEMENT.lower():
            self.announced += 1
        elif phrase.text == PARDON.lower():
            self.pardons += 1
        else:
            self.foreign.append(f"{torn}|{phrase.text}")
        if newest is not None and turn is not newest and not newest.parts:
            newest.first_ms = newest.last_ms = newest.silence_ms = 0.0  # the sound was not its answer

    def _turn(self, number: int) -> Turn | None:
        return next((turn for turn in self.turns if turn.number == number), None)

    def to_json(self) -> dict[str, Any]:
        """Return the whole record for out/chaos/*.json."""
        return asdict(self)
