"""Dead letters sent back to the topics they came from.

A letter's record goes back with key, value and its producer's headers as they were, to the partition that its key
hashes to, as from any producer; without a key to the partition it came from. Our headers tell its first origin and how
often it has been replayed (`headers`): what is refused again becomes a letter with one attempt more, and is left alone
when it has had as many as are allowed.

An event may be counted already, for a worker may crash between counting it and saying so: numbers count each event once
anyway. Records get a new time, for they arrive now, but null messages keep theirs: it is when they take something back.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Container, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field

from stream.core.rejections import Reason
from stream.kafka import range_reader
from stream.kafka.headers import Replay, replay_headers
from stream.kafka.options import client_options
from stream.kafka.topic_specs import replayed_topic_spec
from stream.kafka.topics import create_topics
from stream.letters.dead_letters import Letter, Wanted, dead_letters, require_topics
from stream.letters.delivery import (
    MOST_UNNOTED_SECONDS,
    Delivery,
    DryDelivery,
    Fate,
    KafkaDelivery,
    Outcome,
    Outgoing,
)
from stream.letters.origins import Origins
from stream.letters.replayed import Notebook, read_notes
from stream.partitioning import partition_of
from stream.settings import Settings

# A wait shorter than this costs more than it smooths.
_SHORTEST_WAIT_SECONDS = 0.001

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Which letters to replay, how much of them, and who is told."""

    settings: Settings
    wanted: Wanted
    attempts: int  # how often a record may be replayed in all
    records: int | None = None  # at most so many in this run
    rate: float | None = None  # records a second
    sends: bool = True
    outcome: Outcome = field(default_factory=Outcome)  # tells at any time how far it has got
    stopping: asyncio.Event = field(default_factory=asyncio.Event)  # set from outside
    progress: Progress  # called with a title and how many records there are to read
    on_late: Callable[[], None]  # called before the first letter is sent that was refused as late


async def replay(run: Run) -> None:
    """Send letters back. Raises Unavailable, of which TakenOver says that another run has begun."""
    settings = run.settings
    partitions = require_topics(settings, [settings.input_topics[topic] for topic in run.wanted.topics])
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        notebook: Notebook | None = None
        if run.sends:
            options = client_options(settings)
            create_topics(
                [replayed_topic_spec(settings)], client_options=options, replication=settings.topics.replication
            )
            notebook = await enter(Notebook(settings))  # before notes are read: others write none any more
        notes = await read_notes(settings)
        letters = await enter(dead_letters(settings, run.wanted))
        delivery: Delivery = DryDelivery(run.outcome)
        if notebook is not None:
            delivery = await enter(KafkaDelivery(settings, notebook, run.outcome))
            await notebook.write(dict.fromkeys(name for name, note in notes.items() if letters.is_gone(note.letter)))
        origins = Origins(await enter(range_reader.open_consumer(settings)))
        judge = Judge(run, partitions=partitions, replayed=notes.keys(), origins=origins)
        with run.progress("reading dead letters", letters.records) as tell:
            await _deliver(run, judge, delivery, letters.read(run.wanted, on_progress=tell, stopping=run.stopping))


class Judge:
    """Says for each letter what to send, or why nothing."""

    def __init__(
        self, run: Run, *, partitions: Mapping[str, int], replayed: Container[str | None], origins: Origins
    ) -> None:
        """`partitions` is how many each input topic has, `replayed` the letters replayed before, by identity."""
        self._run = run
        self._partitions = partitions
        self._replayed = replayed
        self._origins = origins

    async def judge(self, letter: Letter) -> Outgoing | Fate:
        """The record to send for a letter, or its fate when there is none."""
        origin = letter.origin
        topic = self._run.settings.input_topics[letter.topic]
        if origin is None or origin.topic != topic:
            return Fate.UNKNOWN
        if letter.identity in self._replayed:
            return Fate.BEFORE
        if letter.attempts >= self._run.attempts:
            return Fate.OFTEN_ENOUGH
        count = self._partitions[topic]
        key, value, headers = letter.key, letter.value, letter.headers
        if letter.by_reference:
            record = await self._origins.find(origin) if origin.partition < count else None
            if record is None:
                return Fate.GONE
            key, value, headers = record.key, record.value, list(record.headers)
        if len(value or b"") > self._run.settings.max_message_bytes:
            return Fate.TOO_LARGE
        return Outgoing(
            letter=letter,
            topic=topic,
            partition=origin.partition % count if key is None else partition_of(key, count),
            key=key,
            value=value,
            headers=[*headers, *replay_headers(Replay(letter.attempts + 1, origin))],
            timestamp_ms=origin.timestamp if value is None and origin.timestamp >= 0 else None,
        )


async def _deliver(run: Run, judge: Judge, delivery: Delivery, letters: AsyncGenerator[Letter, None]) -> None:
    """Replay letters until the limit is reached or the run is stopped; then all that was sent has arrived."""
    started = time.monotonic()
    sent, has_late = 0, False
    async with aclosing(letters):
        async for letter in letters:
            judged = await judge.judge(letter)
            if isinstance(judged, Fate):
                run.outcome.add(letter, judged)
                continue
            if run.rate is not None:
                await _wait(started + sent / run.rate - time.monotonic(), run, delivery)
            if run.stopping.is_set():
                break
            if letter.reason == Reason.LATE.value and not has_late:
                has_late = True
                run.on_late()
            await delivery.send(judged)
            sent += 1
            if sent == run.records:
                break
    await delivery.flush()


async def _wait(seconds: float, run: Run, delivery: Delivery) -> None:
    """Wait for the next record's turn, or until the run is stopped."""
    if seconds > MOST_UNNOTED_SECONDS:
        await delivery.flush()
    if seconds > _SHORTEST_WAIT_SECONDS:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(run.stopping.wait(), seconds)
