"""Combines the options of a tool that its program declares with those of the agent file, which win.  Pure."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from typing import Any

from common.agents.tools import Tool

LLM_OPTIONS = ("meanwhile", "filler_after_ms", "timeout_s", "repeatable")
"""Options that the LLM worker gets with the offer: what is said while a tool runs, how long it may, whether twice."""


def merged(declared: Tool, of_file: Tool | None) -> Tool:
    """The declared options, with those that the agent file sets to anything but their default."""
    if of_file is None:
        return declared
    given = {item.name: getattr(of_file, item.name) for item in fields(Tool) if item.name not in ("http", "parameters")}
    return replace(declared, **{name: value for name, value in given.items() if value != _defaults()[name]})


def spoken_options(tool: Tool) -> dict[str, Any]:
    """Those of LLM_OPTIONS that differ from their defaults, as JSON."""
    found = {name: getattr(tool, name) for name in LLM_OPTIONS}
    changed = {name: value for name, value in found.items() if value != _defaults()[name]}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}


def _defaults() -> dict[str, Any]:
    plain = {item.name: item.default for item in fields(Tool) if item.default is not MISSING}
    return {**plain, "parameters": {}}
