"""Send recorded events again, in the order in which they happened.

A recording is a file of JSON lines, each an event with its `topic`. Replay sends the lines unchanged, all topics merged
by event time, so that workers see the stream as it was when it was live. `rebase` moves a recording of any age to the
present, for dashboards that end now. Messages of other formats are sent unchanged to the topic of one input.

All files are read and checked before the first event is sent. Lines that can't be sent are reported and skipped.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from stream.core.events import MultipleEvents
from stream.core.ids import Id
from stream.core.lenient_json import UNDECODABLE, fields_of, object_of
from stream.core.messages import Reader
from stream.core.offline import OversizedLine, UnreadableLine
from stream.core.time import SECOND_MS, epoch_ms, iso, parse_time
from stream.core.users import partition_key, user_of
from stream.inputs.files import messages_of
from stream.kafka.rate_limit import RateLimit
from stream.simulate.producer import EventProducer
from stream.simulate.recording import Recording, ReplayEvent

_SECONDS_BETWEEN_PROGRESS: Final = 0.1

# A shorter sleep is skipped: it would cost more than it smooths.
_MIN_SLEEP_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class ReplaySummary:
    """What a replay has sent. Kafka has confirmed every event that is counted here."""

    events: int
    seconds: float
    events_by_topic: Mapping[str, int]
    first_ms: int | None  # first and last event time; None if nothing was sent
    last_ms: int | None


class _Head(msgspec.Struct, gc=False):
    """The fields that a replay needs. The workers check everything else."""

    topic: str
    event_time: str | int | float
    user_id: Id | None = None
    anonymous_id: Id | None = None


_decode_head = msgspec.json.Decoder(_Head).decode


# What makes an event of a message, if it tells one. Raises ValueError with the reason why it can't be replayed.
EventOf = Callable[[bytes, int], ReplayEvent | None]


def native_event_of(topics: Collection[str]) -> EventOf:
    """What makes events of lines that tell the topic that they belong to, one of `topics`."""
    return lambda value, number: _event(value, topics)


def event_by(reader: Reader, topic: str) -> EventOf:
    """What makes events of messages of any format, for a topic. Who and when is what the first event in one tells."""

    def event_of(value: bytes, number: int) -> ReplayEvent | None:
        told = reader(_Recorded(value, number))
        events = [event for _, event in told.events] if isinstance(told, MultipleEvents) else [told]
        if not events:
            if isinstance(told, MultipleEvents) and told.rejections:
                raise ValueError(told.rejections[0].detail)
            return None
        first = min(events, key=attrgetter("at_ms"))
        return ReplayEvent(first.at_ms, topic, partition_key(first.user).decode(), value)

    return event_of


class _Recorded(NamedTuple):
    """A message of a recording, as the record that it becomes."""

    value: bytes | None
    offset: int
    timestamp: int = 0
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def read_events(
    recording: Recording,
    paths: Sequence[str],
    event_of: EventOf,
    *,
    max_message_bytes: int,
    on_unusable: Callable[[str, int, str], None],
    literals: frozenset[str] = frozenset(),
    progress_of: Callable[[str], Callable[[int], None]] = lambda path: lambda done: None,
) -> int:
    """Add all events of the files to a recording. Returns how many messages tell no event, and are left out.

    The files are those that `stream.inputs.files` reads; `-` is standard input. Empty lines are skipped. Messages that
    can't be replayed (too large, without time or user, or with a topic that is none) are left out too, and
    `on_unusable` is called with the file, the number of the line from 1, and the reason. A file that can't be read
    raises OSError.
    """
    empty = 0
    for path in paths:
        progress = progress_of(path)
        with messages_of(path, max_line_bytes=max_message_bytes, literals=literals, on_bytes_read=progress) as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    value = _value_of(line, max_message_bytes)
                    if value:
                        event = event_of(value, number)
                        if event is None:
                            empty += 1
                        else:
                            recording.add(event)
                except ValueError as error:  # noqa: PERF203  # one bad line costs only itself
                    on_unusable(path, number, str(error))
    return empty


def _value_of(line: bytes, max_message_bytes: int) -> bytes:
    if isinstance(line, UnreadableLine):
        raise ValueError(line.why)
    size = line.size if isinstance(line, OversizedLine) else len(line)
    if size > max_message_bytes:
        raise ValueError(f"{size} bytes, {max_message_bytes} are allowed")
    return line if line and not line.isspace() else b""


def rebase(events: Iterable[ReplayEvent], *, last_ms: int, now_ms: int) -> Iterator[ReplayEvent]:
    """Move events in time, so that the last one, of `last_ms`, happens in the second before `now_ms`.

    All are moved by the same number of whole seconds, so their distances stay exact. Each time keeps its form: ISO 8601
    keeps its decimals and becomes UTC, an epoch number keeps its unit. Everything else keeps its bytes.
    """
    seconds = (now_ms - last_ms) // SECOND_MS
    for event in events:
        yield event._replace(at_ms=event.at_ms + seconds * SECOND_MS, value=_shift_times(event.value, seconds))


def replay(
    events: Iterable[ReplayEvent],
    producer_options: Mapping[str, object],
    *,
    rate: float | None,
    on_progress: Callable[[int], None],
) -> ReplaySummary:
    """Send the events in the given order, at most `rate` a second, and wait until Kafka has confirmed them.

    `on_progress` is called several times a second with the number of events sent so far, and at the end with all.

    Raises DeliveryFailed if an event was not delivered, ValueError for a rate that is not positive.
    """
    if rate is not None and not rate > 0:
        raise ValueError(f"a rate must be more than 0 events a second: {rate:g}")
    limit = None if rate is None else RateLimit(rate)
    started = last_progress = time.monotonic()
    sent_by_topic: Counter[str] = Counter()
    sent, first_ms, last_ms = 0, None, None
    with EventProducer(producer_options) as producer:
        for sent, event in enumerate(events, start=1):
            first_ms, last_ms = event.at_ms if first_ms is None else first_ms, event.at_ms
            sent_by_topic[event.topic] += 1
            now = time.monotonic()
            if limit is not None and (wait_seconds := limit.seconds_to_wait(now)) > _MIN_SLEEP_SECONDS:
                time.sleep(wait_seconds)
            if now - last_progress > _SECONDS_BETWEEN_PROGRESS:
                last_progress = now
                on_progress(sent - 1)
            producer.send(event.topic, event.key, event.value)
            if limit is not None:
                limit.record_sent(time.monotonic())
    on_progress(sent)
    return ReplaySummary(
        events=sent,
        seconds=time.monotonic() - started,
        events_by_topic=sent_by_topic,
        first_ms=first_ms,
        last_ms=last_ms,
    )


def _event(value: bytes, topics: Collection[str]) -> ReplayEvent:
    """Return a line as an event. Raises ValueError with the reason if it is none; Rejected is a ValueError too."""
    try:
        try:
            head = _decode_head(value)
        except UNDECODABLE:
            head = _decode_head(object_of(fields_of(value), _Head.__struct_fields__))
    except msgspec.DecodeError as error:
        raise ValueError(f"no event: {error}") from None
    if head.topic not in topics:
        raise ValueError(f"{head.topic!r} at `$.topic` is none of {', '.join(topics)}")
    user = user_of(head.user_id, head.anonymous_id)
    time_of = head.event_time
    at_ms = parse_time(time_of) if isinstance(time_of, str) else epoch_ms(time_of)
    if at_ms is None:
        raise ValueError(f"{time_of!r} at `$.event_time` is neither ISO 8601 with an offset nor an epoch number")
    return ReplayEvent(at_ms, head.topic, partition_key(user).decode(), value)


_TIME_FIELDS: Final = ("event_time", "started_at", "ended_at", "effective_at")

_UNITS_IN_A_SECOND: Final = {10: 1, 13: 1_000, 16: 1_000_000}  # by the number of digits of an epoch number

# Decoded no deeper than one level, so that the other fields are written back byte for byte.
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_time = msgspec.json.Decoder(str | int | float | None).decode
_encode = msgspec.json.encode


def _shift_times(value: bytes, seconds: int) -> bytes:
    try:
        fields = _decode_fields(value)
    except UNDECODABLE:
        fields = fields_of(value)
    for name in _TIME_FIELDS:
        if name in fields:
            # A value that is not a valid time stays as it is: the workers will say what is wrong with it.
            with suppress(msgspec.MsgspecError, ValueError, OverflowError, OSError):
                fields[name] = msgspec.Raw(_encode(_shift_time(_decode_time(fields[name]), seconds)))
    return _encode(fields)


def _shift_time(time_value: str | int | float | None, seconds: int) -> str | int | float | None:
    """Return a time moved by some seconds, in its own form. A value that is not a time is returned as it is."""
    if time_value is None:
        return None
    if isinstance(time_value, str):
        at_ms = parse_time(time_value)
        if at_ms is None:
            return time_value
        if number := re.fullmatch(r"(\d+)(\.\d+)?", time_value.strip()):
            return f"{int(number[1]) + seconds * _UNITS_IN_A_SECOND[len(number[1])]}{number[2] or ''}"
        decimals = re.search(r"[.,](\d+)", time_value)
        whole = iso((at_ms // SECOND_MS + seconds) * SECOND_MS).removesuffix("Z")
        return f"{whole}.{decimals[1]}Z" if decimals else f"{whole}Z"
    units_in_a_second = _UNITS_IN_A_SECOND.get(len(str(int(time_value))))
    return time_value if units_in_a_second is None else time_value + seconds * units_in_a_second
