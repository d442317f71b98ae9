"""Batches that wait for the schemas of their messages.

A message may name its schema, which a registry has. A batch with schemas that are not known yet is held here while they
are fetched, however long that takes, and its partition is paused, so that little piles up and the batches of all other
inputs go on. What is held is applied in the order in which it was read. Nothing of it is lost if the worker stops: its
offsets are in no checkpoint, and the next owner reads it again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial

import structlog

from stream.agents.task_state import in_thread
from stream.agents.transport import Records
from stream.kafka.schema_registry import RegistryAway, SchemaRegistry

log = structlog.get_logger(__name__)

# How long to wait before a registry that could not be reached is asked again.
_RETRY_SECONDS = 1.0

_Place = tuple[str, int]  # a topic and a partition

# Stops reading a partition. Returns what begins it again.
PauseReading = Callable[[str, int], Callable[[], None]]


class HeldBatches:
    """The batches of one worker that wait for schemas."""

    def __init__(
        self,
        registry: SchemaRegistry,
        *,
        apply: Callable[[str, Records], Awaitable[object]],
        fail: Callable[[BaseException], None],
    ) -> None:
        """`apply` applies a batch. `fail` is called with an error that nobody expects."""
        self._registry, self._apply, self._fail = registry, apply, fail
        self._held: dict[_Place, list[Records]] = {}
        self._resume: dict[_Place, Callable[[], None]] = {}
        self._releasing: asyncio.Task[None] | None = None
        self._away = ""  # why the registry can't be asked; empty while it can

    def hold(self, topic: str, records: Records, pause: PauseReading) -> bool:
        """Hold a batch if it has to wait; returns whether it has to."""
        place = topic, records[0].partition
        if place in self._held:
            self._held[place].append(records)
            return True
        if not self._registry.unknown(records):
            return False
        self._held[place] = [records]
        self._resume[place] = pause(*place)
        if self._releasing is None or self._releasing.done():
            self._releasing = asyncio.create_task(self._release(self._held))
        return True

    def waiting(self) -> dict[_Place, str]:
        """Return why partitions are not read, by topic and partition; none while the registry answers."""
        return dict.fromkeys(self._held, f"{self._away}; its messages wait in Kafka") if self._away else {}

    def drop(self) -> None:
        """Drop all batches, because their partitions are given up. What is being applied is applied to its end."""
        for resume in self._resume.values():
            resume()
        self._held.clear()  # which ends the task that releases them
        self._held, self._resume, self._releasing = {}, {}, None

    async def _release(self, held: dict[_Place, list[Records]]) -> None:
        try:
            while held:
                try:
                    await self._fetch_unknown(held)
                except RegistryAway as error:
                    self._log_away(held, str(error))
                else:
                    self._log_back()
                for place in list(held):
                    await self._release_place(held, place)
                if held and self._away:
                    await asyncio.sleep(_RETRY_SECONDS)
        except Exception as error:  # noqa: BLE001  a worker that can't go on must not be silent
            self._fail(error)

    def _log_away(self, held: Collection[_Place], why: str) -> None:
        if not self._away:
            log.warning("inputs wait for the schema registry", topics=sorted({topic for topic, _ in held}), why=why)
        self._away = why

    def _log_back(self) -> None:
        if self._away:
            log.info("the schema registry answers again")
        self._away = ""

    async def _fetch_unknown(self, held: Mapping[_Place, list[Records]]) -> None:
        records = [record for batches in held.values() for batch in batches for record in batch]
        for schema_id in self._registry.unknown(records):
            await in_thread(partial(self._registry.fetch, schema_id))

    async def _release_place(self, held: dict[_Place, list[Records]], place: _Place) -> None:
        """Apply the batches of a partition up to the first one whose schemas are not known."""
        while (batches := held.get(place)) and not self._registry.schemas.unknown(batches[0]):
            await self._apply(place[0], batches[0])
            del batches[0]
        if place in held and not held[place]:
            del held[place]
            self._resume.pop(place)()
