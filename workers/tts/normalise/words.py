"""Defines the number words that a language must provide; `words_en` and `words_hi` implement them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Currency:
    """The names of one currency and of its hundredth."""

    one: str
    many: str
    cent: str
    cents: str


@dataclass(frozen=True, slots=True)
class Signs:
    """The words for signs and for connections between numbers."""

    point: str
    minus: str
    plus: str
    to: str
    percent: str
    degrees: str
    number: str
    about: str
    less: str
    more: str
    at_least: str
    at_most: str
    equals: str
    times: str
    by: str
    across: str
    """Between the sides of an area: a room of 10x12."""
    inch: str
    """After a number: 65" TV."""
    star: str
    hash: str
    divided: str
    either: str
    also: str
    per: str
    ending: str
    always: str
    """For 24/7."""
    version: str
    at: str
    dot: str
    slash: str
    dash: str
    underscore: str


class Words(Protocol):
    """One language's number words.  Numbers are not negative; `indian`: lakh and crore instead of million."""

    @property
    def signs(self) -> Signs: ...
    @property
    def indian(self) -> bool: ...
    @property
    def month_first(self) -> bool: ...
    @property
    def units(self) -> Mapping[str, tuple[str, str]]: ...
    @property
    def currencies(self) -> Mapping[str, Currency]: ...
    @property
    def scales(self) -> Mapping[str, str]: ...
    @property
    def months(self) -> Sequence[str]: ...

    def cardinal(self, number: int, *, indian: bool) -> str: ...
    def ordinal(self, number: int) -> str: ...
    def titled(self, number: int) -> str: ...
    def digits(self, digits: str) -> str: ...
    def year(self, number: int) -> str: ...
    def date(self, day: int, month: int, year: int | None) -> str: ...
    def clock(self, hour: int, minute: int, half: str, bare: bool) -> str: ...
    def fraction(self, whole: int | None, over: int, under: int) -> str: ...
    def portion(self, fraction: str, noun: str) -> str: ...
    def share(self, part: str, whole: str) -> str: ...
    def money(self, amount: str, fraction: int, one: bool, currency: Currency) -> str: ...
    def scaled(self, amount: str, scale: str) -> str: ...
