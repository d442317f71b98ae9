"""A population that goes on for ever: its history first, then each event when it happens.

Begun again it goes on where it ended. The same seed gives the same events, so what was missed is sent now, and what
is sent once more counts once.
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
from stream.simulate.producer import connected
from stream.simulate.simulator import SimulatedEvent

# A century is for ever: the simulator makes an hour at a time.
FOR_EVER_MS: Final = 36_500 * DAY_MS

# Events of the last minutes may have reached one partition and not yet another.
_SENT_AGAIN_MS: Final = 10 * MINUTE_MS

_PAUSE_SECONDS: Final = 0.2
_LOOK_UP_EVERY: Final = 1_000  # events of the history

# Of the history so much is delivered before more is sent. A topic of few events would otherwise reach Kafka days of
# event time after a busy one, and be late.
_SPREAD_MS: Final = 6 * HOUR_MS
_PATIENCE_SECONDS: Final = 10.0


class _Time(msgspec.Struct, gc=False):
    event_time: str | int | float


_decode = msgspec.json.Decoder(_Time).decode


class Sink(Protocol):
    """Takes events, and delivers them by the next flush at the latest."""

    def send(self, topic: str, key: str, value: bytes) -> None:
        """Take one event."""

    def flush(self) -> None:
        """Deliver what was taken."""


def send_as_they_happen(
    events: Iterable[SimulatedEvent],
    sink: Sink,
    *,
    topics: Mapping[str, str],
    wait: Callable[[float], bool],
    now_ms: Callable[[], int],
    on_live: Callable[[int], None],
) -> int:
    """Send each event as soon as its time has come; returns how many were sent when there are no more.

    `wait` waits for some seconds and says whether to stop. `on_live` is told once that all events of the past are
    delivered, and how many they were. `topics` names the Kafka topic of each input.
    """
    sent = flushed_to_ms = 0
    is_live = False
    for event in events:
        if event.arrives_at_ms - flushed_to_ms > _SPREAD_MS:
            sink.flush()
            flushed_to_ms = event.arrives_at_ms
        while event.arrives_at_ms > now_ms():
            sink.flush()
            if not is_live:
                on_live(sent)
                is_live = True
            if wait(_PAUSE_SECONDS):
                return sent
        if sent % _LOOK_UP_EVERY == 0 and wait(0):
            return sent
        sink.send(topics[event.topic], event.key, event.value)
        sent += 1
    return sent


def resumes_at_ms(client_options: Mapping[str, Any], topics: Iterable[str], *, otherwise_ms: int) -> int:
    """From when to send: shortly before the newest event in the topics, or `otherwise_ms` where that is later.

    Raises Unavailable when the topics can't be read.
    """
    try:
        newest_ms = _newest_ms(client_options, list(topics))
    except KafkaError as error:
        raise Unavailable(f"can't read what was sent before: {error}") from error
    return otherwise_ms if newest_ms is None else max(otherwise_ms, newest_ms - _SENT_AGAIN_MS)


def _newest_ms(client_options: Mapping[str, Any], topics: list[str]) -> int | None:
    """The newest event time among the last messages of all partitions, None where there is no message."""
    consumer = connected(KafkaConsumer, {**client_options, "enable_auto_commit": False})
    try:
        partitions = [TopicPartition(topic, n) for topic in topics for n in consumer.partitions_for_topic(topic) or ()]
        ends = consumer.end_offsets(partitions)
        waiting = {place for place, end in ends.items() if end > consumer.beginning_offsets([place])[place]}
        consumer.assign(list(waiting))
        for place in waiting:
            consumer.seek(place, ends[place] - 1)
        times = []
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while waiting and time.monotonic() < deadline:
            for place, records in consumer.poll(timeout_ms=500).items():
                waiting.discard(place)
                times += [_time_of(record.value) for record in records]
        return max((at_ms for at_ms in times if at_ms is not None), default=None)
    finally:
        consumer.close()


def _time_of(value: bytes | None) -> int | None:
    try:
        told = _decode(value or b"").event_time
    except UNDECODABLE:
        return None
    return parse_time(told) if isinstance(told, str) else epoch_ms(told)
