"""Defines the dialogue of a run, the vendors' latencies, and the ideal answer time that follows from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.agents.model import Agent
from common.agents.reading import load_agents
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
LEAD_MS = 4000
"""Silence at the beginning of a call of fixed length: the caller hears the greeting out."""
LAST_ANSWER_MS = 3000
"""No speech of a call of fixed length ends later than this before its end, so that each can be answered."""
AGENTS = Path(__file__).with_name("agents")


@dataclass(frozen=True, slots=True)
class Pace:
    """The stand-ins' fixed latencies."""

    endpoint_ms: int = 300
    """Silence after which the recogniser ends a speech, and the answer is begun."""
    turn_end_ms: int = 0
    """Silence after which the turn is over; nothing is heard of the answer before."""
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


def the_agent(folder: Path = AGENTS) -> Agent:
    """Return the one agent of a folder, which answers every call of the benchmark.  Raises AgentFileError."""
    (agent,) = load_agents(folder).by_name.values()
    return agent


def pace_of(agent: Agent) -> Pace:
    """Return the latencies of the vendors with this agent: its answer is begun at the eager end of a turn, if any."""
    turn = agent.turn
    return Pace(turn.eager_endpointing_ms or turn.endpointing_ms, turn.endpointing_ms)


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
    parts = [
        ("silence after the speech", float(pace.endpoint_ms)),
        ("final result", float(pace.final_ms)),
        ("first token", pace.first_token_ms),
        (f"{waited} more tokens of the first clause", 1000 * waited / pace.tokens_per_s),
        ("first byte of the voice", pace.first_byte_ms),
    ]
    held_ms = pace.turn_end_ms - sum(ms for _, ms in parts)
    return Ideal((*parts, ("until the turn is over", held_ms)) if held_ms > 0 else tuple(parts))


def tokens_to_first_clause(answer: str) -> int:
    """Return the number of tokens after which the first clause is known to be complete."""
    clauses = Clauses()
    for number, token in enumerate(tokens(answer), 1):
        if clauses.feed(token):
            return number
    return len(tokens(answer))


def cycle_frames(pause_ms: int = 0) -> tuple[str, ...]:
    """Return for each frame of a cycle `SPEECH`, `PAUSE` (within a speech), or `SILENCE`."""
    return tuple(kind for span in _spans(pause_ms) for kind, ms in span for _ in range(ms // FRAME_MS))


def call_frames(call_s: float, pause_ms: int = 0) -> tuple[str, ...]:
    """Return the same for each frame of a call of fixed length: the greeting, then whole cycles."""
    frames = [SILENCE] * (LEAD_MS // FRAME_MS)
    last = int(call_s * 1000 - LAST_ANSWER_MS) // FRAME_MS
    whole = int(call_s * 1000) // FRAME_MS
    while len(frames) < whole:
        for span in _spans(pause_ms):
            *speech, silence = [[kind] * (ms // FRAME_MS) for kind, ms in span]
            spoken = [kind for kinds in speech for kind in kinds]
            frames += spoken if len(frames) + len(spoken) <= last else [SILENCE] * len(spoken)
            frames += silence
    return tuple(frames[:whole])


def _spans(pause_ms: int) -> Iterator[tuple[tuple[str, int], ...]]:
    """Yield each speech of a cycle with the silence after it."""
    for speech_ms, silence_ms in CYCLE_MS:
        half_ms = (speech_ms - pause_ms) // 2
        yield (SPEECH, half_ms), (PAUSE, pause_ms), (SPEECH, speech_ms - pause_ms - half_ms), (SILENCE, silence_ms)
