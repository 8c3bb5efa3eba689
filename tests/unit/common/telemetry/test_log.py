"""The lines that processes write: what they look like, and whose they are."""

import json
import logging
import re
from collections.abc import Iterator

import pytest

from common.telemetry.log import start_logging

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The levels and handlers of before come back."""
    named = [logging.getLogger(name) for name in ("", "edge", "workers", "common", "__main__")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in named]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def test_a_line_has_a_time_with_zone_and_milliseconds(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("INFO")
    logging.getLogger("edge.media.stream").info("call answered", extra={"call_id": "c-1", "pool": "stt"})
    line = json.loads(capsys.readouterr().err)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "INFO",
        "logger": "edge.media.stream",
        "message": "call answered",
        "call_id": "c-1",
        "pool": "stt",
    }


@pytest.mark.parametrize("library", ["httpx", "httpx2", "openai._base_client", "websockets.server", "a_new_client"])
@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
def test_a_library_has_no_line_for_each_request(library: str, level: str, capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(level)
    logging.getLogger(library).info("HTTP Request: POST https://example.com/v1?token=secret")
    assert capsys.readouterr().err == ""
    logging.getLogger(library).warning("the connection broke")
    assert "the connection broke" in capsys.readouterr().err


def test_the_level_is_that_of_our_own_lines(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("WARNING")
    logging.getLogger("workers.runtime.runner").info("call taken over")
    assert capsys.readouterr().err == ""
    start_logging("DEBUG")
    logging.getLogger("workers.runtime.runner").debug("a detail")
    assert "a detail" in capsys.readouterr().err


def test_what_every_connection_has_to_say_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("INFO")
    for _ in range(4):
        logging.getLogger("common.bus.lanes").warning("cannot reach Redis (%s); trying again", "ConnectionRefusedError")
    logging.getLogger("common.bus.lanes").warning("cannot reach Redis (%s); trying again", "TimeoutError")
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_of_two_calls_each_has_its_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("INFO")
    for call_id in ("c-1", "c-2", "c-2"):
        logging.getLogger("edge.media.stream").warning("a connection broke", extra={"call_id": call_id})
    assert len(capsys.readouterr().err.splitlines()) == 3
