"""Writes the table of a chaos run, and searches the logs for private words."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.chaos.caller import FROM, TO
from benchmarks.chaos.fleet import SECRETS
from benchmarks.chaos.orders import OrderCounts
from benchmarks.chaos.sentences import DIGITS, GREETING, PARTS
from benchmarks.chaos.transfers import PERSONS, TransferCounts
from benchmarks.chaos.verdict import Row
from benchmarks.report import ROOT, surroundings, table

FOLDER = ROOT / "out" / "chaos"
FINDINGS_MAX = 12
HEADS = ["fault", "calls", "died", "turns", "hit", "cut", "unanswered", "lost", "unheard", "repeated", "doubled"]
HEADS += ["added wait p50 / p95 ms", "off the line ms", "bar ms", "longest silence ms", "usual answer ms", "verdict"]
LEGEND = (
    "Measured in the audio at the callers. *hit*: turns at the time of the fault, of calls that the victim held. "
    "*cut*: sentences that a lost connection broke off (no socket, or under 60 ms old at the loss); they cannot be "
    "answered and count nowhere else. *unanswered*: no sound of an answer within 10 s. *lost*: nothing of the answer "
    "was ever heard. *unheard*: parts of other answers that were never heard whole. *repeated*: parts heard whole more "
    "than once; (+n): as many more whose acknowledgement was lost with the connection, under 60 ms later. *doubled*: "
    "answers repeated because the model was asked twice. *added wait*: the wait of a hit turn, before its answer or "
    "inside it, beyond the median of the untouched turns of the same run. *off the line*: median time without a "
    "connection, of hit turns that lost theirs; half a second of it is the pause before our carrier reconnects. "
    "*silence*: inside an answer. VOID: the machine was too busy, or no turn was hit."
)

ORDERS = (
    "*asked*: calls of the tool in the event logs. *placed*: by the shop, by idempotency key. *unknown*: the model was "
    "told that it is not known. *doubled*: placed twice. *lost*: without an outcome. *untrue*: said to be done and not "
    "booked, or the other way round. *forgotten*: no model was told of the outcome."
)
TRANSFERS = (
    "*asked*: calls of `transfer_call` in the event logs. *rung*: persons whom the carrier rang. *rung twice*: for one "
    "call of the tool. *unasked*: rung without one. *lost*: without an outcome. *dropped*: callers whose call ended "
    "while they were away from the agent. *back*: returns to the agent, *struck* of them within the time of a fault. "
    '*back p50, p95*: from "nobody answers" to the agent\'s first sound, without the struck ones; theirs stands last.'
)


def private_words() -> dict[str, re.Pattern[str]]:
    """Return patterns that no log may contain, by kind."""
    digit = f"(?:{'|'.join(DIGITS)})"
    spoken = "|".join([re.escape(GREETING), rf"ask {digit} {digit}", *(rf"{part} {digit} {digit}" for part in PARTS)])
    numbers = "|".join(number.lstrip("+") for number in (FROM, TO, *PERSONS.values()))
    return {
        "phone numbers": re.compile(numbers),
        "transcripts": re.compile(spoken, re.IGNORECASE),
        "secrets": re.compile("|".join(map(re.escape, SECRETS.values()))),
    }


def leaks(logs: Path) -> dict[str, int]:
    """Count the log lines that contain each kind of private word."""
    found = dict.fromkeys(private_words(), 0)
    for path in sorted(logs.rglob("*.log")):
        for line in path.read_text(errors="replace").splitlines():
            for kind, pattern in private_words().items():
                found[kind] += bool(pattern.search(line))
    return found


def page(rows: Sequence[Row], leaked: dict[str, int], around: dict[str, Any]) -> str:
    """Return the whole report."""
    failed = [row for row in rows if row.verdict != "PASS"]
    parts = [
        "# Chaos",
        f"`{around['command']}`, commit {around['commit']}, {around['cpus']} CPUs, Python {around['python']}; "
        f"{around['note']}.",
        table(HEADS, [_cells(row) for row in rows]),
        LEGEND,
        *_orders_table(rows),
        *_transfers_table(rows),
        "Private words in the processes' logs: "
        + ", ".join(f"{kind} {count}" for kind, count in leaked.items())
        + " found.",
    ]
    for row in failed:
        shown = [f"- {finding}" for finding in row.findings[:FINDINGS_MAX]]
        if len(row.findings) > FINDINGS_MAX:
            shown.append(f"- and {len(row.findings) - FINDINGS_MAX} more: see the JSON")
        parts.append("\n".join([f"## {row.verdict}: {row.title}", "", *(shown or [f"- {_why(row)}"])]))
    return "\n\n".join(parts) + "\n"


def publish(rows: Sequence[Row], logs: Path, module: str, store: str) -> bool:
    """Print and write the report; return True if every row passed and nothing private was logged."""
    leaked = leaks(logs)
    text = page(rows, leaked, surroundings(module, store))
    print(text)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "report.md").write_text(text)
    return all(row.verdict == "PASS" for row in rows) and not any(leaked.values())


def write_run(name: str, row: Row, details: dict[str, Any]) -> None:
    """Write one run with all its turns as JSON."""
    around = surroundings("benchmarks.chaos", "")
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(
        json.dumps({"around": around, "row": row.to_json(), **details}, indent=1) + "\n"
    )


def _cells(row: Row) -> list[str]:
    counts = [row.calls, row.died, row.turns, row.hit, row.cut, row.unanswered, row.lost, row.unheard]
    repeated = f"{row.repeated} (+{row.unconfirmed})" if row.unconfirmed else str(row.repeated)
    waits = f"{row.added_p50_ms:.0f} / {row.added_p95_ms:.0f}"
    return [
        row.title,
        *map(str, counts),
        repeated,
        str(row.doubled),
        *(
            waits,
            f"{row.off_line_p50_ms:.0f}",
            f"{row.bar_ms:.0f}",
            f"{row.silence_ms:.0f}",
            f"{row.usual_ms:.0f}",
            f"**{row.verdict}**",
        ),
    ]


def _orders_table(rows: Sequence[Row]) -> list[str]:
    """The table of the scenarios in which a tool places orders."""
    shown = [row for row in rows if row.orders.asked]
    if not shown:
        return []
    heads = ["fault", *OrderCounts().to_json()]
    return [table(heads, [[row.title, *map(str, row.orders.to_json().values())] for row in shown]), ORDERS]


def _transfers_table(rows: Sequence[Row]) -> list[str]:
    """The table of the scenarios in which callers are transferred."""
    shown = [row for row in rows if row.transfers.asked]
    if not shown:
        return []
    heads = ["fault", *(name.replace("_", " ") for name in TransferCounts().to_json())]
    cells = [[row.title, *map(str, row.transfers.to_json().values())] for row in shown]
    return [table(heads, cells), TRANSFERS]


def _why(row: Row) -> str:
    if row.lateness_p99_ms > 0 and row.verdict == "VOID":
        return f"{row.hit} turns were hit; the callers' own frames were {row.lateness_p99_ms:.0f} ms late (p99)"
    return f"added wait p95 {row.added_p95_ms:.0f} ms, at most {row.bar_ms:.0f} ms are allowed"
