"""Makes a tool of a Python function: its arguments and docstring become what the language model is told."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from voice.calls import Call

F = TypeVar("F", bound=Callable[..., Any])
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_MARK = "__voice_tool__"
_JSON_TYPES: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
_ADVICE = "write str, int, float, bool, Literal[...], a list of one of these, or one of these with `| None`"
_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns?|Yields?|Raises|Examples?|Notes?):\s*$", re.IGNORECASE)
_ARGUMENT = re.compile(r"^(\s+)\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_PARAM = re.compile(r"^\s*:param\s+(?:[^:\s]+\s+)?(\w+)\s*:\s*(.*)$")
_FIELD = re.compile(r"^\s*:(?:type|rtype|returns?|raises?)\b")


class BadTool(TypeError):
    """A function cannot be a tool; the text says what to change."""


@dataclass(frozen=True, slots=True)
class ToolFunction:
    """A function that the model may call, and what is known of it."""

    name: str
    description: str
    parameters: dict[str, Any]
    """The JSON Schema of its arguments: an object."""
    function: Callable[..., Any]
    call_parameter: str
    """The parameter that gets the `Call`; empty: none does."""
    none_if_missing: tuple[str, ...]
    """Parameters that may be None and have no default: they get None if the model leaves them out."""
    options: dict[str, Any]
    """The options of the decorator that were given; they have the names of an agent file's options."""


def tool(
    function: F | None = None,
    *,
    name: str = "",
    timeout_s: int | None = None,
    repeatable: bool | None = None,
    parallel: bool | None = None,
    meanwhile: Sequence[str] | str = (),
    filler_after_ms: int | None = None,
) -> Any:
    """Make a tool of the function; use it as `@tool` or `@tool(repeatable=True)`.

    The options mean what they mean in an agent file (docs/tools.md).  Raises BadTool if the model could not call it.
    """
    sentences = [meanwhile] if isinstance(meanwhile, str) else list(meanwhile)
    given = {
        "timeout_s": timeout_s, "repeatable": repeatable, "parallel": parallel, "meanwhile": sentences or None,
        "filler_after_ms": filler_after_ms,
    }  # fmt: skip

    def mark(function: F) -> F:
        options = {key: value for key, value in given.items() if value is not None}
        setattr(function, _MARK, (name or function.__name__, options))
        described(function)
        return function

    return mark if function is None else mark(function)


def described(function: Callable[..., Any]) -> ToolFunction:
    """What is known of a function that `tool` has marked.  Raises BadTool."""
    name, options = getattr(function, _MARK)
    if not NAME.fullmatch(name):
        raise BadTool(f"{name!r} is no name of a tool; write letters, digits and '_'")
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise BadTool(f"{name}: the type {error.name!r} of an argument is not known") from None
    about, texts = _docstring(inspect.getdoc(function) or "")
    properties: dict[str, Any] = {}
    required: list[str] = []
    none_if_missing: list[str] = []
    call_parameter = ""
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name)
        if hint is Call:
            call_parameter = parameter.name
            continue
        where = f"{name}: the argument {parameter.name!r}"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise BadTool(f"{where} cannot be given by name; remove its '*' or the '/'")
        if hint is None:
            raise BadTool(f"{where} has no type; {_ADVICE}")
        properties[parameter.name] = _schema(hint, where)
        if text := texts.get(parameter.name):
            properties[parameter.name].setdefault("description", text)
        if parameter.default is parameter.empty:
            (none_if_missing if _may_be_none(hint) else required).append(parameter.name)
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return ToolFunction(name, about, schema, function, call_parameter, tuple(none_if_missing), options)


def tools_of(namespace: dict[str, Any]) -> dict[str, ToolFunction]:
    """The tools among the values of a module, by name.  Raises BadTool for two of one name."""
    found: dict[str, ToolFunction] = {}
    for value in namespace.values():
        if inspect.isfunction(value) and hasattr(value, _MARK):
            one = described(value)
            if found.setdefault(one.name, one).function is not value:
                raise BadTool(f"two tools are named {one.name!r}; give one another name")
    return found


def _may_be_none(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _may_be_none(get_args(hint)[0])
    return get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint)


def _schema(hint: Any, where: str) -> dict[str, Any]:
    """The JSON Schema of a type.  Raises BadTool."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        texts = [text for text in arguments[1:] if isinstance(text, str)]
        return {**_schema(arguments[0], where), **({"description": texts[0]} if texts else {})}
    if hint in _JSON_TYPES:
        return {"type": _JSON_TYPES[hint]}
    if origin is Literal:
        kinds = {type(value) for value in arguments}
        if len(kinds) == 1 and (kind := kinds.pop()) in _JSON_TYPES:
            return {"type": _JSON_TYPES[kind], "enum": list(arguments)}
    if hint is list:
        return {"type": "array"}
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0], where)}
    if origin in (Union, types.UnionType):
        rest = [one for one in arguments if one is not type(None)]
        if len(rest) == 1 and len(rest) < len(arguments):
            return _schema(rest[0], where)
    raise BadTool(f"{where} has a type that a model cannot give; {_ADVICE}")


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """(what the function does, what each argument is), from Google's style or from `:param name: …` lines."""
    about: list[str] = []
    arguments: dict[str, str] = {}
    section, newest, indent = "", "", 0
    for line in text.splitlines():
        if found := _SECTION.match(line):
            section, newest = found[1].lower(), ""
        elif found := _PARAM.match(line):
            section, newest = "param", found[1]
            arguments[newest] = found[2]
        elif _FIELD.match(line):
            section, newest = "field", ""
        elif (
            section in ("args", "arguments", "parameters")
            and (found := _ARGUMENT.match(line))
            and (not newest or len(found[1]) <= indent)
        ):
            newest, indent = found[2], len(found[1])
            arguments[newest] = found[3]
        elif newest and line.strip():
            arguments[newest] = f"{arguments[newest]} {line.strip()}".strip()
        elif not section:
            about.append(line)
    return " ".join("\n".join(about).split()), {name: text.strip() for name, text in arguments.items()}
