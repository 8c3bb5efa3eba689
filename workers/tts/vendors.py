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


def _cartesia(model: str, environ: Mapping[str, str]) -> TextToSpeech:
    from workers.cartesia_wire import CARTESIA_URL
    from workers.tts.cartesia_sonic import VOICE, CartesiaSonic

    if not model.startswith("sonic"):
        raise ValueError(f"no mouth of Cartesia's is named {model!r}")
    key = _key(environ, "CARTESIA_API_KEY")
    return CartesiaSonic(
        model,
        key,
        environ.get("CARTESIA_BASE_URL", "").strip() or CARTESIA_URL,
        environ.get("CARTESIA_VOICE_ID", "").strip() or VOICE,
    )


def _sarvam(model: str, environ: Mapping[str, str]) -> TextToSpeech:
    from workers.sarvam_wire import SARVAM_URL
    from workers.tts.sarvam_bulbul import SarvamBulbul

    if not model.startswith("bulbul:"):
        raise ValueError(f"no mouth of Sarvam's is named {model!r}")
    key = _key(environ, "SARVAM_API_KEY")
    return SarvamBulbul(model, key, environ.get("SARVAM_BASE_URL", "").strip() or SARVAM_URL)


def _elevenlabs(model: str, environ: Mapping[str, str]) -> TextToSpeech:
    from workers.tts.elevenlabs import ELEVENLABS_URL, VOICE, ElevenLabs, ElevenLabsHttp

    name, plus, way = model.partition("+")
    if not name or (plus and way != "http"):
        raise ValueError(f"no mouth of ElevenLabs' is named {model!r}")
    key = _key(environ, "ELEVENLABS_API_KEY")
    url = environ.get("ELEVENLABS_BASE_URL", "").strip() or ELEVENLABS_URL
    voice = environ.get("ELEVENLABS_VOICE_ID", "").strip() or VOICE
    return (ElevenLabsHttp if way else ElevenLabs)(name, key=key, url=url, voice=voice)


def _openai(model: str, environ: Mapping[str, str]) -> TextToSpeech:
    from workers.tts.openai_speech import OPENAI_URL, OpenAISpeech

    url = environ.get("OPENAI_BASE_URL", "").strip() or OPENAI_URL
    key = environ.get("OPENAI_API_KEY", "").strip()
    if not key and url == OPENAI_URL:
        raise ValueError("a key is needed: set OPENAI_API_KEY, or OPENAI_BASE_URL to a server without keys")
    return OpenAISpeech(model, key=key, url=url)


def _deepgram(model: str, environ: Mapping[str, str]) -> TextToSpeech:
    from workers.tts.aura import DEEPGRAM_URL, Aura
    from workers.vendor_http import http_form

    key = environ.get("DEEPGRAM_API_KEY", "").strip()
    url = environ.get("DEEPGRAM_BASE_URL", "").strip() or DEEPGRAM_URL
    if not key and http_form(url) == DEEPGRAM_URL:
        raise ValueError("a key is needed: set DEEPGRAM_API_KEY, or DEEPGRAM_BASE_URL to a server without keys")
    return Aura(model, key=key, url=url)


def _key(environ: Mapping[str, str], variable: str) -> str:
    key = environ.get(variable, "").strip()
    if not key:
        raise ValueError(f"a key is needed: set {variable}")
    return key


VENDORS: dict[str, Vendor[TextToSpeech]] = {
    "local": Vendor(_local, "local/piper, local/piper-<voice>, local/espeak, local/espeak-<voice>"),
    "elevenlabs": Vendor(_elevenlabs, "elevenlabs/<model>, elevenlabs/<model>+http", "ELEVENLABS_API_KEY"),
    "openai": Vendor(_openai, "openai/<tts model>", "OPENAI_API_KEY"),
    "deepgram": Vendor(_deepgram, "deepgram/aura-2-thalia-en", "DEEPGRAM_API_KEY"),
    "cartesia": Vendor(_cartesia, "cartesia/sonic-3", "CARTESIA_API_KEY"),
    "sarvam": Vendor(_sarvam, "sarvam/bulbul:v2, sarvam/bulbul:v3", "SARVAM_API_KEY"),
}


def text_to_speech(spec: str, environ: Mapping[str, str]) -> TextToSpeech:
    """The provider for a "vendor/model" of `TTS_PROVIDER`.  Raises ValueError listing the known ones."""
    return build_provider("text-to-speech", spec, environ, VENDORS)
