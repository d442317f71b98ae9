"""What is sent for each dead letter, and why nothing."""

import asyncio
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord

from stream.dead_letters.reader import DeadLetter, LetterFilter
from stream.dead_letters.redelivery import ReplayDecider, Run
from stream.dead_letters.replay_sender import Outcome, ReplayRecord
from stream.kafka.headers import Origin, Replay, replay_from_headers
from stream.partitioning import partition_of
from stream.settings import load
from tests.dead_letters.test_reader import LETTER

PARTITIONS = 4


class OriginalRecords:
    """A topic as a dict."""

    def __init__(self, *records: Any) -> None:
        self._records = {(record.topic, record.partition, record.offset): record for record in records}

    async def find(self, origin: Origin) -> Any:
        return self._records.get((origin.topic, origin.partition, origin.offset))


def judged(
    letter: DeadLetter, *records: Any, attempts: int = 3, replayed: frozenset[str | None] = frozenset(), **settings: Any
) -> ReplayRecord | Outcome:
    run = Run(
        settings=load(None, {}, settings),
        selection=LetterFilter(("logins",)),
        attempts=attempts,
        progress=lambda title, total: nullcontext(lambda done: None),
        on_late=lambda: None,
    )
    origins: Any = OriginalRecords(*records)
    judge = ReplayDecider(run, partitions={"logins": PARTITIONS}, replayed=replayed, original_records=origins)
    return asyncio.run(judge.decide(letter))


def sent(letter: DeadLetter, *records: Any, **settings: Any) -> ReplayRecord:
    outgoing = judged(letter, *records, **settings)
    assert isinstance(outgoing, ReplayRecord), outgoing
    return outgoing


def test_a_record_goes_back_as_it_was_and_tells_its_first_origin() -> None:
    outgoing = sent(replace(LETTER, attempts=1))

    assert (outgoing.topic, outgoing.key, outgoing.value) == ("logins", b"ada", b"{}")
    assert outgoing.timestamp_ms is None
    assert replay_from_headers(outgoing.headers, "logins") == (
        Replay(2, Origin("logins", 1, 7, 1_740_787_200_000)),
        LETTER.headers,
    )


@pytest.mark.parametrize("key", [b"ada", b"", b"\xff\xfe", b"k" * 1_000])
def test_a_record_goes_to_the_partition_of_its_key_wherever_it_came_from(key: bytes) -> None:
    assert sent(replace(LETTER, key=key)).partition == partition_of(key, PARTITIONS)


def test_a_record_without_key_goes_to_the_partition_it_came_from() -> None:
    origin = Origin("logins", 3, 7, 0)

    assert sent(replace(LETTER, key=None, origin=origin)).partition == 3


def test_a_null_message_keeps_its_time_for_it_is_what_it_means() -> None:
    assert sent(replace(LETTER, value=None)).timestamp_ms == 1_740_787_200_000
    assert sent(replace(LETTER, value=None, origin=Origin("logins", 1, 7, -1))).timestamp_ms is None
    assert sent(replace(LETTER, value=b"")).timestamp_ms is None


def test_a_record_is_replayed_as_often_as_allowed_and_no_more() -> None:
    assert isinstance(judged(replace(LETTER, attempts=2), attempts=3), ReplayRecord)
    assert judged(replace(LETTER, attempts=3), attempts=3) is Outcome.MAX_ATTEMPTS_REACHED


def test_what_was_replayed_before_is_left_alone() -> None:
    assert judged(LETTER, replayed=frozenset({LETTER.identity})) is Outcome.ALREADY_REPLAYED
    assert isinstance(judged(replace(LETTER, attempts=1), replayed=frozenset({LETTER.identity})), ReplayRecord)


def test_a_letter_that_names_no_place_in_its_own_topic_is_left_alone() -> None:
    assert judged(replace(LETTER, origin=None)) is Outcome.NO_ORIGIN
    assert judged(replace(LETTER, origin=Origin("payroll", 1, 7, 0))) is Outcome.NO_ORIGIN


def produced(value: bytes) -> Any:
    at_ms = 1_740_787_200_000
    return ConsumerRecord("logins", 1, 7, at_ms, 0, b"key", value, None, 0, 0, (("large", b"h"),))


def test_what_is_kept_by_reference_is_fetched_from_where_it_was_produced_to() -> None:
    for by_reference in ("value", "record"):
        letter = replace(LETTER, by_reference=by_reference, key=None, value=None, headers=[])
        outgoing = sent(letter, produced(b"large"))

        assert (outgoing.key, outgoing.value) == (b"key", b"large")
        assert outgoing.partition == partition_of(b"key", PARTITIONS)
        assert replay_from_headers(outgoing.headers, "logins") == (
            Replay(1, Origin("logins", 1, 7, 1_740_787_200_000)),
            [("large", b"h")],
        )
        assert judged(letter) is Outcome.RECORD_DELETED


def test_a_partition_that_was_never_there_is_not_asked_for() -> None:
    nowhere = Origin("logins", PARTITIONS, 7, 1_740_787_200_000)
    record = replace(produced(b"large"), partition=PARTITIONS)

    assert judged(replace(LETTER, by_reference="value", origin=nowhere), record) is Outcome.RECORD_DELETED


def test_what_workers_would_refuse_for_its_size_again_is_left_alone() -> None:
    letter = replace(LETTER, by_reference="value", value=None)

    assert isinstance(judged(letter, produced(b"x" * 100), max_message_bytes=100), ReplayRecord)
    assert judged(letter, produced(b"x" * 101), max_message_bytes=100) is Outcome.TOO_LARGE
    assert judged(replace(LETTER, value=b"x" * 101), max_message_bytes=100) is Outcome.TOO_LARGE
