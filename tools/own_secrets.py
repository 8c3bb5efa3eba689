"""Which secrets a process of `make run` is given: those that it reads, as in docker-compose.yml, and no other's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from common.settings import Settings

ALL = frozenset(item.name.upper() for item in dataclasses.fields(Settings) if item.metadata["rule"].secret)
_EVERYBODYS = frozenset({"REDIS_URL", "OTEL_EXPORTER_OTLP_HEADERS"})
OWN: Mapping[str, frozenset[str]] = {
    "edge": _EVERYBODYS
    | {"STREAM_SECRET", "API_TOKEN", "VOBIZ_AUTH_ID", "VOBIZ_AUTH_TOKEN", "VOBIZ_PARENT_AUTH_TOKEN"}
    | {"VOBIZ_FROM_NUMBER"},
    "stt": _EVERYBODYS | {"DEEPGRAM_API_KEY", "CARTESIA_API_KEY", "SARVAM_API_KEY"},
    "llm": _EVERYBODYS | {"OPENAI_API_KEY"},
    "tts": _EVERYBODYS
    | {"ELEVENLABS_API_KEY", "OPENAI_API_KEY", "DEEPGRAM_API_KEY", "CARTESIA_API_KEY", "SARVAM_API_KEY"},
}
"""By kind of process; whatever is none of these (Redis) gets none."""
EDGES_POLICY = "WEBHOOK_SIGNATURES"
"""Cannot be read without the token that it speaks of."""


def own_environment(kind: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without the secrets of others, whether they are values or files (`<NAME>_FILE`)."""
    others = ALL - OWN.get(kind, frozenset())
    left_out = others | {f"{name}_FILE" for name in others} | (set() if kind == "edge" else {EDGES_POLICY})
    return {name: value for name, value in environ.items() if name not in left_out}
