"""The HTTP library beneath the openai package: `httpx` once, `httpx2` now.  We cannot import its errors by name."""

from __future__ import annotations

import importlib
from typing import Any

import openai

http: Any = importlib.import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0])
"""The module: `Limits`, `ReadError`, …"""
ERRORS = (http.HTTPError, openai.OpenAIError)
"""All that a request, or reading its answer, may raise because of the vendor or the network; and TimeoutError."""
