"""`python -m tools.agent_schema`: writes agents/agents.schema.json, by which editors check and explain agent files.

It is made from the declarations of `AgentFile` (common/agents/model.py): types, bounds and defaults by msgspec, and the
text below each key.  An editor reads `voice: 007` as a number and `1_000` as a text, where the reader of agent files
keeps what was typed; so the schema accepts every spelling that the reader accepts.  The test of this module fails if
the file on disk is older than the declarations.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
import sys
import textwrap
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args

import msgspec

from common.agents.fields import FLAGS, extra, former_names, keys_of, optional_type, plain_type
from common.agents.model import AgentFile

TARGET = Path(__file__).parents[1] / "agents" / "agents.schema.json"
HEAD = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "$comment": "Made from common/agents/model.py by `python -m tools.agent_schema`; change the declarations there.",
    "title": "Agent",
}
FLAG_SPELLINGS = [form for word in FLAGS for form in (word, word.title(), word.upper())]


def schema() -> dict[str, Any]:
    """Return the JSON Schema of an agent file.  Draft 7, which every editor knows."""
    found = _record(AgentFile, {"type": "object"})
    found["required"].remove("name")  # the default is the name of the file, which the schema cannot see
    return {**HEAD, **found}


def rendered() -> str:
    """Return the text of agents.schema.json."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _record(shape: type, kind: dict[str, Any]) -> dict[str, Any]:
    """The schema of a mapping with the keys of a class, and with the former name of each that has one."""
    (reference,), definitions = msgspec.json.schema_components([shape])
    made = definitions[reference["$ref"].rpartition("/")[2]]
    texts, properties = _descriptions(shape), {}
    for key, hint in keys_of(shape).items():
        typed = _typed(hint, made["properties"][key])
        properties[key] = {"description": "", **typed} | {"description": texts[key]} if key in texts else typed
    for former, key in former_names(shape).items():
        moved = {"deprecated": True, "deprecationMessage": f"The former name of {key}; write that one."}
        properties[former] = {**{name: value for name, value in properties[key].items() if name != "default"}, **moved}
    required = {"required": made["required"]} if made["required"] else {}
    return {
        "description": made["description"],
        **kind,
        "properties": properties,
        **required,
        "additionalProperties": False,
    }


def _typed(hint: Any, made: dict[str, Any]) -> dict[str, Any]:
    """The schema of one value: what msgspec made of its type, in each spelling that the reader accepts."""
    kind, shape = made.get("type"), optional_type(hint) or plain_type(hint)
    if is_dataclass(shape):
        if not extra(hint, "one_value"):
            return _record(shape, {"type": ["object", "null"]})
        one = _record(shape, {"type": ["integer", "string", "object"]})
        value = next(iter(one["properties"].values()))
        return {**{name: bound for name, bound in value.items() if name != "default"}, **one}
    if kind == "integer":
        write = f"write a whole number from {made['minimum']:,} to {made['maximum']:,}"
        return {**made, "type": ["integer", "string"], "pattern": "^[0-9_]+$", "patternErrorMessage": write}
    if kind == "boolean":
        words = f"^({'|'.join(FLAG_SPELLINGS)})$"
        return {**made, "type": ["boolean", "string"], "pattern": words, "patternErrorMessage": "write true or false"}
    if kind == "array":
        (of, _) = get_args(shape)
        return {**made, "type": ["array", "string", "null"], "items": _typed(of, made["items"])}
    if kind == "object":
        (_, of) = get_args(shape)
        return {**made, "type": ["object", "null"], "additionalProperties": _typed(of, made["additionalProperties"])}
    if "enum" in made:
        return {"type": "string", **made}
    empty = [] if made.get("minLength") or not re.search(made.get("pattern", ""), "") else ["null"]
    return {**made, "type": ["string", "number", "boolean", *empty]}


def _descriptions(shape: type) -> dict[str, str]:
    """Key -> the text below it in the class."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(shape))).body
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for key, text in itertools.pairwise(body.body):
        if isinstance(key, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            texts[ast.unparse(key.target)] = inspect.cleandoc(str(text.value.value))
    return texts


def main() -> int:
    """Write agents.schema.json."""
    TARGET.write_text(rendered(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
