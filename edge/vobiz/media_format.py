"""Parses the audio format that the carrier declares, under any of its usual names.  Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

MULAW, ALAW, L16 = "mulaw", "alaw", "l16"
NAMES = {
    **dict.fromkeys(("mulaw", "ulaw", "mu-law", "u-law", "pcmu", "g711u", "g711-ulaw", "g711-mulaw", "basic"), MULAW),
    **dict.fromkeys(("alaw", "a-law", "pcma", "g711a", "g711-alaw"), ALAW),
    **dict.fromkeys(("l16", "linear16", "pcm", "pcm16", "pcm-s16le", "s16le", "slin", "slin16"), L16),
}
"""Name in lower case, without `audio/` and `x-`, "_" as "-" -> its encoding."""
RATES = {MULAW: (8000,), ALAW: (8000,), L16: (8000, 16000, 24000)}
"""Sample rates in Hz.  G.711 has one; L16 at 24,000 Hz from Vobiz is unusable, and edge/media/decoder.py refuses it."""
_NAME = re.compile(r"(?!.*[0-9]{6})[A-Za-z][A-Za-z0-9/_.;= -]{0,63}")
"""The shape of an encoding's name; anything else, perhaps a phone number, is not repeated in an error."""
_HERTZ = re.compile(r"[0-9]{1,6}")


class BadFormat(ValueError):
    """The format cannot be used; the text gives the declared format and the accepted ones."""


@dataclass(frozen=True, slots=True)
class MediaFormat:
    """Encoding "mulaw", "alaw" or "l16" (signed 16-bit, little-endian) at `sample_rate` Hz, mono."""

    encoding: str = MULAW
    sample_rate: int = 8000

    @property
    def frame_bytes(self) -> int:
        """Bytes of 20 ms."""
        return self.sample_rate // 50 * (2 if self.encoding == L16 else 1)


def media_format(name: str, rate: str = "") -> MediaFormat:
    """Parse a name such as "audio/x-mulaw", "PCMU/8000" or "audio/l16;rate=16000;channels=1".

    `rate` is the rate given beside the name, in Hz; it takes precedence over one within the name.  Raises BadFormat.
    """
    kind, *parameters = [part.strip() for part in name.lower().split(";")]
    kind = kind.removeprefix("audio/").replace("_", "-").removeprefix("x-").replace(".", "")
    kind, *numbers = kind.split("/")  # as in SDP: name/rate/channels
    parameter_of = dict(part.replace('"', "").partition("=")[::2] for part in parameters)
    rates = [rate, parameter_of.get("rate", ""), *numbers[:1], "8000"]
    channels = parameter_of.get("channels") or (numbers[1] if len(numbers) > 1 else "1")
    encoding = NAMES.get(kind.strip())
    hertz = re.sub(r"\.0+$", "", next(one.strip() for one in rates if one.strip()))
    if encoding is None or channels != "1" or hertz not in map(str, RATES[encoding]):
        shown_name = repr(name) if _NAME.fullmatch(name) else "a name that is none"
        shown_hertz = hertz if _HERTZ.fullmatch(hertz) else "unreadable"
        raise BadFormat(
            f"{shown_name} at {shown_hertz} Hz; expected mu-law or A-law at 8000 Hz or L16 at 8000 or 16000 Hz, mono"
        )
    return MediaFormat(encoding, int(hertz))
