"""Which ears there are.  Adding one is a file with the adapter and a line in `VENDORS`."""

from __future__ import annotations

from collections.abc import Mapping

from workers.providers import SpeechToText
from workers.vendors import Vendor, build_provider


def _local(model: str, environ: Mapping[str, str]) -> SpeechToText:
    from workers.stt.local_whisper import LocalWhisper

    engine, _, size = model.partition("-")
    if engine != "whisper" or not size:
        raise ValueError(f"no local ear is named {model!r}")
    return LocalWhisper(size)


VENDORS: dict[str, Vendor[SpeechToText]] = {
    "local": Vendor(_local, "local/whisper-tiny.en, local/whisper-<size>"),
}


def speech_to_text(spec: str, environ: Mapping[str, str]) -> SpeechToText:
    """The provider for a "vendor/model" of `STT_PROVIDER`.  Raises ValueError listing the known ones."""
    return build_provider("speech-to-text", spec, environ, VENDORS)
