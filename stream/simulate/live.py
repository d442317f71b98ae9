"""Send the events of a population that goes on for ever: first its history, then each event when it happens.

When the command is started again, it goes on where it ended. The same seed gives the same events, so events that were
missed are sent now, and events that are sent twice count once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from stream.core.lenient_json import UNDECODABLE
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS, epoch_ms, parse_time
from stream.settings import Unavailable
from stream.simulate.producer import connect
from stream.simulate.simulator import SimulatedEvent

# A century stands for ever. The simulator makes an hour of events at a time.
ENDLESS_MS: Final = 36_500 * DAY_MS

# How far before the newest event to begin again: the last events may have reached one partition but not another.
_OVERLAP_MS: Final = 10 * MINUTE_MS

_PAUSE_SECONDS: Final = 0.2
_EVENTS_BETWEEN_STOP_CHECKS: Final = 1_000  # events of the history

# How much event time of the history is sent before all of it must be delivered. Otherwise a topic with few events would
# reach Kafka days of event time after a busy one, and be late.
_MAX_UNFLUSHED_MS: Final = 6 * HOUR_MS
_READ_TIMEOUT_SECONDS: Final = 10.0


class _Time(msgspec.Struct, gc=False):
    event_time: str | int | float


_decode = msgspec.json.Decoder(_Time).decode


class Sink(Protocol):
    """A producer that delivers each event by the next flush at the latest."""

    def send(self, topic: str, key: str, value: bytes) -> None:
        """Send one event."""

    def flush(self) -> None:
        """Wait until everything sent is delivered."""


def send_as_they_happen(
    events: Iterable[SimulatedEvent],
    sink: Sink,
    *,
    topics: Mapping[str, str],
    wait: Callable[[float], bool],
    now_ms: Callable[[], int],
    on_live: Callable[[int], None],
) -> int:
    """Send each event when its time has come. Returns how many were sent, at the end or when asked to stop.

    `wait` waits for some seconds and returns whether to stop. `on_live` is called once, when all events of the past are
    delivered, with their number. `topics` maps each input to its Kafka topic.
    """
    sent = flushed_to_ms = 0
    is_live = False
    for event in events:
        if event.arrives_at_ms - flushed_to_ms > _MAX_UNFLUSHED_MS:
            sink.flush()
            flushed_to_ms = event.arrives_at_ms
        while event.arrives_at_ms > now_ms():
            sink.flush()
            if not is_live:
                on_live(sent)
                is_live = True
            if wait(_PAUSE_SECONDS):
                return sent
        if sent % _EVENTS_BETWEEN_STOP_CHECKS == 0 and wait(0):
            return sent
        sink.send(topics[event.topic], event.key, event.value)
        sent += 1
    return sent


def resume_time_ms(client_options: Mapping[str, Any], topics: Iterable[str], *, otherwise_ms: int) -> int:
    """Return the time to begin at: shortly before the newest event in the topics, or `otherwise_ms` if that is later.

    Raises Unavailable if the topics can't be read.
    """
    try:
        newest_ms = _newest_ms(client_options, list(topics))
    except KafkaError as error:
        raise Unavailable(f"can't read what was sent before: {error}") from error
    return otherwise_ms if newest_ms is None else max(otherwise_ms, newest_ms - _OVERLAP_MS)


def _newest_ms(client_options: Mapping[str, Any], topics: list[str]) -> int | None:
    """Return the newest event time among the last messages of all partitions, or None if there are none."""
    consumer = connect(KafkaConsumer, {**client_options, "enable_auto_commit": False})
    try:
        partitions = [TopicPartition(topic, n) for topic in topics for n in consumer.partitions_for_topic(topic) or ()]
        ends = consumer.end_offsets(partitions)
        waiting = {place for place, end in ends.items() if end > consumer.beginning_offsets([place])[place]}
        consumer.assign(list(waiting))
        for place in waiting:
            consumer.seek(place, ends[place] - 1)
        times = []
        deadline = time.monotonic() + _READ_TIMEOUT_SECONDS
        while waiting and time.monotonic() < deadline:
            for place, records in consumer.poll(timeout_ms=500).items():
                waiting.discard(place)
                times += [_time_of(record.value) for record in records]
        return max((at_ms for at_ms in times if at_ms is not None), default=None)
    finally:
        consumer.close()


def _time_of(value: bytes | None) -> int | None:
    try:
        event_time = _decode(value or b"").event_time
    except UNDECODABLE:
        return None
    return parse_time(event_time) if isinstance(event_time, str) else epoch_ms(event_time)
