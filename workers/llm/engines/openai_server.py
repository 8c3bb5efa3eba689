"""Describes the server behind OPENAI_BASE_URL: its models, and its faults in one sentence each.  Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

MODELS_SHOWN = 12
BODY_CHARS_MAX = 4_000
SETTING = "OPENAI_BASE_URL"

_ROUTES = re.compile(
    r"/(?:chat(?:/completions)?|completions|responses|models|embeddings|api/(?:chat|generate|tags))/*$"
)
_NO_MODEL = re.compile(
    r"model.{0,200}(?:not (?:found|exist|loaded|available)|does not exist|unknown|pull|no such)"
    r"|(?:unknown|no such|invalid|find|load) (?:the )?model",
    re.I | re.DOTALL,
)
_NO_CHAT = re.compile(r"embed|rerank|whisper|tts|speech|moderation|(?:^|[/-])bge-|clip|stable-diffusion|flux", re.I)


def shown(url: str) -> str:
    """Return the address as errors may show it: without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")


def address_fault(url: str) -> str:
    """Describe what is wrong with this value of the setting; empty if it may be an address."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return f"{SETTING} is no URL; write it like http://host:8000/v1"
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\"'<>]", url):
        return f"{SETTING} is no URL; write it like http://host:8000/v1"
    if parts.query or parts.fragment:
        return f"{SETTING} has a ? or #; write only the address, such as {parts.scheme}://{host}/v1"
    if found := _ROUTES.search(parts.path):
        route = found[0].rstrip("/")
        version = "/v1" if route.startswith("/api") else ""
        return f"{SETTING} ends in {route}, which is added by itself; write {shown(url).removesuffix(route)}{version}"
    return ""


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """A server's answer, as far as an error message needs it."""

    status: int
    media: str
    text: str
    moved_to: str = ""
    """The address after redirects; empty without a redirect."""

    @property
    def is_page(self) -> bool:
        """True if the answer is a web page and no API document."""
        return "html" in self.media or self.text.lstrip()[:15].lower().startswith(("<!doctype", "<html"))

    @property
    def document(self) -> Any:
        """The parsed JSON; None if the text is not JSON."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None


def answer_fault(url: str, answer: ServerAnswer) -> str:
    """Describe why this is not an answer of a chat completions API; empty if it may be one."""
    where = f"{SETTING} ({shown(url)})"
    lacks = "" if re.search(r"/v\d", urlsplit(url).path) else f"; try {shown(url)}/v1"
    document = answer.document
    if re.search(r"plain http request was sent to https|http request to an https server", answer.text, re.I):
        return f"{where} requires HTTPS; write https://"
    if answer.moved_to and (answer.status >= 400 or answer.is_page):
        return f"{where} redirects to {shown(answer.moved_to)}; write the address that it leads to"
    if answer.is_page and answer.status < 500:
        return f"{where} answers with a web page and no API{lacks}"
    if answer.status in (404, 405) and not _speaks_of_model(document):
        return f"{where} has no chat completions ({answer.status}){lacks}"
    if answer.status < 300 and isinstance(document, Mapping) and not document.keys() & {"choices", "error"}:
        return f"{where} answers with JSON that is no chat completion{lacks}"
    return ""


def speaks_of_missing_model(answer: ServerAnswer) -> bool:
    """True if the server refused the request because it has no such model."""
    return answer.status in (400, 404) and bool(_NO_MODEL.search(answer.text[:BODY_CHARS_MAX]))


def _speaks_of_model(document: Any) -> bool:
    """True if this is an API's error about the model, not a web server's error about the path."""
    text = json.dumps(document) if isinstance(document, Mapping) else ""
    return '"error"' in text and bool(re.search(r"model|endpoints found", text, re.I))


def model_names(document: Any) -> tuple[str, ...] | None:
    """Return the models that a server lists; None if the document is no list of models."""
    if isinstance(document, Mapping):
        document = document["data"] if "data" in document else document.get("models")
        document = [] if document is None else document
    if not isinstance(document, list):
        return None
    names = [each.get("id") or each.get("name") if isinstance(each, Mapping) else each for each in document]
    return tuple(name for name in names if isinstance(name, str) and name)


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The model to request, and a note for the log (empty: none)."""

    model: str
    note: str = ""
    known: bool = True
    """True if the server lists the model."""


def choose_model(wanted: str, names: Sequence[str]) -> ModelChoice:
    """Return the wanted model in the server's spelling, or the server's only model, or else the wanted one unchanged.

    A server may accept names that it does not list (aliases, deployments), so only its refusal is a fault.
    """
    for name in names:
        if _plain(name) == _plain(wanted):
            return ModelChoice(name if name.lower() == wanted.lower() else wanted)
    talking = [name for name in names if not _NO_CHAT.search(name)] or list(names)
    if len(talking) == 1:
        return ModelChoice(talking[0], f"{SETTING} has no model {wanted!r}; its only one, {talking[0]!r}, is taken")
    return ModelChoice(wanted, _which(wanted, talking), known=False)


def _which(wanted: str, names: Sequence[str]) -> str:
    if not names:
        return f"{SETTING} has no model {wanted!r}, and lists none; load one there"
    more = f" and {len(names) - MODELS_SHOWN} more" if len(names) > MODELS_SHOWN else ""
    listed = ", ".join(names[:MODELS_SHOWN])
    return f"{SETTING} has no model {wanted!r}; it has {listed}{more}; set LLM_PROVIDER=openai/{names[0]} or another"


def _plain(name: str) -> str:
    return name.lower().removeprefix("models/").removesuffix(":latest")
