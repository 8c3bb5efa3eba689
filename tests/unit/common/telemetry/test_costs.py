"""What a call has cost."""

import pytest

from common.protocol.fields import USAGE_UNITS
from common.telemetry.costs import PER, estimate, prices

pytestmark = pytest.mark.fast

TABLE = {"a/*": {"audio_minute": 0.6}, "b/x": {"tokens_in_1m": 2.0, "tokens_cached_1m": 1.0, "tokens_out_1m": 8.0}}


def test_minutes_and_tokens_are_added_up_by_pool():
    usage = {
        ("stt", "a/ear", "audio_ms"): 90_000,
        ("llm", "b/x", "tokens_in"): 1_000,
        ("llm", "b/x", "tokens_cached"): 600,
        ("llm", "b/x", "tokens_out"): 100,
    }
    told = estimate(usage, TABLE)
    assert told.dollars == pytest.approx({"stt": 0.9, "llm": (400 * 2 + 600 * 1 + 100 * 8) / 1e6})
    assert told.total == pytest.approx(0.9022)
    assert told.unpriced == ()


def test_a_provider_without_a_price_is_named_and_not_guessed():
    told = estimate({("tts", "c/voice", "characters"): 50, ("llm", "b/xl", "tokens_in"): 9}, TABLE)
    assert (told.total, told.unpriced) == (0, ("b/xl", "c/voice"))


def test_the_longest_name_that_fits_counts():
    table = {"e/*": {"characters_1k": 1.0}, "e/flash*": {"characters_1k": 0.5}}
    assert estimate({("tts", "e/flash_v2", "characters"): 1000}, table).total == 0.5


def test_the_table_that_comes_with_the_program_has_known_units_and_no_negative_price():
    assert set(PER) == set(USAGE_UNITS)
    known = {key for key, _ in PER.values()}
    for provider, entry in prices().items():
        assert set(entry) <= known, provider
        assert all(price >= 0 for price in entry.values()), provider
