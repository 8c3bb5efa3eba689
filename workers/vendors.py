"""From "vendor/model" to a provider.  Each pool has a table; adding a provider is one file and one line in it.

Adapters are imported when they are named: a process that only uses a vendor's service needs no numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Vendor(Generic[P]):
    """Who sells it."""

    build: Callable[[str, Mapping[str, str]], P]
    """(model, environment) -> provider, without I/O.  Raises ValueError on a model or key that it cannot use."""
    specs: str
    """Its specs, as error messages show them."""
    key: str = ""
    """The variable with its key; "" for what needs none."""


def build_provider(shape: str, spec: str, environ: Mapping[str, str], vendors: Mapping[str, Vendor[P]]) -> P:
    """The provider named by `spec`, not yet warm; `shape` ("language model") is for the error's text.

    Raises ValueError for a spec that is not known or cannot be used here, with what to write or install instead.
    """
    name, slash, model = spec.strip().partition("/")
    known = ", ".join(vendor.specs for vendor in vendors.values())
    if name not in vendors or not slash or not model:
        raise ValueError(f"unknown {shape} provider {spec!r}; known: {known}")
    try:
        return vendors[name].build(model, environ)
    except ImportError as error:
        keys = " or ".join(vendor.key for vendor in vendors.values() if vendor.key)
        raise ValueError(
            f"set {keys}: without a vendor's key the {shape} provider is {spec!r}, and {error.name}, which it needs, is"
            " not installed here. The engines are in the image `voice-local`; outside of images: make install"
        ) from None
    except ValueError as error:
        raise ValueError(f"{shape} provider {spec!r}: {error}; known: {known}") from None
