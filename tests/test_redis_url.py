"""A Redis is named by one URL, and its password is in none of the texts about it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.masking import masked
from stream.redis_url import SCHEMES, is_redis_url, parse


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("redis://localhost", ([("localhost", 6379)], 0, "", "", "")),
        ("redis://h:7000/3", ([("h", 7000)], 3, "", "", "")),
        ("rediss://:pw@h:7000/", ([("h", 7000)], 0, "", "", "pw")),
        ("redis://app:p%40w%2F%3F%23%3A%25@h/1", ([("h", 6379)], 1, "", "app", "p@w/?#:%")),
        ("redis://app:a:b@h", ([("h", 6379)], 0, "", "app", "a:b")),
        ("redis://app@h", ([("h", 6379)], 0, "", "app", "")),
        ("redis://[::1]:7000", ([("::1", 7000)], 0, "", "", "")),
        ("rediss+cluster://app:pw@h:7000", ([("h", 7000)], 0, "", "app", "pw")),
        ("redis+sentinel://app:pw@h/m", ([("h", 26379)], 0, "", "app", "pw")),
        ("redis+sentinel://a:1,b, [::1]:3/m.y-1_0/2", ([("a", 1), ("b", 26379), ("::1", 3)], 2, "", "", "")),
        ("unix:///run/redis/redis.sock", ([], 0, "/run/redis/redis.sock", "", "")),
        ("unix://app:pw@/run/redis.sock", ([], 0, "/run/redis.sock", "app", "pw")),
    ],
)
def test_a_url_tells_where_a_redis_is_and_who_asks(url: str, parts: tuple[object, ...]) -> None:
    told = parse(url)

    assert ([*told.hosts], told.database, told.path, told.user, told.password) == parts


def test_the_scheme_tells_of_tls_clusters_and_sentinels() -> None:
    urls = {
        scheme: f"{scheme}://{'/h' if scheme == 'unix' else 'h/m' if 'sentinel' in scheme else 'h'}"
        for scheme in SCHEMES
    }
    told = {scheme: (parse(url).tls, parse(url).cluster, parse(url).sentinel) for scheme, url in urls.items()}

    assert told == {
        "redis": (False, False, False),
        "rediss": (True, False, False),
        "redis+cluster": (False, True, False),
        "rediss+cluster": (True, True, False),
        "redis+sentinel": (False, False, True),
        "rediss+sentinel": (True, False, True),
        "unix": (False, False, False),
    }
    assert parse("redis+sentinel://a:1,b:2/mymaster/3").name == "mymaster"
    assert str(parse("redis+sentinel://u:pw@a:1,b:2/mymaster/3")) == "redis+sentinel://u:********@a:1,b:2/mymaster/3"
    assert is_redis_url("redis+cluster://h")
    assert not is_redis_url("rocksdb://redis")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://u:secret@h", "'http://u:********@h' begins with none of redis://, rediss://, redis+cluster://"),
        ("redis://:secret@", "'redis://:********@': no host"),
        ("redis://:secret@:7000", "no host"),
        ("redis://:secret@h:port", "no host and port"),
        ("redis://:secret@h:70000", "no host and port"),
        ("redis://u:secret", "'redis://u:********': no host"),
        ("redis://:sec/secret@h", "'@', '/', '?' and '#' in a password are written as %40, %2F, %3F and %23"),
        ("redis://:sec@secret@h", "'redis://:********@h': '@', '/', '?' and '#' in a password"),
        ("redis://:secret@h/one", "the database is a number"),
        ("redis://h/-1", "the database is a number"),
        ("redis://h/1?timeout=3", "options after '?' or '#' are not read"),
        ("redis+cluster://h/1", "a Redis Cluster has database 0 alone"),
        ("redis+sentinel://u:secret@h:1,i:2", "'redis+sentinel://u:********@h:1,i:2': no name of the server"),
        ("redis+sentinel://:secret@h,/m", "no host"),
        ("redis+sentinel://:secret@h:1,i:port/m", "no host and port"),
        ("redis+sentinel://:secret@h/m/one", "the database is a number"),
        ("unix://run/redis.sock", "a socket is named by its whole path"),
    ],
)
def test_what_can_not_be_is_refused_without_the_password(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"begins|host|password|database|options|socket|name") as refused:
        parse(url)

    assert message in str(refused.value)
    assert "secret" not in str(refused.value)


_passwords = st.text(min_size=4).filter(lambda text: not set("*:@/?#[]redis+clustunixm,") & set(text))


@given(
    scheme=st.sampled_from(["redis", "rediss+cluster", "redis+sentinel", "http", "", "redis:"]),
    user=st.sampled_from(["", "app", "a@b"]),
    password=_passwords,
    mark=st.sampled_from(["", "@", "/", "?", "#", "@@", ":", "%"]),
    place=st.sampled_from(["@h", "@h:7000/0", "@", "@h:x", "@/run/redis.sock", "@h:1,i:2/m/0"]),
)
def test_no_text_about_a_url_shows_its_password(scheme: str, user: str, password: str, mark: str, place: str) -> None:
    url = f"{scheme}://{user}:{password}{mark}{password}{place}"
    texts = [masked("url", url)]
    try:
        texts += [str(parse(url)), repr(parse(url))]
    except ValueError as error:
        texts.append(str(error))

    assert all(password not in text for text in texts)
