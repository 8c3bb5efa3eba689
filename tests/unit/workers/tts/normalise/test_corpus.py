"""The corpus of whole sentences: how the numbers, codes, places and signs in them are said on the phone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from workers.tts.normalise import normalised

pytestmark = pytest.mark.fast

CORPUS = Path(__file__).parent / "corpus" / "spoken.tsv"
ROWS_MIN = 400
ROWS = [
    tuple(line.split("\t"))
    for line in CORPUS.read_text("utf-8").splitlines()
    if line and not line.startswith("# ")
]  # fmt: skip


@pytest.mark.parametrize(("language", "written", "spoken"), ROWS)
def test_it_is_said_as_a_person_would(language: str, written: str, spoken: str) -> None:
    assert normalised(written, language) == spoken
    assert normalised(spoken, language) == spoken  # nothing is left to be read


def test_the_corpus_is_large_and_has_no_row_twice() -> None:
    languages = Counter(language for language, _, _ in ROWS)
    assert len(ROWS) >= ROWS_MIN and min(languages[one] for one in ("en-IN", "en-US", "hi")) >= 100
    assert len({(language, written) for language, written, _ in ROWS}) == len(ROWS)
