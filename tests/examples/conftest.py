"""Calls of the examples run on a virtual clock."""

from typing import Any

import pytest

from tests.clock import VirtualLoop


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualLoop}
