"""What an agent's Python file imports: `from voice import Call, Failed, tool` (docs/tools.md).

It imports nothing of the platform, because it is loaded in the process that runs a user's code.
"""

from voice.calls import Call, Failed
from voice.functions import tool

__all__ = ["Call", "Failed", "tool"]
