"""Recorded events once more, in the order in which they happened.

A recording is a file of JSON objects, one a line, each with its `topic`. Replaying sends the lines as they are, all
topics merged by event time, so that the stream looks to the workers as it did when it was live. `rebase` moves a
recording of any age to the present, for dashboards that end now.

Everything is read and checked before the first event is sent. Lines that can't be sent are left out and told.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from stream.core.ids import Id
from stream.core.lenient_json import UNDECODABLE, fields_of, object_of
from stream.core.offline import OversizedLine
from stream.core.time import SECOND_MS, epoch_ms, iso, parse_time
from stream.core.users import partition_key, user_of
from stream.inputs.files import lines_of
from stream.simulate.producer import EventProducer

_SECONDS_BETWEEN_PROGRESS: Final = 0.1

# Sleeping shorter than this costs more than it smooths.
_SHORTEST_SLEEP_SECONDS: Final = 0.001


class ReplayEvent(NamedTuple):
    """One line of a recording: when it happened, where it goes, by which key, and its bytes."""

    at_ms: int
    topic: str
    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class ReplaySummary:
    """What was sent. Every event counted here has been confirmed by Kafka."""

    events: int
    seconds: float
    events_by_topic: Mapping[str, int]
    first_ms: int | None  # event times; None when nothing was sent
    last_ms: int | None


class _Head(msgspec.Struct, gc=False):
    """What replaying must know of an event; the rest is the workers' business."""

    topic: str
    event_time: str | int | float
    user_id: Id | None = None
    anonymous_id: Id | None = None


_decode_head = msgspec.json.Decoder(_Head).decode


def read_events(
    paths: Sequence[str],
    topics: Collection[str],
    *,
    max_message_bytes: int,
    on_unusable: Callable[[str, int, str], None],
) -> list[ReplayEvent]:
    """All events of the files, sorted by event time; events of the same time keep the order of the files.

    A file may be packed by gzip; `-` is standard input. Empty lines are skipped. Lines that can't be replayed (too
    large, no JSON object, without time or user, or of none of `topics`) are left out, and `on_unusable` is told of
    each: its file, its number from 1, and why. A file that can't be read raises OSError.
    """
    events: list[ReplayEvent] = []
    for path in paths:
        with lines_of(path, max_line_bytes=max_message_bytes) as lines:
            for number, line in enumerate(lines, start=1):
                size = line.size if isinstance(line, OversizedLine) else len(line)
                value = line.strip()
                if not value and not size > max_message_bytes:
                    continue
                try:
                    if size > max_message_bytes:
                        raise ValueError(f"{size} bytes, {max_message_bytes} are allowed")
                    events.append(_event(value, topics))
                except ValueError as error:
                    on_unusable(path, number, str(error))
    events.sort(key=attrgetter("at_ms"))
    return events


def rebase(events: Sequence[ReplayEvent], *, now_ms: int) -> list[ReplayEvent]:
    """The same events, moved in time together so that the last one happens in the second before `now_ms`.

    All move by the same whole seconds, so distances stay exact whatever the precision of a field. Its form stays:
    ISO 8601 keeps its decimals and becomes UTC, an epoch number keeps its unit. All else keeps its bytes.
    """
    if not events:
        return []
    seconds = (now_ms - max(event.at_ms for event in events)) // SECOND_MS
    return [
        event._replace(at_ms=event.at_ms + seconds * SECOND_MS, value=_shifted(event.value, seconds))
        for event in events
    ]


def replay(
    events: Sequence[ReplayEvent],
    producer_options: Mapping[str, object],
    *,
    rate: float | None,
    on_progress: Callable[[int], None],
) -> ReplaySummary:
    """Send the events in the given order, at most `rate` a second, and wait until Kafka has confirmed them.

    `on_progress` is told some times a second how many were sent so far, and at the end that all were.

    Raises DeliveryFailed when one event was not delivered, ValueError for a rate that is not positive.
    """
    if rate is not None and not rate > 0:
        raise ValueError(f"a rate must be more than 0 events a second: {rate:g}")
    started = told = time.monotonic()
    with EventProducer(producer_options) as producer:
        for sent, event in enumerate(events):
            now = time.monotonic()
            if rate is not None:
                ahead_seconds = started + sent / rate - now
                if ahead_seconds > _SHORTEST_SLEEP_SECONDS:
                    time.sleep(ahead_seconds)
            if now - told > _SECONDS_BETWEEN_PROGRESS:
                told = now
                on_progress(sent)
            producer.send(event.topic, event.key, event.value)
    on_progress(len(events))
    return ReplaySummary(
        events=len(events),
        seconds=time.monotonic() - started,
        events_by_topic=Counter(event.topic for event in events),
        first_ms=min((event.at_ms for event in events), default=None),
        last_ms=max((event.at_ms for event in events), default=None),
    )


def _event(value: bytes, topics: Collection[str]) -> ReplayEvent:
    """One line as an event. Raises ValueError (also Rejected, which is one) with the reason it is none."""
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


_TIME_FIELDS: Final = ("event_time", "started_at", "ended_at")

_UNITS_IN_A_SECOND: Final = {10: 1, 13: 1_000, 16: 1_000_000}  # by the digits of an epoch number

# Decoded no deeper than the fields, so that all others are written back byte for byte.
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_time = msgspec.json.Decoder(str | int | float | None).decode
_encode = msgspec.json.encode


def _shifted(value: bytes, seconds: int) -> bytes:
    try:
        fields = _decode_fields(value)
    except UNDECODABLE:
        fields = fields_of(value)
    for name in _TIME_FIELDS:
        if name in fields:
            # What is no time, or none that is, stays as it is: the workers will say what is wrong with it.
            with suppress(msgspec.MsgspecError, ValueError, OverflowError, OSError):
                fields[name] = msgspec.Raw(_encode(_later(_decode_time(fields[name]), seconds)))
    return _encode(fields)


def _later(moment: str | int | float | None, seconds: int) -> str | int | float | None:
    """The moment in its own form, or as it is when it is no time: the workers will say what is wrong with it."""
    if moment is None:
        return None
    if isinstance(moment, str):
        at_ms = parse_time(moment)
        if at_ms is None:
            return moment
        if number := re.fullmatch(r"(\d+)(\.\d+)?", moment.strip()):
            return f"{int(number[1]) + seconds * _UNITS_IN_A_SECOND[len(number[1])]}{number[2] or ''}"
        decimals = re.search(r"[.,](\d+)", moment)
        whole = iso((at_ms // SECOND_MS + seconds) * SECOND_MS).removesuffix("Z")
        return f"{whole}.{decimals[1]}Z" if decimals else f"{whole}Z"
    units_in_a_second = _UNITS_IN_A_SECOND.get(len(str(int(moment))))
    return moment if units_in_a_second is None else moment + seconds * units_in_a_second
