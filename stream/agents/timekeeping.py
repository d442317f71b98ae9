"""A worker's clock: it asks the brokers, and a store that all workers share, what time it is.

It asks before the first partition is opened, since a partition's clock never goes back: one that has gone by a wrong
time stands still until that time comes. Then it asks every few seconds; the answers to checkpoints and reports tell the
time as well. And it asks again, before events are judged by their times, when the machine slept or was set.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from aiokafka.errors import KafkaError

from stream.agents.task_state import in_thread
from stream.clock import Clock, TimeTold
from stream.core.store import StoreFailed, StoreUnavailable
from stream.telemetry import ClockReading

log = structlog.get_logger(__name__)

_ASK_SECONDS = 5.0

# How long a batch waits for the time after the machine slept or was set. Kafka has sent the batch, so it answers.
_BE_SURE_SECONDS = 15.0

AskBrokers = Callable[[ClockReading], Awaitable[None]]
AskStore = Callable[[], Sequence[TimeTold]]


class Timekeeping:
    """Keeps the clock of a worker right.

    `ask_brokers` reports a reading to all brokers, from whose answers the clock hears the time; `ask_store` asks the
    store that all workers share, None if there is none.
    """

    def __init__(self, clock: Clock, *, ask_brokers: AskBrokers, ask_store: AskStore | None) -> None:
        self.clock = clock
        self._ask_brokers, self._ask_store = ask_brokers, ask_store
        self._store_has_told = False

    async def start(self, reading: Callable[[], ClockReading]) -> None:
        """Ask for the time, and wait until a broker has answered. Raises KafkaError, or Unavailable without the topic.

        A store that can't be reached is asked again by `hear_store` before a partition is opened.
        """
        self._reading = reading
        await self._ask_brokers(reading())
        await self._ask_store_if_there()

    async def run(self) -> None:
        """Ask every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(_ASK_SECONDS)
            await self._ask()

    async def be_sure(self) -> None:
        """Return when the clock is right, though the machine may have slept or been set a moment ago."""
        if not self.clock.is_sure:
            asking = asyncio.create_task(self._ask())
            await asyncio.wait({asking}, timeout=_BE_SURE_SECONDS)

    async def hear_store(self) -> None:
        """Ask the store if it has never told the time. Raises StoreUnavailable while it can't be reached."""
        if self._ask_store is None or self._store_has_told:
            return
        try:
            told = await in_thread(self._ask_store)
        except StoreUnavailable:
            raise
        except StoreFailed as error:
            self.clock.note_silence("store", str(error))
            self._ask_store = None
            return
        self._store_has_told = True
        for one in told:
            self.clock.hear(one)

    async def _ask(self) -> None:
        try:
            await self._ask_brokers(self._reading())
        except KafkaError as error:
            log.debug("a broker was asked for the time and has not answered", why=str(error))
        await self._ask_store_if_there()

    async def _ask_store_if_there(self) -> None:
        self._store_has_told = False
        try:
            await self.hear_store()
        except StoreUnavailable as error:
            log.debug("the store was asked for the time and has not answered", why=str(error))
