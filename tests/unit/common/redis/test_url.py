"""REDIS_URL in all its forms, and what is said of one that cannot be used."""

import pytest

from common.redis.url import BadRedisUrl, Login, RedisTarget, parse_redis_url

pytestmark = pytest.mark.fast

PASSWORD = "hunter2-not-to-be-seen"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://cache", RedisTarget((("cache", 6379),))),
        ("redis://", RedisTarget((("127.0.0.1", 6379),))),
        ("redis://cache:7000/3", RedisTarget((("cache", 7000),), db=3)),
        ("redis://cache/?db=4", RedisTarget((("cache", 6379),), db=4)),
        (
            "rediss://app:p%40ss%2Fw@[::1]:6380/1",
            RedisTarget((("::1", 6380),), db=1, tls=True, login=Login("app", "p@ss/w")),
        ),
        ("unix:///run/redis.sock?db=2", RedisTarget(path="/run/redis.sock", db=2)),
        (
            "redis+sentinel://:pw@s1:26379,s2,[fe80::1]:26380/voice/5?sentinel_password=other",
            RedisTarget(
                (("s1", 26379), ("s2", 26379), ("fe80::1", 26380)),
                set="voice",
                db=5,
                login=Login("", "pw"),
                sentinel_login=Login("", "other"),
            ),
        ),
        ("rediss+sentinel://s1/voice", RedisTarget((("s1", 26379),), set="voice", tls=True)),
        ("rediss+sentinel://s1/voice?ca=/ca.crt", RedisTarget((("s1", 26379),), set="voice", tls=True, ca="/ca.crt")),
    ],
)
def test_one_server_or_one_set(url: str, place: RedisTarget) -> None:
    assert parse_redis_url(url) == (place,)


def test_several_urls_are_shards_in_their_order() -> None:
    first, second, third = parse_redis_url("redis://a/1, redis+sentinel://s1,s2/voice,unix:///run/c.sock")
    assert (first.hosts, first.db) == ((("a", 6379),), 1)
    assert second.hosts == (("s1", 26379), ("s2", 26379))
    assert third.path == "/run/c.sock"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://cache", "something else"),
        ("cache:6379", "something else"),
        ("redis://cache:port", "a port that is no number"),
        ("redis://cache:", "a port that is no number"),
        ("redis://cache:70000", "beyond 65535"),
        ("redis://:p/w@cache", "a port that is no number"),
        ("redis://cache/zero", "a database that is no number"),
        ("redis://cache/0/1", "a path that is no number"),
        ("redis://ca che", "a blank"),
        ("redis://a,b", "no host"),
        ("redis://cache?ssl=1", "none of ca, db, sentinel_password, sentinel_user"),
        ("redis://cache?ca=/ca.crt", "a ca without TLS"),
        ("redis://cache?db", "not name=value"),
        ("unix://", "no path"),
        ("redis+sentinel://s1,s2", "no name of the set"),
        ("redis+sentinel://s1,,s2/voice", "a sentinel without a name"),
        ("redis://a,redis://a", "the same URL twice"),
        ("redis://a,redis://", None),
        (",".join(f"redis://shard-{number}" for number in range(33)), "at most 32"),
    ],
)
def test_what_cannot_be_used_is_told_without_repeating_it(url: str, told: str | None) -> None:
    if told is None:
        assert len(parse_redis_url(url)) == 2
        return
    with pytest.raises(BadRedisUrl, match=told):
        parse_redis_url(url)


def test_no_password_is_shown() -> None:
    url = f"redis+sentinel://app:{PASSWORD}@s1/voice?sentinel_user=eye&sentinel_password={PASSWORD}"
    (place,) = parse_redis_url(url)
    assert place.login.password == place.sentinel_login.password == PASSWORD
    assert PASSWORD not in repr(place) + str(place)
    for broken in (
        f"redis://:{PASSWORD}/@a",
        f"http://:{PASSWORD}@a",
        f"redis://a?{PASSWORD}",
        f"redis://a/{PASSWORD}",
    ):
        with pytest.raises(BadRedisUrl) as caught:
            parse_redis_url(broken)
        assert PASSWORD not in str(caught.value)
