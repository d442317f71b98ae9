"""A producer that sends in transactions, of which it aborts some: what was aborted must not be counted."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Any, Final, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from stream.simulate.producer import DeliveryFailed, EventProducer, consumer_options
from stream.simulate.recording import ReplayEvent
from tests.integration.deployment import Load

ABORTED_SHARE: Final = 0.2
# A transaction stays open for so many tenths of a second: what lies after its first record waits for its end.
OPEN_TICKS: Final = (1, 2, 5, 30)

# Topic, partition and offset.
Place = tuple[str, int, int]

# The most that a broker allows by default: a transaction outlives every outage of a run.
_TIMEOUT_MS: Final = 900_000


# kafka-python may wait for ever, for a batch that was on its way when it began a new epoch, for the end of a
# transaction, and for its beginning when the broker was killed meanwhile. Whoever knows gives up after so long, and
# begins anew: that ends what was open.
_TIMEOUT_SECONDS: Final = 15.0
# Reading all that a run has produced takes no longer.
_READING_SECONDS: Final = 120.0


class TransactionalProducer(EventProducer):
    """Sends events in transactions, one after the other. A new one of the same name aborts what the last one left."""

    def __init__(self, options: Mapping[str, object], name: str) -> None:
        """Raises DeliveryFailed."""
        named = {"transactional_id": name, "transaction_timeout_ms": _TIMEOUT_MS}
        super().__init__({**options, **named, "max_block_ms": int(_TIMEOUT_SECONDS * 1_000)})
        try:
            self._producer.init_transactions()
        except KafkaError as error:
            self._disconnect()
            raise DeliveryFailed(f"can't begin transactions of {name}: {error}") from error
        self._handed_over: list[Any] = []  # what will tell where each record of the transaction lies
        send = self._producer.send

        def noting(*arguments: Any, **named: Any) -> Any:
            self._handed_over.append(send(*arguments, **named))
            return self._handed_over[-1]

        self._producer.send = noting

    def begin(self) -> None:
        """Begin a transaction, which holds what is sent from now on."""
        self._producer.begin_transaction()
        self._handed_over.clear()
        self._began_as = self._epoch()

    def flush(self) -> None:
        """Wait until Kafka has confirmed every event sent. Raises DeliveryFailed."""
        try:
            self._producer.flush(timeout=_TIMEOUT_SECONDS)
        except KafkaTimeoutError as error:
            raise DeliveryFailed(f"not all events were confirmed within {_TIMEOUT_SECONDS:g} s") from error
        super().flush()

    def commit(self) -> None:
        """Let what was sent in it be read. Raises DeliveryFailed where nobody says whether that is so.

        kafka-python may begin a new epoch within a transaction, which Kafka then aborts; that it was committed is said
        all the same.
        """
        self._end(self._producer.commit_transaction)
        if self._producer._transaction_manager.is_bumping_epoch() or self._epoch() != self._began_as:
            raise DeliveryFailed("the producer has begun a new epoch within a transaction")

    def abort(self) -> None:
        """Let nobody who reads committed records see what was sent in it. Raises DeliveryFailed."""
        self._end(self._producer.abort_transaction)

    def _epoch(self) -> tuple[int, int]:
        now = self._producer._transaction_manager.producer_id_and_epoch
        return now.producer_id, now.epoch

    def places(self) -> list[Place]:
        """Where each record of the transaction lies, in the order of sending. All must have been flushed."""
        told = [sending.get(timeout=_TIMEOUT_SECONDS) for sending in self._handed_over]
        return [(record.topic, record.partition, record.offset) for record in told]

    def _end(self, end: Callable[[], None]) -> None:
        said: list[KafkaError | None] = []

        def ending() -> None:
            try:
                end()
            except KafkaError as error:
                said.append(error)
            else:
                said.append(None)

        waiting = threading.Thread(target=ending, daemon=True)
        waiting.start()
        waiting.join(_TIMEOUT_SECONDS)
        if said != [None]:
            raise DeliveryFailed(f"a transaction did not end: {said[0] if said else 'no answer'}")


def was_committed(client: Mapping[str, object], place: Place) -> bool:
    """Whether the record at this place, whose transaction has ended, is one for readers. Raises KafkaError."""
    partition, offset = TopicPartition(*place[:2]), place[2]
    consumer = KafkaConsumer(**consumer_options(client), isolation_level="read_committed", enable_auto_commit=False)
    try:
        consumer.assign([partition])
        consumer.seek(partition, offset)
        while consumer.position(partition) <= offset:
            for record in consumer.poll(timeout_ms=500).get(partition, []):
                return bool(record.offset == offset)
        return False
    finally:
        consumer.close()


def readable_records(client: Mapping[str, object], topics: Iterable[str]) -> dict[Place, bytes | None]:
    """The values of the records that are for readers, by place. Fails where a transaction stays open."""
    options = {**consumer_options(client), "check_crcs": False}  # kafka-python adds them up byte by byte
    consumer = KafkaConsumer(**options, isolation_level="read_committed", enable_auto_commit=False)
    try:
        partitions = [TopicPartition(name, n) for name in topics for n in consumer.partitions_for_topic(name) or ()]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(partitions)
        found: dict[Place, bytes | None] = {}
        deadline = time.monotonic() + _READING_SECONDS
        while behind := [place for place in partitions if consumer.position(place) < ends[place]]:
            assert time.monotonic() < deadline, f"after {_READING_SECONDS:g} s not read to the end: {behind}"
            for batch in consumer.poll(timeout_ms=500).values():
                found |= {(record.topic, record.partition, record.offset): record.value for record in batch}
        return found
    finally:
        consumer.close()


class Counted(NamedTuple):
    """A transaction that is believed to be committed."""

    events: list[ReplayEvent]
    places: Sequence[Place]  # of its records
    why: str


def without_the_lost(counted: Iterable[Counted], readable: Collection[Place]) -> tuple[list[Counted], list[str]]:
    """The transactions to expect, and those that Kafka has lost, in words.

    A coordinator of Kafka's that was killed between its answer to a commit and the markers in the partitions may, once
    it runs again, take the partitions for deleted whose leader it does not know yet: it says "committed" and writes no
    marker, and the next transaction of this producer that aborts takes the records along. Only a whole transaction is
    lost in this way. Of one that is there in part nothing is taken back.
    """
    kept, lost = [], []
    for number, transaction in enumerate(counted, 1):
        if not transaction.places or any(place in readable for place in transaction.places):
            kept.append(transaction)
        else:
            what = f"transaction {number} of {len(transaction.places)} events"
            lost.append(f"{what}: {transaction.why}; none of them is for readers")
    return kept, lost


def told_as_aborted(
    counted: Iterable[Counted], readable: Mapping[Place, bytes | None], sent: Mapping[tuple[str, bytes], ReplayEvent]
) -> Counted | None:
    """What Kafka has committed of this load although its client said that it had not; None if there is nothing.

    On a busy machine a client may give up a transaction whose end it has asked for, and the next one finds no trace of
    it. Whoever reads must count what is there. `sent` are the events that were handed over, by Kafka topic and value.
    """
    known = {place for transaction in counted for place in transaction.places}
    places = [place for place in sorted(readable.keys() - known) if (place[0], readable[place] or b"") in sent]
    events = [sent[place[0], readable[place] or b""] for place in places]
    return Counted(events, places, "Kafka has committed it, and its client said that it had not") if events else None


def short(places: Sequence[Place]) -> str:
    """The first and the last of them."""
    return " … ".join(map(str, (places[0], places[-1]) if len(places) > 1 else places))


class TransactionalLoad(Load):
    """A load in transactions. What was in an aborted one is sent again or given up, as applications do."""

    gained = 0  # events that Kafka has committed although its client said that it had not
    _ended = 0  # transactions, committed or aborted
    _counted: list[Counted]
    _handed_over: dict[tuple[str, bytes], ReplayEvent]  # by Kafka topic and value
    # The records of a transaction of which nobody knows whether it was committed.
    _in_doubt: Sequence[Place] = ()

    def _hand_over(self, producer: EventProducer, events: list[ReplayEvent]) -> list[ReplayEvent]:
        """Give events to a producer, and remember them."""
        self._handed_over |= {(self._topics[event.topic], event.value): event for event in events}
        return super()._hand_over(producer, events)

    def through(self) -> Callable[[], bool]:
        """A transaction that was open at this moment keeps readers back, until it and a whole new one have ended."""
        enough = self._ended + 2
        return lambda: self._ended >= enough

    def _produce(self) -> None:
        rng, name = random.Random(1), f"chaos-{uuid.uuid4().hex[:8]}"
        again: list[ReplayEvent] = []
        self._counted, self._handed_over = [], {}
        while self._in_doubt or not self._enough.is_set():
            with suppress(DeliveryFailed, KafkaError):
                producer = TransactionalProducer(self._client, name)  # by now every earlier transaction has ended
                with producer:
                    if self._in_doubt and was_committed(self._client, self._in_doubt[-1]):
                        self._count(again, f"its record at {self._in_doubt[-1]} is there")
                    self._in_doubt = ()
                    self._produce_with(producer, rng, again)

    def _count(self, events: list[ReplayEvent], why: str) -> None:
        self._counted.append(Counted(events.copy(), self._in_doubt, why))
        self.sent += events
        events.clear()

    def stop(self) -> None:
        """Stop when all that was sent is delivered, and believe Kafka what is committed. Raises what went wrong."""
        super().stop()
        readable = readable_records(self._client, self._topics.values())
        more = told_as_aborted(self._counted, readable, self._handed_over)
        self._counted, self.lost = without_the_lost(self._counted, readable)
        if more is not None:
            self._counted.append(more)
            self.gained = len(more.events)
        self.sent = [event for transaction in self._counted for event in transaction.events]

    def why_sent(self, number: int) -> str:
        """Why an event, by its place in `sent`, is believed to be in Kafka: what became of its transaction."""
        counts = accumulate(len(transaction.events) for transaction in self._counted)
        return next(told.why for told, end in zip(self._counted, counts, strict=True) if number < end)

    def _produce_with(self, producer: TransactionalProducer, rng: random.Random, again: list[ReplayEvent]) -> None:
        """Send until it is enough; `again` holds what is to be sent once more. Raises DeliveryFailed."""
        while not self._enough.is_set():
            producer.begin()
            self._hand_over(producer, again)
            for _ in range(rng.choice(OPEN_TICKS)):
                due = self._due()
                again += due
                self._hand_over(producer, due)
                self._enough.wait(0.1)
            producer.flush()
            if rng.random() >= ABORTED_SHARE:
                self._in_doubt = producer.places()
                producer.commit()
                self._count(again, f"the commit was answered; its records are at {short(self._in_doubt)}")
                self._in_doubt = ()
            else:
                producer.abort()
                if rng.random() < 0.5:
                    again.clear()
            self._ended += 1
