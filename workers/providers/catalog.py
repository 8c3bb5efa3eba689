"""Builds a provider from "vendor/model".  Each pool has a table; a new provider is one file and one line in it.

Engines are imported when they are used: a process with a vendor's service needs no numpy.  Whether a spec can work (its
vendor, model, key, engine, language and voice) is decided without loading anything, so that a process can report it
before its start: `Catalog.check` and `Catalog.unfit`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Generic, NamedTuple, TypeVar

from workers.providers.interfaces import Rejected

P = TypeVar("P")

PLACEHOLDER = "<"
"""Begins the part of a spec that the user fills in: `openai/<model>`."""


class NoSuchModel(ValueError):
    """The vendor is known, and has no such model."""


class Unfit(NamedTuple):
    """The reason why a provider cannot serve a language."""

    reason: str
    certain: bool = True
    """False: according to the vendor's documents, which may have changed; the vendor itself decides."""


def any_language(model: str, language: str) -> Unfit | None:
    """`Vendor.unfit` of providers that accept every language."""
    return None


def any_voice(model: str, voice: str, environ: Mapping[str, str]) -> bool:
    """`Vendor.takes_voice` of providers that accept every voice name, and of those without voices."""
    return True


@dataclass(frozen=True, slots=True)
class Vendor(Generic[P]):
    """A vendor of providers, and how its models are built and checked."""

    build: Callable[[str, Mapping[str, str]], P]
    """(model, environment) -> provider, without I/O.  Raises ValueError on a model or key that it cannot use."""
    specs: str
    """Its specs, comma-separated, as error messages show them."""
    check: Callable[[str, Mapping[str, str]], None] | None = None
    """Raises ValueError as `build` does, without importing an engine or an SDK.  None: `build` itself is quick."""
    unfit: Callable[[str, str], Unfit | None] = any_language
    """(model, BCP 47 tag) -> why the model cannot serve this language, or None."""
    takes_voice: Callable[[str, str, Mapping[str, str]], bool] = any_voice
    """(model, voice, environment) -> whether the model has a voice of this name; otherwise a default is used."""
    voice_is_model: bool = False
    """A voice that the vendor knows is one of its models, and decides the language."""
    key: str = ""
    """The variable with the vendor's key; "" if it needs none."""


@dataclass(frozen=True, slots=True)
class Catalog(Generic[P]):
    """All providers of a pool; `shape` ("language model") appears in error texts."""

    shape: str
    vendors: Mapping[str, Vendor[P]]

    def build(self, spec: str, environ: Mapping[str, str]) -> P:
        """The provider of `spec`, before `warm`.  Raises ValueError as `check` does."""
        return build_provider(self.shape, spec, environ, self.vendors)

    def check(self, spec: str, environ: Mapping[str, str]) -> None:
        """Raises ValueError if `spec` cannot be used here, with what to write, set or install.  Loads nothing."""
        with_vendor(
            self.shape, spec, self.vendors, lambda vendor, model: (vendor.check or vendor.build)(model, environ)
        )

    def unfit(self, spec: str, language: str, voice: str = "") -> Unfit | None:
        """Why the provider cannot serve this language; None if it can, or if there is no such provider."""
        name, _, model = spec.strip().partition("/")
        vendor = self.vendors.get(name)
        if vendor is None:
            return None
        return vendor.unfit(
            voice if vendor.voice_is_model and vendor.takes_voice(model, voice, {}) else model, language
        )

    def takes_voice(self, spec: str, voice: str, environ: Mapping[str, str]) -> bool:
        """Whether the provider has a voice of this name."""
        name, _, model = spec.strip().partition("/")
        vendor = self.vendors.get(name)
        return vendor is None or vendor.takes_voice(model, voice, environ)

    def fitting(self, language: str) -> list[str]:
        """The specs of the table that can serve this language, as advice; keys and engines are not checked."""
        specs = [spec for vendor in self.vendors.values() for spec in vendor.specs.split(", ")]
        return [spec for spec in specs if self.unfit(spec, language) is None]


def build_provider(shape: str, spec: str, environ: Mapping[str, str], vendors: Mapping[str, Vendor[P]]) -> P:
    """The provider of `spec`, before `warm`; `shape` ("language model") appears in the error text.

    Raises ValueError for a spec that is unknown or cannot be used here, with what to write or install instead.
    """
    return with_vendor(shape, spec, vendors, lambda vendor, model: vendor.build(model, environ))


T = TypeVar("T")


def with_vendor(shape: str, spec: str, vendors: Mapping[str, Vendor[P]], use: Callable[[Vendor[P], str], T]) -> T:
    """The result of `use` for the spec's vendor and model.  Raises ValueError with advice, whatever is wrong."""
    name, slash, model = spec.strip().partition("/")
    known = ", ".join(vendor.specs for vendor in vendors.values())
    near = f"; did you mean {meant}?" if (meant := _meant(spec.strip(), vendors)) else ""
    if name not in vendors or not slash or not model or model.startswith(PLACEHOLDER):
        raise ValueError(f"unknown {shape} provider {spec!r}{near}; known: {known}")
    try:
        return use(vendors[name], model)
    except ImportError as error:
        keys = " or ".join(vendor.key for vendor in vendors.values() if vendor.key)
        raise ValueError(
            f"set {keys}: without a vendor's key the {shape} provider is {spec!r}, and {error.name}, which it needs, is"
            " not installed here. The engines are in the image `voice-local`; outside of images: make install"
        ) from None
    except ValueError as error:
        near = near if isinstance(error, NoSuchModel) else ""
        raise ValueError(f"{shape} provider {spec!r}: {error}{near}; known: {known}") from None


def _meant(spec: str, vendors: Mapping[str, Vendor[P]]) -> str:
    """The spec that was probably meant, or ""."""
    name, _, model = spec.partition("/")
    whole = [known for vendor in vendors.values() for known in vendor.specs.split(", ") if PLACEHOLDER not in known]
    if spec in whole:
        return ""
    if near := difflib.get_close_matches(spec, whole, n=1, cutoff=0.75):
        return repr(near[0])
    if name not in vendors and model and (names := difflib.get_close_matches(name, vendors, n=1)):
        return repr(f"{names[0]}/{model}")
    return ""


def need_packages(*packages: str) -> None:
    """Raises ImportError, as an import would, for the first package that is not installed.  Imports none."""
    for package in packages:
        if find_spec(package) is None:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)


def refusal(ask: Callable[[], object]) -> Unfit | None:
    """The `Unfit` in an engine's Rejected error for a language; None if `ask` does not raise it."""
    try:
        ask()
    except Rejected as error:
        return Unfit(str(error))
    return None


def primary(language: str) -> str:
    """The language of a BCP 47 tag or a POSIX locale, without region and script: "hi" of hi-IN and of hi_IN."""
    return language.replace("_", "-").partition("-")[0].lower()
