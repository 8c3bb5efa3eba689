"""From "vendor/model" to a provider.  Each pool has a table; adding a provider is one file and one line in it.

Adapters are imported when they are named: a process that only uses a vendor's service needs no numpy.  Whether a spec
can work (the vendor, the model, the key, the engine, the language, the voice) is known without loading anything, so
that it can be told before a process starts: `Catalog.check` and `Catalog.unfit`.
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
"""Begins the part of a spec that is the user's to fill in: `openai/<model>`."""


class NoSuchModel(ValueError):
    """The vendor is known, its model is not."""


class Unfit(NamedTuple):
    """Why a provider cannot serve a language."""

    reason: str
    certain: bool = True
    """False: the vendor's documents say so, and may have changed; the vendor itself has the last word."""


def any_language(model: str, language: str) -> Unfit | None:
    """For providers that take every language."""
    return None


def any_voice(model: str, voice: str, environ: Mapping[str, str]) -> bool:
    """For providers that take every name of a voice, and for those that need none."""
    return True


@dataclass(frozen=True, slots=True)
class Vendor(Generic[P]):
    """Who sells it."""

    build: Callable[[str, Mapping[str, str]], P]
    """(model, environment) -> provider, without I/O.  Raises ValueError on a model or key that it cannot use."""
    specs: str
    """Its specs, as error messages show them."""
    check: Callable[[str, Mapping[str, str]], None] | None = None
    """What `build` raises ValueError for, without importing an engine or an SDK.  None: `build` is quick itself."""
    unfit: Callable[[str, str], Unfit | None] = any_language
    """(model, BCP 47 tag) -> why the model cannot serve this language, or None."""
    takes_voice: Callable[[str, str, Mapping[str, str]], bool] = any_voice
    """(model, voice, environment): has the model a voice of this name?  If not, a default takes its place."""
    voice_is_model: bool = False
    """An agent's `voice` that they take is a model of theirs, and decides the language."""
    key: str = ""
    """The variable with their key; "" for what needs none."""


@dataclass(frozen=True, slots=True)
class Catalog(Generic[P]):
    """All providers of a pool; `shape` ("language model") is for the texts of errors."""

    shape: str
    vendors: Mapping[str, Vendor[P]]

    def build(self, spec: str, environ: Mapping[str, str]) -> P:
        """The provider named by `spec`, not yet warm.  Raises ValueError as `check` does."""
        return build_provider(self.shape, spec, environ, self.vendors)

    def check(self, spec: str, environ: Mapping[str, str]) -> None:
        """Raises ValueError if `spec` cannot be used here, with what to write, to set or to install.  Loads nothing."""
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
        """Can the provider use a voice of this name?"""
        name, _, model = spec.strip().partition("/")
        vendor = self.vendors.get(name)
        return vendor is None or vendor.takes_voice(model, voice, environ)

    def fitting(self, language: str) -> list[str]:
        """The specs of the table that can serve this language, as advice: keys and engines are not looked at."""
        specs = [spec for vendor in self.vendors.values() for spec in vendor.specs.split(", ")]
        return [spec for spec in specs if self.unfit(spec, language) is None]


def build_provider(shape: str, spec: str, environ: Mapping[str, str], vendors: Mapping[str, Vendor[P]]) -> P:
    """The provider named by `spec`, not yet warm; `shape` ("language model") is for the error's text.

    Raises ValueError for a spec that is not known or cannot be used here, with what to write or install instead.
    """
    return with_vendor(shape, spec, vendors, lambda vendor, model: vendor.build(model, environ))


T = TypeVar("T")


def with_vendor(shape: str, spec: str, vendors: Mapping[str, Vendor[P]], use: Callable[[Vendor[P], str], T]) -> T:
    """What `use` makes of the spec's vendor and model.  Raises ValueError in the user's words, whatever is wrong."""
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
    """The spec that was probably meant; "" if none is near."""
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
    """Raises ImportError, as the import would, for the first package that is not installed.  Imports none."""
    for package in packages:
        if find_spec(package) is None:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)


def refusal(ask: Callable[[], object]) -> Unfit | None:
    """What an adapter's own refusal of a language says; None if it does not refuse."""
    try:
        ask()
    except Rejected as error:
        return Unfit(str(error))
    return None


def primary(language: str) -> str:
    """The language of a BCP 47 tag, or of a POSIX locale, without region and script: "hi" of hi-IN and of hi_IN."""
    return language.replace("_", "-").partition("-")[0].lower()
