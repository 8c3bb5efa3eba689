"""The commands that a Markdown page gives its reader, word by word: from `sh` blocks, and from code in its text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = frozenset(
    {"make", "docker", "kubectl", "kind", "curl", "python", ".venv/bin/python", "redis-cli", "redis_in", "openssl"}
    | {"base64", "chronyc", "cp", "git", "grep", "printf", "sh", "exec", "kill", "sudo", "apt-get", "ngrok", "tail"}
)
"""What a reader may be told to start.  Whatever else begins a command is a mistake, or has to be added here."""
BUILT_IN = frozenset({"for", "do", "done", "in", "set", ".", "shift", "export", "cd", "{", "}"})
OPERATORS = frozenset({"|", "&&", "||", ";", "&", "(", ")", "\n"})
_PLACEHOLDER = re.compile(r"<[a-z][\w -]*>|…")
_REDIRECTION = re.compile(r"(\d?>>?|<)(.*)")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")
_LOOP = re.compile(r"for (\w+) in ([^;]*); do (.*); done")
_FUNCTION = re.compile(r"^(\w+)\(\) \{\n?(.*?)\n?\}$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command.  `piped_to` is the command that reads its output; `placed` is where on the page it stands."""

    page: str
    placed: int
    words: tuple[str, ...]
    piped_to: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: its language and its text without the list's indentation."""

    placed: int
    language: str
    text: str


def blocks(markdown: str) -> list[Block]:
    """The fenced blocks of a page."""
    found = []
    for match in re.finditer(r"^( *)```(\w*)\n(.*?)^ *```$", markdown, re.MULTILINE | re.DOTALL):
        indent, language, text = match.groups()
        lines = [line.removeprefix(indent) for line in text.splitlines()]
        found.append(Block(match.start(), language, "\n".join(lines)))
    return found


def commands(path: Path, name: str) -> list[Command]:
    """All commands of a page.  Code in the text counts if it begins with one of PROGRAMS and goes on."""
    markdown = path.read_text("utf-8")
    found = [
        command
        for block in blocks(markdown)
        if block.language == "sh"
        for command in _script(block.text, name, block.placed)
    ]
    for match in re.finditer(r"`([^`]+)`", _without_blocks(markdown)):
        text = " ".join(match[1].split())
        if " " in text and text.split()[0] in PROGRAMS:
            found += _script(text, name, match.start())
    return found


def _without_blocks(markdown: str) -> str:
    """The same text with its blocks blanked out, so that positions stay."""
    return re.sub(r"^ *```.*?^ *```$", lambda match: " " * len(match[0]), markdown, flags=re.MULTILINE | re.DOTALL)


def _script(text: str, page: str, placed: int) -> Iterator[Command]:
    for function in _FUNCTION.finditer(text):
        yield from _script(function[2], page, placed)
    yield from _lines(_FUNCTION.sub("", text), page, placed)


def _lines(text: str, page: str, placed: int) -> Iterator[Command]:
    text = _PLACEHOLDER.sub("PLACEHOLDER", text.replace("\\\n", " "))
    for line in (once for written in text.splitlines() for once in _unrolled(written)):
        while found := _SUBSTITUTION.search(line):
            yield from _simple(found[1], page, placed)
            line = line.replace(found[0], "SUBSTITUTED")
        yield from _simple(line, page, placed)


def _unrolled(line: str) -> list[str]:
    """A loop on one line, as the lines that it runs."""
    found = _LOOP.fullmatch(line.strip())
    if not found:
        return [line]
    return [re.sub(rf"\$\{{?{found[1]}\b\}}?", value, found[3]) for value in found[2].split()]


def _simple(line: str, page: str, placed: int) -> Iterator[Command]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&")
    lexer.whitespace_split, lexer.commenters = True, "#"
    parts: list[list[str]] = [[]]
    pipes = []
    for word in lexer:
        if word in OPERATORS:
            pipes.append(word == "|")
            parts.append([])
        else:
            parts[-1].append(word)
    simple = [_started(part) for part in parts]
    for number, words in enumerate(simple):
        if words:
            piped = number < len(pipes) and pipes[number]
            yield Command(page, placed, words, simple[number + 1] if piped else ())


def _started(words: list[str]) -> tuple[str, ...]:
    """Without redirections, without variables that are set, and without words of the shell itself."""
    kept, skip = [], False
    for word in words:
        redirected = _REDIRECTION.fullmatch(word)
        if not skip and not redirected:
            kept.append(word)
        skip = bool(redirected and not redirected[2])
    words = kept
    while words and (words[0] in ("do", "{") or _ASSIGNMENT.match(words[0])):
        words = words[1:]
    return () if words and words[0] in BUILT_IN - {"."} else tuple(words)
