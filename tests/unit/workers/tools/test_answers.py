"""What a service answers, in words: for each kind of uselessness another sentence, and none that invites a second try
of what may have been done."""

import pytest

from common.call.acts import ToolOutcome
from workers.tools.engines.answers import ServiceAnswer, result_of
from workers.tools.interfaces import ToolError

pytestmark = pytest.mark.fast

JSON = "application/json"


@pytest.mark.parametrize(
    ("answer", "path", "told"),
    [
        (ServiceAnswer(200, JSON, b'{"order": {"status": "on its way"}}'), "order.status", "on its way"),
        (ServiceAnswer(200, JSON, b'{"a": [1, null]}'), "", '{"a": [1, null]}'),
        (ServiceAnswer(200, "text/plain", b"on its way"), "", "on its way"),
        (ServiceAnswer(200, "", b"on its way"), "", "on its way"),
        (ServiceAnswer(204, "", b""), "order.status", "Done. There is no further answer."),
        (ServiceAnswer(200, JSON, b"  "), "", "Done. There is no further answer."),
        (ServiceAnswer(200, JSON, "नमस्ते".encode()[:0] + '"नमस्ते"'.encode()), "", "नमस्ते"),
        (ServiceAnswer(200, "text/plain", b"caf\xe9", "latin-1"), "", "café"),
        (ServiceAnswer(200, "text/plain", b"x", "no-such-charset"), "", "x"),
    ],
)
def test_a_success(answer: ServiceAnswer, path: str, told: str):
    assert result_of(answer, path, harmless=True) == told


@pytest.mark.parametrize(
    ("answer", "path", "word"),
    [
        (ServiceAnswer(200, "text/html", b"<html>login</html>"), "", "web page"),
        (ServiceAnswer(200, "text/plain", b"<!DOCTYPE html><html>"), "", "web page"),
        (ServiceAnswer(200, JSON, b'{"order": '), "order", "cannot be read"),
        (ServiceAnswer(200, JSON, b"[" * 100_000), "", "cannot be read"),
        (ServiceAnswer(200, JSON, b'{"order": 7}'), "order.status", "does not have"),
        (ServiceAnswer(200, JSON, None), "", "too large"),
        (ServiceAnswer(200, "image/png", b"\x89PNG\r\n"), "", "no text"),
        (ServiceAnswer(404, JSON, b'{"error": "no such order"}'), "", 'error 404. It says: {"error": "no such order"}'),
        (ServiceAnswer(500, "text/html", b"<html>Traceback ...</html>"), "", "error 500."),
        (ServiceAnswer(304, "", b""), "", "status 304"),
    ],
)
def test_a_failure_is_clear_and_quotes_no_page(answer: ServiceAnswer, path: str, word: str):
    with pytest.raises(ToolError) as raised:
        result_of(answer, path, harmless=True)
    assert raised.value.outcome is ToolOutcome.FAILED
    assert word in raised.value.text and "<" not in raised.value.text


def test_an_order_that_was_taken_or_may_have_been_is_not_to_be_repeated():
    for answer in (
        ServiceAnswer(200, "text/html", b"<html>"),
        ServiceAnswer(201, JSON, b"{"),
        ServiceAnswer(502, "text/plain", b"gateway"),
    ):
        with pytest.raises(ToolError) as raised:
            result_of(answer, "", harmless=False)
        assert "o not try again" in raised.value.text
