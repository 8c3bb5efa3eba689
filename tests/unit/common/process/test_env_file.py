"""`.env`: read as docker compose reads it; what nobody reads is said, with what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.process.env_file import EnvFile, compose_variables
from common.settings import BadSettings, Settings

pytestmark = pytest.mark.fast

SECRET = "hunter2-not-to-be-seen"


def env_file(folder: Path, text: str) -> EnvFile:
    (folder / ".env").write_text(text, encoding="utf-8")
    return EnvFile.read(folder / ".env")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("CALLS_MAX=7", "7"),
        ("  export CALLS_MAX = 7 ", "7"),
        ("CALLS_MAX=7 # the machine is small", "7"),
        ("CALLS_MAX=", ""),
        ("CALLS_MAX=# nothing", ""),
        ('CALLS_MAX="7 # not a comment"', "7 # not a comment"),
        ("CALLS_MAX='7' # a comment", "7"),
        ("CALLS_MAX=a#b", "a#b"),
        ("CALLS_MAX=a=b==", "a=b=="),
        ('CALLS_MAX="half', '"half'),
    ],
)
def test_a_line_is_read_as_compose_reads_it(line: str, value: str, tmp_path: Path) -> None:
    assert env_file(tmp_path, f"\ufeff# mine\n\n{line}\n").values == {"CALLS_MAX": value}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f"OPENAI_APIKEY={SECRET}", ".env:1: nothing reads OPENAI_APIKEY; did you mean OPENAI_API_KEY?"),
        (f"openai_api_key={SECRET}", ".env:1: nothing reads openai_api_key; did you mean OPENAI_API_KEY?"),
        ("PUBLIC_URI=https://x", ".env:1: nothing reads PUBLIC_URI; did you mean PUBLIC_URL?"),
        ("VOBIZ_TOKEN=x", ".env:1: nothing reads VOBIZ_TOKEN; did you mean VOBIZ_AUTH_TOKEN?"),
        (f"API_TOKN_FILE={SECRET}", ".env:1: nothing reads API_TOKN_FILE; did you mean API_TOKEN_FILE?"),
        ("FAVOURITE_COLOUR=blue", ".env:1: nothing reads FAVOURITE_COLOUR; docs/settings.md has all names"),
        (f"OPENAI_API_KEY {SECRET}", ".env:1: sets nothing; write NAME=value"),
        (f"{SECRET}=1", ".env:1: sets nothing; write NAME=value"),
        ("CALLS_MAX=1\nCALLS_MAX=2", ".env:2: CALLS_MAX stands on line 1 too; this one counts"),
    ],
)
def test_what_nobody_reads_is_said_without_its_value(line: str, told: str, tmp_path: Path) -> None:
    found = env_file(tmp_path, f"{line}\n").unknown(Settings.variables() | compose_variables())
    assert found == [told] and SECRET not in "".join(found)


@pytest.mark.parametrize(
    "name", ["HTTPS_PROXY", "COMPOSE_PROFILES", "ENGINE_WORKERS", "HF_HOME", "REDIS_URL_FILE", "TZ"]
)
def test_names_of_others_are_no_typos(name: str, tmp_path: Path) -> None:
    assert env_file(tmp_path, f"{name}=x\n").unknown(Settings.variables() | compose_variables()) == []


def test_the_environment_wins_and_a_command_reads_both(tmp_path: Path) -> None:
    file = env_file(tmp_path, "API_TOKEN=a-token-from-the-file-of-a-person\nHTTP_PORT=8010\n")
    settings = Settings.for_command({"HTTP_PORT": "8020"}, file)
    assert (settings.api_token, settings.http_port) == ("a-token-from-the-file-of-a-person", 8020)


def test_a_command_says_where_a_bad_value_stands(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"\.env:2: HTTP_PORT: expected a whole number"):
        Settings.for_command({}, env_file(tmp_path, "# mine\nHTTP_PORT=eighty\n"))


def test_a_missing_file_says_nothing_and_bytes_that_are_no_text_are_no_end(tmp_path: Path) -> None:
    assert EnvFile.read(tmp_path / ".env").values == {}
    (tmp_path / ".env").write_bytes(b"CALLS_MAX=\xff\n")
    assert list(EnvFile.read(tmp_path / ".env").values) == ["CALLS_MAX"]
