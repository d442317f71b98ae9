"""Which dead letters are asked for, which are the same, and how they are counted."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any

from aiokafka.structs import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from stream.dead_letters.reader import (
    UNKNOWN_REASON,
    Count,
    DeadLetter,
    KafkaPosition,
    LetterFilter,
    count_letters,
    letter_from_record,
    newest_letters,
)
from stream.kafka.headers import Origin

LETTER = DeadLetter(
    topic="logins",
    position=KafkaPosition("logins.dlq", 1, 17),
    written_ms=1_740_787_205_000,
    reason="late",
    detail="told",
    origin=Origin("logins", 1, 7, 1_740_787_200_000),
    attempts=0,
    by_reference=None,
    key=b"ada",
    value=b"{}",
    headers=[("trace", b"t")],
)


async def each(letters: Iterable[DeadLetter]) -> AsyncIterator[DeadLetter]:
    for letter in letters:
        yield letter


def test_the_same_letter_written_twice_has_one_identity() -> None:
    refused_again = replace(
        LETTER, position=KafkaPosition("logins.dlq", 0, 99), written_ms=1_740_787_299_000, detail="told again"
    )

    assert refused_again.identity == LETTER.identity


def test_letters_that_differ_in_what_would_be_replayed_are_not_the_same() -> None:
    assert LETTER.origin is not None
    others = [
        replace(LETTER, origin=LETTER.origin._replace(offset=8)),
        replace(LETTER, origin=LETTER.origin._replace(partition=0)),
        replace(LETTER, attempts=1),
        replace(LETTER, key=None),
        replace(LETTER, key=b""),
        replace(LETTER, value=None),
        replace(LETTER, value=b""),
        replace(LETTER, key=b"ad", value=b"a{}"),
        replace(LETTER, headers=[("trace", None)]),
        replace(LETTER, headers=[]),
    ]

    assert len({letter.identity for letter in (LETTER, *others)}) == len(others) + 1


def test_since_takes_the_letter_of_that_moment_and_none_before() -> None:
    assert LetterFilter(("logins",), since_ms=LETTER.written_ms).matches(LETTER)
    assert not LetterFilter(("logins",), since_ms=LETTER.written_ms + 1).matches(LETTER)


def test_no_reason_asked_for_means_all() -> None:
    assert LetterFilter(("logins",)).matches(LETTER)
    assert LetterFilter(("logins",), frozenset({"late", "future"})).matches(LETTER)
    assert not LetterFilter(("logins",), frozenset({"future"})).matches(LETTER)


@given(st.lists(st.integers(0, 20), max_size=40), st.integers(1, 10))
def test_the_newest_are_the_last_ones_by_time(times: list[int], limit: int) -> None:
    letters = [
        replace(LETTER, written_ms=at, position=KafkaPosition("x", 0, offset)) for offset, at in enumerate(times)
    ]

    async def scenario() -> list[DeadLetter]:
        return [letter async for letter in newest_letters(each(letters), limit)]

    selection = sorted(letters, key=lambda letter: (letter.written_ms, letter.position))[-limit:]
    assert asyncio.run(scenario()) == selection


def test_letters_are_counted_by_topic_and_reason() -> None:
    letters = [
        LETTER,
        replace(LETTER, written_ms=5, attempts=1),
        replace(LETTER, written_ms=9, attempts=2, reason="too_large", by_reference="value"),
        replace(LETTER, topic="sessions", written_ms=7),
    ]

    counts = asyncio.run(count_letters(each(letters), {letters[0].identity, letters[2].identity}))

    assert counts == [
        Count(
            "logins",
            "late",
            letters=2,
            replayed=1,
            refused_again=1,
            by_reference=0,
            oldest_ms=5,
            newest_ms=1_740_787_205_000,
        ),
        Count("logins", "too_large", letters=1, replayed=1, refused_again=1, by_reference=1, oldest_ms=9, newest_ms=9),
        Count("sessions", "late", letters=1, replayed=1, refused_again=0, by_reference=0, oldest_ms=7, newest_ms=7),
    ]


def record(*headers: tuple[str, bytes | None]) -> Any:
    return ConsumerRecord("logins.dlq", 1, 17, 1_740_787_205_000, 0, b"ada", b"{}", None, 0, 0, headers)


def test_what_no_worker_has_written_has_no_reason_and_no_origin() -> None:
    for letter in (
        letter_from_record("logins", record()),
        letter_from_record("logins", record(("reason", b"late"))),
        letter_from_record("logins", record(("reason", None), ("origin-topic", b"logins"), ("origin-offset", b"7"))),
    ):
        assert (letter.reason, letter.origin, letter.identity) == (UNKNOWN_REASON, None, None)
        assert (letter.key, letter.value) == (b"ada", b"{}")


def test_headers_that_come_after_ours_are_the_producers_too() -> None:
    # So had letters them that were written before replays were there.
    origin = [(f"origin-{name}", text) for name, text in (("topic", b"logins"), ("partition", b"1"), ("offset", b"7"))]
    letter = letter_from_record(
        "logins", record(("reason", b"late"), ("detail", b""), *origin, ("origin-timestamp", b"5"), ("trace", b"t"))
    )

    assert letter.headers == [("trace", b"t")]
    assert letter.origin == Origin("logins", 1, 7, 5)
