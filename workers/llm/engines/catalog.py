"""Lists the language models.  To add one, write its adapter and a line in `VENDORS`."""

from __future__ import annotations

from collections.abc import Mapping

from workers.llm.engines.openai_server import address_fault
from workers.providers.accounts import OPENAI_URL, server_of, value_of
from workers.providers.catalog import Catalog, NoSuchModel, Unfit, Vendor, need_packages, primary
from workers.providers.interfaces import LanguageModel


def _check_local(model: str, environ: Mapping[str, str]) -> None:
    if model != "receptionist":
        raise NoSuchModel(f"no local model is named {model!r}")


def _local(model: str, environ: Mapping[str, str]) -> LanguageModel:
    _check_local(model, environ)
    from workers.llm.engines.scripted_receptionist import Receptionist

    return Receptionist()


def _unfit_local(model: str, language: str) -> Unfit | None:
    return None if primary(language) == "en" else Unfit(f"the script local/{model} answers in English only")


def _check_openai(model: str, environ: Mapping[str, str]) -> None:
    need_packages("openai")
    if fault := address_fault(value_of(environ, "OPENAI_BASE_URL", OPENAI_URL)):
        raise ValueError(fault)
    server_of(environ, "OPENAI_API_KEY", "OPENAI_BASE_URL", OPENAI_URL)


def _openai(model: str, environ: Mapping[str, str]) -> LanguageModel:
    _check_openai(model, environ)
    from workers.llm.engines.openai_chat import OpenAIChat

    key, url = server_of(environ, "OPENAI_API_KEY", "OPENAI_BASE_URL", OPENAI_URL)
    return OpenAIChat(model, key=key, url=url)


VENDORS: dict[str, Vendor[LanguageModel]] = {
    "local": Vendor(_local, "local/receptionist", _check_local, _unfit_local),
    "openai": Vendor(_openai, "openai/<model>", _check_openai, key="OPENAI_API_KEY"),
}
CATALOG = Catalog("language model", VENDORS)


def language_model(spec: str, environ: Mapping[str, str]) -> LanguageModel:
    """Build the provider for a "vendor/model" of `LLM_PROVIDER`.  Raises ValueError, which lists the known specs.

    Build one for each spec and process, and share it among all calls: it holds the vendor's connections.
    """
    return CATALOG.build(spec, environ)
