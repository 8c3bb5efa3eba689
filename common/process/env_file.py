"""Reads a `.env` file: `NAME=value` lines as docker compose reads them, with the line of each.

Comments, quotes and `export` have their usual meaning; nothing is expanded.  A `#` after a blank begins a comment,
unless the value is quoted.  No message repeats a value, because any of them may be a secret.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
ENV_FILE = ROOT / ".env"
"""The repository's file, whatever the current folder is."""
OTHERS = (
    "COMPOSE_", "DOCKER_", "HF_", "HTTP_PROXY", "HTTPS_PROXY", "LANG", "LC_", "NO_COLOR", "NO_PROXY", "OTEL_", "PATH",
    "PIP_", "PYTHON", "SSL_", "TZ",
)  # fmt: skip
"""Prefixes of names that libraries and tools read, and this project does not."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COMPOSE_NAME = re.compile(r"\$\{([A-Z][A-Z0-9_]*)")


@dataclass(frozen=True, slots=True)
class EnvFile:
    """The content of the file; empty if there is none."""

    path: Path
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    lines: Mapping[str, int] = field(default_factory=dict)
    """Name -> number of the line that counts."""
    problems: tuple[str, ...] = ()
    """Messages about lines that set nothing, or set a name again."""

    @classmethod
    def read(cls, path: Path = ENV_FILE) -> Self:
        """Read the file; a missing or unreadable one is empty, the latter with a problem.  Never raises."""
        values: dict[str, str] = {}
        lines: dict[str, int] = {}
        problems: list[str] = []
        try:
            raw = path.read_text("utf-8-sig", errors="replace") if path.is_file() else ""
        except OSError as error:
            raw, problems = "", [f"{path.name}: cannot be read ({type(error).__name__})"]
        for number, line in enumerate(raw.splitlines(), 1):
            text = line.strip().removeprefix("export ").strip()
            if not text or text.startswith("#"):
                continue
            name, equals, value = text.partition("=")
            name = name.strip()
            if not equals or not _NAME.fullmatch(name):
                problems.append(f"{path.name}:{number}: sets nothing; write NAME=value")
                continue
            if name in lines:
                problems.append(f"{path.name}:{number}: {name} stands on line {lines[name]} too; this one counts")
            values[name], lines[name] = _value(value.strip()), number
        return cls(path, values, lines, tuple(problems))

    def merged(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment of a process: values of `environ` win over the file's."""
        return {**self.values, **environ}

    def located(self, problem: str, environ: Mapping[str, str]) -> str:
        """A problem that begins with a variable's name, prefixed by file and line if the value comes from the file."""
        name = re.split(r"[:,]", problem, maxsplit=1)[0]
        if name in self.lines and name not in environ:
            return f"{self.path.name}:{self.lines[name]}: {problem}"
        return problem

    def unknown(self, known: Collection[str]) -> list[str]:
        """A message for each name that is never read, with the name that was probably meant."""
        messages = list(self.problems)
        for name, number in self.lines.items():
            if name in known:
                continue
            near = [name.upper()] if name.upper() in known else difflib.get_close_matches(name.upper(), known, 1, 0.75)
            if near:
                messages.append(f"{self.path.name}:{number}: nothing reads {name}; did you mean {near[0]}?")
            elif not name.upper().startswith(OTHERS):
                messages.append(f"{self.path.name}:{number}: nothing reads {name}; docs/settings.md has all names")
        return messages


def compose_variables(path: Path = ROOT / "docker-compose.yml") -> frozenset[str]:
    """The names that docker-compose.yml substitutes; `.env` may contain them as well."""
    return frozenset(_COMPOSE_NAME.findall(path.read_text("utf-8"))) if path.is_file() else frozenset()


def _value(raw: str) -> str:
    if raw[:1] in ("'", '"') and (end := raw.find(raw[0], 1)) > 0:
        return raw[1:end]
    return re.split(r"(?:^|\s)#", raw, maxsplit=1)[0].strip()
