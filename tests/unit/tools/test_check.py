"""A configuration that cannot work is told before anything starts: where it stands, and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.agents.model import Agent, ProviderNames
from common.process.env_file import EnvFile
from tools.check import CATALOGS, Configuration, check
from workers.llm.engines.catalog import CATALOG as MODELS
from workers.runtime import process
from workers.stt.engines.catalog import CATALOG as EARS
from workers.tts.engines.catalog import CATALOG as VOICES

pytestmark = pytest.mark.fast

ROOT = Path(__file__).resolve().parents[3]
SMALL = "greeting: Hello.\ninstructions: Be kind.\n"
HINDI = f"language: hi\n{SMALL}"


def checked(folder: Path, agent: str = SMALL, env_file: str = "", **environ: str) -> Configuration:
    agents = folder / "agents"
    agents.mkdir(exist_ok=True)
    (agents / "desk.yaml").write_text(agent)
    (folder / ".env").write_text(env_file)
    return check(EnvFile.read(folder / ".env"), {"AGENTS_DIR": str(agents), **environ})


def mistakes(folder: Path, agent: str = SMALL, env_file: str = "", **environ: str) -> list[str]:
    return [line.replace(f"{folder}/", "") for line in checked(folder, agent, env_file, **environ).mistakes]


def test_what_is_shipped_is_right() -> None:
    found = check(EnvFile(ROOT / ".env"), {})
    assert (found.mistakes, found.warnings) == ((), ())
    assert [agent.name for _, agent in found.agents] == ["receptionist"]


@pytest.mark.parametrize(
    ("agent", "environ", "told"),
    [
        # a typo in the vendor, in the model, in both, and a placeholder that was copied
        (f"{SMALL}providers:\n  llm: [gorq/llama-3]\n", {}, ["desk.yaml:4: unknown language model provider 'gorq/"]),
        (
            f"{SMALL}providers:\n  llm: [opnai/gpt-4o-mini]\n",
            {"OPENAI_API_KEY": "k"},
            ["desk.yaml:4: unknown language model provider 'opnai/gpt-4o-mini'; did you mean 'openai/gpt-4o-mini'?"],
        ),
        (
            f"{SMALL}providers:\n  stt:\n    - local/whisper-tiny.en\n    - depgram/nova3\n",
            {"DEEPGRAM_API_KEY": "k"},
            ["desk.yaml:6: unknown speech-to-text provider 'depgram/nova3'; did you mean 'deepgram/nova-3'?"],
        ),
        (f"{SMALL}providers: {{stt: local/whisper-enormous}}\n", {}, ["desk.yaml:3: ", "'enormous'", "tiny.en, tiny"]),
        (f"{SMALL}providers: {{tts: local/piper-nobody}}\n", {}, ["desk.yaml:3: ", "'nobody'", "en_US-lessac-medium"]),
        (f"{SMALL}providers: {{llm: local/receptionst}}\n", {}, ["desk.yaml:3: ", "receptionst"]),
        (f"{SMALL}providers: {{llm: openai/<model>}}\n", {"OPENAI_API_KEY": "k"}, ["unknown language model provider"]),
        # a key that is missing
        (f"{SMALL}providers: {{tts: sarvam/bulbul:v2}}\n", {}, ["desk.yaml:3: ", "set SARVAM_API_KEY"]),
        (f"{SMALL}providers: {{tts: elevenlabs/eleven_flash_v2_5}}\n", {}, ["desk.yaml:3: ", "set ELEVENLABS_API_KEY"]),
        (f"{SMALL}providers: {{stt: deepgram/nova-3}}\n", {}, ["desk.yaml:3: ", "set DEEPGRAM_API_KEY"]),
        (f"{SMALL}providers: {{llm: openai/gpt-4o}}\n", {}, ["desk.yaml:3: ", "set OPENAI_API_KEY"]),
        (f"{SMALL}providers: {{tts: openai/gpt-4o-mini-tts}}\n", {}, ["desk.yaml:3: ", "set OPENAI_API_KEY"]),
        # a model of the vendor's other trade
        (
            f"{SMALL}providers: {{tts: sarvam/bulbul}}\n",
            {"SARVAM_API_KEY": "k"},
            ["desk.yaml:3: ", "did you mean 'sarvam/bulbul:v"],
        ),
        (f"{SMALL}providers: {{tts: deepgram/nova-3}}\n", {"DEEPGRAM_API_KEY": "k"}, ["desk.yaml:3: ", "no voice of"]),
        (
            f"{SMALL}providers: {{stt: cartesia/sonic-3}}\n",
            {"CARTESIA_API_KEY": "k"},
            ["desk.yaml:3: ", "no STT model"],
        ),
        # a program that is not there
        (f"{SMALL}providers: {{tts: local/espeak}}\n", {}, ["desk.yaml:3: ", "apt-get install espeak-ng"]),
        # the deployment's own
        (SMALL, {"LLM_PROVIDER": "gorq/llama"}, ["LLM_PROVIDER: unknown language model provider 'gorq/llama'"]),
        (SMALL, {"TTS_PROVIDER": "sarvam/bulbul:v2"}, ["TTS_PROVIDER: ", "set SARVAM_API_KEY"]),
        (
            SMALL,
            {"PROVIDER_CONCURRENCY": "depgram=5"},
            ["PROVIDER_CONCURRENCY: unknown vendor 'depgram'; did you mean 'deepgram'?"],
        ),
        (SMALL, {"STT_PROVIDER": "local/whisper-tny.en"}, ["STT_PROVIDER: ", "did you mean 'local/whisper-tiny.en'?"]),
    ],
)
def test_a_provider_that_cannot_work_is_told_with_its_line_and_what_to_write(
    agent: str, environ: dict[str, str], told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # nothing is installed by hand
    found = mistakes(tmp_path, agent, **environ)
    assert all(part in "\n".join(found) for part in told), found


def test_the_local_engines_do_not_know_hindi_and_each_pool_says_what_does(tmp_path: Path) -> None:
    found = mistakes(tmp_path, HINDI)
    assert len(found) == 3 and all(line.startswith("agents/desk.yaml:1: ") for line in found)
    ears, mind, voice = found
    assert "local/whisper-tiny.en understands English only" in ears and "deepgram/nova-3" in ears
    assert "`providers: stt:` or in STT_PROVIDER" in ears and "local/whisper-<size>" in ears
    assert "in English only" in mind and mind.endswith("openai/<model>")
    assert "local/piper speaks en, not hi" in voice and "sarvam/bulbul:v2" in voice
    assert "aura" not in voice.partition("Write")[2]


@pytest.mark.parametrize(
    ("pool", "spec", "language", "refused"),
    [
        ("stt", "local/whisper-small", "hi", False),
        ("stt", "local/whisper-base.en", "en-IN", False),
        ("stt", "local/whisper-small", "tlh", True),
        ("stt", "deepgram/flux-general-en", "hi-IN", True),
        ("stt", "deepgram/flux-general-multi", "hi-IN", False),
        ("stt", "deepgram/flux-general-multi", "ta", True),
        ("stt", "cartesia/ink-whisper", "hi", False),
        ("stt", "sarvam/saarika:v2.5", "ur", True),
        ("stt", "sarvam/saaras:v3", "ur", False),
        ("tts", "sarvam/bulbul:v2", "fr", True),
        ("tts", "deepgram/aura-2-thalia-en", "hi", True),
        ("tts", "deepgram/aura-2-celeste-es", "es-MX", False),
        ("tts", "cartesia/sonic-2", "ta", True),
        ("tts", "cartesia/sonic-3", "ta", False),
        ("tts", "elevenlabs/eleven_flash_v2", "hi", True),
        ("tts", "elevenlabs/eleven_flash_v2_5+http", "hi", False),
        ("tts", "local/piper-hi_IN-pratham-medium", "hi", False),
        ("tts", "local/piper-hi_IN-pratham-medium", "en", True),
        ("tts", "openai/gpt-4o-mini-tts", "hi", False),
        ("llm", "local/receptionist", "ta", True),
        ("llm", "openai/gpt-4o-mini", "ta", False),
    ],
)
def test_a_language_is_judged_by_the_model(pool: str, spec: str, language: str, refused: bool, tmp_path: Path) -> None:
    keys = {f"{vendor}_API_KEY": "k" for vendor in ("OPENAI", "DEEPGRAM", "SARVAM", "CARTESIA", "ELEVENLABS")}
    agent = f"language: {language}\n{SMALL}providers:\n  {pool}: [{spec!r}]\n"
    found = [line for line in mistakes(tmp_path, agent, **keys) if spec.partition("+")[0].partition("/")[2] in line]
    assert bool(found) is refused, found


def test_one_provider_of_the_list_that_knows_the_language_is_enough(tmp_path: Path) -> None:
    agent = f"{HINDI}providers:\n  stt: [local/whisper-tiny.en, sarvam/saarika:v2.5]\n  llm: [openai/m]\n"
    environ = {"SARVAM_API_KEY": "k", "OPENAI_API_KEY": "k", "TTS_PROVIDER": "sarvam/bulbul:v2"}
    assert mistakes(tmp_path, agent, **environ) == []


def test_what_only_the_vendors_documents_say_is_a_warning(tmp_path: Path) -> None:
    agent = f"language: ml\n{SMALL}"
    environ = {"DEEPGRAM_API_KEY": "k", "OPENAI_API_KEY": "k", "TTS_PROVIDER": "elevenlabs/eleven_flash_v2_5"}
    found = checked(tmp_path, agent, **environ, ELEVENLABS_API_KEY="k")
    assert not found.mistakes
    assert [line.partition(": ")[2][:50] for line in found.warnings] == [
        "no speech-to-text provider for the language 'ml': ",
        "no text-to-speech provider for the language 'ml': ",
    ]


@pytest.mark.parametrize(
    ("voice", "environ", "warned"),
    [
        ("Rachel", {"TTS_PROVIDER": "elevenlabs/eleven_flash_v2_5", "ELEVENLABS_API_KEY": "k"}, True),
        ("21m00Tcm4TlvDq8ikWAM", {"TTS_PROVIDER": "elevenlabs/eleven_flash_v2_5", "ELEVENLABS_API_KEY": "k"}, False),
        ("af_sky", {"TTS_PROVIDER": "openai/tts-1", "OPENAI_API_KEY": "k"}, True),
        ("nova", {"TTS_PROVIDER": "openai/tts-1", "OPENAI_API_KEY": "k"}, False),
        ("af_sky", {"TTS_PROVIDER": "openai/kokoro", "OPENAI_BASE_URL": "http://127.0.0.1:8880/v1"}, False),
        ("joe", {"TTS_PROVIDER": "local/piper"}, True),
        ("anushka", {"TTS_PROVIDER": "local/piper,sarvam/bulbul:v2", "SARVAM_API_KEY": "k"}, False),
        ("aura-2-luna-en", {"DEEPGRAM_API_KEY": "k"}, False),
    ],
)
def test_a_voice_that_nobody_has_is_a_warning(
    voice: str, environ: dict[str, str], warned: bool, tmp_path: Path
) -> None:
    found = checked(tmp_path, f"voice: {voice}\n{SMALL}", **environ)
    assert not found.mistakes
    told = [line for line in found.warnings if f"is named {voice!r}" in line]
    assert bool(told) is warned and all("desk.yaml:1: " in line for line in told)


def test_a_voice_that_is_a_model_decides_the_language(tmp_path: Path) -> None:
    agent = f"language: es\nvoice: aura-2-celeste-es\n{SMALL}providers:\n  stt: [deepgram/nova-3]\n  llm: [openai/x]\n"
    assert (
        mistakes(tmp_path, agent, DEEPGRAM_API_KEY="k", OPENAI_API_KEY="k", TTS_PROVIDER="deepgram/aura-2-thalia-en")
        == []
    )


def test_all_that_is_wrong_is_told_at_once_with_the_lines_of_the_env_file(tmp_path: Path) -> None:
    env_file = "# mine\nLLM_PROVIDER=opnai/gpt-4o-mini  # the cheap one\n\nexport TTS_PROVIDER='sarvam/bulbul:v2'\n"
    found = mistakes(tmp_path, f"{SMALL}providers: {{stt: gorq/x}}\n", env_file)
    assert [line.split(": ")[:2] for line in found] == [
        ["agents/desk.yaml:3", "unknown speech-to-text provider 'gorq/x'; known"],
        [".env:2", "LLM_PROVIDER"],
        [".env:4", "TTS_PROVIDER"],
    ]
    both = mistakes(tmp_path, "greting: Hello.\ninstructions: x\n", "CALLS_MAX=many\n")
    assert [line.partition(": ")[0] for line in both] == [".env:1", "agents/desk.yaml:1", "agents/desk.yaml:1"]
    shell = mistakes(tmp_path, SMALL, "CALLS_MAX=5\n", CALLS_MAX="many")
    assert [line.partition(":")[0] for line in shell] == ["CALLS_MAX"]


# --- the same in each process ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pool", "agent", "environ", "told"),
    [
        ("stt", HINDI, {}, "local/whisper-tiny.en understands English only"),
        ("llm", f"{SMALL}providers: {{llm: gorq/x}}\n", {}, "unknown language model provider 'gorq/x'"),
        ("tts", f"{SMALL}providers: {{tts: sarvam/bulbul:v2}}\n", {}, "set SARVAM_API_KEY"),
        ("tts", SMALL, {"TTS_PROVIDER": "elevenlabs/eleven_flash_v2_5"}, "TTS_PROVIDER: "),
        ("llm", "greting: Hello.\n", {}, "did you mean 'greeting'?"),
    ],
)
def test_a_worker_refuses_to_start_with_the_same_words(
    pool: str,
    agent: str,
    environ: dict[str, str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "desk.yaml").write_text(agent)
    for name, value in {"AGENTS_DIR": str(tmp_path), **environ}.items():
        monkeypatch.setenv(name, value)
    catalog = {"stt": EARS, "llm": MODELS, "tts": VOICES}[pool]
    assert process.main(pool, catalog, lambda call, providers: None) == 2  # type: ignore[arg-type,return-value]
    assert told in capsys.readouterr().err


# --- a call whose agent's providers cannot work ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "agent",
    [
        Agent("desk", "Hi.", "x", providers=ProviderNames(llm=("gorq/llama",))),
        Agent("desk", "Hi.", "x", providers=ProviderNames(llm=("openai/gpt-4o", "nobody/x"))),
    ],
)
def test_a_call_falls_back_to_the_deployments_providers_with_one_warning(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    providers = process.ProviderPool("llm", MODELS.build, {})
    chosen = [[source.spec for source in providers.choose_for(agent, ["local/receptionist"]).sources] for _ in range(9)]
    assert chosen == [["local/receptionist"]] * 9
    warnings = [record.getMessage() for record in caplog.records if "takes over" in record.getMessage()]
    assert len(warnings) == 1 and "agent desk" in warnings[0] and "local/receptionist takes over" in warnings[0]


def test_so_does_one_whose_own_providers_do_not_know_its_language() -> None:
    providers = process.ProviderPool("stt", EARS.build, {"SARVAM_API_KEY": "k"})
    providers.unfit = EARS.unfit
    agent = Agent("desk", "Hi.", "x", language="hi", providers=ProviderNames(stt=("local/whisper-tiny.en",)))
    assert [source.spec for source in providers.choose_for(agent, ["sarvam/saarika:v2.5"]).sources] == [
        "sarvam/saarika:v2.5"
    ]


def test_providers_of_the_agent_that_can_work_are_kept() -> None:
    providers = process.ProviderPool("llm", MODELS.build, {"OPENAI_API_KEY": "k"})
    agent = Agent("desk", "Hi.", "x", providers=ProviderNames(llm=("gorq/llama", "openai/gpt-4o")))
    assert [source.spec for source in providers.choose_for(agent, ["local/receptionist"]).sources] == ["openai/gpt-4o"]


@pytest.mark.parametrize(
    ("variable", "environ"),
    [
        ("OPENAI_API_KEY", {"LLM_PROVIDER": "openai/gpt-4o", "TTS_PROVIDER": "openai/tts-1"}),
        ("DEEPGRAM_API_KEY", {"STT_PROVIDER": "deepgram/nova-3", "TTS_PROVIDER": "deepgram/aura-2-luna-en"}),
        ("ELEVENLABS_API_KEY", {"TTS_PROVIDER": "elevenlabs/eleven_v3+http"}),
        ("CARTESIA_API_KEY", {"STT_PROVIDER": "cartesia/ink-whisper", "TTS_PROVIDER": "cartesia/sonic-3"}),
        ("SARVAM_API_KEY", {"STT_PROVIDER": "sarvam/saaras:v3", "TTS_PROVIDER": "sarvam/bulbul:v2"}),
    ],
)
def test_a_key_in_a_file_is_a_key_for_every_adapter(variable: str, environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a-key\n")
    found = checked(tmp_path, SMALL, **environ, **{f"{variable}_FILE": str(tmp_path / "key")})
    assert found.mistakes == () and found.settings is not None
    given = found.settings.as_environment()
    assert given[variable] == "a-key"
    for pool, catalog in CATALOGS.items():
        for spec in found.settings.providers(pool):
            catalog.build(spec, given)
