"""Reads a document into a class whose fields declare their types and bounds as `Annotated[..., Meta(...)]`.

msgspec checks each value by itself, because it stops at the first mistake and names no remedy; this module walks the
document, collects a `Problem` for each wrong value and says what to write.  Values may be text (from YAML) or typed
(from JSON).  A declaration may say more in `Meta.extra`:

  former     a former name of the key, which is read too
  one_value  of a class: one value for all its keys may stand in place of the mapping
  noun       what the text should be, for "… is no phone number"
  private    the value is never quoted
  one_text   of a list: what one text in its place is: a "sentence", which is one entry, or a "command", whose words
             are separated as in a shell; otherwise its entries are separated by commas

`patternErrorMessage` in `Meta.extra_json_schema` says what to write; editors show it, too.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from msgspec import Meta, ValidationError, convert, inspect

Path: TypeAlias = tuple[str | int, ...]
FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""The words of a field that is true or false, in any case."""
WHOLE_NUMBER = r"-?[0-9]{1,12}"
SHOWN_CHARS_MAX = 40
_Result = TypeVar("_Result")


def like(regex: str, write: str, **extra: Any) -> Meta:
    """A text that matches all of `regex`; `write` tells a person, at the start or in an editor, what to write."""
    return Meta(pattern=f"^({regex})$", extra=extra, extra_json_schema={"patternErrorMessage": f"write {write}"})


class Problem(NamedTuple):
    """A mistake in a document: `path` leads to the value (`("turn", "endpointing_ms")`), `what` says what to write."""

    path: Path
    what: str


def read(
    shape: type, document: Any, make: type[_Result], *, strict: bool, **more: Any
) -> tuple[_Result | None, list[Problem]]:
    """Read `document` by the fields of `shape` into a `make`, which has those of `more` too.

    Returns (the result, no problems), or (None, every problem found).  `strict` reports unknown keys.
    """
    reader = _Reader(strict)
    found = reader.value(shape, document, ())
    return (None, reader.problems) if reader.problems else (convert({**found, **more}, make), [])


@cache
def keys_of(shape: type) -> Mapping[str, Any]:
    """The keys of a class and their types, with all that is declared of them."""
    return get_type_hints(shape, include_extras=True)


@cache
def required_keys(shape: Any) -> frozenset[str]:
    """The keys that have no default."""
    return frozenset(key.name for key in fields(shape) if key.default is key.default_factory is MISSING)


@cache
def former_names(shape: type) -> Mapping[str, str]:
    """Former name -> the key that it is read as."""
    return {former: key for key, hint in keys_of(shape).items() if (former := extra(hint, "former"))}


def extra(hint: Any, name: str) -> Any:
    """The value under `name` in the declaration of a type, in `extra` or `extra_json_schema`, or None."""
    metas = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, Meta)]
    found = [more[name] for meta in metas for more in (meta.extra, meta.extra_json_schema) if more and name in more]
    return found[0] if found else None


def plain_type(hint: Any) -> Any:
    """The type without what is declared of it."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def optional_type(hint: Any) -> Any:
    """The type X of a key that is declared as `X | None`, which may be left empty; else None."""
    kind = plain_type(hint)
    others = [one for one in get_args(kind) if one is not NoneType] if get_origin(kind) is UnionType else []
    return others[0] if len(others) == 1 else None


class _Reader:
    """Turns a document into values that msgspec takes, and collects the problems of those that it does not take."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self.problems: list[Problem] = []

    def value(self, hint: Any, value: Any, path: Path) -> Any:
        if (present := optional_type(hint)) is not None:
            return None if value is None or value == "" else self.value(present, value, path)
        kind = plain_type(hint)
        if is_dataclass(kind):
            return self._record(hint, kind, value, path)
        if get_origin(kind) is tuple:
            return self._entries(hint, get_args(kind)[0], value, path)
        if get_origin(kind) is Mapping:
            return self._lines(hint, value, path)
        typed = _typed(kind, value)
        try:
            convert(typed, hint)
        except ValidationError:
            self._problem(path, _advice(hint, value, path))
        return typed

    def _record(self, hint: Any, shape: Any, value: Any, path: Path) -> dict[str, Any]:
        keys, former, found = keys_of(shape), former_names(shape), {}
        if extra(hint, "one_value") and not isinstance(value, dict):
            return dict.fromkeys(keys, self.value(next(iter(keys.values())), value, path))
        entries = {} if value is None or value == "" else value
        if not isinstance(entries, dict):
            self._problem(path, f"{_where(path)} must be `key: value` lines; write one of: {', '.join(keys)}")
            return {}
        for key, entry in entries.items():
            name, here = former.get(key, key), (*path, key)
            if name != key and name in entries:
                self._problem(here, f"{_where(here)} is the former name of {name!r}; keep only that one")
            elif name in keys:
                found[name] = self.value(keys[name], entry, here)
            elif self._strict:
                near = difflib.get_close_matches(str(key), keys, n=1)
                advice = f"did you mean {near[0]!r}?" if near else f"write one of: {', '.join(keys)}"
                self._problem(here, f"unknown key {_shown(key)}; {advice}")
        for key in (key for key in keys if key in required_keys(shape) and key not in found):
            self._problem(path, f"{key!r} is missing; write `{key}: …`")
        return found

    def _entries(self, hint: Any, of: Any, value: Any, path: Path) -> list[Any]:
        """A list, or one text: by default with commas as in the environment."""
        try:
            value = _parts(value, extra(hint, "one_text")) if isinstance(value, str) else value or []
        except ValueError:
            self._problem(path, f"{_where(path)} has a quote that does not end; write `{path[-1]}: [first, second]`")
            return []
        if not isinstance(value, list | tuple):
            self._problem(path, f"{_where(path)} must be a list; write `{path[-1]}: [first, second]`")
        elif len(value) > (most := _bounds(hint).max_length):
            self._problem(path, f"{_where(path)} has {len(value):,} entries; write at most {most:,}")
        else:
            return [self.value(of, entry, (*path, index)) for index, entry in enumerate(value)]
        return []

    def _lines(self, hint: Any, value: Any, path: Path) -> dict[Any, Any]:
        """A mapping whose keys the author of the file chooses."""
        entries, most = {} if value is None or value == "" else value, _bounds(hint).max_length
        of_name, of = get_args(plain_type(hint))
        if not isinstance(entries, dict) or len(entries) > most:
            lines = (
                "names, each with its own keys below it" if is_dataclass(plain_type(of)) else "lines of `name: text`"
            )
            self._problem(path, f"{_where(path)} must be at most {most} {lines}")
            return {}
        paths = {name: (*path, name) for name in entries}
        return {self.value(of_name, name, paths[name]): self.value(of, entries[name], paths[name]) for name in entries}

    def _problem(self, path: Path, what: str) -> None:
        self.problems.append(Problem(path, what))


def _typed(kind: Any, value: Any) -> Any:
    """The value that a text stands for in a field of this kind, or the text without spaces around it."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if kind is bool:
        return FLAGS.get(text.lower(), text)
    if kind is int and re.fullmatch(WHOLE_NUMBER, digits := text.replace("_", "")):
        return int(digits)
    return text


def _parts(text: str, kind: str | None) -> list[str]:
    """The entries of a list that was written as one text.  Raises ValueError if a quote does not end."""
    if kind == "sentence":
        return [text] if text.strip() else []
    return shlex.split(text) if kind == "command" else [one for one in text.split(",") if one.strip()]


@cache
def _bounds(hint: Any) -> Any:
    """The bounds that are declared of a type, as msgspec has them, which takes it longer than the rest of the check."""
    info = inspect.type_info(hint)
    return info.type if isinstance(info, inspect.Metadata) else info


def _advice(hint: Any, value: Any, path: Path) -> str:
    """What is wrong with a value that is not of the type `hint`, and what to write."""
    where, is_entry = _where(path), isinstance(path[-1], int)
    match _bounds(hint):
        case inspect.IntType(ge=least, le=most):
            return f"{where} is {_shown(value)}; write a whole number from {least:,} to {most:,}"
        case inspect.BoolType():
            return f"{where} is {_shown(value)}; write true or false"
        case inspect.LiteralType():
            *first, last = map(str, get_args(plain_type(hint)))
            return f"{where} is {_shown(value)}; write {', '.join(first)} or {last}"
        case _ if is_entry and not isinstance(value, str):
            return f"{where} must be text; put it in quotes"
        case inspect.StrType(pattern=str()):
            return f"{_no_such(hint, value, where, is_entry)}; {extra(hint, 'patternErrorMessage')}"
        case _ if not isinstance(value, str):
            return f"{where} must be text; write it in quotes, or below `{path[-1]}: |`"
        case bounds:
            least, most = bounds.min_length or 0, bounds.max_length
            return f"{where} has {len(value.strip()):,} characters; write {least} to {most:,} characters"


def _no_such(hint: Any, value: Any, where: str, is_entry: bool) -> str:
    noun = extra(hint, "noun")
    if noun is None:
        return f"{where} is {_shown(value)}"
    if extra(hint, "private"):
        return f"{where} is no {noun}"
    return f"{where} {_shown(value)} is no {noun}" if is_entry else f"{_shown(value)} is no {noun}"


def _where(path: Path) -> str:
    if path and isinstance(path[-1], int):
        return f"entry {path[-1] + 1} of {_where(path[:-1])}:"
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
