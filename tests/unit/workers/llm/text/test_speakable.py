"""What is silence on the phone, whatever it is on a screen."""

import pytest

from workers.llm.text.speakable import begins_to_speak, is_speakable

pytestmark = pytest.mark.fast

SILENT = [
    "", "  \n", "…", "?!", "**", "---", "# ", "| - |", "👍", "🙂🇮🇳", "1\ufe0f\u20e3", "\u2139\ufe0f", "\u200b", "<br/>",
    "<speak><break time='1s'/></speak>", "&nbsp;&amp;", "```json\n```", "![](http://x/y.png)", "*nods*", "[laughs]",
    "(sighs)", "*checks the calendar* …",
]  # fmt: skip
SPEAKABLE = [
    "Hi", "5", "नौ", "好", "**Hello!**", "*Hello.*", "[here](http://x)", "(Yes.)", "5 < 6", "*nods* Yes", "<b>No</b>",
    "*Hello there,", "ß", "½",
]  # fmt: skip


@pytest.mark.parametrize("text", SILENT)
def test_there_is_nothing_to_speak(text: str) -> None:
    assert not is_speakable(text) and not begins_to_speak(text)


@pytest.mark.parametrize("text", SPEAKABLE)
def test_there_is_something_to_speak(text: str) -> None:
    assert is_speakable(text)


@pytest.mark.parametrize("text", ["<bre", "[lau", "*nod", "(sig", "&nb"])
def test_what_may_become_a_mark_does_not_count_yet(text: str) -> None:
    assert not begins_to_speak(text)
