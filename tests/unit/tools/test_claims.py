"""A claim beside the text is found, its command's output is read, and what is false is said to be false."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from common.agents.model import VERSION_DIGITS
from common.settings import Settings
from tools.claims import (
    BadClaim,
    CommandOutput,
    NotSeen,
    PageClaim,
    affordable,
    holds,
    main,
    parse,
    run,
    seen,
    value_of,
    verdict,
)

pytestmark = pytest.mark.processes

PAGE = """# Title

There are 70 settings. Each has a
default. <!-- claim: count settings | lines = 70 -->

- An item of 5 s.
  <!-- claim 90s: make demo --fast | /answered in ([\\d.]+) s/ <= 5 -->
- Another.

| what | figure |
| --- | ---: |
| one call | 17,900 |
| two calls | 36,000 |
<!-- claim: count bytes | $.calls[0].bytes < 17900 -->
<!-- a comment -->

```
<!-- claim: this is an example -->
```
"""


def claim(read: str, op: str = "=", value: str = "1", command: str = "x", seconds: int = 5) -> PageClaim:
    return PageClaim("page.md", 1, "It is so.", command, read, op, value, seconds)


def page(comment: str) -> list[PageClaim]:
    return list(parse(f"A sentence.\n{comment}\n", "page.md"))


def test_claims_are_found_with_their_sentences() -> None:
    assert list(parse(PAGE, "page.md")) == [
        PageClaim("page.md", 4, "There are 70 settings.", "count settings", "lines", "=", "70", 5),
        PageClaim("page.md", 7, "An item of 5 s.", "make demo --fast", r"/answered in ([\d.]+) s/", "<=", "5", 90),
        PageClaim("page.md", 14, "one call | 17,900", "count bytes", "$.calls[0].bytes", "<", "17900", 5),
    ]


def test_a_claim_may_have_several_lines_and_a_regex_may_have_a_pipe() -> None:
    (one,) = page("<!-- claim: python -m x\n  --calls 10 | /a (\\d+) \\| b/ = 3 -->")
    assert (one.command, one.read) == ("python -m x --calls 10", r"/a (\d+) \| b/")


@pytest.mark.parametrize(
    ("comment", "words"),
    [
        ("<!-- claim: make help -->", "write `claim: COMMAND"),
        ("<!-- claim: | exit = 0 -->", "write `claim: COMMAND"),
        ("<!-- claim: make help | status = 0 -->", "write `claim: COMMAND"),
        ("<!-- claim: make help | exit 0 -->", "write `claim: COMMAND"),
        ("<!-- claim soon: make help | exit = 0 -->", "write `claim: COMMAND"),
        ("<!-- claim: make 'help | exit = 0 -->", "No closing quotation"),
        ("<!-- claim: make help | /(/ = 0 -->", "unterminated subpattern"),
        ("In text <!-- claim: make --help | exit = 0 -->", "begin the line"),
        ("<!-- claim: make help | exit = 0 -->\nmore of it", "ends the paragraph"),
    ],
)
def test_what_is_no_claim_is_told_by_line(comment: str, words: str) -> None:
    with pytest.raises(BadClaim, match=r"page\.md:2: .*") as caught:
        page(comment)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("read", "output", "shown"),
    [
        ("exit", CommandOutput(2, "", "no"), "2"),
        ("lines", CommandOutput(0, "a\n\n  b\n"), "2"),
        ("text", CommandOutput(0, "  5.0 60.0\n"), "5.0 60.0"),
        (r"/p50 (\d+) ms/", CommandOutput(0, "p50 12 ms, p50 13 ms"), "12"),
        (r"/\d+ ms/", CommandOutput(0, "", "it took 12 ms"), "12 ms"),
        ("$.calls[1].ms", CommandOutput(0, '{"calls": [{}, {"ms": 3.5}]}'), "3.5"),
        ("$.name", CommandOutput(0, '{"name": "edge"}'), "edge"),
    ],
)
def test_what_is_read_from_an_output(read: str, output: CommandOutput, shown: str) -> None:
    assert seen(claim(read), output) == shown


@pytest.mark.parametrize(
    ("read", "output", "why"),
    [
        ("lines", CommandOutput(1, "a\n"), "exit 1"),
        ("/x/", CommandOutput(0, "y"), "no match"),
        ("$.a", CommandOutput(0, "no JSON"), r"no \$\.a"),
        ("$.a[3]", CommandOutput(0, '{"a": [1]}'), r"no \$\.a\[3\]"),
    ],
)
def test_what_cannot_be_read_is_false(read: str, output: CommandOutput, why: str) -> None:
    with pytest.raises(NotSeen, match=why):
        seen(claim(read), output)
    assert verdict(claim(read), output)[1] == "false"


@pytest.mark.parametrize(
    ("shown", "op", "value", "true"),
    [
        ("70", "=", "70", True),
        ("15.0", "=", "15", True),
        ("1,141", "<=", "1141", True),
        ("1141", "<", "1,141", False),
        ("-1", ">=", "0", False),
        ("3", ">", "2.5", True),
        ("3", "!=", "4", True),
        ("GPL-3.0", "=", "GPL-3.0", True),
        ("GPL-3.0", "!=", "MIT", True),
        ("has no digest", "=", "sha256", False),
    ],
)
def test_numbers_are_compared_as_numbers_and_texts_as_texts(shown: str, op: str, value: str, true: bool) -> None:
    assert holds(shown, op, value) is true


def test_a_text_is_not_larger_than_anything() -> None:
    with pytest.raises(NotSeen, match="'soon' is no number"):
        holds("soon", "<", "5")


def test_the_budget_goes_to_the_quickest_and_a_command_is_paid_once() -> None:
    claims = [claim("exit", command=name, seconds=s) for name, s in [("a", 60), ("b", 5), ("a", 30), ("c", 600)]]
    assert affordable(claims, 65) == ["b", "a"]
    assert affordable(claims, 64) == ["b"]
    assert affordable(claims, 665) == ["b", "a", "c"]
    assert verdict(claims[3], None) == ("takes 600 s", "not run")


def test_commands_run_without_a_shell_and_a_missing_one_is_false() -> None:
    assert run('python -c "print(1 > 0)"', 5) == CommandOutput(0, "True\n")
    assert run("env A=7 python -c \"import os; print(os.environ['A'])\"", 5).out == "7\n"
    assert run("no-such-program-here", 5).code == 127


def test_a_value_of_the_source_or_its_length_is_shown() -> None:
    assert value_of("common.settings.Settings.variables") == len(Settings.variables())
    assert value_of("common.agents.model.VERSION_DIGITS") == VERSION_DIGITS


def written(folder: Path, readme: str) -> Path:
    (folder / "docs").mkdir()
    (folder / "README.md").write_text(readme)
    (folder / "docs/page.md").write_text('It ends well.\n<!-- claim 700s: python -c "exit(1)" | exit = 0 -->\n')
    return folder


@pytest.mark.parametrize(
    ("value", "status", "total"), [("3", 0, "1 true, 0 false, 1 not run"), ("4", 1, "0 true, 1 f")]
)
def test_the_command_prints_a_table_and_fails_if_a_claim_is_false(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str, status: int, total: str
) -> None:
    root = written(tmp_path, f'There are {value}.\n<!-- claim: python -c "print(3)" | text = {value} -->\n')
    assert main([], root) == status
    shown = capsys.readouterr()
    assert total in shown.out and "takes 700 s" in shown.out and "[1/1] python -c" in shown.err
    assert main(["--only", "ends well", "--seconds", "700"], root) == 1


def test_listing_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = written(tmp_path, 'So.\n<!-- claim: python -c "print(3)" | text = 3 -->\n')
    assert main(["--list"], root) == 0
    shown = capsys.readouterr()
    assert "README.md:2 So." in shown.out and "700 s" in shown.out and shown.err == ""
    (root / "README.md").write_text("So.\n<!-- claim: nothing -->\n")
    assert main(["--list"], root) == 2
    assert main(["--value", "sys.maxsize"]) == 0
    assert str(sys.maxsize) in capsys.readouterr().out
