"""Which language models there are.  A new one is one file beside this one, and one line in `VENDORS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from workers.providers import LanguageModel


def language_model(spec: str, environ: Mapping[str, str]) -> LanguageModel:
    """Build the model named by `spec` (`vendor/model`); no I/O happens here.

    Build one for each spec and process, and share it among all calls: it holds the vendor's connections.  Raises
    `ValueError` for an unknown spec or a missing setting, with what to write instead.
    """
    vendor, slash, model = spec.strip().partition("/")
    if vendor not in VENDORS or not slash or not model:
        raise ValueError(f"unknown language model {spec!r}; known: {', '.join(KNOWN)}")
    return VENDORS[vendor](model, environ)


# Vendors are imported when they are first used: a process loads no SDK that it does not need.


def _local(model: str, _environ: Mapping[str, str]) -> LanguageModel:
    from workers.llm.receptionist import Receptionist

    if model != "receptionist":
        raise ValueError(f"unknown language model 'local/{model}'; known: {', '.join(KNOWN)}")
    return Receptionist()


def _openai(model: str, environ: Mapping[str, str]) -> LanguageModel:
    from workers.llm.openai_chat import OPENAI_URL, OpenAIChat

    url = environ.get("OPENAI_BASE_URL", "").strip() or OPENAI_URL
    key = environ.get("OPENAI_API_KEY", "").strip()
    if not key and url == OPENAI_URL:
        raise ValueError(f"openai/{model} needs a key; set OPENAI_API_KEY, or OPENAI_BASE_URL to a server without keys")
    return OpenAIChat(model, key=key, url=url)


VENDORS: dict[str, Callable[[str, Mapping[str, str]], LanguageModel]] = {
    "local": _local,
    "openai": _openai,
}
KNOWN = ("local/receptionist", "openai/<model>")
