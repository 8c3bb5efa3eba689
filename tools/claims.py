"""Runs the commands that stand behind the claims of README.md and docs/, and says which claims are true: `make claims`.

A claim is an HTML comment under the paragraph, list or table whose sentence it shows:

    <!-- claim: python -m benchmarks.retained --calls 10 | /all in all\\D+([\\d,]+)/ <= 18,000 -->
    <!-- claim 90s: make demo | exit = 0 -->

    claim 90s       the command takes 90 s; without a number, 5 s
    command         words, no shell (`env NAME=value` sets a variable); `python` is this interpreter
    READ            exit: exit status; lines: number of output lines that are not blank; text: the whole output;
                    /regex/: its group, or all that it matches; $.a[0].b: a value of the output, which is JSON
    OP VALUE        = != < <= > >= and a number or a text; numbers may have commas

All but `exit` need a command that exits with 0.  A comment with `--` in it must begin its line, at the end of its
paragraph: elsewhere GitHub shows it as text.

    python -m tools.claims                  run what takes 600 s in all, the quickest first; 1 if a claim is false
    python -m tools.claims --list           only list the claims
    python -m tools.claims --only retained  those whose page, sentence or command matches
    python -m tools.claims --value a.b.C    print a number of the source, or how many a collection has, for a claim
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUDGET_S = 600
QUICK_S = 5
TIMEOUT_FACTOR, TIMEOUT_S_MIN = 4, 60
"""A command may take so many times what its claim says, and at least so long, before it counts as hanging."""
CELL_CHARS_MAX = 60

_CLAIM = re.compile(r"<!--\s*claim(?P<seconds>[^:|]*):(?P<body>.*?)-->", re.DOTALL)
_SECONDS = re.compile(r"\s*(?:(\d+)\s?s)?\s*")
_CHECK = re.compile(r"(?P<read>exit|lines|text|/.+/|\$[\w.\[\]-]*)\s+(?P<op><=|>=|!=|=|<|>)\s+(?P<value>\S.*)")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_FENCE = re.compile(r"^ *(```|~~~).*?^ *\1[^\n]*$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+(?=[A-Z`*\[\"(])")
_ENDS = re.compile(r"[ \t]*(?:\Z|\n[ \t]*(?:\n|\Z|<!--|[-*] |\d+\. ))")
"""What may follow a comment that begins its line: nothing of the same paragraph."""
_STEP = re.compile(r"\.([\w-]+)|\[(\d+)\]")


class BadClaim(Exception):
    """The comment is no claim.  The text says where it stands and what is wrong."""


class NotSeen(Exception):
    """The output does not have what the claim reads; the text says why."""


@dataclass(frozen=True, slots=True)
class PageClaim:
    """One claim: what is said, which command shows it, and how."""

    page: str
    line: int
    sentence: str
    command: str
    read: str
    op: str
    value: str
    seconds: int = QUICK_S

    @property
    def check(self) -> str:
        """How the output is judged, as it is written."""
        return f"{self.read} {self.op} {self.value}"


@dataclass(frozen=True, slots=True)
class CommandOutput:
    """What a command left."""

    code: int
    out: str
    err: str = ""


# --- reading the pages ---------------------------------------------------------------------------------------------


def pages(root: Path = ROOT) -> list[Path]:
    """The pages that may hold claims."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def find(root: Path = ROOT) -> list[PageClaim]:
    """All claims of all pages, in their order.  Raises BadClaim for the first that cannot be read."""
    return [
        claim for path in pages(root) for claim in parse(path.read_text("utf-8"), path.relative_to(root).as_posix())
    ]


def without_code(markdown: str) -> str:
    """The page with its fenced blocks blanked out; positions and lines stay."""
    return _FENCE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), markdown)


def parse(markdown: str, page: str) -> Iterator[PageClaim]:
    """The claims of one page.  Raises BadClaim."""
    text = without_code(markdown)
    for found in _CLAIM.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        seconds = _SECONDS.fullmatch(found["seconds"])
        command, _, check = " ".join(found["body"].split()).rpartition(" | ")
        judged = _CHECK.fullmatch(check)
        if seconds is None or judged is None or not command:
            raise BadClaim(f"{page}:{line}: write `claim: COMMAND | READ OP VALUE`, such as `make help | lines > 5`")
        begins = not text[: found.start()].rpartition("\n")[2].strip()
        if "--" in found["body"] and not begins:
            raise BadClaim(f"{page}:{line}: begin the line with this comment: it has `--` in it")
        if begins and not _ENDS.match(text, found.end()):
            raise BadClaim(f"{page}:{line}: a comment that begins its line ends the paragraph: put it at its end")
        try:
            shlex.split(command)
            if judged["read"].startswith("/"):
                re.compile(judged["read"][1:-1])
        except (ValueError, re.error) as error:
            raise BadClaim(f"{page}:{line}: {error}") from None
        sentence = sentence_before(text[: found.start()], judged["value"])
        yield PageClaim(page, line, sentence, command, **judged.groupdict(), seconds=int(seconds[1] or QUICK_S))


def sentence_before(text: str, value: str) -> str:
    """The sentence that a claim after `text` shows: the last one of the block that names the value, else the last."""
    blocks = re.split(r"\n\s*\n", _COMMENT.sub("", text).rstrip())
    lines = blocks[-1].splitlines()
    if lines and lines[-1].lstrip().startswith("|"):
        parts = [" ".join(line.strip(" |").split()) for line in lines]
    else:
        parts = _SENTENCE_END.split(" ".join(line.strip() for line in lines))
    named = [part for part in parts if value.replace(",", "") in part.replace(",", "")]
    return (named or parts or [""])[-1].strip("-# ")


# --- judging -------------------------------------------------------------------------------------------------------


def seen(claim: PageClaim, output: CommandOutput) -> str:
    """What the claim reads from the output, as text.  Raises NotSeen."""
    if claim.read == "exit":
        return str(output.code)
    if output.code != 0:
        raise NotSeen(f"exit {output.code}")
    if claim.read == "lines":
        return str(sum(bool(line.strip()) for line in output.out.splitlines()))
    if claim.read == "text":
        return output.out.strip()
    if claim.read.startswith("/"):
        found = re.search(claim.read[1:-1], f"{output.out}\n{output.err}")
        if found is None:
            raise NotSeen("no match")
        return found[found.lastindex or 0].strip()
    return _value_at(claim.read, output.out)


def _value_at(path: str, text: str) -> str:
    try:
        value: Any = json.loads(text)
        for key, index in _STEP.findall(path):
            value = value[key] if key else value[int(index)]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise NotSeen(f"no {path} ({type(error).__name__})") from None
    return value if isinstance(value, str) else json.dumps(value)


def holds(shown: str, op: str, value: str) -> bool:
    """Is the comparison true?  As numbers if both are.  Raises NotSeen if texts are asked which is larger."""
    if _NUMBER.fullmatch(shown) and _NUMBER.fullmatch(value):
        left, right = (float(text.replace(",", "")) for text in (shown, value))
        return {
            "=": left == right, "!=": left != right, "<": left < right, "<=": left <= right, ">": left > right,
            ">=": left >= right,
        }[op]  # fmt: skip
    if op not in ("=", "!="):
        raise NotSeen(f"{shown[:CELL_CHARS_MAX]!r} is no number")
    return (shown == value) == (op == "=")


def verdict(claim: PageClaim, output: CommandOutput | None) -> tuple[str, str]:
    """(what was seen, "true", "false" or "not run").  `output` is None if the command did not run."""
    if output is None:
        return f"takes {claim.seconds} s", "not run"
    try:
        shown = seen(claim, output)
        return shown, "true" if holds(shown, claim.op, claim.value) else "false"
    except NotSeen as error:
        return str(error), "false"


def affordable(claims: Sequence[PageClaim], budget_s: float) -> list[str]:
    """The commands that take no more than the budget in all, the quickest first, each once."""
    takes: dict[str, int] = {}
    for claim in claims:
        takes[claim.command] = max(takes.get(claim.command, 0), claim.seconds)
    chosen, total = [], 0
    for command, seconds in sorted(takes.items(), key=lambda item: item[1]):
        if total + seconds <= budget_s:
            chosen.append(command)
            total += seconds
    return chosen


# --- running -------------------------------------------------------------------------------------------------------


def run(command: str, seconds: int) -> CommandOutput:
    """Run one command in the repository's root."""
    words = shlex.split(command)
    if "python" in words:
        words[words.index("python")] = sys.executable
    limit = max(TIMEOUT_S_MIN, seconds * TIMEOUT_FACTOR)
    try:
        ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return CommandOutput(124, "", f"not over after {limit} s")
    except OSError as error:
        return CommandOutput(127, "", str(error))
    return CommandOutput(ran.returncode, ran.stdout, ran.stderr)


def run_all(claims: Sequence[PageClaim], budget_s: float) -> dict[str, CommandOutput]:
    """Run what the budget allows, with a line of progress for each command on standard error."""
    commands = affordable(claims, budget_s)
    outputs = {}
    for number, command in enumerate(commands, 1):
        seconds = max(claim.seconds for claim in claims if claim.command == command)
        print(f"[{number}/{len(commands)}] {command}  (about {seconds} s)", file=sys.stderr, flush=True)
        began = time.monotonic()
        outputs[command] = run(command, seconds)
        print(f"    {time.monotonic() - began:.1f} s, exit {outputs[command].code}", file=sys.stderr, flush=True)
    return outputs


def table(claims: Sequence[PageClaim], outputs: Mapping[str, CommandOutput]) -> list[tuple[str, str, str, str]]:
    """A row for each claim: claim, command, seen, verdict."""
    rows = []
    for claim in claims:
        shown, judged = verdict(claim, outputs.get(claim.command))
        where = f"{claim.page}:{claim.line} {claim.sentence}"
        rows.append((where, f"{claim.command} | {claim.check}", shown, judged))
    return rows


def _cell(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= CELL_CHARS_MAX else f"{flat[: CELL_CHARS_MAX - 1]}…"


def _print(rows: Sequence[Sequence[str]]) -> None:
    cells = [[_cell(text) for text in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def value_of(name: str) -> Any:
    """The number `module.NAME`, or the length of that collection; a function is called first."""
    module, _, attribute = name.rpartition(".")
    try:
        value = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError:
        owner, _, inner = module.rpartition(".")
        value = getattr(getattr(importlib.import_module(owner), inner), attribute)
    value = value() if callable(value) else value
    return len(value) if hasattr(value, "__len__") and not isinstance(value, str) else value


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """The command.  Returns 1 if a claim is false, 2 if one cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m tools.claims", description="Are the claims of the pages true?")
    parser.add_argument("--list", action="store_true", help="list the claims without running anything")
    parser.add_argument("--only", default="", metavar="REGEX", help="page, sentence or command must match")
    parser.add_argument("--seconds", type=float, default=BUDGET_S, help=f"what may be spent; default {BUDGET_S}")
    parser.add_argument("--value", metavar="NAME", help="print a number, or how many, of `module.NAME`, for a claim")
    asked = parser.parse_args(argv)
    if asked.value:
        print(value_of(asked.value))
        return 0
    try:
        claims = find(root)
    except BadClaim as error:
        print(error, file=sys.stderr)
        return 2
    claims = [one for one in claims if re.search(asked.only, f"{one.page}:{one.line} {one.sentence} {one.command}")]
    if not claims:
        print("no claims")
        return 0
    if asked.list:
        _print(
            [(f"{one.page}:{one.line} {one.sentence}", one.command, one.check, f"{one.seconds} s") for one in claims]
        )
        return 0
    rows = table(claims, run_all(claims, asked.seconds))
    _print([("claim", "command", "seen", "true?"), *rows])
    false, skipped = (sum(row[3] == word for row in rows) for word in ("false", "not run"))
    print(f"{len(rows) - false - skipped} true, {false} false, {skipped} not run")
    return 1 if false else 0


if __name__ == "__main__":
    sys.exit(main())
