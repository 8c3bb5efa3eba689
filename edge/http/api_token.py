"""The API's token where API_TOKEN is not set and strangers may reach the edge.

It follows from the secret of the stream tokens (STREAM_SECRET, or the one that all edges share in Redis), so that every
edge of a deployment takes the same one, after a restart, too.  The file `api-token` in DATA_DIR keeps it, for its owner
only, so that `make call` and `python -m edge.call` of the same machine find it.  A container has no such file: there
the command finds it as the edge does (`docker compose exec edge python -m edge.call …`).

The token is shown at the start in one line, but only where it could be kept in the file, that is to whoever runs the
program on a machine of their own.  A container's output is a log that others read: there the line says which command
shows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import sys
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from common.process.command_line import no_arguments
from common.settings import BadSettings, Settings
from common.store.shards import connect_store

FILE_NAME = "api-token"
FILE_CHARS_MAX = 512
FIND_SECONDS = 3.0
"""How long a command waits for Redis."""
SHOW = "python -m edge.http.api_token"


def is_needed(settings: Settings) -> bool:
    """May strangers reach the edge, or calls be placed at the account's cost, so that the API must have a token?"""
    return not settings.api_token and bool(settings.public_url or settings.vobiz_auth_token)


def token_of(secret: bytes) -> str:
    """The token that follows from the first of the stream secrets: 32 characters that do not tell the secret."""
    return urlsafe_b64encode(hmac.digest(secret.split(b",")[0], b"token of the API", sha256)[:24]).decode()


def announcement(settings: Settings, token: str) -> str:
    """Keep the token in the file, and say in one line where it is."""
    path = token_file(settings)
    if _write(path, token):
        return f"API_TOKEN is not set; the API takes this token, kept in {path}: {token}"
    return f"API_TOKEN is not set; the API takes a token that this command shows, where the edge runs: {SHOW}"


def token_file(settings: Settings) -> Path:
    """Where the file is, or would be: a relative DATA_DIR is the repository's."""
    return Path(__file__).resolve().parents[2] / settings.data_dir / FILE_NAME


async def find_token(settings: Settings) -> str:
    """For a command on the same machine: API_TOKEN, else the file's, else the edges'; empty if there is none."""
    if settings.api_token:
        return settings.api_token
    if kept := _read(token_file(settings)):
        return kept
    if not is_needed(settings):
        return ""
    if settings.stream_secret and settings.stream_secret != "off":  # noqa: S105 - it says that there is none
        return token_of(settings.stream_secret.encode())
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(FIND_SECONDS), connect_store(settings.redis_url, "api-token", 60) as store:
            return token_of(await store.shared_secret())
    return ""


def _read(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            return file.read(FILE_CHARS_MAX).strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _write(path: Path, token: str) -> bool:
    """False if there is no place for it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # whoever could read an older one shall not read this
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(f"{token}\n")
    except OSError:
        return False
    return True


def main(argv: Sequence[str] = ()) -> int:
    """Show the token; returns the exit status, 1 if there is none."""
    no_arguments(SHOW, "Show the token that the REST API takes, if API_TOKEN is not set.", argv)
    try:
        token = asyncio.run(find_token(Settings.for_command()))
    except BadSettings as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    print(token or "There is no token: this edge's API answers its own machine.")  # noqa: T201
    return 0 if token else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
