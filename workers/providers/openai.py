"""Finds the HTTP library beneath the openai package (`httpx` or `httpx2`), whose errors cannot be imported by name."""

from __future__ import annotations

import importlib
from typing import Any

import openai

http: Any = importlib.import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0])
"""The library's module: `Limits`, `ReadError`, …"""
ERRORS = (http.HTTPError, openai.OpenAIError)
"""All errors of a request or its answer that the vendor or the network may cause, besides TimeoutError."""
