"""A producer that sends in transactions, of which it aborts some: what was aborted must not be counted."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping
from typing import Final

from stream.simulate.producer import EventProducer
from stream.simulate.replay import ReplayEvent
from tests.integration.deployment import Load

ABORTED_SHARE: Final = 0.2
# A transaction stays open for so many tenths of a second: what lies after its first record waits for its end.
OPEN_TICKS: Final = (1, 2, 5, 30)

# The most that a broker allows by default: a transaction outlives every outage of a run.
_TIMEOUT_MS: Final = 900_000


class TransactionalProducer(EventProducer):
    """Sends events in transactions, one after the other."""

    def __init__(self, options: Mapping[str, object]) -> None:
        super().__init__(
            {**options, "transactional_id": f"chaos-{uuid.uuid4().hex[:8]}", "transaction_timeout_ms": _TIMEOUT_MS}
        )
        self._producer.init_transactions()

    def begin(self) -> None:
        """Begin a transaction, which holds what is sent from now on."""
        self._producer.begin_transaction()

    def commit(self) -> None:
        """Let what was sent in it be read."""
        self.flush()
        self._producer.commit_transaction()

    def abort(self) -> None:
        """Let nobody who reads committed records see what was sent in it."""
        self.flush()
        self._producer.abort_transaction()


class TransactionalLoad(Load):
    """A load in transactions. What was in an aborted one is sent again or given up, as applications do."""

    _ended = 0  # transactions, committed or aborted

    def through(self) -> Callable[[], bool]:
        """A transaction that was open at this moment keeps readers back, until it and a whole new one have ended."""
        enough = self._ended + 2
        return lambda: self._ended >= enough

    def _produce(self) -> None:
        rng = random.Random(1)
        producer = TransactionalProducer(self._client)
        again: list[ReplayEvent] = []
        with producer:
            while not self._enough.is_set():
                producer.begin()
                self._hand_over(producer, again)
                events = again
                for _ in range(rng.choice(OPEN_TICKS)):
                    events += self._hand_over(producer, self._due())
                    self._enough.wait(0.1)
                again = []
                if rng.random() >= ABORTED_SHARE:
                    producer.commit()
                    self._ended += 1
                    self.sent += events
                    continue
                producer.abort()
                self._ended += 1
                if rng.random() < 0.5:
                    again = events
