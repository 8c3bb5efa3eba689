"""`python -m benchmarks.preemption`: what it costs and wins to begin replies early; no network.

Callers speak in chunks with pauses between, into Nova's core and its stand-in, on a clock of milliseconds.  At each
likely end of turn a reply is begun, as the LLM worker would, and takes tokens until it is discarded:

    begun .. first token .. first clause .. voice = 350 ms      answer = the later of that and the end of the turn

All latencies are those of benchmarks/answers/plan.py.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import median, quantiles

from benchmarks.answers.plan import ANSWER, FRAME_MS, SAID, Pace, tokens_to_first_clause
from benchmarks.report import table
from common.call.same_words import same_words
from simulators.providers import deepgram_speech
from simulators.providers.openai_chat import tokens
from workers.llm.preemption import ON_INTERIMS, ON_SIGNAL, PreemptionBudget
from workers.providers.interfaces import EagerEndOfTurn, EndOfTurn, ListenOptions, SpeechStart, SttEvent
from workers.stt.engines.deepgram_nova import query
from workers.stt.engines.deepgram_nova_core import NovaCore, detector_ms
from workers.stt.stream.audio_feed import AudioFeed

LOUD, QUIET = b"\x10\x90" * 80, b"\xff" * 160
BETWEEN_MS = 4_000
"""Silence after each turn."""
CHUNK_MS = (400, 1_800)
"""Length of a stretch of speech without a pause."""
PAUSES = (0.45, 0.3, 0.15, 0.1)
"""Probability of a turn with so many pauses."""
PAUSE_MS = (180, 0.5)
"""Median of a pause in a turn, and the standard deviation of its logarithm: most are 100 to 400 ms."""
AGENTS = (
    ("no early reply", 0, 0),
    ("provider's signal, 300 ms", 300, 0),
    ("provider's signal, 200 ms (default)", 200, 0),
    ("provider's signal, 150 ms", 150, 0),
    ("provider's signal, 100 ms", 100, 0),
    ("interims 150 ms, signal 200 ms", 200, 150),
    ("interims 120 ms, signal 200 ms", 200, 120),
    ("interims 100 ms, signal 200 ms", 200, 100),
    ("interims 80 ms, signal 200 ms", 200, 80),
    ("interims 60 ms, signal 200 ms", 200, 60),
)
"""(name, eager_endpointing_ms, interim_endpointing_ms)"""


@dataclass(slots=True)
class Totals:
    """What came of all turns of one agent; `answers_ms` count from the caller's last sound."""

    answers_ms: list[float] = field(default_factory=list)
    begun: int = 0
    won: int = 0
    wasted_tokens: float = 0.0
    used_tokens: float = 0.0


class Replies:
    """The replies to one call, by the rules of the LLM worker."""

    def __init__(self, pace: Pace, totals: Totals) -> None:
        self._pace = pace
        self._totals = totals
        self._budgets = {True: PreemptionBudget(ON_INTERIMS), False: PreemptionBudget(ON_SIGNAL)}  # by `unsure`
        self._running: tuple[int, str, bool] | None = None  # (begun, to which words, `unsure`)
        self._ready_ms = pace.first_token_ms + pace.first_byte_ms
        self._ready_ms += 1000 * (tokens_to_first_clause(ANSWER) - 1) / pace.tokens_per_s

    def take(self, event: SttEvent, now_ms: int, last_sound_ms: int) -> None:
        """Take the next event of the recogniser."""
        match event:
            case SpeechStart():
                self._discard(now_ms, turn_open=True)
            case EagerEndOfTurn(text, unsure=unsure):
                if self._running is not None and same_words(self._running[1], text):
                    return
                self._discard(now_ms, turn_open=True)
                if self._budgets[unsure].allows(now_ms):
                    self._running = (now_ms, text, unsure)
                    self._totals.begun += 1
            case EndOfTurn(text):
                if self._running is not None and not same_words(self._running[1], text):
                    self._discard(now_ms, turn_open=False)
                self._totals.won += self._running is not None
                begun_ms = self._running[0] if self._running is not None else now_ms
                self._running = None
                for budget in self._budgets.values():
                    budget.end_turn()
                self._totals.used_tokens += len(tokens(ANSWER))
                self._totals.answers_ms.append(max(now_ms, begun_ms + self._ready_ms) - last_sound_ms)

    def _discard(self, now_ms: int, turn_open: bool) -> None:
        if self._running is None:
            return
        begun_ms, _, unsure = self._running
        self._running = None
        streamed = (now_ms - begun_ms - self._pace.first_token_ms) * self._pace.tokens_per_s / 1000
        self._totals.wasted_tokens += min(len(tokens(ANSWER)), max(0.0, streamed))
        self._budgets[unsure].discard(begun_ms, turn_open)


def spoken(random: Random) -> list[bytes]:
    """The frames of one turn: chunks of speech, and pauses between them."""
    (pauses,) = random.choices(range(len(PAUSES)), PAUSES)
    frames: list[bytes] = []
    for number in range(pauses + 1):
        if number:
            pause_ms = PAUSE_MS[0] * random.lognormvariate(0, PAUSE_MS[1])
            frames += [QUIET] * max(1, round(pause_ms / FRAME_MS))
        frames += [LOUD] * round(random.uniform(*CHUNK_MS) / FRAME_MS)
    return frames


def texts(frames: Sequence[bytes], silence_ms: int, word_ms: int) -> list[str]:
    """What the recogniser makes of them: a text for each speech that `silence_ms` ends, with as many words as fit."""
    spans: list[tuple[int, int]] = []
    for at, frame in enumerate(frames):
        if frame is LOUD:
            new = not spans or (at - spans[-1][1]) * FRAME_MS >= silence_ms
            spans = [*spans, (at, at + 1)] if new else [*spans[:-1], (spans[-1][0], at + 1)]
    words = (f"{SAID} " * 20).split()
    return [" ".join(words[: (end - begin) * FRAME_MS // word_ms]) for begin, end in spans]


def measured(options: ListenOptions, pace: Pace, turns: int, seed: int) -> Totals:
    """Play the turns of one call."""
    random, totals = Random(seed), Totals()
    replies = Replies(pace, totals)
    feed = AudioFeed(60_000)
    core = NovaCore("deepgram/nova-3", options, feed, 1_500, 700)
    recogniser = deepgram_speech.Pace(
        interim_ms=pace.interim_ms, word_ms=pace.word_ms, final_after_ms=pace.final_ms, interim_after_ms=pace.final_ms
    )
    script: list[str] = []
    vendor = deepgram_speech.NovaSpeech(script, recogniser, dict(query("nova-3", options)))
    due: list[tuple[float, int, str]] = []
    now_ms = sound_ms = count = 0
    for _ in range(turns):
        silence = [QUIET] * ((BETWEEN_MS + random.randrange(1000)) // FRAME_MS)
        speech = spoken(random)
        script += texts(speech, detector_ms(options), pace.word_ms)
        for frame in [*speech, *silence]:
            now_ms += FRAME_MS
            while due and due[0][0] <= now_ms:
                at_ms, _, message = heapq.heappop(due)
                for event in core.receive(message, at_ms / 1000):
                    if not isinstance(event, str):
                        replies.take(event, round(at_ms), sound_ms)
            sound_ms = now_ms if frame is LOUD else sound_ms
            feed.put(now_ms - FRAME_MS, frame)
            for event in core.feed(now_ms - FRAME_MS, frame, now_ms / 1000):
                if not isinstance(event, str):
                    replies.take(event, now_ms, sound_ms)
            feed.take(len(frame))
            for after_ms, outgoing in vendor.hear(frame):
                count += 1
                heapq.heappush(due, (now_ms + after_ms, count, json.dumps(outgoing)))
    return totals


def row(name: str, totals: Totals) -> list[str]:
    """One line of the table.  A pause longer than the silence that ends a turn makes two turns."""
    turns = len(totals.answers_ms)
    in_all = totals.wasted_tokens + totals.used_tokens
    return [
        name,
        f"{median(totals.answers_ms):.0f}",
        f"{quantiles(totals.answers_ms, n=20)[-1]:.0f}",
        f"{100 * totals.won / turns:.0f} %",
        f"{(totals.begun - totals.won) / turns:.2f}",
        f"{100 * totals.wasted_tokens / in_all:.1f} %",
    ]


def page(turns: int, endpointing_ms: int, interims_ms: Sequence[int], seed: int) -> str:
    """The tables, one for each cadence of interim results."""
    heads = ["agent", "answer p50 ms", "p95", "won", "discarded per turn", "tokens wasted"]
    parts = []
    for interim_ms in interims_ms:
        pace = Pace(interim_ms=interim_ms)
        rows = []
        for name, eager_ms, early_ms in AGENTS:
            options = ListenOptions(
                endpointing_ms=endpointing_ms, eager_endpointing_ms=eager_ms, interim_endpointing_ms=early_ms
            )
            rows.append(row(name, measured(options, pace, turns, seed)))
        parts += [f"An interim result for each {interim_ms} ms of audio; turns end after {endpointing_ms} ms:"]
        parts += [table(heads, rows)]
    return "\n\n".join(parts)


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.preemption", description=__doc__)
    parser.add_argument("--turns", type=int, default=300)
    parser.add_argument("--endpointing", type=int, default=500, help="the agent's endpointing_ms")
    parser.add_argument("--interims", type=int, nargs="+", default=[140, 1000], help="audio per interim result, in ms")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(page(options.turns, options.endpointing, options.interims, options.seed))


if __name__ == "__main__":
    main()
