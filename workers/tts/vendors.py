"""Which mouths there are.  Adding one is a file with the adapter and a line in `VENDORS`.

Adapters are imported when they are named: a process that only uses a vendor's service needs no numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from workers.providers import TextToSpeech

Builder = Callable[[str, Mapping[str, str]], TextToSpeech]
"""(model, environment) -> provider.  Raises ValueError, naming what is known, on a model or key it cannot use."""


def _local(model: str, environ: Mapping[str, str]) -> TextToSpeech:
    engine, dash, voice = model.partition("-")
    if engine not in ("piper", "espeak") or (dash and not voice):
        raise ValueError(f"no local mouth is named {model!r}")
    if engine == "espeak":
        from workers.tts.local_espeak import LocalEspeak

        return LocalEspeak(voice)
    from workers.tts.local_piper import LocalPiper

    return LocalPiper(voice)


VENDORS: dict[str, tuple[Builder, str]] = {
    "local": (_local, "local/piper, local/piper-<voice>, local/espeak, local/espeak-<voice>"),
}
"""vendor -> its builder, and its specs as error messages show them."""


def text_to_speech(spec: str, environ: Mapping[str, str]) -> TextToSpeech:
    """The provider for a "vendor/model" of `TTS_PROVIDER`, not yet warm.  Raises ValueError listing the known ones."""
    vendor, slash, model = spec.partition("/")
    known = ", ".join(specs for _, specs in VENDORS.values())
    if vendor not in VENDORS or not slash or not model:
        raise ValueError(f"unknown text-to-speech provider {spec!r}; known: {known}")
    try:
        return VENDORS[vendor][0](model, environ)
    except ImportError as error:
        raise ValueError(
            f"text-to-speech provider {spec!r} needs {error.name}; install the local engines: make install"
        ) from None
    except ValueError as error:
        raise ValueError(f"text-to-speech provider {spec!r}: {error}; known: {known}") from None
