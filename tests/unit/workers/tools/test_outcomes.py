"""What the model is told of a result, and what is kept of it: bounded, marked where it is cut, without secrets."""

import pytest

from common.call.acts import ToolOutcome
from common.store.effects import RESULT_CHARS_MAX
from workers.tools.outcomes import (
    EMPTY,
    HIDDEN,
    MODEL_CHARS_MAX,
    ToolResult,
    for_model,
    from_effect,
    to_effect,
    without,
)

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("text", ["", "on its way", "two\nlines\n", "x" * 1_000_000, "é\U0001f600" * 20_000])
def test_a_result_fits_into_its_effect_and_comes_back(text: str):
    kept = to_effect(ToolResult(ToolOutcome.DONE, text))
    assert len(kept) <= RESULT_CHARS_MAX
    again = from_effect(kept)
    assert again.outcome is ToolOutcome.DONE
    if len(text) < 1_000:
        assert again.text == (text or EMPTY)
    assert len(for_model(again)) <= MODEL_CHARS_MAX
    if len(text) > 20_000:
        assert for_model(again).endswith("characters]")


@pytest.mark.parametrize("text", ["", "nonsense", "cast\nx", "\n"])
def test_what_another_program_has_kept_promises_nothing(text: str):
    assert from_effect(text).outcome is ToolOutcome.UNKNOWN


def test_secrets_are_hidden_the_longest_first():
    assert without("token abcdef and abcd, ab", ["abcd", "abcdef", "ab", ""]) == f"token {HIDDEN} and {HIDDEN}, ab"
