"""Estimates the cost of a call: its usage (`UsageReported`, summed by `CallTranscript.usage`) times prices.yaml."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

PRICES = Path(__file__).with_name("prices.yaml")
PER = {
    "audio_ms": ("audio_minute", 60_000),
    "characters": ("characters_1k", 1_000),
    "tokens_in": ("tokens_in_1m", 1_000_000),
    "tokens_cached": ("tokens_cached_1m", 1_000_000),
    "tokens_out": ("tokens_out_1m", 1_000_000),
}
"""Unit of `USAGE_UNITS` -> (key of its price, number of units that the price is for)."""

Usage = Mapping[tuple[str, str, str], int]
"""(pool, provider, unit) -> amount."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Dollars by pool; `unpriced` names the providers without a price."""

    dollars: Mapping[str, float]
    unpriced: tuple[str, ...]

    @property
    def total(self) -> float:
        """The dollars of all pools."""
        return sum(self.dollars.values())


@functools.cache
def prices() -> Mapping[str, Mapping[str, float]]:
    """The price table of the program.  Raises OSError or yaml.YAMLError if the file is damaged."""
    table: Mapping[str, Mapping[str, float]] = yaml.safe_load(PRICES.read_text())
    return table


def estimate(usage: Usage, table: Mapping[str, Mapping[str, float]]) -> Estimate:
    """The cost of this usage.  Cached tokens are part of `tokens_in`, and have a lower price."""
    dollars: dict[str, float] = {}
    unpriced: set[str] = set()
    for (pool, provider, unit), amount in usage.items():
        key, many = PER.get(unit, ("", 1))
        price = _price(provider, table).get(key)
        if price is None:
            unpriced.add(provider)
            continue
        if unit == "tokens_in":
            amount = max(0, amount - usage.get((pool, provider, "tokens_cached"), 0))
        dollars[pool] = dollars.get(pool, 0.0) + amount * price / many
    return Estimate(dollars, tuple(sorted(unpriced)))


def _price(provider: str, table: Mapping[str, Mapping[str, float]]) -> Mapping[str, float]:
    """The entry with the longest matching key; a key without `*` matches its own name only."""
    fits = [key for key in table if key == provider or (key.endswith("*") and provider.startswith(key[:-1]))]
    return table[max(fits, key=len)] if fits else {}
