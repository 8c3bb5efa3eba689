"""The environment: read once, and everything that is wrong with it told at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from common.settings import BadSettings, Settings

pytestmark = pytest.mark.fast

PASSWORD = "hunter2-not-to-be-seen"


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(BadSettings) as caught:
        Settings.from_env(environ)
    first, *rest = str(caught.value).splitlines()
    assert first == "These settings cannot be used:"
    return [line.strip() for line in rest]


def test_without_any_variable_everything_has_a_default_that_works() -> None:
    settings = Settings.from_env({})
    assert settings == Settings()
    assert settings.redis_url == "redis://127.0.0.1:6379/0"
    assert settings.calls_max == 50
    assert settings.playout_lead_ms == 200


def test_defaults_keep_their_own_rules() -> None:
    environ = {field.name.upper(): str(field.default) for field in dataclasses.fields(Settings)}
    assert Settings.from_env(environ) == Settings()


def test_variables_are_read_by_the_name_of_their_field() -> None:
    settings = Settings.from_env({"CALLS_MAX": "7", "PUBLIC_URL": " https://voice.example.com/a ", "HTTP_PORT": "0"})
    assert (settings.calls_max, settings.public_url, settings.http_port) == (7, "https://voice.example.com/a", 0)


def test_an_empty_variable_counts_as_unset_and_foreign_ones_do_not_matter() -> None:
    assert Settings.from_env({"CALLS_MAX": "", "LOG_LEVEL": "  ", "PATH": "x", "calls_max": "9"}) == Settings()


def test_every_problem_is_in_one_message() -> None:
    told = problems(
        {
            "REDIS_URL": "http://redis",
            "HTTP_PORT": "eighty",
            "CALLS_MAX": "0",
            "PLAYOUT_LEAD_MS": "5000",
            "PUBLIC_URL": "voice.example.com",
            "STT_PROVIDER": "whisper",
            "STREAM_SECRET": "short",
            "LOG_LEVEL": "loud",
            "DRAIN_SECONDS": "30",
        }
    )
    assert [line.partition(":")[0] for line in told] == [
        "REDIS_URL",
        "HTTP_PORT",
        "PUBLIC_URL",
        "STT_PROVIDER",
        "STREAM_SECRET",
        "CALLS_MAX",
        "PLAYOUT_LEAD_MS",
        "LOG_LEVEL",
    ]
    assert "HTTP_PORT: expected a whole number from 0 to 65535, got 'eighty'" in told
    assert "CALLS_MAX: expected a whole number from 1 to 10000, got '0'" in told
    assert "PUBLIC_URL: expected https://voice.example.com, got 'voice.example.com'" in told


@pytest.mark.parametrize("raw", ["1.5", "1e3", "0x10", "-1", "65536", "1_0_0", "8000 8001", "\u0668\u0660", "9" * 5000])
def test_a_number_is_digits_within_bounds(raw: str) -> None:
    (told,) = problems({"HTTP_PORT": raw})
    assert told.startswith("HTTP_PORT: expected a whole number")


def test_secrets_are_never_echoed() -> None:
    told = problems(
        {
            "REDIS_URL": f"http://user:{PASSWORD}@redis",
            "STREAM_SECRET": PASSWORD[:10],
            "OPENAI_API_KEY": PASSWORD,
            "CALLS_MAX": "none",
        }
    )
    assert len(told) == 3
    assert PASSWORD[:10] not in "\n".join(told)
    assert "REDIS_URL: expected redis://host:port/db, got something else" in told


def test_secrets_are_not_in_the_representation_either() -> None:
    settings = Settings(redis_url=f"redis://:{PASSWORD}@redis", openai_api_key=PASSWORD, stream_secret=PASSWORD)
    assert PASSWORD not in repr(settings)
    assert "calls_max=50" in repr(settings)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (f"redis://user:{PASSWORD}@redis.internal:6380/1", "redis.internal:6380"),
        (f"rediss://:{PASSWORD}@redis.internal", "redis.internal:6379"),
        ("redis://:p%40:ss@[::1]:6380/0", "::1:6380"),
        ("unix:///run/redis.sock", "/run/redis.sock"),
        (f"redis+sentinel://:{PASSWORD}@s1,s2:26380/voice/2?sentinel_password={PASSWORD}", "s1:26379,s2:26380/voice"),
        (f"redis://:{PASSWORD}@one, redis://:{PASSWORD}@two:1", "one:6379 and two:1"),
    ],
)
def test_logs_may_name_the_place_of_redis_only(url: str, place: str) -> None:
    assert Settings.from_env({"REDIS_URL": url}).redis_target == place


@pytest.mark.parametrize(
    "url", ["redis://redis:port/0", "redis://redis:/0", "redis://re dis:1/0", "redis://:p/w@redis:1/0"]
)
def test_a_port_that_is_none_is_found_at_the_start(url: str) -> None:
    (told,) = problems({"REDIS_URL": url})
    assert told.startswith("REDIS_URL: expected redis://host:port/db")


def test_the_providers_of_a_pool() -> None:
    keyless, keyed = Settings(), Settings(openai_api_key="k")
    assert keyless.providers("llm") == ["local/receptionist"]
    assert keyed.providers("llm") == ["openai/gpt-4o-mini"]
    assert keyed.providers("stt") == keyless.providers("stt")
    own_server = Settings.from_env({"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"})
    assert own_server.providers("llm") == ["openai/gpt-4o-mini"], "a server of one's own is no reason for the script"
    assert own_server.providers("tts") == keyless.providers("tts"), "a chat server rarely speaks"
    assert Settings.from_env({"OPENAI_BASE_URL": "http://[::1/v1"}).providers("llm") == ["openai/gpt-4o-mini"]
    assert Settings.from_env({"OPENAI_BASE_URL": "https://api.openai.com/v1"}).providers("llm") == [
        "local/receptionist"
    ]
    chosen = Settings.from_env({"TTS_PROVIDER": "one/voice-1, two/voice.2"})
    assert chosen.providers("tts") == ["one/voice-1", "two/voice.2"]
    assert chosen.providers("tts", agent_choice=("three/voice",)) == ["three/voice"]


@pytest.mark.parametrize(
    ("environ", "spec"),
    [
        ({}, "local/piper"),
        ({"DEEPGRAM_API_KEY": "k"}, "deepgram/aura-2-thalia-en"),
        ({"DEEPGRAM_API_KEY": "k", "OPENAI_API_KEY": "k"}, "openai/gpt-4o-mini-tts"),
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://127.0.0.1:8080/v1"}, "local/piper"),
        ({"ELEVENLABS_API_KEY": "k", "OPENAI_API_KEY": "k"}, "elevenlabs/eleven_flash_v2_5"),
        ({"ELEVENLABS_API_KEY": "k", "TTS_PROVIDER": "local/espeak"}, "local/espeak"),
        ({"TTS_PROVIDER": "elevenlabs/eleven_v3+http"}, "elevenlabs/eleven_v3+http"),
    ],
)
def test_the_voice_is_that_of_the_first_vendor_with_a_key(environ: dict[str, str], spec: str) -> None:
    assert Settings.from_env(environ).providers("tts") == [spec]


def test_a_stream_secret_may_be_off() -> None:
    assert Settings.from_env({"STREAM_SECRET": "off"}).stream_secret == "off"
    assert Settings.from_env({"STREAM_SECRET": "x" * 16}).stream_secret == "x" * 16


@pytest.mark.parametrize("secret", ["x" * 16 + ",", "," + "x" * 16, "x" * 16 + ",short"])
def test_no_part_of_a_stream_secret_may_be_guessed(secret: str) -> None:
    with pytest.raises(BadSettings, match="STREAM_SECRET"):
        Settings.from_env({"STREAM_SECRET": secret})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().calls_max = 5  # type: ignore[misc]


SECRETS = sorted(field.name.upper() for field in dataclasses.fields(Settings) if field.metadata["rule"].secret)


@pytest.mark.parametrize("variable", SECRETS)
def test_every_secret_may_be_in_a_file(variable: str, tmp_path: Path) -> None:
    odd = {
        "REDIS_URL": "redis://edge:a-password@redis/0",
        "VOBIZ_FROM_NUMBER": "+911234567890",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=a-secret",
    }
    value = odd.get(variable, "a-secret-of-sufficient-length")
    both = {"VOBIZ_AUTH_ID": "VOBIZ_AUTH_TOKEN", "VOBIZ_AUTH_TOKEN": "VOBIZ_AUTH_ID"}  # one needs the other
    file = tmp_path / "secret"
    file.write_text(f"{value}\n")
    more = {both[variable]: "x"} if variable in both else {}
    settings = Settings.from_env({f"{variable}_FILE": str(file), **more})
    assert getattr(settings, variable.lower()) == value
    assert settings == Settings.from_env({variable: value, **more})


def test_a_file_that_cannot_be_used_is_told_of_and_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "long").write_text(PASSWORD * 2000)
    (tmp_path / "token").write_text(PASSWORD)
    (tmp_path / "url").write_text(f"http://user:{PASSWORD}@redis")
    told = problems(
        {
            "REDIS_URL_FILE": str(tmp_path / "url"),
            "OPENAI_API_KEY_FILE": str(tmp_path / "empty"),
            "DEEPGRAM_API_KEY_FILE": str(tmp_path / "long"),
            "ELEVENLABS_API_KEY_FILE": str(tmp_path / "missing"),
            "API_TOKEN": "x",
            "API_TOKEN_FILE": str(tmp_path / "token"),
        }
    )
    assert [line.partition(":")[0] for line in told] == [
        "REDIS_URL",
        "OPENAI_API_KEY_FILE",
        "DEEPGRAM_API_KEY_FILE",
        "ELEVENLABS_API_KEY_FILE",
        "API_TOKEN, API_TOKEN_FILE",
    ]
    assert PASSWORD not in "\n".join(told)


def test_only_secrets_are_read_from_files(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("7")
    assert Settings.from_env({"CALLS_MAX_FILE": str(tmp_path / "number")}) == Settings()


def test_a_former_name_is_read_and_two_values_for_one_setting_are_a_mistake() -> None:
    assert Settings.from_env({"PROVIDER_PLACES": "deepgram=5"}).concurrency_max == {"deepgram": 5}
    both = {"PROVIDER_PLACES": "deepgram=5", "PROVIDER_CONCURRENCY": "deepgram=5"}
    assert Settings.from_env(both).concurrency_max == {"deepgram": 5}
    (problem,) = problems({**both, "PROVIDER_CONCURRENCY": "deepgram=6"})
    assert "PROVIDER_PLACES: the second is the former name of the first" in problem
