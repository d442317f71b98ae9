"""Replay dead letters: send their records back to the topics that they came from.

A record is sent with the key, value and headers of its producer. It goes to the partition that its key hashes to, as
from any producer; a record without a key goes to the partition that it came from. Our headers tell its first origin and
how often it has been replayed (`kafka.headers`). If it is refused again, the new dead letter has one attempt more, and
a record that has had the allowed number of attempts is left alone.

The event may have been counted already, because a worker may crash between counting it and saving that. This does no
harm: the numbers count each event once. A replayed record gets the time of the replay, because it arrives then. A null
message keeps its own time, because that is the time at which it takes an answer back.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Container, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field

from stream.core.rejections import Reason
from stream.dead_letters.original_records import OriginalRecords
from stream.dead_letters.reader import DeadLetter, LetterFilter, open_dead_letters, require_topics
from stream.dead_letters.replay_log import ReplayLog, read_replay_log
from stream.dead_letters.replay_sender import (
    MAX_UNLOGGED_SECONDS,
    DryRunSender,
    KafkaSender,
    Outcome,
    OutcomeCounts,
    ReplayRecord,
    ReplaySender,
)
from stream.kafka import range_reader
from stream.kafka.headers import Replay, replay_headers
from stream.kafka.options import client_options
from stream.kafka.rate_limit import RateLimit
from stream.kafka.topic_specs import replayed_topic_spec
from stream.kafka.topics import create_topics
from stream.partitioning import partition_of
from stream.settings import Settings

# A shorter wait is skipped: it would cost more than it smooths.
_MIN_WAIT_SECONDS = 0.001

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run of `engagement dlq replay` shall do, and whom it informs."""

    settings: Settings
    selection: LetterFilter
    attempts: int  # the limit of replays of one record, counting those of earlier runs
    records: int | None = None  # the limit of records that this run sends
    rate: float | None = None  # the limit of records a second
    sends: bool = True  # False for a dry run
    outcomes: OutcomeCounts = field(default_factory=OutcomeCounts)  # updated while the run goes on
    stopping: asyncio.Event = field(default_factory=asyncio.Event)  # the caller sets it to stop the run
    progress: Progress  # called with a title and the number of records to read
    on_late: Callable[[], None]  # called before the first record is sent that had been refused as late


async def replay(run: Run) -> None:
    """Replay dead letters. Raises Unavailable; its subclass ReplacedByNewerRun says that another run has begun."""
    settings = run.settings
    partitions = require_topics(settings, [settings.input_topics[topic] for topic in run.selection.topics])
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        replay_log: ReplayLog | None = None
        if run.sends:
            options = client_options(settings)
            create_topics(
                [replayed_topic_spec(settings)], client_options=options, replication=settings.topics.replication
            )
            # Open the log before reading it: from then on no other run can write to it.
            replay_log = await enter(ReplayLog(settings))
        entries = await read_replay_log(settings)
        letters = await enter(open_dead_letters(settings, run.selection))
        sender: ReplaySender = DryRunSender(run.outcomes)
        if replay_log is not None:
            sender = await enter(KafkaSender(settings, replay_log, run.outcomes))
            await replay_log.write(
                dict.fromkeys(name for name, entry in entries.items() if letters.is_deleted(entry.letter))
            )
        original_records = OriginalRecords(await enter(range_reader.open_consumer(settings)))
        decider = ReplayDecider(run, partitions=partitions, replayed=entries.keys(), original_records=original_records)
        with run.progress("reading dead letters", letters.records) as on_progress:
            await _replay_letters(
                run, decider, sender, letters.read(run.selection, on_progress=on_progress, stopping=run.stopping)
            )


class ReplayDecider:
    """Decides for each dead letter which record to send, or why none is sent."""

    def __init__(
        self,
        run: Run,
        *,
        partitions: Mapping[str, int],
        replayed: Container[str | None],
        original_records: OriginalRecords,
    ) -> None:
        """`partitions` has the partition count of each input topic, `replayed` the identities replayed before."""
        self._run = run
        self._partitions = partitions
        self._replayed = replayed
        self._original_records = original_records

    async def decide(self, letter: DeadLetter) -> ReplayRecord | Outcome:
        """Return the record to send for a dead letter, or its outcome if no record is sent."""
        origin = letter.origin
        topic = self._run.settings.input_topics[letter.topic]
        if origin is None or origin.topic != topic:
            return Outcome.NO_ORIGIN
        if letter.identity in self._replayed:
            return Outcome.ALREADY_REPLAYED
        if letter.attempts >= self._run.attempts:
            return Outcome.MAX_ATTEMPTS_REACHED
        count = self._partitions[topic]
        key, value, headers = letter.key, letter.value, letter.headers
        if letter.by_reference:
            record = await self._original_records.find(origin) if origin.partition < count else None
            if record is None:
                return Outcome.RECORD_DELETED
            key, value, headers = record.key, record.value, list(record.headers)
        if len(value or b"") > self._run.settings.max_message_bytes:
            return Outcome.TOO_LARGE
        return ReplayRecord(
            letter=letter,
            topic=topic,
            partition=origin.partition % count if key is None else partition_of(key, count),
            key=key,
            value=value,
            headers=[*headers, *replay_headers(Replay(letter.attempts + 1, origin))],
            timestamp_ms=origin.timestamp if value is None and origin.timestamp >= 0 else None,
        )


async def _replay_letters(
    run: Run, decider: ReplayDecider, sender: ReplaySender, letters: AsyncGenerator[DeadLetter, None]
) -> None:
    """Replay dead letters until the limit is reached or the run is stopped, and wait until all records have arrived."""
    limit = None if run.rate is None else RateLimit(run.rate)
    sent, has_late = 0, False
    async with aclosing(letters):
        async for letter in letters:
            decision = await decider.decide(letter)
            if isinstance(decision, Outcome):
                run.outcomes.add(letter, decision)
                continue
            if limit is not None:
                await _wait(limit.seconds_to_wait(time.monotonic()), run, sender)
            if run.stopping.is_set():
                break
            if letter.reason == Reason.LATE.value and not has_late:
                has_late = True
                run.on_late()
            await sender.send(decision)
            if limit is not None:
                limit.record_sent(time.monotonic())
            sent += 1
            if sent == run.records:
                break
    await sender.flush()


async def _wait(seconds: float, run: Run, sender: ReplaySender) -> None:
    """Wait until the next record may be sent, or until the run is stopped."""
    if seconds > MAX_UNLOGGED_SECONDS:
        await sender.flush()
    if seconds > _MIN_WAIT_SECONDS:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(run.stopping.wait(), seconds)
