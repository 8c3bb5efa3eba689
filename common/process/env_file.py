"""A `.env` file: `NAME=value` lines, read as docker compose reads them, and where each one stands.

Comments, quotes and `export` as usual; nothing is expanded.  A `#` after a blank begins a comment, unless the value is
in quotes.  No value is ever repeated: any of them may be a secret.
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
"""The repository's, from whatever folder a command is started."""
OTHERS = (
    "COMPOSE_", "DOCKER_", "HF_", "HTTP_PROXY", "HTTPS_PROXY", "LANG", "LC_", "NO_COLOR", "NO_PROXY", "OTEL_", "PATH",
    "PIP_", "PYTHON", "SSL_", "TZ",
)  # fmt: skip
"""How names begin that libraries and tools read, not we."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COMPOSE_NAME = re.compile(r"\$\{([A-Z][A-Z0-9_]*)")


@dataclass(frozen=True, slots=True)
class EnvFile:
    """What the file says; empty if there is none."""

    path: Path
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    lines: Mapping[str, int] = field(default_factory=dict)
    """Name -> the line that counts."""
    problems: tuple[str, ...] = ()
    """Lines that set nothing, or set again what stood before."""

    @classmethod
    def read(cls, path: Path = ENV_FILE) -> Self:
        """Read the file.  A missing one is empty; so is one that cannot be read, with a problem."""
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
        """The environment of a process: what is set there wins over the file."""
        return {**self.values, **environ}

    def located(self, problem: str, environ: Mapping[str, str]) -> str:
        """A problem that begins with a variable's name, with the file and the line if that is where it comes from."""
        name = re.split(r"[:,]", problem, maxsplit=1)[0]
        if name in self.lines and name not in environ:
            return f"{self.path.name}:{self.lines[name]}: {problem}"
        return problem

    def unknown(self, known: Collection[str]) -> list[str]:
        """A line for each name that nobody reads, with the one that was probably meant."""
        told = list(self.problems)
        for name, number in self.lines.items():
            if name in known:
                continue
            near = [name.upper()] if name.upper() in known else difflib.get_close_matches(name.upper(), known, 1, 0.75)
            if near:
                told.append(f"{self.path.name}:{number}: nothing reads {name}; did you mean {near[0]}?")
            elif not name.upper().startswith(OTHERS):
                told.append(f"{self.path.name}:{number}: nothing reads {name}; docs/settings.md has all names")
        return told


def compose_variables(path: Path = ROOT / "docker-compose.yml") -> frozenset[str]:
    """The names that docker compose puts into its file; they may be in `.env`, too."""
    return frozenset(_COMPOSE_NAME.findall(path.read_text("utf-8"))) if path.is_file() else frozenset()


def _value(raw: str) -> str:
    if raw[:1] in ("'", '"') and (end := raw.find(raw[0], 1)) > 0:
        return raw[1:end]
    return re.split(r"(?:^|\s)#", raw, maxsplit=1)[0].strip()
