"""Figures have their commands beside them: each claim can be run, and README.md has no figure of unknown origin.

`make claims` runs them; here nothing is run.  The syntax is in tools/claims.py and in CONTRIBUTING.md.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from tools.claims import ROOT, PageClaim, find, parse, without_code

pytestmark = pytest.mark.fast

CLAIMS_MIN = 12
PROGRAMS = frozenset({"python", "make", "env", "git", "grep"})
SECONDS_MAX = 600

UNIT = re.compile(r"(?<![\w.])\d[\d,.]*\s?(?:(?:ms|s|MiB|MB|GB|calls)\b|%)")
LINK = re.compile(r"\]\([^)\s]+\)")
COMMAND = re.compile(r"`(?:\.venv/bin/python|python|make|docker compose)\s[^`]+`")
ITEM = re.compile(r"^ {0,3}(?:[-*]|\d+\.) ")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`*\[(])")


def claims() -> list[PageClaim]:
    return find()


def missing(command: str) -> str:
    """Why the command cannot be run; empty if it can."""
    words = shlex.split(command)
    if words[0] not in PROGRAMS:
        return f"{words[0]} is none of {', '.join(sorted(PROGRAMS))}"
    while words[0] == "env" or "=" in words[0]:
        words = words[1:]
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        return "" if set(words[1:2]) <= set(targets) else f"there is no target {words[1]}"
    if words[0] == "python" and words[1] == "-m":
        return "" if importlib.util.find_spec(words[2]) else f"there is no module {words[2]}"
    if words[0] == "python" and words[1] == "-c":
        ast.parse(words[2])
    return ""


def test_every_claim_can_be_read_and_its_command_is_there() -> None:
    found = claims()
    assert len(found) >= CLAIMS_MIN
    assert len({claim.page for claim in found}) >= 5
    problems = [f"{claim.page}:{claim.line} {problem}" for claim in found if (problem := missing(claim.command))]
    assert problems == []
    assert [claim for claim in found if not claim.sentence or claim.seconds > SECONDS_MAX] == []


@pytest.mark.parametrize("command", ["rm x", "make nothing", "python -m tools.nothing", "env A=1 make nothing"])
def test_a_command_that_is_not_there_is_seen(command: str) -> None:
    assert missing(command)


# --- figures -------------------------------------------------------------------------------------------------------


def blocks(markdown: str) -> list[str]:
    """Paragraphs, list items and tables, each with the comments under it; without code blocks and headings."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", without_code(markdown)):
        items: list[str] = []
        for line in paragraph.splitlines():
            if not items or ITEM.match(line):
                items.append("")
            items[-1] += f"{line}\n"
        for item in items:
            if found and item.lstrip().startswith("<!--"):
                found[-1] += item
            elif item.strip() and not item.lstrip().startswith("#"):
                found.append(item)
    return found


def is_table(block: str) -> bool:
    return block.lstrip().startswith("|")


def shown(text: str) -> bool:
    """Does the text have a claim, a link, or a command?"""
    return bool("<!-- claim" in text or LINK.search(text) or COMMAND.search(" ".join(text.split())))


def bare_figures(markdown: str) -> list[str]:
    """Sentences and tables with a figure that nothing shows: neither they nor what follows them in their block.

    A table may be shown by the text directly before or after it.
    """
    found = []
    around = ["", *blocks(markdown), ""]
    for before, block, after in zip(around, around[1:], around[2:], strict=False):
        if is_table(block):
            if UNIT.search(block) and not any(shown(text) for text in (before, block, after)):
                found.append(block.splitlines()[0])
            continue
        sentences = SENTENCE_END.split(block)
        for number, sentence in enumerate(sentences):
            if UNIT.search(re.sub(r"`[^`]*`", "", sentence)) and not shown(" ".join(sentences[number:])):
                found.append(" ".join(sentence.split()))
    return found


def test_no_figure_of_the_readme_comes_from_nowhere() -> None:
    assert bare_figures((ROOT / "README.md").read_text("utf-8")) == [], (
        "add a claim (tools/claims.py), or the command or the page that has it"
    )


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("It takes 20 ms. So it is.", ["It takes 20 ms."]),
        ("It takes 20 ms.\n<!-- claim: make help | exit = 0 -->", []),
        ("It takes 20 ms.\n\n<!-- claim: make help | exit = 0 -->", []),
        ("It takes 20 ms; see [there](docs/x.md).", []),
        ("See [there](docs/x.md). It takes 20 ms.", ["It takes 20 ms."]),
        ("It takes 20 ms. Seen by `.venv/bin/python -m\nbenchmarks.bus`.", []),
        ("- A tenth, 10 %.\n- See `make demo`.", ["- A tenth, 10 %."]),
        ("At most 50 calls.", ["At most 50 calls."]),
        ("Set `WAIT=20 s` and three calls.", []),
        ("```\nIt takes 20 ms.\n```", []),
        ("| a | b |\n| --- | --- |\n| x | 20 ms |", ["| a | b |"]),
        ("`make bench` prints:\n\n| a | b |\n| --- | --- |\n| x | 20 ms |", []),
        ("| a | b |\n| --- | --- |\n| x | 20 ms |\n\nBy `make bench`.", []),
        ("| a | b |\n| --- | --- |\n| x | 20 ms |\n<!-- claim: make help | exit = 0 -->", []),
    ],
)
def test_a_figure_of_unknown_origin_is_seen(text: str, bare: list[str]) -> None:
    assert bare_figures(text) == bare


# --- CONTRIBUTING --------------------------------------------------------------------------------------------------


def test_contributing_names_files_that_are_there() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    named = re.findall(r"(?<![\w/])((?:[\w.-]+/)+(?:[\w.-]+\.\w+)?)(?=[`,;:.) ]|$)", page, re.MULTILINE)
    paths = {path for path in named if path.split("/")[0] in {each.name for each in ROOT.iterdir()}}
    assert len(paths) > 20
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_contributing_shows_the_syntax_of_a_claim() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    examples = "\n".join(re.findall(r"^```\n(.*?<!-- claim.*?)^```", page, re.MULTILINE | re.DOTALL))
    assert len(list(parse(examples, "CONTRIBUTING.md"))) >= 2
    assert Path(ROOT / "tools/claims.py").is_file()
