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


def _deepgram(model: str, environ: Mapping[str, str]) -> SpeechToText:
    from workers.stt.deepgram_account import DeepgramAccount
    from workers.stt.deepgram_flux import DeepgramFlux
    from workers.stt.deepgram_nova import DeepgramNova

    account = DeepgramAccount.from_environ(environ)
    return DeepgramFlux(model, account) if model.startswith("flux-") else DeepgramNova(model, account)


def _cartesia(model: str, environ: Mapping[str, str]) -> SpeechToText:
    from workers.cartesia_wire import CARTESIA_URL
    from workers.stt.cartesia_ink import CartesiaInk

    if not model.startswith("ink-"):
        raise ValueError(f"no ear of Cartesia's is named {model!r}")
    key = _key(environ, "CARTESIA_API_KEY")
    return CartesiaInk(model, key, environ.get("CARTESIA_BASE_URL", "").strip() or CARTESIA_URL)


def _sarvam(model: str, environ: Mapping[str, str]) -> SpeechToText:
    from workers.sarvam_wire import SARVAM_URL
    from workers.stt.sarvam import Sarvam

    if not model.startswith(("saarika:", "saaras:v3")):
        raise ValueError(f"no ear of Sarvam's is named {model!r}")
    key = _key(environ, "SARVAM_API_KEY")
    return Sarvam(model, key, environ.get("SARVAM_BASE_URL", "").strip() or SARVAM_URL)


def _key(environ: Mapping[str, str], variable: str) -> str:
    key = environ.get(variable, "").strip()
    if not key:
        raise ValueError(f"a key is needed: set {variable}")
    return key


VENDORS: dict[str, Vendor[SpeechToText]] = {
    "local": Vendor(_local, "local/whisper-tiny.en, local/whisper-<size>"),
    "deepgram": Vendor(_deepgram, "deepgram/nova-3, deepgram/<model>, deepgram/flux-general-en", "DEEPGRAM_API_KEY"),
    "cartesia": Vendor(_cartesia, "cartesia/ink-whisper", "CARTESIA_API_KEY"),
    "sarvam": Vendor(_sarvam, "sarvam/saarika:v2.5, sarvam/saaras:v3", "SARVAM_API_KEY"),
}


def speech_to_text(spec: str, environ: Mapping[str, str]) -> SpeechToText:
    """The provider for a "vendor/model" of `STT_PROVIDER`.  Raises ValueError listing the known ones."""
    return build_provider("speech-to-text", spec, environ, VENDORS)
