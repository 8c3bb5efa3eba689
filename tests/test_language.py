"""One language: identifiers use the field's words, and no two classes share a name (docs/glossary.md)."""

import ast
import io
import keyword
import re
import tokenize
from collections import defaultdict
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parent.parent
PRODUCT = ("common", "edge", "workers", "tools", "deploy")
OTHERS = ("simulators", "benchmarks")

# fmt: off
PICTURES = frozenset({
    "ear", "ears", "mind", "minds", "mouth", "mouths", "told", "tell", "tells", "telling", "news", "book", "books",
    "story", "stories", "ledger", "ledgers", "lively", "deaf", "bury", "likely", "tentative", "withdrawn", "voicing",
    "patience", "spelled", "promises", "onset", "onsets",
})
# fmt: on
"""Words that were pictures of our own, as a part of an identifier.  docs/glossary.md has the word for each."""
WHOLE = frozenset(("wire", "_wire", "wires", "Wire", "place", "_place", "places", "Place", "well", "said", "_said"))
"""Words that mean something else in other names."""
ALLOWED = {
    "is_likely_text": "a guess about a key, not about a turn",
    "BOOK": "to book an appointment is what the receptionist does",
}
"""Identifier -> why a word of above is the field's word in it."""


def files(*folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def words(identifier: str) -> set[str]:
    return {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)}


def pictures(source: str) -> set[str]:
    """Identifiers of the source that have a word of our own in them."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    names = {token.string for token in tokens if token.type == tokenize.NAME and not keyword.iskeyword(token.string)}
    return {name for name in names - ALLOWED.keys() if name in WHOLE or words(name) & PICTURES}


@pytest.mark.parametrize("folder", [*PRODUCT, *OTHERS])
def test_identifiers_use_the_words_of_the_field(folder: str):
    found = {
        str(file.relative_to(ROOT)): sorted(wrong) for file in files(folder) if (wrong := pictures(file.read_text()))
    }
    assert found == {}, "write the field's word: docs/glossary.md"


@pytest.mark.parametrize("folders", [PRODUCT, ("simulators",), ("benchmarks",)], ids=lambda folders: folders[0])
def test_no_two_classes_share_a_name(folders: tuple[str, ...]):
    where = defaultdict(list)
    for file in files(*folders):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                where[node.name].append(str(file.relative_to(ROOT)))
    assert {name: at for name, at in where.items() if len(at) > 1} == {}


def test_a_word_of_our_own_is_found_in_any_spelling():
    assert pictures("class VendorEar:\n    _told_ms = 0\n") == {"VendorEar", "_told_ms"}
    assert pictures("hear = earlier = f(place_call, WireOptions)") == set()
