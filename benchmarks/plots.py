"""`python -m benchmarks.plots FILE…`: draws the figures of results of benchmarks.answers into docs/pictures, as PNG.

    python -m benchmarks.plots out/bench/bars.json

One plot for each figure: a bar for each run of the stack and of the forwarder; stacked by process or stage where the
figure has parts.  The ground is white, so that the plots can be read on a light and on a dark page.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from benchmarks.answers.results import title
from benchmarks.report import ROOT

PICTURES = ROOT / "docs" / "pictures"
WIDTH, LABEL, RIGHT = 1000, 330, 90
BAR, GAP, TOP, BOTTOM = 26, 14, 58, 46
INK, FAINT, GROUND = (32, 36, 44), (205, 208, 214), (255, 255, 255)
COLOURS = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (120, 120, 120))
"""Told apart by the colour-blind, too (Okabe and Ito)."""

Parts = Mapping[str, float]
"""The parts of one bar, which add up to it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One plot: its file's name, what it shows, and the parts of a run's bar (none: the run is left out)."""

    name: str
    what: str
    unit: str
    parts: Callable[[Mapping[str, Any]], Parts]


def _one(key: str, factor: float = 1.0) -> Callable[[Mapping[str, Any]], Parts]:
    return lambda run: {"": factor * float(run[key])}


def _stages(run: Mapping[str, Any]) -> Parts:
    return {name: ms for name, ms in run["stages_ms"].items() if not name.startswith("voice_")}


def _by_process(key: str, factor: float = 1.0) -> Callable[[Mapping[str, Any]], Parts]:
    return lambda run: {name: max(0.0, factor * value) for name, value in run[key].items()}


def _ratio(run: Mapping[str, Any]) -> Parts:
    return {"": run["ratios"]["cpu"]} if "ratios" in run else {}


FIGURES = (
    Figure("cpu", "CPU-seconds per call-minute, by process", "s", _by_process("cpu_by_process")),
    Figure("cpu-ratio", "CPU, in multiples of the plain forwarder", "x", _ratio),
    Figure("answer-p50", "Answer beyond the ideal, p50", "ms", _one("beyond_p50_ms")),
    Figure("answer-p95", "Answer beyond the ideal, p95", "ms", _one("beyond_p95_ms")),
    Figure("stages", "Stages of an answer, means", "ms", _stages),
    Figure("clear", "Vendor's report of speech to clearAudio, p95", "ms", _one("clear_p95_ms")),
    Figure("memory", "MB per call, by process", "MB", _by_process("memory_by_process")),
    Figure("core", "Share of a core, by process", "%", _by_process("core_share_by_process", 100)),
    Figure("set-up", "Answer webhook to open stream, p50", "ms", lambda run: {"": run["set_up"]["p50_ms"]}),
)


def bars(figure: Figure, runs: Iterable[Mapping[str, Any]]) -> list[tuple[str, Parts]]:
    """Return (label, parts) of each run that has the figure; a VOID run has none."""
    found = []
    for run in runs:
        parts = {} if run["void"] else figure.parts(run)
        if parts and all(math.isfinite(value) for value in parts.values()):
            found.append((title(dict(run)), parts))
    return found


def plot(figure: Figure, rows: Sequence[tuple[str, Parts]], caption: str) -> Image.Image:
    """Draw a figure: a horizontal bar for each row, its parts in colours with a legend, and its value behind it."""
    names = list(dict.fromkeys(name for _, parts in rows for name in parts if name))
    height = TOP + (24 if names else 0) + len(rows) * (BAR + GAP) + BOTTOM
    image = Image.new("RGB", (WIDTH, height), GROUND)
    draw = ImageDraw.Draw(image)
    small, large = ImageFont.load_default(14), ImageFont.load_default(19)
    draw.text((16, 14), f"{figure.what} ({figure.unit})", INK, large)
    top = _legend(draw, names, small)
    largest = max(sum(parts.values()) for _, parts in rows) or 1.0
    for number, (label, parts) in enumerate(rows):
        y = top + number * (BAR + GAP)
        x = float(LABEL)
        draw.text((16, y + 5), label, INK, small)
        for name, value in parts.items():
            wide = max(0.0, value) / largest * (WIDTH - LABEL - RIGHT)
            colour = COLOURS[names.index(name) % len(COLOURS)] if name else COLOURS[0]
            draw.rectangle((x, y, x + wide, y + BAR), colour)
            x += wide
        draw.text((x + 6, y + 5), f"{sum(parts.values()):.3g}", INK, small)
    draw.line((LABEL, top - 6, LABEL, height - BOTTOM), FAINT)
    draw.text((16, height - 30), caption, (110, 114, 122), ImageFont.load_default(12))
    return image


def _legend(draw: ImageDraw.ImageDraw, names: Sequence[str], font: Any) -> int:
    """Draw the parts' names, and return where the bars begin."""
    x = float(LABEL)
    for number, name in enumerate(names):
        draw.rectangle((x, TOP - 4, x + 12, TOP + 8), COLOURS[number % len(COLOURS)])
        draw.text((x + 17, TOP - 6), name, INK, font)
        x += 30 + draw.textlength(name, font)
    return TOP + (24 if names else 0)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the plots; return 1 if there is nothing to plot."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.plots", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="+", help="JSON that benchmarks.answers wrote to out/bench")
    parser.add_argument("--to", type=Path, default=PICTURES, help="folder (%(default)s)")
    options = parser.parse_args(argv)
    documents = [json.loads(file.read_text("utf-8")) for file in options.files]
    runs = [run for document in documents for run in document["runs"]]
    around = documents[-1]["around"]
    caption = f"commit {around['commit']}, {around['date'][:10]}, {around['cpus']} CPUs; {around['command']}"[:140]
    written = 0
    for figure in FIGURES:
        if rows := bars(figure, runs):
            plot(figure, rows, caption).quantize(64).save(options.to / f"bench-{figure.name}.png", optimize=True)
            written += 1
    if not written:
        print("nothing to plot: no run that is not VOID", file=sys.stderr)
        return 1
    print(f"{written} plots in {options.to}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
