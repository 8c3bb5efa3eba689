"""Tells which vendor has which voice, by the form of its name.  Pure.

An agent has one `voice`, and perhaps several providers.  After a failover the voice may be another vendor's, and then
the provider's default speaks.  A voice that no provider has is a mistake, because the caller hears a wrong voice: a
warning is logged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

ELEVENLABS_VOICE = re.compile(r"[A-Za-z0-9]{15,40}")
CARTESIA_VOICE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
AURA_MODEL = re.compile(r"aura-(?:\d-)?[a-z]+-(?P<language>[a-z]{2})")
OPENAI_VOICES = frozenset(
    ["alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse"]
)
OPENAI_VOICE = re.compile(r"[a-z]{3,12}|voice_\w{1,80}")
"""Form of the names of OpenAI's voices: it will add others, and an account may have its own."""
SARVAM_V2_VOICES = ("anushka", "manisha", "vidya", "arya", "abhilash", "karun", "hitesh")
SARVAM_VOICES = (
    "shubh", "aditya", "ritu", "priya", "neha", "rahul", "pooja", "rohan", "simran", "kavya", "amit", "dev", "ishita",
    "shreya", "ratan", "varun", "manan", "sumit", "roopa", "kabir", "aayan", "ashutosh", "advait", "amelia", "sophia",
)  # fmt: skip
"""The voices of each Bulbul model; the first is the default."""


def is_openai(url: str) -> bool:
    """True if this base URL is OpenAI's own, and not that of a compatible server, which may have any voice."""
    host = urlsplit(url).hostname or ""
    return host == "api.openai.com" or host.endswith(".api.openai.com")


def sarvam_voices(model: str) -> tuple[str, ...]:
    """Return the voices of a Bulbul model."""
    return SARVAM_V2_VOICES if model == "bulbul:v2" else SARVAM_VOICES


def takes_voice(spec: str, voice: str, *, openai_compatible: bool = False) -> bool:
    """True if the provider `vendor/model` has this voice.

    `openai_compatible`: OPENAI_BASE_URL is another server than OpenAI's, and may have any voice.
    """
    vendor, _, model = spec.partition("/")
    match vendor:
        case "openai":
            return openai_compatible or voice.lower() in OPENAI_VOICES or voice.startswith("voice_")
        case "elevenlabs":
            return ELEVENLABS_VOICE.fullmatch(voice) is not None
        case "cartesia":
            return CARTESIA_VOICE.fullmatch(voice) is not None
        case "deepgram":
            return AURA_MODEL.fullmatch(voice.lower()) is not None
        case "sarvam":
            return voice.lower() in sarvam_voices(model)
        case "local":
            return model.partition("-")[2] == voice  # a local model has the one voice that it is named after
        case _:
            return True  # a provider of the deployment's own: its voices are not known


_ADVICE = {
    "openai": "one of OpenAI's names, such as nova",
    "elevenlabs": "the voice's id of ElevenLabs (20 letters and digits), not its name",
    "cartesia": "the voice's id of Cartesia, such as a0e99841-438c-4a64-b679-ae501e7d6091",
    "deepgram": "a model such as aura-2-thalia-en",
    "sarvam": "a speaker of that model, such as anushka for bulbul:v2",
    "local": "nothing: local voices are named in the provider, such as local/piper-en_US-lessac-medium",
}


def unused_voice(agent: str, voice: str, specs: Sequence[str], *, openai_compatible: bool = False) -> str:
    """Return the warning about a voice that none of the providers has; empty if one has it, or if `voice` is empty."""
    if not voice or any(takes_voice(spec, voice, openai_compatible=openai_compatible) for spec in specs):
        return ""
    vendors = dict.fromkeys(spec.partition("/")[0] for spec in specs)
    advice = "; ".join(f"for {vendor} write {_ADVICE[vendor]}" for vendor in vendors if vendor in _ADVICE)
    return (
        f"the voice {voice!r} of the agent {agent!r} is none that {' or '.join(specs)} can speak with, "
        f"so callers hear the default voice; {advice}"
    )
