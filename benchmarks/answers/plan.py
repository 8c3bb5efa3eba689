"""Defines the dialogue of a run, the vendors' latencies, and the ideal answer time that follows from them."""

from __future__ import annotations

from dataclasses import dataclass

from simulators.providers.openai_chat import ChatTiming, tokens
from workers.llm.text.clauses import Clauses

FRAME_MS = 20
FRAME_NS = FRAME_MS * 1_000_000
CYCLE_MS = ((1200, 5600), (1200, 2400), (1200, 5600))
"""(speech, silence), repeated.  The third speech begins while the agent answers the second: a barge-in."""
SAID = "I would like to know when you are open."
ANSWER = "Yes, of course we can. The doctor has time for you this evening at six, or tomorrow at nine."
"""One answer for all turns, so that every answer has the same ideal time.  About six seconds of speech."""
NS_PER_MS = 1e6
SPEECH, PAUSE, SILENCE = "speech", "pause", "silence"


@dataclass(frozen=True, slots=True)
class Pace:
    """The stand-ins' fixed latencies."""

    endpoint_ms: int = 300
    """Silence after which the recogniser ends a speech."""
    final_ms: int = 50
    """Time from there to the final result."""
    first_token_ms: float = 150.0
    tokens_per_s: float = 60.0
    first_byte_ms: float = 100.0
    """Time from a clause to its first audio."""
    voice_s_per_s: float = 0.1
    """Time to synthesize a second of audio."""
    interim_ms: int = 1000
    """Audio per interim result of the recogniser."""
    word_ms: int = 130
    """Speech per word in it: the last word is known when the speech is over."""
    pause_ms: int = 0
    """Pause in the middle of each speech, in whole frames."""

    @property
    def chat(self) -> ChatTiming:
        return ChatTiming(self.first_token_ms, self.tokens_per_s)


@dataclass(frozen=True, slots=True)
class Ideal:
    """Time from the last frame of speech to the first of the answer, if only the vendors took time."""

    parts: tuple[tuple[str, float], ...]

    @property
    def ms(self) -> float:
        return sum(ms for _, ms in self.parts)

    def __str__(self) -> str:
        return " + ".join(f"{ms:.0f} ({name})" for name, ms in self.parts) + f" = {self.ms:.0f} ms"


def ideal(pace: Pace, answer: str = ANSWER) -> Ideal:
    """Return the ideal answer time.  Synthesis begins when the first clause is complete."""
    waited = tokens_to_first_clause(answer) - 1
    return Ideal(
        (
            ("silence after the speech", pace.endpoint_ms),
            ("final result", pace.final_ms),
            ("first token", pace.first_token_ms),
            (f"{waited} more tokens of the first clause", 1000 * waited / pace.tokens_per_s),
            ("first byte of the voice", pace.first_byte_ms),
        )
    )


def tokens_to_first_clause(answer: str) -> int:
    """Return the number of tokens after which the first clause is known to be complete."""
    clauses = Clauses()
    for number, token in enumerate(tokens(answer), 1):
        if clauses.feed(token):
            return number
    return len(tokens(answer))


def cycle_frames(pause_ms: int = 0) -> tuple[str, ...]:
    """Return for each frame of a cycle `SPEECH`, `PAUSE` (within a speech), or `SILENCE`."""
    return tuple(
        kind
        for speech_ms, silence_ms in CYCLE_MS
        for kind, ms in (
            (SPEECH, (speech_ms - pause_ms) // 2),
            (PAUSE, pause_ms),
            (SPEECH, speech_ms - pause_ms - (speech_ms - pause_ms) // 2),
            (SILENCE, silence_ms),
        )
        for _ in range(ms // FRAME_MS)
    )
