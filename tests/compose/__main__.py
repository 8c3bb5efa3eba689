"""`python -m tests.compose`: builds, starts, phones, kills, and writes a table to out/compose/report.md."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.compose.engine import ROOT, Engine, Failed, NoEngine
from tests.compose.scenes import SCENES, UP_SECONDS, Scene
from tools.terminal import paint, say

REPORT = ROOT / "out/compose/report.md"
IMAGES = ("edge", "llm", "stt", "tts", "tools", "local-stt", "local-tts", "demo", "redis")
BASES = {"redis": "redis:7"}


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a scene."""

    scene: Scene
    passed: bool
    seconds: float
    seen: str


def play(scene: Scene, engine: Engine) -> Row:
    """One scene; its failure is a row, too."""
    say(paint("bold", f"{scene.name}: {scene.does} …"))
    began = time.monotonic()
    try:
        if scene.name not in ("build", "up"):
            engine.compose("up", "--wait", seconds=UP_SECONDS)  # whatever the scene before has left
        began = time.monotonic()
        seen, passed = scene.play(engine), True
    except Failed as error:
        seen, passed = str(error), False
    row = Row(scene, passed, time.monotonic() - began, seen)
    say(paint("good" if passed else "bad", f"  {'PASS' if passed else 'FAIL'} in {row.seconds:.0f} s: {seen}"))
    return row


def report(rows: list[Row], sizes: dict[str, tuple[float, float]], version: str) -> str:
    """The table as docs/compose.md has it."""
    lines = [
        f"Docker {version}",
        "",
        "| scene | what is done | result | seconds | seen |",
        "| --- | --- | --- | ---: | --- |",
    ]
    for row in rows:
        result = "PASS" if row.passed else "**FAIL**"
        seen = row.seen.splitlines()[0]
        lines.append(f"| {row.scene.name} | {row.scene.does} | {result} | {row.seconds:.0f} | {seen} |")
    lines += ["", "| image | size | over its base |", "| --- | ---: | ---: |"]
    lines += [f"| `voice-{name}` | {size:.0f} MB | {size - base:.0f} MB |" for name, (size, base) in sizes.items()]
    return "\n".join(lines) + "\n"


def image_sizes(engine: Engine) -> dict[str, tuple[float, float]]:
    """Image -> (MB, MB of its base)."""
    sizes = {}
    for name in IMAGES:
        try:
            size = engine.megabytes(f"voice-{name}:0.1.0")
        except Failed:
            continue  # of a profile that was not built
        sizes[name] = (size, engine.megabytes(BASES.get(name, "python:3.11-slim")))
    return sizes


def main() -> int:
    """0 if every scene passed, 1 if not, 3 without an engine."""
    parser = argparse.ArgumentParser(prog="python -m tests.compose", description=__doc__)
    parser.add_argument("--only", default="", help=f"scenes, comma-separated: {', '.join(s.name for s in SCENES)}")
    parser.add_argument("--keep", action="store_true", help="leave the containers as the last scene left them")
    parsed = parser.parse_args()
    wanted = [name.strip() for name in parsed.only.split(",") if name.strip()]
    if unknown := set(wanted) - {scene.name for scene in SCENES}:
        parser.error(f"no such scene: {', '.join(sorted(unknown))}")
    try:
        engine = Engine.found()
    except NoEngine as error:
        say(paint("warn", f"no Docker engine, so nothing was tested: {error}"))
        return 3
    scenes = [scene for scene in SCENES if not wanted or scene.name in wanted]
    rows: list[Row] = []
    try:
        for scene in scenes:
            rows.append(play(scene, engine))
            if not rows[-1].passed and scene.name in ("build", "up"):
                break
        text = report(rows, image_sizes(engine), engine.docker("version", "--format", "{{.Server.Version}}").strip())
    finally:
        if not parsed.keep:
            engine.compose("down", "--remove-orphans", "--volumes", "--timeout", "20", code=None)
    _write(REPORT, text)
    failed = [row.scene.name for row in rows if not row.passed]
    say(f"\n{len(rows) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or len(rows) < len(scenes) else 0


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    say(f"\n{text}\nwritten to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
