"""The schema by which editors check agent files says what the reader of those files says, and what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest
import yaml

from common.agents.model import BadAgents
from common.agents.reading import load_agents
from tools.agent_schema import TARGET, rendered, schema

pytestmark = pytest.mark.fast

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = [*sorted((ROOT / "agents").glob("*.yaml")), *sorted((ROOT / "examples").glob("*/*.yaml"))]
HEAD = "greeting: Hello.\ninstructions: Be kind.\n"
EDITOR = jsonschema.Draft7Validator(schema())


class Core(yaml.SafeLoader):
    """YAML 1.2's core schema, as editors read a file."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


for name, pattern in {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
}.items():
    Core.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(f"^(?:{pattern})$"), None)


def marked(text: str) -> list[str]:
    """Where an editor marks a mistake: `turn.endpointing_ms`, or `` for the file."""
    found = EDITOR.iter_errors(yaml.load(text, Loader=Core))
    return [".".join(str(step) for step in error.absolute_path) for error in found]


def is_agent(folder: Path, text: str) -> bool:
    (folder / "desk.yaml").write_text(text, "utf-8")
    try:
        load_agents(folder)
    except BadAgents:
        return False
    return True


def test_the_file_on_disk_is_made_from_the_declarations_of_today() -> None:
    assert TARGET.read_text("utf-8") == rendered(), "run `make generated`"
    jsonschema.Draft7Validator.check_schema(schema())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_file_leads_an_editor_to_the_schema_and_has_no_mark(path: Path) -> None:
    text = path.read_text("utf-8")
    found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert found and (path.parent / found[1]).resolve() == TARGET
    assert marked(text) == []


SPELLINGS = [
    "voice: 007", "voice: true", "voice:", "voice: 2026-01-31", "language: no", "name: 24-7", "greeting_after_ms: 700",
    "greeting_after_ms: {inbound: 1_500}", "turn: {endpointing_ms: 1_000, interruptible: Off}", "turn:", "numbers:",
    "limits: {call_s: '60'}", "numbers: [+911234567890, 0123 456 7891, '*', 'sip:a@b']", "numbers: '*'",
    "keyterms: a, b",
    "keyterms: [Yes, 1.10, 12:30, .5, 0x1F, 1e3]", "providers: {stt: 'local/a, deepgram/b', llm: [openai/x], tts: }",
    "turn: {onset_ms: 90, endpoint_ms: 700, likely_ms: 300}", "variables: {name: 5, day: }", "fallback_number:",
    "fallback_number: +911234567890", "farewell: 5", "turn: {interruptible: yes}", "turn: {interruptible: false}",
    "tools: {order_status: {http: {url: 'https://shop.example.com/orders'}, meanwhile: 'One moment, please.'}}",
    "tools: {find: {http: {url: 'https://a.example/{q}', method: POST, headers: {X-Key: 5}, body: {a: '{q}', b: }},"
    " parameters: {q: {choices: [1, no], type: integer}}, timeout_s: '5', parallel: off, meanwhile: [A, B]}}",
    "tools:", "mcp: {shop: {url: 'https://mcp.example.com'}}",
    "mcp: {shop: {command: uvx shop --key 'a b', env: {A: 1}}}",
    "transfer: {desk: {number: +911234567891, mode: warm, ring_s: 5, whisper: }}",
    "keypad: {'1': {say: Open until six.}, '#': {ask: 5}}", "timezone: Asia/Kolkata", "timezone:",
    "on_call: {url: 'https://shop.example.com/in', timeout_ms: 300, headers: {X-Key: abc}}", "on_call:", "canary: 0",
]  # fmt: skip
MISTAKES = {
    "name: Front Desk": "name", "name:": "name", "language: English please": "language", "greting: Hi.": "",
    "turn: {endpointing_ms: 9000}": "turn.endpointing_ms", "turn: {endpoint_ms: 99}": "turn.endpoint_ms",
    "turn: {endpointing_ms: soon}": "turn.endpointing_ms", "turn: {endpointing_ms: 200.5}": "turn.endpointing_ms",
    "turn: {interuptible: true}": "turn", "turn: {interruptible: perhaps}": "turn.interruptible", "turn: 5": "turn",
    "limits: {call_s: true}": "limits.call_s", "limits: {silence_s:}": "limits.silence_s", "voice: [a]": "voice",
    "greeting_after_ms: soon": "greeting_after_ms", "greeting_after_ms: 10001": "greeting_after_ms",
    "greeting_after_ms: {inbund: 5}": "greeting_after_ms", "providers: {llm: [gpt-4o]}": "providers.llm.0",
    "providers: {tts: [a/a, b/b, c/c, d/d, e/e, f/f]}": "providers.tts", "numbers: [call 12345]": "numbers.0",
    "numbers: {a: b}": "numbers", "variables: name": "variables", "variables: {my name: x}": "variables",
    "variables: {name: [x]}": "variables.name", "fallback_number: nobody": "fallback_number", "version: x": "",
    "tools: {x: {http: {url: 'https://a.example', method: get}}}": "tools.x.http.method", "tools: {x: 5}": "tools.x",
    "tools: {x: {http: {url: shop}}}": "tools.x.http.url", "tools: {x y: {http: {url: 'https://a.example'}}}": "tools",
    "tools: {x: {http: {url: 'https://a.example'}, timeout_s: 61}}": "tools.x.timeout_s",
    "tools: {x: {http: {url: 'https://a.example', headers: {a b: c}}}}": "tools.x.http.headers",
    "transfer: {desk: {mode: hot, number: +911234567891}}": "transfer.desk.mode",
    "transfer: {desk: {}}": "transfer.desk",
    "keypad: {'12': {say: Hi.}}": "keypad", "on_call: {url: shop}": "on_call.url", "on_call: {}": "on_call",
    "canary: 101": "canary", "timezone: in Delhi": "timezone", "tools: {x: {parameters: {a: {type: text}}}}":
    "tools.x.parameters.a.type",
    f"keyterms: [{'x' * 65}]": "keyterms.0", f"farewell: {'x' * 501}": "farewell", f"voice: {'x' * 129}": "voice",
}  # fmt: skip


@pytest.mark.parametrize("line", SPELLINGS)
def test_what_the_reader_accepts_is_not_marked(line: str, tmp_path: Path) -> None:
    assert is_agent(tmp_path, f"{HEAD}{line}\n")
    assert marked(f"{HEAD}{line}\n") == []


@pytest.mark.parametrize("line", MISTAKES)
def test_what_the_reader_refuses_is_marked_at_its_place(line: str, tmp_path: Path) -> None:
    assert not is_agent(tmp_path, f"{HEAD}{line}\n")
    (place,) = set(marked(f"{HEAD}{line}\n"))
    assert place == MISTAKES[line] or place == ""  # a key that is not there is marked at its mapping


def test_greeting_and_instructions_have_to_be_there() -> None:
    assert marked("name: desk\n") == ["", ""]
    assert marked("greeting:\ninstructions:\n") == ["instructions"]


def keys(node: dict[str, Any], prefix: str = "") -> dict[str, dict[str, Any]]:
    """Every key of a schema as `turn.endpointing_ms` -> its schema, without former names."""
    found = {}
    for key, inner in node["properties"].items():
        if inner.get("deprecated"):
            continue
        if "properties" in inner and "integer" not in inner["type"]:
            found |= keys(inner, f"{prefix}{key}.")
            continue
        found[prefix + key] = inner
        if "properties" in (inner.get("additionalProperties") or {}):
            found |= keys(inner["additionalProperties"], f"{prefix}{key}.<name>.")
    return found


BOUNDS = {
    "integer": {"minimum", "maximum"}, "array": {"maxItems"}, "object": {"maxProperties"}, "boolean": set(),
}  # fmt: skip


def test_every_key_is_explained_and_has_a_bound() -> None:
    """The reader counts on it: its problems name the bounds."""
    for key, inner in keys(schema()).items():
        assert len(inner["description"]) > 10, key
        parts = [inner, *(inner[part] for part in ("items", "additionalProperties") if inner.get(part))]
        for part in (part for part in parts if not part.keys() & {"enum", "properties"}):
            kind, *_ = part["type"]
            assert BOUNDS[kind] <= part.keys() if kind in BOUNDS else part.keys() & {"pattern", "maxLength"}, key


def test_a_former_name_is_deprecated_and_has_the_bounds_of_the_present_one() -> None:
    turn = schema()["properties"]["turn"]["properties"]
    former = {key: inner for key, inner in turn.items() if inner.get("deprecated")}
    assert set(former) == {"onset_ms", "endpoint_ms", "likely_ms"}
    present = turn["min_interruption_ms"]
    assert former["onset_ms"].items() >= {(key, present[key]) for key in ("minimum", "maximum", "description")}
    assert "min_interruption_ms" in former["onset_ms"]["deprecationMessage"]


def documented() -> dict[str, tuple[str, str]]:
    """Key -> (default, bounds) in the tables of docs/agents.md."""
    page = (ROOT / "docs/agents.md").read_text("utf-8")
    tables = re.findall(r"^\| key \| meaning .*\n\| --- .*\n((?:\|.*\n)+)", page, re.MULTILINE)
    found = {}
    for line in "".join(tables).splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        first, *more = re.findall(r"`([^`]+)`", cells[0])
        for key in [first, *(first.partition(".")[0] + key for key in more)]:
            found[key] = (cells[2], cells[3])
    return found


def test_the_page_lists_the_keys_with_their_bounds_and_defaults() -> None:
    declared, page = keys(schema()), documented()
    assert set(page) == set(declared)
    for key, inner in declared.items():
        default, bounds = page[key]
        if "minimum" in inner:
            assert bounds == f"{inner['minimum']:,} to {inner['maximum']:,}", key
        most = next((inner[name] for name in ("maxItems", "maxProperties", "maxLength") if name in inner), None)
        assert most is None or f"{most:,}" in bounds, key
        assert all(f"`{choice}`" in bounds for choice in inner.get("enum", ())), key
        if inner.get("default"):
            assert (
                re.sub(r"\W", "", default) == str(inner["default"]).lower() or default.strip("`") == inner["default"]
            ), key
