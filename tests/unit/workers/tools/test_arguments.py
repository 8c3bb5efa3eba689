"""What a model writes as arguments is taken if it is certainly meant, else it is told what is wrong."""

import pytest

from common.agents.tools import Parameter, Tool
from workers.tools.arguments import BadArguments, read_arguments, schema_of, secret_names, with_secrets

pytestmark = pytest.mark.fast

TOOL = Tool(
    parameters={
        "id": Parameter(),
        "count": Parameter("integer", required=False),
        "price": Parameter("number", required=False),
        "gift": Parameter("boolean", required=False),
        "size": Parameter(choices=("small", "large"), required=False),
        "floor": Parameter("integer", choices=("1", "2"), required=False),
    }
)
SCHEMA = schema_of(TOOL)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"id": "7"}', {"id": "7"}),
        (
            '{"id": 7, "count": "3", "price": "2.5", "gift": "true"}',
            {"id": "7", "count": 3, "price": 2.5, "gift": True},
        ),
        ('{"id": "7", "count": 3.0, "floor": "2"}', {"id": "7", "count": 3, "floor": 2}),
        ('{"id": "7", "count": null, "more": 1}', {"id": "7"}),
    ],
)
def test_what_is_meant_is_taken(text: str, found: dict):
    assert read_arguments(text, SCHEMA) == found


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "'id' is missing"), ("{}", "'id' is missing"), ("[1]", "object"), ("{", "no JSON"), ('"x"', "object"),
        ("[" * 100_000, "no JSON"), ('{"id": {"a": 1}}', "must be text"), ('{"id": "7", "count": 1.5}', "whole number"),
        ('{"id": "7", "count": true}', "whole number"), ('{"id": "7", "price": NaN}', "a number"),
        ('{"id": "7", "gift": "maybe"}', "true or false"), ('{"id": "7", "size": "huge"}', "one of: small, large"),
        ('{"id": "7", "floor": 3}', "one of: 1, 2"), ('{"id": "' + "x" * 9_000 + '"}', "too long"),
        ('{"id": "7", "count": 1e400}', "whole number"), ('{"a": ' + '{"a": ' * 30 + "1" + "}" * 31, "nested"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(text: str, word: str):
    with pytest.raises(BadArguments, match=word) as raised:
        read_arguments(text, SCHEMA)
    assert len(str(raised.value)) < 200


def test_the_schema_says_what_the_file_says():
    assert SCHEMA["required"] == ["id"]
    assert SCHEMA["properties"]["floor"] == {"type": "integer", "enum": [1, 2]}


def test_a_server_that_checks_arguments_itself_gets_them_as_they_are():
    assert read_arguments('{"a": {"b": [1, null]}}', None) == {"a": {"b": [1, None]}}


def test_secrets_are_filled_in_wherever_they_stand():
    arguments = {"card": "{{secret.card}}", "more": ["pin {{ secret.pin }}", 7, {"x": "{{secret.gone}}"}]}
    assert secret_names(arguments) == {"card", "pin", "gone"}
    assert with_secrets(arguments, {"card": "4111", "pin": "{{secret.card}}"}) == {
        "card": "4111", "more": ["pin {{secret.card}}", 7, {"x": ""}],
    }  # fmt: skip
