"""Which mouths there are.  Adding one is a file with the adapter and a line in `VENDORS`."""

from __future__ import annotations

from collections.abc import Mapping

from workers.providers import TextToSpeech
from workers.vendors import Vendor, build_provider


def _local(model: str, environ: Mapping[str, str]) -> TextToSpeech:
    engine, dash, voice = model.partition("-")
    if engine not in ("piper", "espeak") or (dash and not voice):
        raise ValueError(f"no local mouth is named {model!r}")
    if engine == "espeak":
        from workers.tts.local_espeak import LocalEspeak

        return LocalEspeak(voice)
    from workers.tts.local_piper import LocalPiper

    return LocalPiper(voice)


VENDORS: dict[str, Vendor[TextToSpeech]] = {
    "local": Vendor(_local, "local/piper, local/piper-<voice>, local/espeak, local/espeak-<voice>"),
}


def text_to_speech(spec: str, environ: Mapping[str, str]) -> TextToSpeech:
    """The provider for a "vendor/model" of `TTS_PROVIDER`.  Raises ValueError listing the known ones."""
    return build_provider("text-to-speech", spec, environ, VENDORS)
