"""A seed becomes a plan: who calls and what they say, what the weather is like, what breaks and when.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from common.protocol.redis_keys import ALL_POOLS, POOLS
from tests.simulation.bus import Weather
from tests.simulation.carrier import LineOptions
from tests.simulation.errands import Errand, draw_errand, errand_word, transfer_errand
from tests.simulation.keyed import ENTRY, draw_burst, draw_entry
from tests.simulation.persons import TRANSFER, RungPerson, draw_person
from tests.simulation.providers import LAST_WORD, Faults, syllables

BEGIN_SECONDS_MAX = 2.0
FAULTS_MAX = 6
FAULT_SECONDS = (0.5, 16.0)
"""When faults happen."""
WAIT_SECONDS_MAX = 12.0
"""How long a caller waits for the agent to speak or to fall silent before they speak anyway."""

SPEECH, TOOLS, TRANSFERS, KEYS = "speech", "tools", "transfers", "keys"
KINDS = (SPEECH, TOOLS, TRANSFERS, KEYS)
"""Kinds of plans: callers who talk, those for whom the agent uses tools, who are transferred, too, or press keys."""
AMBUSHES_MAX = 4
AMBUSH_NUMBER_MAX = 4
STAGES = ("called", "begun", "asked", "acted", "finished", "returned")
"""The stages of a call of a tool: the log has it, its effect is begun, the receiver has the request, has acted, the
result is recorded, the log has the result.
"""
TRANSFER_STAGES = (
    *("called", "returned", "asked", "dialled", "ringing", "answered", "joined", "comes back", "comes back"),
    *("over", "failed"),
)
"""The stages of a transfer: of the call of its tool, the states of itself, and what the carrier does."""
KEY_STAGES = ("called", "returned", "pressed", "pressed", "entered")
"""The stages of an entry of keys: of the call of its tool, and of the keys."""
AMBUSH_BREAKS = (
    *("kill worker",) * 5,
    *("freeze worker",) * 2,
    *("drain worker",) * 2,
    "kill edge",
    "break line",
    "cut",
    "cut",
    "doubt",
)
TRANSFER_BREAKS = (
    *("kill edge",) * 5,
    *("kill worker",) * 2,
    "freeze edge",
    "drain edge",
    "drain worker",
    "cut",
    "cut all",
    "doubt",
)
LOSSES = ("kill worker", "freeze worker", "cut", "cut all", "doubt")
LOSSES_MAX = 2
"""So often a pool may lose the owner of a call by an ambush."""

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
    """"quiet", "speaking", "now", "answered", when all that the caller has said was answered, or "asked" for keys."""
    pause_s: float
    does: str
    """"say", "cough", "press" or "hang up"."""
    words: tuple[int, ...] = ()
    keys: str = ""


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
    victim: str = ""
    """The name of the process, or of the call, that it must be; empty: any."""


@dataclass(frozen=True, slots=True)
class Ambush:
    """Something breaks when a call of a tool comes to a stage for the `number`th time, and `delay_s` later.

    It is of the process that has the call, unless `aimed` is False.
    """

    stage: str
    number: int
    delay_s: float
    aimed: bool
    fault: Fault


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
    """Does something act at the end of each reply?"""
    kind: str = SPEECH
    errands: dict[str, Errand] = field(default_factory=dict)
    """By the caller's word."""
    ambushes: tuple[Ambush, ...] = ()
    persons: dict[str, RungPerson] = field(default_factory=dict)
    """By the caller's word that asks for them."""

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools that the deployment has."""
        return POOLS if self.kind == SPEECH else ALL_POOLS


def draw(seed: int, kind: str = SPEECH) -> Plan:
    """The plan of this seed."""
    return _draw_speech(seed) if kind == SPEECH else _draw_errands(seed, kind)


def _draw_errands(seed: int, kind: str) -> Plan:
    """Callers with errands; most of what breaks, breaks while a tool or a transfer is under way."""
    talk = _draw_speech(seed)
    random = Random(f"{kind} {seed}")
    errands: dict[str, Errand] = {}
    persons: dict[str, RungPerson] = {}
    vocabulary: dict[int, str] = {}
    line = replace(talk.callers[0].line, payload_frames=5)
    draw_act = {TOOLS: _errand_act, TRANSFERS: _transfer_act, KEYS: _keys_act}[kind]
    callers = tuple(
        _errand_caller(random, line, lambda: draw_act(random, vocabulary, errands, persons), vocabulary)
        for _ in range(random.choice((1, 1, 2, 3)))
    )
    stages = {TOOLS: STAGES, TRANSFERS: TRANSFER_STAGES, KEYS: KEY_STAGES}[kind]
    faults = sorted(
        (_fault(random, ALL_POOLS) for _ in range(random.choice((0, 0, 0, 1, 2)))), key=lambda fault: fault.at_s
    )
    return replace(
        talk,
        calls_max=max(talk.calls_max, -(-len(callers) // talk.workers)),
        vocabulary=vocabulary,
        callers=callers,
        faults=tuple(faults),
        acts=False,
        kind=kind,
        errands=errands,
        persons=persons,
        ambushes=_bearable([_ambush(random, stages) for _ in range(random.randint(0, AMBUSHES_MAX))], faults),
    )


def _bearable(ambushes: Sequence[Ambush], faults: Sequence[Fault]) -> tuple[Ambush, ...]:
    """A call whose owners are lost again and again is ended as one that kills them: some leave cleanly instead."""
    losses = Counter(pool for fault in faults if fault.does in LOSSES for pool in ALL_POOLS)
    bearable = []
    for each in ambushes:
        fault = each.fault
        losses[fault.pool] += fault.does in LOSSES
        drained = replace(each, fault=replace(fault, does="drain worker"))
        bearable.append(each if losses[fault.pool] <= LOSSES_MAX or fault.does not in LOSSES else drained)
    return tuple(bearable)


def _errand_caller(
    random: Random, line: LineOptions, draw_act: Callable[[], Act], vocabulary: dict[int, str]
) -> Caller:
    acts = [each for _ in range(random.randint(1, 4)) for each in _with_keys(random, draw_act())]
    end = random.random()
    if end < 0.15:
        acts.append(Act("quiet", 0.5, "say", _words(random, vocabulary, 1, LAST_WORD)))
    elif end < 0.25:
        acts.append(Act(random.choice(("quiet", "speaking", "now")), random.uniform(0, 2), "hang up"))
    return Caller(random.uniform(0, BEGIN_SECONDS_MAX), tuple(acts), line)


def _errand_act(
    random: Random, vocabulary: dict[int, str], errands: dict[str, Errand], persons: dict[str, RungPerson]
) -> Act:
    when = random.choice(("quiet", "answered", "answered", "speaking", "now"))
    pause_s = random.choice((random.uniform(0.1, 1.5), random.uniform(0.1, 4.0)))
    if random.random() < 0.1:
        return Act(when, pause_s, "cough")
    words = _words(random, vocabulary, random.randint(1, 3), "u")
    if random.random() < 0.7:
        number = len(vocabulary) + 1
        vocabulary[number] = word = errand_word(number)
        errands[word] = draw_errand(random, word)
        words = (*words[1:], number)
    return Act(when, pause_s, "say", words)


def _transfer_act(
    random: Random, vocabulary: dict[int, str], errands: dict[str, Errand], persons: dict[str, RungPerson]
) -> Act:
    if random.random() < 0.4:
        return _errand_act(random, vocabulary, errands, persons)
    number = len(vocabulary) + 1
    vocabulary[number] = word = TRANSFER + syllables(number)
    persons[word] = draw_person(random, word, number)
    errands[word] = transfer_errand(random, word)
    return Act(random.choice(("answered", "answered", "quiet")), random.uniform(0.1, 1.5), "say", (number,))


def _keys_act(
    random: Random, vocabulary: dict[int, str], errands: dict[str, Errand], persons: dict[str, RungPerson]
) -> Act:
    if random.random() < 0.3:
        return _errand_act(random, vocabulary, errands, persons)
    pause_s = random.uniform(0.1, 1.5)
    if random.random() < 0.5:
        return Act(random.choice(("quiet", "answered", "speaking")), pause_s, "press", keys=draw_burst(random))
    number = len(vocabulary) + 1
    vocabulary[number] = word = ENTRY + syllables(number)
    errands[word], keys, _ = draw_entry(random, word)
    return Act("answered", pause_s, "say", (number,), keys)


def _with_keys(random: Random, act: Act) -> tuple[Act, ...]:
    """The act, and the keys for which the agent asks then."""
    if not act.words or not act.keys:
        return (act,)
    return replace(act, keys=""), Act("asked", random.uniform(0.0, 2.0), "press", keys=act.keys)


def _ambush(random: Random, stages: Sequence[str]) -> Ambush:
    pools = ("llm", "llm", "tools", "tools", "tools", "tts")
    fault = replace(
        _fault(random, pools), does=random.choice(TRANSFER_BREAKS if stages is TRANSFER_STAGES else AMBUSH_BREAKS)
    )
    delay_s = random.choice((0.0, 0.0, random.uniform(0, 0.02), random.uniform(0, 0.3)))
    number = random.randint(1, AMBUSH_NUMBER_MAX)
    return Ambush(random.choice(stages), number, delay_s, random.random() < 0.9, fault)


def _draw_speech(seed: int) -> Plan:
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


def _fault(random: Random, pools: tuple[str, ...] = POOLS) -> Fault:
    return Fault(
        at_s=random.uniform(*FAULT_SECONDS),
        does=random.choice(BREAKS),
        pool=random.choice(pools),
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
