"""What the outbox writes of refused and misplaced records comes back from their letters as it was produced.

And of what it tells the servers nothing piles up while Kafka is away.
"""

import asyncio
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from stream.core.events import retraction
from stream.core.families.registry import events, families
from stream.core.partition.batch_reader import Misplaced, Refused
from stream.core.privacy import PrivacyRequested, Request
from stream.core.rejections import Reason
from stream.core.rules import Rules
from stream.core.snapshot import ClosedDay
from stream.dead_letters.reader import DeadLetter, letter_from_record
from stream.kafka.forwarded_batches import ForwardedRecord, forwarded_batch_reader
from stream.kafka.headers import (
    FORWARDED_HEADERS,
    LETTER_HEADERS,
    REPLAYED_HEADERS,
    Headers,
    Origin,
    Replay,
    replay_headers,
)
from stream.kafka.message_producer import MessageProducer, OutgoingMessage
from stream.kafka.outbox import Outbox
from stream.partitioning import partition_of
from stream.settings import load
from stream.telemetry import (
    NOBODY,
    AnyReport,
    ClosedDayReport,
    Idle,
    Standby,
    Unowned,
    decode_closed_day,
    decode_report,
)

MIB = 1024 * 1024
FIRST = Origin("logins", 3, 2, 1_740_700_000_000)

header_lists = st.lists(
    st.tuples(
        st.sampled_from([*LETTER_HEADERS, *FORWARDED_HEADERS, *REPLAYED_HEADERS, "reasonable", "trace"]),
        st.none() | st.binary(),
    ),
    max_size=8,
)
contents = st.none() | st.binary(max_size=50)


class Kept(MessageProducer):
    """Keeps the last message instead of sending it."""

    def __init__(self) -> None:
        super().__init__({}, largest=MIB, idempotent=False)
        self.sent: list[OutgoingMessage] = []

    async def send(self, letter: OutgoingMessage) -> asyncio.Future[Any]:
        self.sent.append(letter)
        return asyncio.get_running_loop().create_future()

    async def send_whole(self, letter: OutgoingMessage) -> asyncio.Future[Any]:
        return await self.send(letter)


def record(
    key: bytes | None,
    value: bytes | None,
    headers: Headers = [],  # noqa: B006  only read
    *,
    topic: str = "logins",
    partition: int = 1,
    offset: int = 7,
) -> Any:
    return ConsumerRecord(topic, partition, offset, 1_740_787_200_000, 0, key, value, None, 0, 0, tuple(headers))


def refused(one: Any, reason: Reason = Reason.LATE) -> DeadLetter:
    """The letter of a record, as it is read again."""
    outbox, kept = Outbox(load(None, {})), Kept()
    outbox._message_producer = kept
    asyncio.run(outbox.dead_letter("logins", one.partition, Refused(one, reason, "told")))
    (sent,) = kept.sent
    assert (sent.topic, sent.partition) == ("logins.dlq", one.partition)
    return letter_from_record("logins", record(sent.key, sent.value, sent.headers, topic="logins.dlq"))


def forwarded(one: Any, user: str = "ada", event_index: int | None = None) -> ForwardedRecord[Any]:
    """A record as it is read from the re-key topic, with the event at a place of it."""
    outbox, kept = Outbox(load(None, {})), Kept()
    outbox._message_producer = kept
    misplaced = Misplaced(one, user, retraction(user, "r1", at_ms=0), event_index)
    asyncio.run(outbox.forward("logins", one.partition, [misplaced], checkpointed_offset=5))
    (sent,) = kept.sent
    arrived = record(sent.key, sent.value, sent.headers, topic="engagement-rekey", partition=sent.partition, offset=99)
    batch = forwarded_batch_reader(events(families(Rules())))(arrived)
    assert batch is not None
    assert (batch.topic, batch.partition, batch.checkpointed_offset) == ("logins", one.partition, 5)
    (found,) = batch.records
    return found


def test_of_a_request_of_a_person_every_partition_is_told_but_hers_and_the_one_that_read_it() -> None:
    settings = load(None, {}, {"topics.partitions": 5})
    outbox, kept = Outbox(settings), Kept()
    outbox._message_producer = kept
    hers = partition_of(b"ada", 5)
    asked = PrivacyRequested("ada", 7, False, Request.ERASE, is_told=True)
    read = forwarded_batch_reader(events(families(Rules())))

    for reader in (hers, (hers + 1) % 5):
        kept.sent.clear()
        misplaced = Misplaced(record(b"ada", b"{}", partition=reader), "ada", asked, None)
        asyncio.run(outbox.tell_others("privacy", reader, [misplaced], checkpointed_offset=3))
        assert [sent.partition for sent in kept.sent] == [one for one in range(5) if one not in (hers, reader)]
        for sent in kept.sent:
            batch = read(record(sent.key, sent.value, sent.headers, topic=sent.topic))
            assert batch is not None
            assert (sent.topic, batch.partition, [one.event for one in batch.records]) == (
                settings.rekey_topic,
                reader,
                [asked],
            )


@given(contents, contents, header_lists)
def test_a_letter_has_key_value_and_headers_as_they_were_produced(
    key: bytes | None, value: bytes | None, headers: Headers
) -> None:
    # As any producer, but none that says it replays: that is what the next test is about.
    theirs = [header for header in headers if header[0] != "replayed-attempts"]

    letter = refused(record(key, value, theirs))

    assert (letter.key, letter.value, letter.headers) == (key, value, theirs)
    assert letter.origin == Origin("logins", 1, 7, 1_740_787_200_000)
    assert (letter.reason, letter.detail, letter.attempts, letter.by_reference) == ("late", "told", 0, None)


@given(contents, contents, header_lists, st.integers(1, 9))
def test_a_replayed_record_that_is_refused_again_keeps_its_first_origin_and_tells_its_attempts(
    key: bytes | None, value: bytes | None, theirs: Headers, attempts: int
) -> None:
    letter = refused(record(key, value, [*theirs, *replay_headers(Replay(attempts, FIRST))]))

    assert (letter.key, letter.value, letter.headers) == (key, value, theirs)
    assert (letter.origin, letter.attempts) == (FIRST, attempts)


@given(contents, st.binary(max_size=50), header_lists, st.booleans())
def test_a_misplaced_record_that_is_refused_after_all_is_in_its_letter_as_it_was_produced(
    key: bytes | None, value: bytes, headers: Headers, is_replayed: bool
) -> None:
    theirs = [header for header in headers if header[0] != "replayed-attempts"]
    replay = replay_headers(Replay(2, FIRST)) if is_replayed else []
    on_its_way = forwarded(record(key, value, [*theirs, *replay]))

    letter = refused(on_its_way)

    # The detour knows the record by where it was read, replayed or not: that is what is counted once.
    assert (on_its_way.partition, on_its_way.offset) == (1, 7)
    assert (letter.key, letter.value, letter.headers) == (key, value, theirs)
    assert letter.attempts == (2 if is_replayed else 0)
    assert letter.origin == (FIRST if is_replayed else Origin("logins", 1, 7, 1_740_787_200_000))


def test_what_a_null_message_means_is_forwarded_and_its_letter_is_a_null_message() -> None:
    null = record(b"response-1", None, [("response_id", b"r")])

    on_its_way = forwarded(null, event_index=0)
    letter = refused(on_its_way)

    assert on_its_way.event == retraction("ada", "r1", at_ms=0)
    assert (letter.key, letter.value, letter.headers) == (b"response-1", None, [("response_id", b"r")])


def test_of_a_message_that_tells_several_things_the_event_is_forwarded_and_its_letter_is_by_reference() -> None:
    several = record(b"gateway", b"[1,2,3]", [("trace", b"t")])
    on_its_way = forwarded(several, event_index=2)

    letter = refused(on_its_way)

    assert (on_its_way.offset, on_its_way.event_index) == (7, 2)
    assert on_its_way.event == retraction("ada", "r1", at_ms=0)
    assert (letter.by_reference, letter.key, letter.value, letter.headers) == ("record", None, None, [])
    assert letter.origin == Origin("logins", 1, 7, 1_740_787_200_000)


def test_what_is_too_large_for_a_letter_is_told_by_reference() -> None:
    large_value = refused(record(b"ada", b"x" * MIB, [("trace", b"t")]), Reason.TOO_LARGE)
    large_key = refused(record(b"k" * MIB, b"x", [("trace", b"t")]))
    large_header = refused(record(b"ada", b"x", [("trace", b"t" * MIB)]))

    assert (large_value.by_reference, large_value.key, large_value.value) == ("value", b"ada", None)
    assert large_value.headers == [("trace", b"t")]
    for letter in (large_key, large_header):
        assert (letter.by_reference, letter.key, letter.value, letter.headers) == ("record", None, None, [])
        assert letter.origin == Origin("logins", 1, 7, 1_740_787_200_000)


def test_what_a_detour_has_no_room_for_is_told_by_reference_and_its_attempts_are_kept() -> None:
    replay = replay_headers(Replay(2, FIRST))
    for one in (record(b"k" * MIB, b"x", replay), record(b"ada", b"x", [("trace", b"t" * MIB), *replay])):
        letter = refused(forwarded(one))

        assert (letter.by_reference, letter.key, letter.value, letter.headers) == ("record", None, None, [])
        assert (letter.origin, letter.attempts) == (FIRST, 2)


class Producer:
    """Keeps what is sent until Kafka is there to take it; `refuses` is what it raises instead."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, AnyReport]] = []
        self.on_its_way: list[asyncio.Future[None]] = []
        self.refuses: Exception | None = None

    async def send(
        self, topic: str, value: bytes, *, key: bytes, partition: int, timestamp_ms: int
    ) -> asyncio.Future[None]:
        if self.refuses is not None:
            raise self.refuses
        self.sent.append((key, decode_report(value)))
        self.on_its_way.append(asyncio.get_running_loop().create_future())
        return self.on_its_way[-1]

    async def stop(self) -> None:
        assert all(one.done() for one in self.on_its_way)

    async def deliver(self) -> None:
        """Take all that is on its way."""
        for one in self.on_its_way:
            if not one.done():
                one.set_result(None)
        await passed()


async def passed() -> None:
    """Let whoever can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


def telling() -> tuple[Outbox, Producer]:
    outbox, producer, ours = Outbox(load(None, {})), Producer(), Kept()
    as_theirs: Any = producer
    outbox._producer, outbox._message_producer = as_theirs, ours
    return outbox, producer


def unowned(at_ms: int, partition: int = 0) -> Unowned:
    return Unowned(partition, "ada", at_ms, why="")


def test_of_what_is_told_of_a_partition_one_is_on_its_way_and_the_newest_follows() -> None:
    async def scenario() -> list[tuple[bytes, int]]:
        outbox, producer = telling()
        for at_ms in range(1_000):
            await outbox.report(unowned(at_ms))
            await outbox.report(unowned(at_ms, partition=1))
            await outbox.report(Standby(0, "ada", at_ms, lag=0))
            await outbox.report(Idle("ada", at_ms, started_ms=0))
            await passed()
        assert len(producer.sent) == 4
        await producer.deliver()
        await producer.deliver()
        await outbox.report(unowned(1_000))
        await passed()
        return [(key, told.reported_ms) for key, told in producer.sent]

    sent = asyncio.run(scenario())
    keys = [b"0", b"1", b"0/ada", b"worker/ada"]
    assert sent == [*((key, 0) for key in keys), *((key, 999) for key in keys), (b"0", 1_000)]


def test_who_stops_waits_until_the_last_is_told() -> None:
    async def scenario() -> list[int]:
        outbox, producer = telling()
        await outbox.report(unowned(1))
        await passed()
        await outbox.report(unowned(2))
        stopping = asyncio.ensure_future(outbox.stop())
        while not stopping.done():
            await producer.deliver()
        await stopping
        return [told.reported_ms for _, told in producer.sent]

    assert asyncio.run(scenario()) == [1, 2]


def test_what_kept_a_report_from_being_sent_stops_who_sends_the_next() -> None:
    async def scenario() -> None:
        outbox, producer = telling()
        producer.refuses = OSError("no room")
        await outbox.report(unowned(1))
        await passed()
        with pytest.raises(OSError, match="no room"):
            await outbox.report(unowned(2))
        await outbox.stop()

    asyncio.run(scenario())


class Slow:
    """A producer whose sends take as many turns of the loop as they are given; keeps what it has taken, in order."""

    def __init__(self, turns: list[int]) -> None:
        self._turns = iter(turns)
        self.taken: list[bytes | None] = []

    async def send(self, topic: str, value: bytes | None, **named: Any) -> asyncio.Future[None]:
        for _ in range(next(self._turns)):
            await asyncio.sleep(0)
        self.taken.append(value)
        return asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("turns", [[3, 0, 0, 0], [1, 3, 0, 2]])
def test_of_a_closed_day_the_newest_is_the_last_in_kafka_also_if_an_older_one_must_wait(turns: list[int]) -> None:
    async def scenario() -> list[int | None]:
        outbox, producer = Outbox(load(None, {})), Slow(turns)
        as_theirs: Any = producer
        outbox._producer = as_theirs
        sending = [
            asyncio.ensure_future(
                outbox.send_closed_day(ClosedDayReport(0, "ada", 0, ClosedDay(5, {}, 0, corrections)))
            )
            for corrections in range(3)
        ]
        await asyncio.gather(*sending, outbox.delete_closed_day(0, 5, by=NOBODY))
        return [None if value is None else decode_closed_day(value).closed.corrections for value in producer.taken]

    assert asyncio.run(scenario()) == [0, 1, 2, None]
