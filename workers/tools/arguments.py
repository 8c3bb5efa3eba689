"""Reads and checks the arguments that a model wrote, against the JSON Schema of the tool.  Pure.

Models write numbers as texts and leave out what they should not: what is certainly meant is taken, anything else is
told to the model in a sentence with which it can try again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from common.agents.tools import Tool

DEPTH_MAX = 20
TEXT_CHARS_MAX = 8_000
"""Most characters of one text among the arguments."""
_SECRET = re.compile(r"\{\{\s*secret\.([A-Za-z0-9_]{1,64})\s*\}\}")


class BadArguments(ValueError):
    """The arguments cannot be used; the text says to the model what is wrong, and quotes no value."""


def schema_of(tool: Tool) -> dict[str, Any]:
    """The JSON Schema of the arguments that an agent file declares."""
    properties: dict[str, Any] = {}
    for name, parameter in tool.parameters.items():
        choices = [_choice(parameter.type, choice) for choice in parameter.choices]
        properties[name] = {
            "type": parameter.type,
            **({"description": parameter.description} if parameter.description else {}),
            **({"enum": choices} if choices else {}),
        }
    required = [name for name, parameter in tool.parameters.items() if parameter.required]
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _choice(kind: str, text: str) -> Any:
    """A choice of an agent file, which is text, as a value of its JSON type."""
    try:
        return text if kind == "string" else json.loads(text)
    except ValueError:
        return text


def read_arguments(text: str, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """The arguments in a JSON text; without a schema they are only an object.  Raises BadArguments."""
    try:
        found = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        raise BadArguments("The arguments are no JSON. Call the tool again with a JSON object.") from None
    if not isinstance(found, dict):
        raise BadArguments("The arguments must be a JSON object with a value for each name.")
    if _depth(found) > DEPTH_MAX:
        raise BadArguments("The arguments are nested too deeply.")
    if schema is None:
        return found
    properties: Mapping[str, Any] = schema.get("properties", {})
    given = {name: value for name, value in found.items() if name in properties and value is not None}
    missing = [name for name in schema.get("required", ()) if name not in given]
    if missing:
        raise BadArguments(f"The argument {', '.join(map(repr, missing))} is missing. Ask for it, or find it out.")
    return {name: _fitted(value, properties[name], name) for name, value in given.items()}


def secret_names(value: Any) -> set[str]:
    """The names of the secrets that the arguments refer to, as `{{secret.NAME}}`."""
    names: set[str] = set()

    def note(text: str) -> str:
        names.update(_SECRET.findall(text))
        return text

    _texts(value, note)
    return names


def with_secrets(value: Any, secrets: Mapping[str, str]) -> Any:
    """The arguments with the secrets filled in; one that is not there becomes empty."""
    return _texts(value, lambda text: _SECRET.sub(lambda found: secrets.get(found[1], ""), text))


def _texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _texts(one, change) for name, one in value.items()}
    return [_texts(one, change) for one in value] if isinstance(value, list) else value


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def _fitted(value: Any, schema: Mapping[str, Any], name: str) -> Any:
    """The value as one of the schema's type.  Raises BadArguments."""
    fitted = _of_type(value, schema, name)
    choices = schema.get("enum")
    if choices and fitted not in choices:
        raise BadArguments(f"The argument {name!r} must be one of: {', '.join(map(str, choices))}.")
    if isinstance(fitted, str) and len(fitted) > TEXT_CHARS_MAX:
        raise BadArguments(f"The argument {name!r} is too long; at most {TEXT_CHARS_MAX:,} characters.")
    return fitted


def _of_type(value: Any, schema: Mapping[str, Any], name: str) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match schema.get("type"):
        case "string":
            if isinstance(value, str):
                return value
            if is_number or isinstance(value, bool):
                return json.dumps(value)
        case "integer":
            if is_number and value == value and abs(value) < 2**63 and int(value) == value:
                return int(value)
            if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value):
                return int(value)
        case "number":
            if is_number and value == value and abs(value) != float("inf"):
                return value
            if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}(\.[0-9]{1,18})?\s*", value):
                return float(value)
        case "boolean":
            if isinstance(value, bool):
                return value
            if isinstance(value, str) and value.strip().lower() in ("true", "false"):
                return value.strip().lower() == "true"
        case "array":
            if isinstance(value, list):
                return [_fitted(one, schema.get("items", {}), name) for one in value]
        case _:
            return value
    article = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "array": "a list"}
    raise BadArguments(f"The argument {name!r} must be {article.get(str(schema.get('type')), 'text')}.")
