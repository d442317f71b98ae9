"""A producer that sends in transactions, of which it aborts some: what was aborted must not be counted."""

from __future__ import annotations

import random
import threading
import uuid
from bisect import bisect_right
from collections.abc import Callable, Mapping
from contextlib import suppress
from operator import itemgetter
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from stream.simulate.producer import DeliveryFailed, EventProducer, of_consumers
from stream.simulate.replay import ReplayEvent
from tests.integration.deployment import Load

ABORTED_SHARE: Final = 0.2
# A transaction stays open for so many tenths of a second: what lies after its first record waits for its end.
OPEN_TICKS: Final = (1, 2, 5, 30)

# The most that a broker allows by default: a transaction outlives every outage of a run.
_TIMEOUT_MS: Final = 900_000


# kafka-python may wait for ever, for a batch that was on its way when it began a new epoch, for the end of a
# transaction, and for its beginning when the broker was killed meanwhile. Whoever knows gives up after so long, and
# begins anew: that ends what was open.
_PATIENCE_SECONDS: Final = 15.0


class TransactionalProducer(EventProducer):
    """Sends events in transactions, one after the other. A new one of the same name aborts what the last one left."""

    def __init__(self, options: Mapping[str, object], name: str) -> None:
        """Raises DeliveryFailed."""
        named = {"transactional_id": name, "transaction_timeout_ms": _TIMEOUT_MS}
        super().__init__({**options, **named, "max_block_ms": int(_PATIENCE_SECONDS * 1_000)})
        try:
            self._producer.init_transactions()
        except KafkaError as error:
            self._disconnect()
            raise DeliveryFailed(f"can't begin transactions of {name}: {error}") from error
        self._newest: Any = None
        send = self._producer.send

        def noting(*arguments: Any, **named: Any) -> Any:
            self._newest = send(*arguments, **named)
            return self._newest

        self._producer.send = noting

    def begin(self) -> None:
        """Begin a transaction, which holds what is sent from now on."""
        self._producer.begin_transaction()
        self._began_as = self._epoch()

    def flush(self) -> None:
        """Wait until Kafka has confirmed every event sent. Raises DeliveryFailed."""
        try:
            self._producer.flush(timeout=_PATIENCE_SECONDS)
        except KafkaTimeoutError as error:
            raise DeliveryFailed(f"not all events were confirmed within {_PATIENCE_SECONDS:g} s") from error
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

    def last_place(self) -> tuple[TopicPartition, int] | None:
        """Where the newest record lies that was flushed."""
        if self._newest is None:
            return None
        told = self._newest.get(timeout=_PATIENCE_SECONDS)
        return TopicPartition(told.topic, told.partition), told.offset

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
        waiting.join(_PATIENCE_SECONDS)
        if said != [None]:
            raise DeliveryFailed(f"a transaction did not end: {said[0] if said else 'no answer'}")


def was_committed(client: Mapping[str, object], place: TopicPartition, offset: int) -> bool:
    """Whether the record at this place, whose transaction has ended, is one for readers. Raises KafkaError."""
    consumer = KafkaConsumer(**of_consumers(client), isolation_level="read_committed", enable_auto_commit=False)
    try:
        consumer.assign([place])
        consumer.seek(place, offset)
        while consumer.position(place) <= offset:
            for record in consumer.poll(timeout_ms=500).get(place, []):
                return bool(record.offset == offset)
        return False
    finally:
        consumer.close()


class TransactionalLoad(Load):
    """A load in transactions. What was in an aborted one is sent again or given up, as applications do."""

    _ended = 0  # transactions, committed or aborted
    _whys: list[tuple[int, str]]  # how many were sent before a transaction, and why it counts as committed
    # A record of a transaction of which nobody knows whether it was committed.
    _in_doubt: tuple[TopicPartition, int] | None = None

    def through(self) -> Callable[[], bool]:
        """A transaction that was open at this moment keeps readers back, until it and a whole new one have ended."""
        enough = self._ended + 2
        return lambda: self._ended >= enough

    def _produce(self) -> None:
        rng, name = random.Random(1), f"chaos-{uuid.uuid4().hex[:8]}"
        again: list[ReplayEvent] = []
        self._whys = []
        while self._in_doubt is not None or not self._enough.is_set():
            with suppress(DeliveryFailed, KafkaError):
                producer = TransactionalProducer(self._client, name)  # by now every earlier transaction has ended
                with producer:
                    if self._in_doubt is not None and was_committed(self._client, *self._in_doubt):
                        self._count(again, f"its record at {self._in_doubt} is there")
                    self._in_doubt = None
                    self._produce_with(producer, rng, again)

    def _count(self, events: list[ReplayEvent], why: str) -> None:
        self._whys.append((len(self.sent), why))
        self.sent += events
        events.clear()

    def why_sent(self, number: int) -> str:
        """Why an event, by its place in `sent`, is believed to be in Kafka: what became of its transaction."""
        before = bisect_right(self._whys, number, key=itemgetter(0))
        return f"transaction {before}: {self._whys[before - 1][1]}"

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
                self._in_doubt = producer.last_place()
                producer.commit()
                self._count(again, f"the commit was answered; its last record is at {self._in_doubt}")
                self._in_doubt = None
            else:
                producer.abort()
                if rng.random() < 0.5:
                    again.clear()
            self._ended += 1
