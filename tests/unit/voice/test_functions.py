"""What a Python function becomes for the model: its types and docstring, and a clear word if it cannot be called."""

from typing import Annotated, Literal, Optional

import pytest

from voice import Call, tool
from voice.functions import BadTool, described, tools_of

pytestmark = pytest.mark.fast


@tool(repeatable=True, timeout_s=20, meanwhile="One moment.")
async def free_slots(
    call: Call,
    day: str,
    doctor: Literal["shah", "rao"],
    count: int = 3,
    prices: list[float] | None = None,
    urgent: Optional[bool] = None,  # noqa: UP045 - older spelling
    note: Annotated[str, "What the caller said."] = "",
) -> str:
    """List free appointments.

    They are held for nobody.

    Args:
        day (str): The day, such as
            2026-01-31.
        doctor: Who is asked for.

    Returns:
        Times: as text.
    """
    return ""


@tool
def cancel(booking: int, reason: str | None):
    """Cancel a booking.

    :param booking: its number
    :param str reason: why,
        in the caller's words
    :returns: nothing
    """


def test_types_defaults_and_docstring_become_the_schema():
    found = described(free_slots)
    assert found.name == "free_slots"
    assert found.description == "List free appointments. They are held for nobody."
    assert found.call_parameter == "call"
    assert found.options == {"timeout_s": 20, "repeatable": True, "meanwhile": ["One moment."]}
    assert found.parameters == {
        "type": "object",
        "properties": {
            "day": {"type": "string", "description": "The day, such as 2026-01-31."},
            "doctor": {"type": "string", "enum": ["shah", "rao"], "description": "Who is asked for."},
            "count": {"type": "integer"},
            "prices": {"type": "array", "items": {"type": "number"}},
            "urgent": {"type": "boolean"},
            "note": {"type": "string", "description": "What the caller said."},
        },
        "required": ["day", "doctor"],
    }


def test_param_lines_are_read_and_what_may_be_none_may_be_left_out():
    found = described(cancel)
    assert found.description == "Cancel a booking."
    assert found.parameters["properties"]["booking"] == {"type": "integer", "description": "its number"}
    assert found.parameters["properties"]["reason"]["description"] == "why, in the caller's words"
    assert (found.parameters["required"], found.none_if_missing) == (["booking"], ("reason",))
    assert found.options == {} and found.call_parameter == ""


def test_a_marked_function_is_still_a_function():
    assert cancel(7, None) is None
    assert set(tools_of({"a": cancel, "b": free_slots, "again": cancel, "x": 1, "tool": tool})) == {
        "cancel", "free_slots",
    }  # fmt: skip


def untyped(a): ...
def mapping(a: dict): ...
def mixed(a: Literal["x", 1]): ...
def either(a: int | str): ...
def nested(a: list[dict]): ...
def stars(*a: str): ...
def position(a: str, /): ...
def unknown(a: "Nowhere"): ...  # noqa: F821


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (untyped, "'a' has no type"), (mapping, "cannot give"), (mixed, "cannot give"), (either, "cannot give"),
        (nested, "cannot give"), (stars, "by name"), (position, "by name"), (unknown, "'Nowhere'"),
    ],
)  # fmt: skip
def test_a_function_that_the_model_could_not_call_is_refused_where_it_stands(function, word: str):
    with pytest.raises(BadTool, match=word):
        tool(function)


def test_two_tools_of_one_name_and_a_name_that_is_none_are_refused():
    with pytest.raises(BadTool, match="two tools"):
        tools_of({"a": tool(lambda: None, name="x"), "b": tool(lambda: None, name="x")})
    with pytest.raises(BadTool, match="no name"):
        tool(name="not a name")(cancel)


def test_a_sentence_is_one_line_and_bounded_and_may_be_awaited_or_not():
    heard: list[str] = []
    call = Call(speak=heard.append)
    call.say("One\n  moment.")
    call.say("x" * 1_000)
    list(call.say("").__await__())
    assert heard == ["One moment.", "x" * 300, ""]
