"""Fills arguments and variables of the environment into the URL, the headers and the body of a request.  Pure.

Each text is gone through once, so that nothing that was filled in is looked at again: an argument `${TOKEN}` or
`{other}` stays what it is.  An argument cannot change scheme, host, path segments or the query's other parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

_PLACE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]{0,127})\}|\{([A-Za-z_][A-Za-z0-9_]{0,63})\}")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]{0,127})\}")
_PARTS = re.compile(r"(?P<scheme>https?)://(?P<host>[^/?#]*)(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?(#.*)?", re.DOTALL)
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(-?[0-9]{1,6})\]")
_PATH_SAFE = "/:@!$&'()*+,;=~%-._"
_QUERY_SAFE = "/?:@!$&'()*+,;=~%-._[]"


class MissingVariable(LookupError):
    """A text names a variable that the environment of the process does not have; `name` is its name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class BadUrl(ValueError):
    """The URL cannot be made; the text says to the model what is wrong, and quotes no value."""


def filled(text: str, environment: Mapping[str, str]) -> str:
    """The text with each `${NAME}` filled in.  Raises MissingVariable."""
    return _VARIABLE.sub(lambda found: _variable(environment, found[1]), text)


def variables_in(*texts: str) -> set[str]:
    """The names of the variables that the texts want."""
    return {name for text in texts for name in _VARIABLE.findall(text)}


def url_of(template: str, arguments: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """The URL, percent-encoded.  Raises BadUrl and MissingVariable."""
    parts = _PARTS.fullmatch(template)
    if parts is None or _arguments_in(parts["host"]):
        raise BadUrl("The address of the tool is wrong: an argument may not stand in the name of its host.")
    host = filled(parts["host"], environment)
    if not _HOST.fullmatch(host):
        raise BadUrl("The address of the tool is wrong: its host is no name and no address.")
    path = "/".join(_segment(one, arguments, environment) for one in (parts["path"] or "/").split("/"))
    query = _encoded(parts["query"] or "", arguments, environment, _QUERY_SAFE)
    return f"{parts['scheme']}://{host}{path}{query}"


def body_of(
    template: Mapping[str, str], arguments: Mapping[str, Any], environment: Mapping[str, str]
) -> dict[str, Any]:
    """The JSON object of a body.  A value that is exactly `{name}` keeps the argument's type; without that argument the
    key is left out.  Raises MissingVariable.
    """
    body: dict[str, Any] = {}
    for key, text in template.items():
        whole = _PLACE.fullmatch(text)
        if whole and whole[2]:
            if whole[2] in arguments:
                body[key] = arguments[whole[2]]
        else:
            body[key] = _PLACE.sub(lambda found: _value(found, arguments, environment), text)
    return body


def picked(document: Any, path: str) -> Any:
    """The part of a JSON document at `order.items[0].name`; all of it for "".  Raises LookupError."""
    at = 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise LookupError(path)
        at = step.end()
        if step[2] is not None:
            if not isinstance(document, list):
                raise LookupError(path)
            document = document[int(step[2])]
        else:
            if not isinstance(document, dict):
                raise LookupError(path)
            document = document[step[1]]
    return document


def as_text(value: Any) -> str:
    """A JSON value as the text that a model reads."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def _segment(template: str, arguments: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """One segment of the path.  Raises BadUrl if an argument would make another path of it."""
    for name in _arguments_in(template):
        value = as_text(arguments.get(name, ""))
        if not value.strip():
            raise BadUrl(f"The argument {name!r} is empty.")
        if any(ord(character) < 32 for character in value):
            raise BadUrl(f"The argument {name!r} has a line break or another control character.")
        if {".", ".."} & set(re.split(r"[/\\]", unquote(value))):
            raise BadUrl(f"The argument {name!r} is not allowed to be or to contain a path such as '..'.")
    segment = _encoded(template, arguments, environment, _PATH_SAFE)
    if _arguments_in(template) and unquote(segment) in (".", ".."):
        raise BadUrl("The arguments together are a path such as '..', which is not allowed.")
    return segment


def _encoded(template: str, arguments: Mapping[str, Any], environment: Mapping[str, str], safe: str) -> str:
    pieces, at = [], 0
    for found in _PLACE.finditer(template):
        pieces.append(quote(template[at : found.start()], safe=safe))
        pieces.append(quote(_value(found, arguments, environment), safe=""))
        at = found.end()
    return "".join([*pieces, quote(template[at:], safe=safe)])


def _value(found: re.Match[str], arguments: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    if found[1]:
        return _variable(environment, found[1])
    return as_text(arguments[found[2]]) if found[2] in arguments else ""


def _variable(environment: Mapping[str, str], name: str) -> str:
    if name not in environment:
        raise MissingVariable(name)
    return environment[name]


def _arguments_in(template: str) -> list[str]:
    return [found[2] for found in _PLACE.finditer(template) if found[2]]
