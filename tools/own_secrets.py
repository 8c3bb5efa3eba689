"""Gives each process of `make run` only the secrets that it reads, as docker-compose.yml does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from common.settings import Settings

ALL = frozenset(item.name.upper() for item in dataclasses.fields(Settings) if item.metadata["rule"].secret)
_EVERYBODYS = frozenset({"REDIS_URL", "OTEL_EXPORTER_OTLP_HEADERS"})
OWN: Mapping[str, frozenset[str]] = {
    "edge": _EVERYBODYS
    | {"STREAM_SECRET", "API_TOKEN", "ON_CALL_SECRET", "VOBIZ_AUTH_ID", "VOBIZ_AUTH_TOKEN", "VOBIZ_PARENT_AUTH_TOKEN"}
    | {"VOBIZ_FROM_NUMBER"},
    "stt": _EVERYBODYS | {"DEEPGRAM_API_KEY", "CARTESIA_API_KEY", "SARVAM_API_KEY"},
    "llm": _EVERYBODYS | {"OPENAI_API_KEY"},
    "tts": _EVERYBODYS
    | {"ELEVENLABS_API_KEY", "OPENAI_API_KEY", "DEEPGRAM_API_KEY", "CARTESIA_API_KEY", "SARVAM_API_KEY"},
    "tools": _EVERYBODYS,
}
"""Secrets by kind of process; any other process (Redis) gets none."""
EDGES_POLICY = "WEBHOOK_SIGNATURES"
"""Cannot be read without the token that it names."""


def own_environment(kind: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without other processes' secrets, given as values or as files (`<NAME>_FILE`)."""
    others = ALL - OWN.get(kind, frozenset())
    left_out = others | {f"{name}_FILE" for name in others} | (set() if kind == "edge" else {EDGES_POLICY})
    return {name: value for name, value in environ.items() if name not in left_out}
