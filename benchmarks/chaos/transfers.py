"""Defines who is transferred to whom in a chaos run, and judges it: the event logs against what was rung.  Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks.chaos.sentences import DIGITS, PARTS
from benchmarks.chaos.turns import Lived

TOOL = "transfer_call"
PERSONS = {"nobody": "+911234567892", "busy": "+911234567893", "mailbox": "+911234567894"}
"""The targets of the agent, by what they do: nobody answers, the line is busy, somebody hangs up after `TALK_S`."""
RING_S, TALK_S = 0.8, 0.5
STAGES = ("announced", "left", "ringing", "comes back")
"""The agent says that it connects the caller; the stream has ended; a telephone rings; nobody took the call."""
BACK_P95_MS_MAX = 1000.0
"""Largest time from "nobody answers" to the agent's first sound, for 95 of 100 transfers that no fault touched."""
_DIGIT = f"({'|'.join(DIGITS)})"
_QUESTION = re.compile(rf"ask {_DIGIT} {_DIGIT} by {_DIGIT} {_DIGIT}")


def person_for(utterance: str) -> str:
    """The target that a caller's sentence asks for, as every second one does; empty if it wants an answer only."""
    found = _QUESTION.findall(utterance.lower())
    if not found:
        return ""
    ten, one, _, caller = map(DIGITS.index, found[-1])
    number = 10 * ten + one + caller
    return list(PERSONS)[number // 2 % len(PERSONS)] if number % 2 else ""


@dataclass(frozen=True, slots=True)
class TransferCounts:
    """The transfers of one run."""

    asked: int = 0
    rung: int = 0
    rung_twice: int = 0
    unasked: int = 0
    """Rung though no event log has the call of the tool."""
    lost: int = 0
    """Without an outcome in the event log."""
    dropped: int = 0
    """Callers whose call ended while they were away."""
    back: int = 0
    """Returns to the agent, of which `struck` within the time of a fault."""
    struck: int = 0
    back_p50_ms: float = 0.0
    back_p95_ms: float = 0.0
    """From "nobody answers" to the agent's first sound, without the struck ones."""
    struck_p95_ms: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """All counts, by name."""
        return asdict(self)


def count_transfers(
    transcripts: Mapping[str, str],
    rung: Mapping[str, int],
    lived: Sequence[Lived],
    faults_ms: Sequence[tuple[float, float]],
) -> tuple[TransferCounts, list[str]]:
    """The counts, and a finding for each that is wrong.

    `transcripts` are event logs as the API sends them, `rung` how often a person was rung, by `call:turn.n`, and
    `faults_ms` the beginnings and ends of the times that faults touch.
    """
    totals: Counter[str] = Counter(rung=sum(rung.values()))
    found: list[str] = []

    def wrong(what: str, text: str) -> None:
        totals[what] += 1
        found.append(text)

    outcomes = {key: outcome for call_id, events in transcripts.items() for key, outcome in _calls(call_id, events)}
    for key, count in rung.items():
        if count > 1:
            wrong("rung_twice", f"{key}: the person was rung {count} times")
        if key not in outcomes:
            wrong("unasked", f"{key}: a person was rung, and nobody asked for it")
    for key, outcome in outcomes.items():
        totals["asked"] += 1
        if not outcome:
            wrong("lost", f"{key} has no outcome")
    for call in lived:
        if call.died and _reason(transcripts.get(call.call_id, "")) == "transferred":
            wrong("dropped", f"call {call.caller:02} ({call.call_id}) was dropped while it was away")
    calm, struck = _backs(lived, faults_ms)
    counts = replace(
        TransferCounts(**totals),
        back=len(calm) + len(struck),
        struck=len(struck),
        back_p50_ms=_rank(calm, 0.5),
        back_p95_ms=_rank(calm, 0.95),
        struck_p95_ms=_rank(struck, 0.95),
    )
    if counts.back_p95_ms > BACK_P95_MS_MAX:
        found.append(f"back with the agent after {counts.back_p95_ms:.0f} ms (p95), at most {BACK_P95_MS_MAX:.0f}")
    return counts, found


def _backs(lived: Sequence[Lived], faults_ms: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """The sorted times of the returns that no fault touched, and of the others."""
    calm: list[float] = []
    struck: list[float] = []
    for call in lived:
        turns = {turn.number: turn for turn in call.turns}
        for away in call.aways:
            heard_ms = turns[away.turn].first_ms
            if not away.unanswered_ms or heard_ms < away.unanswered_ms or len(turns[away.turn].parts) < len(PARTS):
                continue
            touched = any(away.left_ms < until and heard_ms > since for since, until in faults_ms)
            (struck if touched else calm).append(heard_ms - away.unanswered_ms)
    return sorted(calm), sorted(struck)


def _rank(ordered: Sequence[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) if ordered else 0.0


def _calls(call_id: str, events: str) -> Iterator[tuple[str, str]]:
    """(key, outcome) of each call of the tool; the outcome is "" if there is none."""
    bodies = list(_bodies(events))
    outcomes: dict[tuple[int, int], str] = {}
    for name, body in bodies:
        if name == "ToolReturned":
            outcomes.setdefault((body["turn"], body["n"]), str(body["outcome"]))
    for name, body in bodies:
        if name == "ToolsCalled":
            for n, _ in enumerate(body["calls"], body["first"]):
                yield f"{call_id}:{body['turn']}.{n}", outcomes.get((body["turn"], n), "")


def _reason(events: str) -> str:
    """Why the newest connection of a call ended."""
    return next((str(body["reason"]) for name, body in reversed(list(_bodies(events))) if name == "CallEnded"), "")


def _bodies(events: str) -> Iterable[tuple[str, Any]]:
    for block in events.split("\n\n"):
        lines = dict(line.partition(": ")[::2] for line in block.splitlines())
        try:
            yield lines.get("event", ""), json.loads(lines.get("data", "null"))
        except ValueError:
            continue
