"""Checks the fields of an agent's document, with one small checker for each kind of value.

A checker takes a value, its path in the document and the list of problems.  It returns the value in its final type and
appends a `Problem` for a wrong one; it never stops at the first.  Values may be text (from YAML) or typed (from JSON).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
TRUE = frozenset({"true", "yes", "on"})
FALSE = frozenset({"false", "no", "off"})
SPEC_CHARS_MAX = 128
SHOWN_CHARS_MAX = 40


class Problem(NamedTuple):
    """A mistake in a document: `path` leads to the value (`("turn", "endpointing_ms")`), `what` says what to write."""

    path: Path
    what: str


Check: TypeAlias = Callable[[Any, Path, list[Problem]], Any]
Shape: TypeAlias = Mapping[str, "Check | tuple[Mapping[str, Any], Callable[..., Any]] | str"]
"""The keys of a mapping: a checker for each key, or (nested shape, constructor of its result).

A text in place of a checker marks a former name of the key that it names; both are read."""


def mapping(shape: Shape, value: Any, path: Path, problems: list[Problem], *, strict: bool) -> dict[str, Any]:
    """The known keys of `value`, checked.  An empty value is an empty mapping; `strict` reports unknown keys."""
    if value is None or value == "":
        value = {}
    if not isinstance(value, dict):
        problems.append(
            Problem(path, f"{_where(path)} must be `key: value` lines; write one of: {', '.join(_present(shape))}")
        )
        return {}
    found: dict[str, Any] = {}
    for key, entry in value.items():
        here = (*path, key)
        if key not in shape:
            if strict:
                problems.append(Problem(here, _unknown(key, shape)))
            continue
        count, what = len(problems), shape[key]
        if isinstance(what, str):
            if what in value:
                problems.append(Problem(here, f"{_where(here)} is the former name of {what!r}; keep only that one"))
                continue
            key, what = what, shape[what]
        match what:
            case str():
                raise AssertionError(f"the former name of {key!r} leads to another former name")
            case (nested, make):
                found[key] = make(**mapping(nested, entry, here, problems, strict=strict))
            case check:
                found[key] = check(entry, here, problems)
        if len(problems) > count:
            del found[key]
    return found


def text(chars_min: int, chars_max: int) -> Check:
    """A checker of text with `chars_min` to `chars_max` characters after stripping."""

    def check(value: Any, path: Path, problems: list[Problem]) -> str:
        if not isinstance(value, str):
            problems.append(Problem(path, f"{_where(path)} must be text; write it in quotes, or below `{path[-1]}: |`"))
            return ""
        stripped = value.strip()
        if not chars_min <= len(stripped) <= chars_max:
            bounds = f"{chars_min} to {chars_max:,} characters"
            problems.append(Problem(path, f"{_where(path)} has {len(stripped):,} characters; write {bounds}"))
        return stripped

    return check


def pattern(regex: str, example: str) -> Check:
    """A checker of text that matches `regex`; a problem quotes `example` as what to write."""

    def check(value: Any, path: Path, problems: list[Problem]) -> str:
        if not isinstance(value, str) or not re.fullmatch(regex, value.strip()):
            problems.append(Problem(path, f"{_where(path)} is {_shown(value)}; write {example}"))
            return ""
        return value.strip()

    return check


name_text = pattern(r"[a-z0-9][a-z0-9_-]{0,63}", "small letters, digits, '-' and '_', at most 64, such as 'front-desk'")


def bounded(least: int, most: int) -> Check:
    """A checker of a whole number from `least` to `most`, given as a number or as text."""

    def check(value: Any, path: Path, problems: list[Problem]) -> int:
        raw = str(value).strip().replace("_", "")
        number = int(raw) if re.fullmatch(r"-?[0-9]{1,12}", raw) else None
        if number is None or not least <= number <= most:
            problems.append(
                Problem(path, f"{_where(path)} is {_shown(value)}; write a whole number from {least:,} to {most:,}")
            )
            return least
        return number

    return check


def per_direction(check: Check, make: Callable[..., Any]) -> Check:
    """A checker of one value for both directions of a call, or of one under `inbound` and one under `outbound`."""

    def checked(value: Any, path: Path, problems: list[Problem]) -> Any:
        if isinstance(value, dict):
            return make(**mapping({"inbound": check, "outbound": check}, value, path, problems, strict=True))
        one = check(value, path, problems)
        return make(inbound=one, outbound=one)

    return checked


def flag(value: Any, path: Path, problems: list[Problem]) -> bool:
    """A checker of true and false, yes and no, on and off."""
    word = str(value).strip().lower()
    if word not in TRUE | FALSE:
        problems.append(Problem(path, f"{_where(path)} is {_shown(value)}; write true or false"))
    return word in TRUE


def texts(count_max: int, wrong: Callable[[str], str | None], *, quote: bool = False) -> Check:
    """A checker of a list of texts, or of one text with commas.  `wrong` returns what is wrong with an entry, or None.

    `quote` shows a wrong entry in its problem; leave it off for values that must not reach a log.
    """

    def check(value: Any, path: Path, problems: list[Problem]) -> tuple[str, ...]:
        entries = [one for one in value.split(",") if one.strip()] if isinstance(value, str) else value or []
        if not isinstance(entries, list):
            problems.append(Problem(path, f"{_where(path)} must be a list; write `{path[-1]}: [first, second]`"))
            return ()
        if len(entries) > count_max:
            problems.append(Problem(path, f"{_where(path)} has {len(entries):,} entries; write at most {count_max:,}"))
            return ()
        for index, entry in enumerate(entries):
            reason = wrong(entry.strip()) if isinstance(entry, str) else "must be text; put it in quotes"
            if reason:
                shown = f"{_shown(entry)} " if quote else ""
                problems.append(Problem((*path, index), f"entry {index + 1} of {_where(path)}: {shown}{reason}"))
        return tuple(entry.strip() for entry in entries if isinstance(entry, str))

    return check


def named_texts(count_max: int, chars_max: int) -> Check:
    """A checker of `name: text` lines; a name consists of letters, digits and `_`."""

    def check(value: Any, path: Path, problems: list[Problem]) -> dict[str, str]:
        entries = value if value not in (None, "") else {}
        if not isinstance(entries, dict) or len(entries) > count_max:
            problems.append(Problem(path, f"{_where(path)} must be at most {count_max} lines of `name: text`"))
            return {}
        for name, text in entries.items():
            if not re.fullmatch(r"[A-Za-z0-9_]{1,64}", str(name)):
                problems.append(Problem((*path, name), f"{_shown(name)} is no name; write letters, digits and '_'"))
            elif not isinstance(text, str) or len(text) > chars_max:
                problems.append(
                    Problem((*path, name), f"{_where((*path, name))} must be text of {chars_max:,} at most")
                )
        return {str(name): str(text).strip() for name, text in entries.items()}

    return check


def specs(count_max: int) -> Check:
    """A checker of provider specs, given as a list or, as in the environment, as one text with commas."""

    def wrong(spec: str) -> str | None:
        if len(spec) <= SPEC_CHARS_MAX and re.fullmatch(r"[a-z0-9_-]+/\S+", spec):
            return None
        return "is no provider; write vendor/model, such as openai/gpt-4o-mini, or leave it empty for the default"

    many = texts(count_max, wrong, quote=True)

    def check(value: Any, path: Path, problems: list[Problem]) -> tuple[str, ...]:
        if isinstance(value, str):
            value = [spec for spec in value.split(",") if spec.strip()]
        found: tuple[str, ...] = many(value, path, problems)
        return found

    return check


def _unknown(key: Any, shape: Shape) -> str:
    near = difflib.get_close_matches(str(key), _present(shape), n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"write one of: {', '.join(_present(shape))}"
    return f"unknown key {_shown(key)}; {advice}"


def _present(shape: Shape) -> list[str]:
    """The present keys of a shape, without the former names."""
    return [key for key, what in shape.items() if not isinstance(what, str)]


def _where(path: Path) -> str:
    return repr(".".join(str(step) for step in path)) if path else "the file"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None or value == "":
        return "empty"
    shown = repr(value)
    return shown if len(shown) <= SHOWN_CHARS_MAX else f"{shown[: SHOWN_CHARS_MAX - 2]}…'"
