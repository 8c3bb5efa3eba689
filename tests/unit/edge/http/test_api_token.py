"""The API's token where nobody set one: when it is made, and from what."""

import stat
from pathlib import Path

import pytest

from common.settings import Settings
from edge.http.api_token import announcement, is_needed, token_file, token_of

pytestmark = pytest.mark.fast

TOKEN = "a-token-of-32-characters-or-so-ok"
VOBIZ = {"VOBIZ_AUTH_ID": "MA_TEST", "VOBIZ_AUTH_TOKEN": "a-token-of-vobiz"}


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, False),  # nobody comes but this machine, and no call costs anything
        ({"PUBLIC_URL": "https://voice.example.com"}, True),
        (VOBIZ, True),
        ({**VOBIZ, "PUBLIC_URL": "https://voice.example.com"}, True),
        ({**VOBIZ, "PUBLIC_URL": "https://voice.example.com", "API_TOKEN": TOKEN}, False),
    ],
)
def test_one_is_made_where_strangers_may_come_or_calls_cost_money(settings: dict[str, str], needed: bool) -> None:
    assert is_needed(Settings.from_env(settings)) is needed


def test_all_edges_of_a_deployment_make_the_same_and_it_does_not_tell_their_secret() -> None:
    token = token_of(b"a secret of some length")
    assert len(token) >= 24
    assert token == token_of(b"a secret of some length,the one before")
    assert token != token_of(b"another secret of some length")
    assert "secret" not in token


def test_a_file_that_others_could_read_is_not_used_again(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    token_file(settings).write_text("an older one")
    token_file(settings).chmod(0o644)
    assert TOKEN in announcement(settings, TOKEN)
    assert token_file(settings).read_text().strip() == TOKEN
    assert stat.S_IMODE(token_file(settings).stat().st_mode) == 0o600
