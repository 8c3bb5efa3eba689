"""Reads the environment of a tools worker, as far as agent files may name its variables.

They do so as `${NAME}` and in `tool_environment`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from common.settings import Settings


def nameable(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that an agent file may name: all but the settings of the platform itself.

    An agent file is written by whoever writes prompts; it must not send the password of Redis or the carrier's token
    anywhere.
    """
    ours = Settings.variables()
    return {name: value for name, value in environ.items() if name not in ours}
