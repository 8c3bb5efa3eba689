"""Audio tags ("[laughs]"): the voices that act them, and the text for a voice that would read them aloud.

A model that is served by a voice of this table may write the tags that its vendor documents.  Every other voice gets
the same text without them, also after a failover.
"""

from __future__ import annotations

import re

_ANY = re.compile(r"\[[^\[\]]{1,100}\]")
_TAGS = {"elevenlabs/eleven_v3": _ANY, "cartesia/sonic-3": re.compile(r"\[laughter\]", re.IGNORECASE)}
"""By the beginning of the provider's spec: the tags that it acts."""


def takes_audio_tags(spec: str) -> bool:
    """Does the voice named by the "vendor/model" act any tag?"""
    return any(spec.startswith(model) for model in _TAGS)


def for_voice(text: str, spec: str) -> str:
    """`text` with a blank for every character of a tag that this voice does not act: offsets stay what they are."""
    acted = next((tags for model, tags in _TAGS.items() if spec.startswith(model)), None)

    def blank(match: re.Match[str]) -> str:
        return match[0] if acted is not None and acted.fullmatch(match[0]) else " " * len(match[0])

    return _ANY.sub(blank, text)
