"""`make run` behind a tunnel: whose URL is used, and what is said when there is none."""

from importlib.util import find_spec

import pytest

from common.settings import Settings
from tools.tunnel import TunnelError, explained, tunnel

pytestmark = pytest.mark.fast


def test_a_public_url_that_is_set_needs_no_tunnel():
    settings = Settings(public_url="https://voice.example.com", ngrok_auth_token="unused")
    with tunnel(settings) as url:
        assert url == "https://voice.example.com"


def test_without_a_token_there_is_no_tunnel():
    with tunnel(Settings()) as url:
        assert url == ""


def test_a_token_without_pyngrok_says_what_to_install():
    if find_spec("pyngrok") is not None:
        pytest.skip("pyngrok is installed here")
    with pytest.raises(TunnelError, match="pip install pyngrok"), tunnel(Settings(ngrok_auth_token="token")):
        pass


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("The authtoken you specified is invalid. ERR_NGROK_107", "does not accept NGROK_AUTH_TOKEN (401)"),
        ("HTTP Error 401: Unauthorized", "does not accept NGROK_AUTH_TOKEN (401)"),
        ("Your account is limited to 1 simultaneous agent session. ERR_NGROK_108", "a tunnel open elsewhere"),
        ("An error occurred while downloading ngrok", "install ngrok by hand"),
        ("something else", "set PUBLIC_URL"),
    ],
)
def test_an_error_of_ngrok_becomes_one_sentence_that_says_what_to_do(error: str, said: str):
    sentence = explained(error)
    assert said in sentence
    assert sentence.count(". ") == 0
