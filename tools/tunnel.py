"""Opens an ngrok tunnel for a machine without a public URL, if NGROK_AUTH_TOKEN is set.

pyngrok is an optional extra; it fetches the ngrok program at its first use.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from common.settings import Settings
from tools.terminal import say


class TunnelError(Exception):
    """The tunnel could not be opened; the text gives the cause and the remedy."""


@contextlib.contextmanager
def tunnel(settings: Settings) -> Iterator[str]:
    """Yield the public URL while the block runs: PUBLIC_URL, the tunnel's, or "".  Raises TunnelError."""
    if settings.public_url or not settings.ngrok_auth_token:
        yield settings.public_url
        return
    try:
        from pyngrok import conf, exception, ngrok
    except ImportError:
        raise TunnelError("NGROK_AUTH_TOKEN is set, but pyngrok is missing: .venv/bin/pip install pyngrok") from None
    say("opening a tunnel …")
    options = conf.PyngrokConfig(auth_token=settings.ngrok_auth_token)
    try:
        opened = ngrok.connect(str(settings.http_port or 8000), "http", pyngrok_config=options)
    except exception.PyngrokError as error:
        raise TunnelError(explained(str(error))) from None
    try:
        yield str(opened.public_url)
    finally:
        with contextlib.suppress(exception.PyngrokError):
            ngrok.disconnect(str(opened.public_url), pyngrok_config=options)
            ngrok.kill(pyngrok_config=options)


def explained(error: str) -> str:
    """Return one sentence with the remedy for an error of pyngrok."""
    lowered = error.lower()
    if (
        "err_ngrok_105" in lowered
        or "err_ngrok_107" in lowered
        or "401" in lowered
        or "authentication failed" in lowered
    ):
        return "ngrok does not accept NGROK_AUTH_TOKEN (401): copy the authtoken, not an API key, from its dashboard."
    if "err_ngrok_108" in lowered:
        return "This ngrok account has a tunnel open elsewhere: end that one first."
    if "download" in lowered or "urlopen" in lowered:
        return "pyngrok could not fetch the ngrok program: install ngrok by hand, or set PUBLIC_URL to your own tunnel."
    return "ngrok could not open a tunnel; set PUBLIC_URL to another tunnel's URL, or unset NGROK_AUTH_TOKEN."
