"""A broker that goes and comes back while everything else goes on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from typing import Final

from tests.integration.kafka_server import RunningKafka

_LOOK_SECONDS: Final = 0.2


class Broker:
    """The broker of a run. It takes seconds to come back, on a busy machine many: nobody waits for it."""

    def __init__(self, kafka: RunningKafka, elsewhere: Executor) -> None:
        """`elsewhere` is a thread that lives as long as Kafka shall: the process ends with the thread that began it."""
        self._kafka = kafka
        self._elsewhere = elsewhere
        self._starting: Future[None] | None = None

    def stop(self) -> None:
        """End it in an orderly way."""
        self.settle()
        self._kafka.stop()

    def kill(self) -> None:
        """End it as a power cut does."""
        self.settle()
        self._kafka.kill()

    def come_back(self) -> Iterator[float]:
        """Bring it back; yields seconds to wait until it is there. Raises RuntimeError where it does not start."""
        self.settle()
        starting = self._starting = self._elsewhere.submit(self._kafka.restart)
        while not starting.done():
            yield _LOOK_SECONDS
        starting.result()

    def settle(self) -> None:
        """Wait until it has come back, if it is about to: nothing can befall it meanwhile."""
        if self._starting is not None:
            self._starting.result()
            self._starting = None
