"""A small run of the fuzzer; `python -m tests.fuzz` is the large one."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.fuzz.campaign import SHARES, Campaign

pytestmark = [pytest.mark.fast, pytest.mark.slow]

INPUTS = 3000


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of refusals are as many lines."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_nothing_that_comes_from_outside_breaks_anything() -> None:
    tally = Campaign(INPUTS, seed=20_260_721).run()
    assert all(tally.inputs[part] >= INPUTS * share // 100 for part, share in SHARES.items())
    seen = " ".join(tally.outcomes)
    for outcome in ("frames: Media", "frames: Start", "frames: BadFrame bad json", "tokens: good", "tokens: BadToken",
                    "parameters: understood", "parameters: BadRequest", "webhooks: 200", "webhooks: 400",
                    "webhooks: 403", "sockets: call", "sockets: no call"):  # fmt: skip
        assert outcome in seen, f"{outcome} never happened: the inputs have lost their teeth"
