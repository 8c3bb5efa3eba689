"""Judges the orders of a run: the calls of the tool in the event logs against what the shop placed.  Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

NOT_DONE = frozenset({"failed", "refused", "cancelled"})


@dataclass(frozen=True, slots=True)
class ShopReport:
    """What the shop says at the end: see benchmarks/chaos/shop.py."""

    placed: Mapping[str, int] = field(default_factory=dict)
    shown: frozenset[str] = frozenset()
    notes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OrderCounts:
    """The orders of one run."""

    asked: int = 0
    placed: int = 0
    unknown: int = 0
    """The model learned that it is not known whether it was placed."""
    doubled: int = 0
    """Placed more than once."""
    lost: int = 0
    """Without an outcome in the event log."""
    untrue: int = 0
    """Said to be done and not placed, or said not to be done and placed."""
    forgotten: int = 0
    """With an outcome that no model learned."""

    def to_json(self) -> dict[str, Any]:
        """All counts, by name."""
        return asdict(self)


def count_orders(transcripts: Mapping[str, str], shop: ShopReport) -> tuple[OrderCounts, list[str]]:
    """The counts, and a finding for each that is wrong.  `transcripts` are event logs as the API sends them."""
    totals: Counter[str] = Counter(placed=len(shop.placed))
    found = [f"{key} was placed {count} times" for key, count in shop.placed.items() if count > 1]
    totals["doubled"] = len(found)
    for call_id, events in transcripts.items():
        unshown: Counter[str] = Counter()
        for key, order, outcome in _calls(call_id, events):
            totals["asked"] += 1
            placed = key in shop.placed
            if not outcome:
                totals["lost"] += 1
                found.append(f"{key} has no outcome")
                continue
            totals["unknown"] += outcome in ("unknown", "timeout")
            if (outcome == "done" and not placed) or (outcome in NOT_DONE and placed):
                totals["untrue"] += 1
                found.append(f"{key} is said to be {outcome}, and was {'' if placed else 'not '}placed")
            if order not in shop.shown:
                unshown[order.partition(" by ")[2]] += 1
        for caller, count in unshown.items():
            if (forgotten := count - shop.notes.get(caller, 0)) > 0:
                totals["forgotten"] += forgotten
                found.append(f"{forgotten} outcomes in {call_id} reached no model")
    return OrderCounts(**totals), found


def _calls(call_id: str, events: str) -> Iterator[tuple[str, str, str]]:
    """(key, order, outcome) of each call of the tool; the outcome is "" if there is none."""
    bodies = list(_bodies(events))
    outcomes: dict[tuple[int, int], str] = {}
    for name, body in bodies:
        if name == "ToolReturned":
            outcomes.setdefault((body["turn"], body["n"]), str(body["outcome"]))
    for name, body in bodies:
        if name == "ToolsCalled":
            for n, (_, _, arguments) in enumerate(body["calls"], body["first"]):
                order = str(json.loads(arguments).get("order", ""))
                yield f"{call_id}:{body['turn']}:{n}", order, outcomes.get((body["turn"], n), "")


def _bodies(events: str) -> Iterable[tuple[str, Any]]:
    for block in events.split("\n\n"):
        lines = dict(line.partition(": ")[::2] for line in block.splitlines())
        try:
            yield lines.get("event", ""), json.loads(lines.get("data", "null"))
        except ValueError:
            continue
