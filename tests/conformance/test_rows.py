"""No row of the protocol page is forgotten, and none is walked that is not there."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.conformance import test_playing, test_rest, test_set_up, test_signed, test_streams, test_verbs, test_webhooks
from tests.conformance.rows import NOT_OURS, ROWS, all_rows

pytestmark = pytest.mark.fast

BY_HAND = {
    "2.7 close 1006 without coming back": "test_never_back.py, on a virtual clock",
    "4 auth tokens in headers are not logged": "test_signed.py, which reads the log",
}
"""Rows whose test is no scene."""


def walked() -> list[str]:
    scenes = [
        module.SCENES.walks
        for module in (test_set_up, test_verbs, test_webhooks, test_streams, test_playing, test_signed)
    ]
    tables: list[Iterable[str]] = [*scenes, test_webhooks.OUTBOUND, test_rest.WITH_CARRIER, test_rest.WITH_STANDIN]
    return [row for table in tables for row in table] + list(BY_HAND)


def test_every_row_is_walked_or_has_a_reason() -> None:
    rows = set(all_rows())
    assert sorted(rows - set(walked()) - set(NOT_OURS)) == []


def test_nothing_else_is_walked_and_nothing_twice() -> None:
    assert sorted(set(walked()) - set(all_rows())) == []
    assert len(walked()) == len(set(walked()))
    assert sorted(set(walked()) & set(NOT_OURS)) == []


def test_reasons_are_given_for_rows_that_are_there() -> None:
    assert sorted(set(NOT_OURS) - set(all_rows())) == []
    assert all(NOT_OURS.values())


def test_the_page_has_these_rows() -> None:
    assert len(ROWS["9"]) == 24
    assert [row.partition(" ")[0] for row in ROWS["9"]] == [str(number) for number in range(1, 25)]
    assert list(ROWS) == [*(f"1.{n}" for n in range(1, 9)), *(f"2.{n}" for n in range(1, 8)), "3",
                          *(f"3.{n}" for n in range(1, 6)), "4", "9"]  # fmt: skip
