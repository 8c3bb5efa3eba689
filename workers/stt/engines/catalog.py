"""Lists the STT engines.  Adding one is a file with the adapter and a line in `VENDORS`."""

from __future__ import annotations

from collections.abc import Mapping

from workers.providers.accounts import key_of, server_of, value_of
from workers.providers.catalog import Catalog, NoSuchModel, Unfit, Vendor, need_packages, primary, refusal
from workers.providers.interfaces import ListenOptions, SpeechToText

WHISPER_SIZES = (
    "tiny.en", "tiny", "base.en", "base", "small.en", "small", "medium.en", "medium", "large-v1", "large-v2",
    "large-v3", "large", "distil-large-v2", "distil-medium.en", "distil-small.en", "distil-large-v3",
    "distil-large-v3.5", "large-v3-turbo", "turbo",
)  # fmt: skip
"""The sizes of faster-whisper, so that a mistyped size is refused without loading it; a test compares them."""
_NOVA_3 = """
ar be bg bn bs ca cs da de el en es et fa fi fr gu he hi hr hu id it ja kn ko lt lv mk mr ms mul multi nl no pa pl pt ro
ru sk sl sr sv ta te th tl tr uk ur vi zh
"""
NOVA_3 = frozenset(_NOVA_3.split())
"""Languages that the vendor lists for nova-3; it adds to them now and then."""


def _check_local(model: str, environ: Mapping[str, str]) -> None:
    engine, _, size = model.partition("-")
    if engine != "whisper" or not size:
        raise NoSuchModel(f"no local STT engine is named {model!r}")
    if size not in WHISPER_SIZES:
        raise NoSuchModel(f"no whisper model is named {size!r}; sizes: {', '.join(WHISPER_SIZES)}")
    need_packages("numpy", "soxr", "onnxruntime", "silero_vad", "faster_whisper")


def _local(model: str, environ: Mapping[str, str]) -> SpeechToText:
    _check_local(model, environ)
    from workers.stt.engines.local_whisper import LocalWhisper

    return LocalWhisper(model.partition("-")[2])


def _unfit_local(model: str, language: str) -> Unfit | None:
    from workers.stt.engines.cartesia_ink import LANGUAGES  # the languages of every Whisper

    if model.endswith(".en") and primary(language) != "en":
        return Unfit(f"local/{model} understands English only; local/whisper-small understands more")
    return None if primary(language) in LANGUAGES else Unfit(f"local/{model} does not understand {language}")


def _deepgram(model: str, environ: Mapping[str, str]) -> SpeechToText:
    from workers.stt.engines.deepgram_account import DEEPGRAM_URL, DeepgramAccount
    from workers.stt.engines.deepgram_flux import DeepgramFlux
    from workers.stt.engines.deepgram_nova import DeepgramNova

    account = DeepgramAccount(*server_of(environ, "DEEPGRAM_API_KEY", "DEEPGRAM_BASE_URL", DEEPGRAM_URL))
    return DeepgramFlux(model, account) if model.startswith("flux-") else DeepgramNova(model, account)


def _unfit_deepgram(model: str, language: str) -> Unfit | None:
    if model.startswith("flux-"):
        from workers.stt.engines.deepgram_flux import FluxOptions, query

        return refusal(lambda: query(model, ListenOptions(language=language), FluxOptions()))
    if model.startswith("nova-3") and primary(language) not in NOVA_3:
        return Unfit(f"deepgram/{model} is not documented to understand {language}", certain=False)
    return None


def _cartesia(model: str, environ: Mapping[str, str]) -> SpeechToText:
    from workers.providers.cartesia import CARTESIA_URL
    from workers.stt.engines.cartesia_ink import CartesiaInk

    if not model.startswith("ink-"):
        raise NoSuchModel(f"no STT model of Cartesia is named {model!r}")
    key = key_of(environ, "CARTESIA_API_KEY")
    return CartesiaInk(model, key, value_of(environ, "CARTESIA_BASE_URL", CARTESIA_URL))


def _unfit_cartesia(model: str, language: str) -> Unfit | None:
    from workers.stt.engines.cartesia_ink import language_code

    return refusal(lambda: language_code(model, language))


def _sarvam(model: str, environ: Mapping[str, str]) -> SpeechToText:
    from workers.providers.sarvam import SARVAM_URL
    from workers.stt.engines.sarvam import Sarvam

    if not model.startswith(("saarika:", "saaras:v3")):
        raise NoSuchModel(f"no STT model of Sarvam is named {model!r}")
    key = key_of(environ, "SARVAM_API_KEY")
    return Sarvam(model, key, value_of(environ, "SARVAM_BASE_URL", SARVAM_URL))


def _unfit_sarvam(model: str, language: str) -> Unfit | None:
    from workers.providers.sarvam import language_code
    from workers.stt.engines.sarvam import MORE_OF_SAARAS, UNKNOWN

    more = {**UNKNOWN, **(MORE_OF_SAARAS if model.startswith("saaras") else {})}
    return refusal(lambda: language_code(f"sarvam/{model}", language, more))


VENDORS: dict[str, Vendor[SpeechToText]] = {
    "local": Vendor(_local, "local/whisper-tiny.en, local/whisper-<size>", _check_local, _unfit_local),
    "deepgram": Vendor(
        _deepgram,
        "deepgram/nova-3, deepgram/<model>, deepgram/flux-general-en, deepgram/flux-general-multi",
        unfit=_unfit_deepgram,
        key="DEEPGRAM_API_KEY",
    ),
    "cartesia": Vendor(_cartesia, "cartesia/ink-whisper", unfit=_unfit_cartesia, key="CARTESIA_API_KEY"),
    "sarvam": Vendor(_sarvam, "sarvam/saarika:v2.5, sarvam/saaras:v3", unfit=_unfit_sarvam, key="SARVAM_API_KEY"),
}
CATALOG = Catalog("speech-to-text", VENDORS)


def speech_to_text(spec: str, environ: Mapping[str, str]) -> SpeechToText:
    """The provider for a "vendor/model" of `STT_PROVIDER`.  Raises ValueError listing the known ones."""
    return CATALOG.build(spec, environ)
