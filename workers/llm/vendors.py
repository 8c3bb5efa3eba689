"""Which language models there are.  Adding one is a file with the adapter and a line in `VENDORS`."""

from __future__ import annotations

from collections.abc import Mapping

from workers.providers import LanguageModel
from workers.vendors import Vendor, build_provider


def _local(model: str, environ: Mapping[str, str]) -> LanguageModel:
    from workers.llm.receptionist import Receptionist

    if model != "receptionist":
        raise ValueError(f"no local model is named {model!r}")
    return Receptionist()


def _openai(model: str, environ: Mapping[str, str]) -> LanguageModel:
    from workers.llm.openai_chat import OPENAI_URL, OpenAIChat
    from workers.llm.openai_server import address_fault

    url = environ.get("OPENAI_BASE_URL", "").strip() or OPENAI_URL
    key = environ.get("OPENAI_API_KEY", "").strip()
    if fault := address_fault(url):
        raise ValueError(fault)
    if not key and url == OPENAI_URL:
        raise ValueError("a key is needed: set OPENAI_API_KEY, or OPENAI_BASE_URL to a server without keys")
    return OpenAIChat(model, key=key, url=url)


VENDORS: dict[str, Vendor[LanguageModel]] = {
    "local": Vendor(_local, "local/receptionist"),
    "openai": Vendor(_openai, "openai/<model>", "OPENAI_API_KEY"),
}


def language_model(spec: str, environ: Mapping[str, str]) -> LanguageModel:
    """The provider for a "vendor/model" of `LLM_PROVIDER`.  Raises ValueError listing the known ones.

    Build one for each spec and process, and share it among all calls: it holds the vendor's connections.
    """
    return build_provider("language model", spec, environ, VENDORS)
