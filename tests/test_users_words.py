"""What users type into a search of the docs, in the words of the carrier's own guides, leads to an answer."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.fast

PAGE = (Path(__file__).resolve().parents[1] / "docs/vobiz.md").read_text("utf-8").lower()


@pytest.mark.parametrize("words", ["utterance_end_ms", "ngrok_auth_token", "401", "why 20 ms", "export/recording"])
def test_they_stand_in_the_page_on_vobiz(words: str) -> None:
    assert words in PAGE
