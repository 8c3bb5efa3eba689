"""Judges the callers' records: a row of the table and PASS, FAIL or VOID.  Pure.

A turn is *hit* if it overlaps a strike's window and the victim held its call.  Its *added wait* is the caller's wait,
before the answer or inside it, beyond the usual one: the median of the turns of the same run that no strike touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from benchmarks.chaos.orders import OrderCounts
from benchmarks.chaos.scenario import EVERYONE, Scenario, Strike
from benchmarks.chaos.sentences import PARTS, question
from benchmarks.chaos.transcript import Owners
from benchmarks.chaos.transfers import TransferCounts
from benchmarks.chaos.turns import ANSWER_MS_MAX, Lived, Turn

LATENESS_MS_MAX = 100.0
"""Largest p99 lateness of the callers' frames; beyond it the machine was too busy for a verdict."""
STRICT = ("grey", "poison", "tools", "transfers")
"""Groups of scenarios whose trouble is a failure, whatever the callers heard."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The records of one run."""

    scenario: Scenario
    lived: Sequence[Lived]
    strikes: Sequence[Strike]
    owners: Mapping[str, Owners]
    """By call id."""
    asked: Mapping[str, int]
    """Chat requests of this run, by sentence."""
    lateness_p99_ms: float
    trouble: Sequence[str] = ()
    orders: OrderCounts = field(default_factory=OrderCounts)
    transfers: TransferCounts = field(default_factory=TransferCounts)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.  The times are NaN if no turn was hit."""

    title: str
    group: str
    calls: int
    died: int
    turns: int
    hit: int
    cut: int
    unanswered: int
    lost: int
    unheard: int
    repeated: int
    doubled: int
    added_p50_ms: float
    added_p95_ms: float
    silence_ms: float
    bar_ms: float
    usual_ms: float
    lateness_p99_ms: float
    off_line_p50_ms: float = 0.0
    """Median time without connection of hit turns, mostly the carrier's pause before it reconnects."""
    unconfirmed: int = 0
    broken: int = 0
    """Number of the scenario's own rules that were broken."""
    orders: OrderCounts = field(default_factory=OrderCounts)
    """Of a scenario in which a tool places orders."""
    transfers: TransferCounts = field(default_factory=TransferCounts)
    """Of a scenario in which callers are transferred."""
    findings: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """PASS, FAIL, or VOID if the machine was too busy (or nothing was hit)."""
        if not self.calls:
            return "FAIL"
        if self.lateness_p99_ms > LATENESS_MS_MAX:
            return "VOID"
        broken = self.broken + self.died + self.unanswered + self.lost + self.unheard + self.repeated + self.doubled
        if broken:
            return "FAIL"
        if not self.hit:
            return "VOID"
        return "PASS" if self.added_p95_ms <= self.bar_ms else "FAIL"

    def to_json(self) -> dict[str, Any]:
        """Return the row for out/chaos/*.json."""
        return {**asdict(self), "verdict": self.verdict}


def judge(outcome: Outcome) -> Row:
    """Return the row of one run."""
    turns = [(call, turn) for call in outcome.lived for turn in call.turns if turn.asked_ms]
    counted = [(call, turn) for call, turn in turns if not turn.cut]
    touched = {id(turn) for _, turn in turns if any(_overlaps(turn, strike) for strike in outcome.strikes)}
    usual = [turn for _, turn in counted if id(turn) not in touched and turn.answered and turn.delay_ms is not None]
    usual_delay = median(turn.delay_ms or 0.0 for turn in usual) if usual else 0.0
    usual_silence = median(turn.silence_ms for turn in usual) if usual else 0.0
    hits = [(call, turn) for call, turn in counted if _is_hit(outcome, call, turn)]
    hit = [turn for _, turn in hits]
    off_line = sorted(time for call, turn in hits if (time := _off_line_ms(call, turn)) > 0)
    added = sorted(
        max(turn.delay_ms - usual_delay, turn.silence_ms - usual_silence, 0.0)
        for turn in hit
        if turn.delay_ms is not None
    )
    return Row(
        title=outcome.scenario.title,
        group=outcome.scenario.group,
        calls=len(outcome.lived),
        died=sum(bool(call.died) for call in outcome.lived),
        turns=len(counted),
        hit=len(hit),
        cut=len(turns) - len(counted),
        unanswered=sum(_unanswered(turn) for _, turn in counted),
        lost=sum(not turn.parts for _, turn in counted),
        unheard=sum(len(PARTS) - len(turn.parts) for _, turn in counted if turn.parts),
        repeated=sum(turn.repeated for _, turn in turns) + sum(max(0, call.greeted - 1) for call in outcome.lived),
        doubled=sum(_doubled(outcome, call, turn) for call, turn in turns),
        added_p50_ms=_rank(added, 0.5),
        added_p95_ms=_rank(added, 0.95),
        silence_ms=max((turn.silence_ms for turn in hit), default=0.0),
        bar_ms=outcome.scenario.bar_ms,
        usual_ms=usual_delay,
        lateness_p99_ms=outcome.lateness_p99_ms,
        off_line_p50_ms=_rank(off_line, 0.5) if off_line else 0.0,
        unconfirmed=sum(turn.unconfirmed for _, turn in turns),
        broken=len(outcome.trouble) if outcome.scenario.group in STRICT else 0,
        orders=outcome.orders,
        transfers=outcome.transfers,
        findings=list(findings(outcome)),
    )


def absent(scenario: Scenario, why: str) -> Row:
    """Return the row of a run that could not be carried out."""
    nothing = Outcome(scenario, (), (), {}, {}, 0.0, (why,))
    return judge(nothing)


def _is_hit(outcome: Outcome, call: Lived, turn: Turn) -> bool:
    for strike in outcome.strikes:
        if not _overlaps(turn, strike):
            continue
        owners = outcome.owners.get(call.call_id)
        if outcome.scenario.pool == EVERYONE and not strike.node:
            return True
        pool = strike.victim.partition("-")[0]
        if owners is None or owners.at(pool, strike.at_ms) in (strike.node, ""):
            return True
    return False


def _overlaps(turn: Turn, strike: Strike) -> bool:
    return turn.began_ms < strike.until_ms and turn.until_ms > strike.at_ms


def _off_line_ms(call: Lived, turn: Turn) -> float:
    """Return the time without connection between the question and the end of the answer."""
    return sum(max(0.0, min(back, turn.until_ms) - max(lost, turn.asked_ms)) for lost, back in call.breaks)


def _unanswered(turn: Turn) -> bool:
    return turn.delay_ms is None or turn.delay_ms > ANSWER_MS_MAX


def _doubled(outcome: Outcome, call: Lived, turn: Turn) -> bool:
    """Return whether the model was asked twice and the caller heard the answer twice."""
    return turn.repeated > 0 and outcome.asked.get(question(call.caller, turn.number), 0) > 1


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def findings(outcome: Outcome) -> Iterator[str]:
    """Return each problem with its call, its time and the nearest strike; no transcripts."""
    yield from outcome.trouble
    for call in outcome.lived:
        name = f"call {call.caller:02} ({call.call_id})"
        if call.died:
            yield f"{name} died: {call.died}{_after(outcome, call.turns[-1].until_ms if call.turns else 0.0)}"
        if call.greeted > 1:
            yield f"{name} was greeted {call.greeted} times"
        if call.foreign or call.unreadable:
            yield f"{name} heard {len(call.foreign)} foreign phrases, {call.unreadable} unreadable frames"
        for turn in call.turns:
            if what := _wrong(turn):
                yield f"{name} turn {turn.number}: {what}{_after(outcome, turn.asked_ms)}"


def _wrong(turn: Turn) -> str:
    if not turn.asked_ms:
        return ""
    wrong = []
    if not turn.cut and _unanswered(turn):
        wrong.append("never answered" if not turn.parts else "answered too late")
    if not turn.cut and 0 < len(turn.parts) < len(PARTS):
        wrong.append(f"parts {sorted(set(range(len(PARTS))) - set(turn.parts))} of the answer never heard")
    if turn.repeated:
        wrong.append(f"parts {[part for part, count in sorted(turn.parts.items()) if count > 1]} heard again")
    return ", ".join(wrong)


def _after(outcome: Outcome, at_ms: float) -> str:
    near = min(outcome.strikes, key=lambda strike: abs(strike.at_ms - at_ms), default=None)
    if near is None or not at_ms:
        return ""
    return f"; asked {(at_ms - near.at_ms) / 1000:+.1f} s from the strike at {near.victim}"
