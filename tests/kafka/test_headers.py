"""Our headers on a record are told from its producer's, whatever those are called."""

from hypothesis import given
from hypothesis import strategies as st

from stream.kafka.headers import (
    FORWARDED_HEADERS,
    LETTER_HEADERS,
    REPLAYED_HEADERS,
    Headers,
    Origin,
    Replay,
    number_from_header,
    origin_from_headers,
    origin_headers,
    replay_from_headers,
    replay_headers,
    split_headers,
)

ORIGIN = Origin("logins", 3, 1_234, 1_740_787_200_000)

names = st.sampled_from([*LETTER_HEADERS, *FORWARDED_HEADERS, *REPLAYED_HEADERS, "trace", ""])
header_lists = st.lists(st.tuples(names, st.none() | st.binary(max_size=5)), max_size=12)
origins = st.builds(
    Origin, st.just("logins"), st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1), st.integers(-(2**63), 2**63 - 1)
)


@given(header_lists, origins, st.booleans())
def test_headers_of_a_producer_come_back_as_they_were_whatever_their_names(
    theirs: Headers, origin: Origin, is_large: bool
) -> None:
    ours: Headers = [("reason", b"late"), ("detail", b""), *origin_headers(origin)]
    ours += [("by-reference", b"value")] if is_large else []

    told, rest = split_headers([*theirs, *ours], LETTER_HEADERS)

    assert rest == theirs
    assert told == dict(ours)
    assert origin_from_headers(told) == origin


@given(header_lists, origins, st.integers(1, 10**9))
def test_a_replay_is_read_as_it_was_written(theirs: Headers, origin: Origin, attempts: int) -> None:
    written = [*theirs, *replay_headers(Replay(attempts, origin))]

    assert replay_from_headers(written, "logins") == (Replay(attempts, origin), theirs)


def test_an_origin_in_another_topic_is_not_believed() -> None:
    forged = replay_headers(Replay(1, ORIGIN._replace(topic="payroll")))

    assert replay_from_headers(forged, "logins") == (None, forged)


def test_what_tells_no_replay_is_all_its_producers() -> None:
    whole = dict(replay_headers(Replay(1, ORIGIN)))
    for name, value in (
        ("replayed-attempts", b"0"),
        ("replayed-attempts", b"-1"),
        ("replayed-attempts", b"one"),
        ("replayed-attempts", None),
        ("replayed-origin-partition", b"-1"),
        ("replayed-origin-offset", b"1e3"),
        ("replayed-origin-offset", b"9" * 5_000),
        ("replayed-origin-timestamp", b""),
    ):
        spoilt: Headers = list({**whole, name: value}.items())
        assert replay_from_headers(spoilt, "logins") == (None, spoilt)
    for missing in whole:
        some: Headers = [(name, value) for name, value in whole.items() if name != missing]
        assert replay_from_headers(some, "logins") == (None, some)


def test_a_number_is_made_of_digits_alone() -> None:
    for text, number in ((b"12", 12), (b"-1", -1), (b" 12", None), (b"1_2", None), (b"\xd9\xa1", None), (b"", None)):
        assert number_from_header({"n": text}, "n") == number
    assert number_from_header({}, "n") is None
