"""A seed becomes a plan: who calls and what they say, what the weather is like, what breaks and when.  Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from common.protocol.redis_keys import POOLS
from tests.simulation.bus import Weather
from tests.simulation.carrier import LineOptions
from tests.simulation.providers import LAST_WORD, Faults, syllables

BEGIN_SECONDS_MAX = 2.0
FAULTS_MAX = 6
FAULT_SECONDS = (0.5, 16.0)
"""When faults happen."""
WAIT_SECONDS_MAX = 12.0
"""How long a caller waits for the agent to speak or to fall silent before they speak anyway."""

BREAKS = (
    "kill worker",
    "kill worker",
    "freeze worker",
    "freeze worker",
    "drain worker",
    "kill edge",
    "drain edge",
    "freeze edge",
    "break line",
    "break line",
    "cut",
    "cut all",
    "stall media",
    "stall priority",
    "doubt",
)


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that a caller does: when the agent is silent, while it speaks, or after a pause."""

    when: str
    """"quiet", "speaking" or "now"."""
    pause_s: float
    does: str
    """"say", "cough" or "hang up"."""
    words: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Caller:
    """One call."""

    begin_s: float
    acts: tuple[Act, ...]
    line: LineOptions


@dataclass(frozen=True, slots=True)
class Fault:
    """Something breaks.  `choice` picks the victim among those that are there; `more` is what the kind needs."""

    at_s: float
    does: str
    pool: str
    choice: int
    seconds: float
    more: float


@dataclass(frozen=True, slots=True)
class Plan:
    """All that one seed decides before the start."""

    seed: int
    edges: int
    workers: int
    """Members of each pool."""
    calls_max: int
    interruptible: bool
    eager_endpointing_ms: int
    weather: Weather
    vendors: Faults
    vocabulary: dict[int, str]
    callers: tuple[Caller, ...]
    faults: tuple[Fault, ...]
    acts: bool
    """Does a tool act at the end of each reply?"""


def draw(seed: int) -> Plan:
    """The plan of this seed."""
    random = Random(f"plan {seed}")
    vocabulary: dict[int, str] = {}
    line = LineOptions(
        latency_s=random.choice((0.0, 0.0, 0.0, 0.01, 0.03)),
        payload_frames=random.choice((1, 3, 5, 5, 5)),
        lost_answers=random.choice((0.0, 0.0, 0.0, 0.1)),
    )
    calls = random.choice((1, 2, 3, 4, 5))
    callers = tuple(_caller(random, vocabulary, line) for _ in range(calls))
    workers = random.choice((1, 2, 2, 3))
    faults = sorted((_fault(random) for _ in range(random.randint(0, FAULTS_MAX))), key=lambda fault: fault.at_s)
    return Plan(
        seed=seed,
        edges=random.choice((1, 2, 2, 3)),
        workers=workers,
        calls_max=max(random.choice((2, 3, 5)), -(-calls // workers)),
        interruptible=random.random() < 0.85,
        eager_endpointing_ms=random.choice((0, 200, 200)),
        weather=_weather(random),
        vendors=_vendors(random),
        vocabulary=vocabulary,
        callers=callers,
        faults=tuple(faults),
        acts=Random(f"acts {seed}").random() < 0.3,
    )


def _caller(random: Random, vocabulary: dict[int, str], line: LineOptions) -> Caller:
    acts = []
    for _ in range(random.randint(1, 4)):
        acts.append(_act(random, vocabulary))
    end = random.random()
    if end < 0.25:
        acts.append(Act("quiet", 0.5, "say", _words(random, vocabulary, 1, LAST_WORD)))
    elif end < 0.4:
        acts.append(Act(random.choice(("quiet", "speaking", "now")), random.uniform(0, 2), "hang up"))
    return Caller(random.uniform(0, BEGIN_SECONDS_MAX), tuple(acts), line)


def _act(random: Random, vocabulary: dict[int, str]) -> Act:
    when = random.choice(("quiet", "quiet", "speaking", "now"))
    pause_s = random.uniform(0.1, 1.5)
    if random.random() < 0.15:
        return Act(when, pause_s, "cough")
    return Act(when, pause_s, "say", _words(random, vocabulary, random.randint(1, 4), "u"))


def _words(random: Random, vocabulary: dict[int, str], count: int, begin: str) -> tuple[int, ...]:
    numbers = range(len(vocabulary) + 1, len(vocabulary) + 1 + count)
    vocabulary.update({number: begin + syllables(number) for number in numbers})
    return tuple(numbers)


def _fault(random: Random) -> Fault:
    return Fault(
        at_s=random.uniform(*FAULT_SECONDS),
        does=random.choice(BREAKS),
        pool=random.choice(POOLS),
        choice=random.randrange(1000),
        seconds=random.choice((random.uniform(0.05, 0.5), random.uniform(0.1, 2.0), random.uniform(1.0, 5.0))),
        more=random.random(),
    )


def _weather(random: Random) -> Weather:
    slow_media = random.random() < 0.2
    slow_priority = random.random() < 0.2
    return Weather(
        media_s=(0.0, 0.08) if slow_media else (0.0005, 0.003),
        priority_s=(0.0, 0.12) if slow_priority else (0.0, 0.001),
        flush_s=random.choice((0.0, 0.001, 0.002)),
        ledger_s=random.choice(((0.0, 0.0), (0.0002, 0.002), (0.001, 0.02))),
        echo=random.choice((0.0, 0.0, 0.01, 0.05)),
        old_echo=random.choice((0.0, 0.0, 0.01, 0.05)),
    )


def _vendors(random: Random) -> Faults:
    failing = random.random() < 0.3
    vendors = Faults(
        ear_late_s=random.choice((0.0, 0.0, 0.1, 0.7)),
        likely_wrong=random.choice((0.0, 0.3)),
        ear_breaks=random.choice((0.05, 0.2)) if failing else 0.0,
        token_s=random.choice((0.005, 0.02, 0.15)),
        mind_fails=random.choice((0.0, 0.03)) if failing else 0.0,
        first_sound_s=random.choice((0.02, 0.05, 0.4)),
        spells=random.random() < 0.5,
        mouth_fails=random.choice((0.0, 0.1)) if failing else 0.0,
    )
    chunk_bytes, chunk_s = random.choice(((7000, 0.005), (7000, 0.005), (1750, 0.1)))
    return replace(vendors, chunk_bytes=chunk_bytes, chunk_s=chunk_s)
