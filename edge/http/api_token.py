"""Derives the API's token where API_TOKEN is not set and strangers may reach the edge; also a command that shows it.

It is derived from the secret of the stream tokens (STREAM_SECRET, or the one that all edges share in Redis), so that
every edge of a deployment accepts the same token, after a restart, too.  The file `api-token` in DATA_DIR keeps it,
readable by its owner only, for `make call` and `python -m edge.call` on the same machine.  A container has no such
file: there the command derives it as the edge does (`docker compose exec edge python -m edge.call …`).

The token is printed at the start, but only if it could be written to the file, that is on a machine of the person who
runs the program.  A container's output is a log that others read: there the line names the command that shows it.
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
"""Maximum wait of a command for Redis."""
SHOW = "python -m edge.http.api_token"


def is_needed(settings: Settings) -> bool:
    """Whether a token must be derived: API_TOKEN is unset, and strangers may reach the edge or calls may cost money."""
    return not settings.api_token and bool(settings.public_url or settings.vobiz_auth_token)


def token_of(secret: bytes) -> str:
    """The token derived from the first of the stream secrets: 32 characters that do not reveal the secret."""
    return urlsafe_b64encode(hmac.digest(secret.split(b",")[0], b"token of the API", sha256)[:24]).decode()


def announcement(settings: Settings, token: str) -> str:
    """Write the token to its file; returns the line that says where to find it."""
    path = token_file(settings)
    if _write(path, token):
        return f"API_TOKEN is not set; the API takes this token, kept in {path}: {token}"
    return f"API_TOKEN is not set; the API takes a token that this command shows, where the edge runs: {SHOW}"


def token_file(settings: Settings) -> Path:
    """Path of the file; a relative DATA_DIR is relative to the repository."""
    return Path(__file__).resolve().parents[2] / settings.data_dir / FILE_NAME


async def find_token(settings: Settings) -> str:
    """The token for a command on this machine: API_TOKEN, else the file's, else the derived one; empty if there is
    none.
    """
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
    """Write the file with mode 600; False if that is impossible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # a file that others can read must not be reused
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(f"{token}\n")
    except OSError:
        return False
    return True


def main(argv: Sequence[str] = ()) -> int:
    """Print the token; returns the exit status: 0, 1 if there is none, 2 for bad settings."""
    no_arguments(SHOW, "Show the token that the REST API takes, if API_TOKEN is not set.", argv)
    try:
        token = asyncio.run(find_token(Settings.for_command()))
    except BadSettings as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    print(token or "There is no token: the API of this edge serves its own machine only.")  # noqa: T201
    return 0 if token else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
