"""Audio tags ("[laughs]"): which voices perform them, and the text for a voice that would read them aloud.

With a voice of this table, the model may write the tags that the vendor documents.  Every other voice gets the same
text without them, also after a failover.
"""

from __future__ import annotations

import re

_ANY = re.compile(r"\[[^\[\]]{1,100}\]")
_TAGS = {"elevenlabs/eleven_v3": _ANY, "cartesia/sonic-3": re.compile(r"\[laughter\]", re.IGNORECASE)}
"""Beginning of the provider's spec -> pattern of the tags that it performs."""


def takes_audio_tags(spec: str) -> bool:
    """True if the voice of this "vendor/model" performs any tag."""
    return any(spec.startswith(model) for model in _TAGS)


def for_voice(text: str, spec: str) -> str:
    """Return `text` with a blank for each character of a tag that this voice does not perform: offsets stay."""
    acted = next((tags for model, tags in _TAGS.items() if spec.startswith(model)), None)

    def blank(match: re.Match[str]) -> str:
        return match[0] if acted is not None and acted.fullmatch(match[0]) else " " * len(match[0])

    return _ANY.sub(blank, text)
