"""A Dockerfile as its stages, with what each inherits.  Pure; knows no more of the language than ours uses."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Stage:
    """One FROM and what follows it; `parent` is the stage that it is made from, if that is one of ours."""

    name: str
    image: str
    steps: tuple[tuple[str, str], ...]
    parent: Stage | None

    @property
    def all_steps(self) -> tuple[tuple[str, str], ...]:
        """(INSTRUCTION, value) of its parents and its own."""
        return (self.parent.all_steps if self.parent else ()) + self.steps

    def values(self, instruction: str) -> list[str]:
        return [value for step, value in self.all_steps if step == instruction]

    def last(self, instruction: str) -> str:
        """The value that counts; empty if there is none."""
        return (self.values(instruction) or [""])[-1]

    @property
    def command(self) -> list[str]:
        """CMD in exec form; empty if it is in shell form, or not there."""
        return exec_form(self.last("CMD"))

    @property
    def health(self) -> list[str]:
        """The command of HEALTHCHECK in exec form; empty for NONE."""
        return exec_form(self.last("HEALTHCHECK").partition("CMD ")[2])

    def health_option(self, name: str) -> float:
        """`--interval`, `--timeout` or `--start-period` of HEALTHCHECK, in seconds."""
        options = dict(word[2:].split("=") for word in self.last("HEALTHCHECK").split() if word.startswith("--"))
        return float(options[name].removesuffix("s"))

    @property
    def environment(self) -> dict[str, str]:
        pairs = (pair for value in self.values("ENV") for pair in shlex.split(value))
        return dict(pair.split("=", 1) for pair in pairs)

    @property
    def labels(self) -> dict[str, str]:
        pairs = (pair for value in self.values("LABEL") for pair in shlex.split(value))
        return dict(pair.split("=", 1) for pair in pairs)

    def copies(self) -> list[tuple[str, list[str]]]:
        """(stage or empty, sources) of each COPY of its own and its parents."""
        found = []
        for value in self.values("COPY"):
            words = shlex.split(value)
            sources = [word for word in words[:-1] if not word.startswith("--")]
            stage = next((word.partition("=")[2] for word in words if word.startswith("--from=")), "")
            found.append((stage, sources))
        return found


def exec_form(value: str) -> list[str]:
    """`["a", "b"]` as a list; anything else is no exec form."""
    return [str(word) for word in json.loads(value)] if value.startswith("[") else []


@cache
def stages(path: Path = ROOT / "Dockerfile") -> dict[str, Stage]:
    """The stages by name, in their order; one without a name has its image's."""
    found: dict[str, Stage] = {}
    given: dict[str, str] = {}
    for line in logical_lines(path.read_text("utf-8")):
        instruction, _, value = line.partition(" ")
        if instruction == "ARG" and not found:  # before the first FROM: for the FROMs alone
            name, _, default = value.partition("=")
            given[f"${{{name}}}"] = default
        elif instruction == "FROM":
            image, _, name = value.partition(" AS ")
            image = given.get(image, image)
            found[name or image] = Stage(name or image, image, (), found.get(image))
        else:
            stage = list(found.values())[-1]
            steps = (*stage.steps, (instruction, value.strip()))
            found[stage.name] = Stage(stage.name, stage.image, steps, stage.parent)
    return found


def logical_lines(text: str) -> list[str]:
    """Without comments and empty lines; continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return re.sub(r"\s*\\\n\s*", " ", "\n".join(lines)).splitlines()
