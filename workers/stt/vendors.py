"""Which ears there are.  Adding one is a file with the adapter and a line in `VENDORS`.

Adapters are imported when they are named: a process that only uses a vendor's service needs no numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from workers.providers import SpeechToText

Builder = Callable[[str, Mapping[str, str]], SpeechToText]
"""(model, environment) -> provider.  Raises ValueError, naming what is known, on a model or key it cannot use."""


def _local(model: str, environ: Mapping[str, str]) -> SpeechToText:
    from workers.stt.local_whisper import LocalWhisper

    engine, _, size = model.partition("-")
    if engine != "whisper" or not size:
        raise ValueError(f"no local ear is named {model!r}")
    return LocalWhisper(size)


VENDORS: dict[str, tuple[Builder, str]] = {
    "local": (_local, "local/whisper-tiny.en, local/whisper-<size>"),
}
"""vendor -> its builder, and its specs as error messages show them."""


def speech_to_text(spec: str, environ: Mapping[str, str]) -> SpeechToText:
    """The provider for a "vendor/model" of `STT_PROVIDER`, not yet warm.  Raises ValueError listing the known ones."""
    vendor, slash, model = spec.partition("/")
    known = ", ".join(specs for _, specs in VENDORS.values())
    if vendor not in VENDORS or not slash or not model:
        raise ValueError(f"unknown speech-to-text provider {spec!r}; known: {known}")
    try:
        return VENDORS[vendor][0](model, environ)
    except ImportError as error:
        raise ValueError(
            f"speech-to-text provider {spec!r} needs {error.name}; install the local engines: make install"
        ) from None
    except ValueError as error:
        raise ValueError(f"speech-to-text provider {spec!r}: {error}; known: {known}") from None
