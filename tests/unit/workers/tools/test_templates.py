"""An argument fills its place and nothing else: no other host, path, query, header or variable."""

import pytest

from workers.tools.templates import BadUrl, MissingVariable, body_of, filled, picked, url_of

pytestmark = pytest.mark.fast

SHOP = "https://shop.example.com/orders/{order}/lines?of={who}&token=${TOKEN}"
ENVIRONMENT = {"TOKEN": "s3cret&x", "SHOP": "shop.example.com:8443"}


def test_arguments_and_variables_are_percent_encoded():
    url = url_of(SHOP, {"order": "A 7/b", "who": "Asha & Co"}, ENVIRONMENT)
    assert url == "https://shop.example.com/orders/A%207%2Fb/lines?of=Asha%20%26%20Co&token=s3cret%26x"


@pytest.mark.parametrize(
    "order", ["..", ".", "../admin", "a/../../admin", "..\\admin", "%2e%2e", "a/%2E%2e/b", "", "  ", "a\r\nX: y", "a\0"]
)
def test_an_argument_that_would_be_another_path_is_refused(order: str):
    with pytest.raises(BadUrl):
        url_of(SHOP, {"order": order, "who": "x"}, ENVIRONMENT)


def test_two_arguments_that_are_harmless_alone_make_no_path_together():
    with pytest.raises(BadUrl):
        url_of("https://x.example.com/a/{one}{two}", {"one": ".x", "two": ""}, {})
    assert url_of("https://x.example.com/a/{one}.{two}", {"one": "a", "two": "b"}, {}).endswith("/a/a.b")


@pytest.mark.parametrize("who", ["x&admin=1", "x#", "x?y", "x%26admin=1", "{order}", "${TOKEN}", "@evil.example.com/"])
def test_an_argument_stays_in_its_part_of_the_query_and_is_not_looked_at_again(who: str):
    url = url_of(SHOP, {"order": "7", "who": who}, ENVIRONMENT)
    assert url.startswith("https://shop.example.com/orders/7/lines?of=")
    assert url.count("&") == 1 and "#" not in url and url.count("s3cret") == 1


@pytest.mark.parametrize(
    "template", ["https://{host}/x", "https://a{host}.example.com/x", "https://x.example.com:{p}/"]
)
def test_an_argument_cannot_name_the_host(template: str):
    with pytest.raises(BadUrl):
        url_of(template, {"host": "evil.example.com", "p": "1"}, {})


def test_a_variable_may_be_the_host_and_nothing_more():
    assert url_of("https://${SHOP}/x", {}, ENVIRONMENT) == "https://shop.example.com:8443/x"
    for value in ("a.example.com/b", "user@a.example.com", "a.example.com?", "a b"):
        with pytest.raises(BadUrl):
            url_of("https://${SHOP}/x", {}, {"SHOP": value})


def test_a_missing_variable_is_named():
    with pytest.raises(MissingVariable, match="NOPE"):
        filled("Bearer ${NOPE}", ENVIRONMENT)
    with pytest.raises(MissingVariable, match="TOKEN"):
        url_of(SHOP, {"order": "7"}, {})


def test_a_body_keeps_the_types_of_whole_arguments():
    template = {"id": "{order}", "count": "{count}", "note": "for {who}, {count}", "key": "${TOKEN}", "gone": "{gone}"}
    arguments = {"order": "7", "count": 3, "who": "Asha {count}"}
    assert body_of(template, arguments, ENVIRONMENT) == {
        "id": "7", "count": 3, "note": "for Asha {count}, 3", "key": "s3cret&x",
    }  # fmt: skip


ANSWER = {"order": {"status": "on its way", "lines": [{"name": "tea"}, {"name": "rice"}]}, "0": "zero"}


@pytest.mark.parametrize(
    ("path", "found"),
    [("order.status", "on its way"), ("order.lines[1].name", "rice"), ("order.lines[-1].name", "rice"), ("0", "zero"),
     ("", ANSWER)],
)  # fmt: skip
def test_the_part_of_an_answer(path: str, found: object):
    assert picked(ANSWER, path) == found


@pytest.mark.parametrize(
    "path", ["order.nothing", "order.lines[7]", "order[0]", "order.lines.name", "..", "order..x", "["]
)
def test_a_part_that_is_not_there(path: str):
    with pytest.raises((LookupError, TypeError)):
        picked(ANSWER, path)
