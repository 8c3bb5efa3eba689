"""What is said for a model that says nothing is said in the agent's language."""

import pytest

from workers.llm.text.phrases import APOLOGIES, FAREWELLS, apology, farewell

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("tag", "key"), [("en-IN", "en"), ("hi", "hi"), ("hi-IN", "hi"), ("UR-pk", "ur"), ("xx", "en")]
)
def test_a_language_is_found_by_its_first_part_and_english_stands_for_the_others(tag: str, key: str) -> None:
    assert (farewell(tag), apology(tag)) == (FAREWELLS[key], APOLOGIES[key])


def test_no_language_has_an_apology_without_a_farewell() -> None:
    assert set(APOLOGIES) <= set(FAREWELLS)
