"""A Redis is named by one URL, and its password is in none of the texts about it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.masking import masked
from stream.redis_url import is_redis_url, parse


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("redis://localhost", ("localhost", 6379, 0, "", "", "")),
        ("redis://h:7000/3", ("h", 7000, 3, "", "", "")),
        ("rediss://:pw@h:7000/", ("h", 7000, 0, "", "", "pw")),
        ("redis://app:p%40w%2F%3F%23%3A%25@h/1", ("h", 6379, 1, "", "app", "p@w/?#:%")),
        ("redis://app:a:b@h", ("h", 6379, 0, "", "app", "a:b")),
        ("redis://app@h", ("h", 6379, 0, "", "app", "")),
        ("redis://[::1]:7000", ("::1", 7000, 0, "", "", "")),
        ("rediss+cluster://app:pw@h:7000", ("h", 7000, 0, "", "app", "pw")),
        ("unix:///run/redis/redis.sock", ("", 0, 0, "/run/redis/redis.sock", "", "")),
        ("unix://app:pw@/run/redis.sock", ("", 0, 0, "/run/redis.sock", "app", "pw")),
    ],
)
def test_a_url_tells_where_a_redis_is_and_who_asks(url: str, parts: tuple[object, ...]) -> None:
    told = parse(url)

    assert (told.host, told.port, told.database, told.path, told.user, told.password) == parts


def test_the_scheme_tells_of_tls_and_clusters() -> None:
    told = {
        scheme: (parse(f"{scheme}://h").tls, parse(f"{scheme}://h").cluster)
        for scheme in ("redis", "rediss", "redis+cluster", "rediss+cluster")
    }

    assert told == {
        "redis": (False, False),
        "rediss": (True, False),
        "redis+cluster": (False, True),
        "rediss+cluster": (True, True),
    }
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
        ("unix://run/redis.sock", "a socket is named by its whole path"),
    ],
)
def test_what_can_not_be_is_refused_without_the_password(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"begins|host|password|database|options|socket") as refused:
        parse(url)

    assert message in str(refused.value)
    assert "secret" not in str(refused.value)


_passwords = st.text(min_size=4).filter(lambda text: not set("*:@/?#[]redis+clustunix") & set(text))


@given(
    scheme=st.sampled_from(["redis", "rediss+cluster", "http", "", "redis:"]),
    user=st.sampled_from(["", "app", "a@b"]),
    password=_passwords,
    mark=st.sampled_from(["", "@", "/", "?", "#", "@@", ":", "%"]),
    place=st.sampled_from(["@h", "@h:7000/0", "@", "@h:x", "@/run/redis.sock"]),
)
def test_no_text_about_a_url_shows_its_password(scheme: str, user: str, password: str, mark: str, place: str) -> None:
    url = f"{scheme}://{user}:{password}{mark}{password}{place}"
    texts = [masked("url", url)]
    try:
        texts += [str(parse(url)), repr(parse(url))]
    except ValueError as error:
        texts.append(str(error))

    assert all(password not in text for text in texts)
