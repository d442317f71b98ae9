"""Events on their way to the partition of their user: many in one message of the re-key topic.

A gateway may key its records by device, by message, or not at all. Then nearly every event lies in a partition that is
not its user's, and is forwarded. A Kafka message for each of them would cost more than counting it. So all events of a
batch that go to one partition are forwarded together: each encoded once, as the event that it was read as, beside the
record that it was read from, which its dead letter needs if it is refused where it arrives.

What has to be exact does not depend on how events are put together: each has the place that it was read from, by which
it counts once however often it is forwarded (`stream.agents.forwarded_events`). After a crash the same events may come
in other batches.

The version before forwarded each event by itself, with its origin in headers. Such messages are still read. A worker of
that version can't read these, and stops instead of passing over them: it looks up the first text of the value as the
type of an event, and shows it in its error.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Generic, NamedTuple, TypeVar, Union

import msgspec
from msgspec.structs import force_setattr

from stream.core.events import Event
from stream.core.messages import Record
from stream.core.partition.batch_reader import Misplaced
from stream.core.segments import shared_attribute_values
from stream.kafka.headers import (
    BY_REFERENCE,
    FORWARDED_FORMAT,
    FORWARDED_HEADERS,
    ORIGIN_CHECKPOINTED_OFFSET,
    ORIGIN_EVENT_INDEX,
    ORIGIN_KEY,
    ORIGIN_OFFSET,
    ORIGIN_PARTITION,
    ORIGIN_TOPIC,
    Headers,
    number_from_header,
    origin_from_headers,
    replay_from_headers,
    replay_headers,
    split_headers,
)
from stream.settings import Unavailable

# How large key and headers of a record may be, so that a dead letter has room for them beside a value of the largest
# size and our own headers (`topic_specs`).
LARGEST_KEY_AND_HEADERS = 48 * 1024

# A batch is not made larger than this by one more event. Larger ones would save little, and would be counted without a
# pause for longer than other events should wait.
_BATCH_BYTES = 256 * 1024

_FORMAT, _FORMAT_BEFORE = b"1", b""
_FOR_OLDER_VERSIONS = "forwarded by a newer version of engagement: update this worker too"
# An offset that no record has, for the same worker: what it has seen before it would pass over.
_NO_OFFSET = 1 << 62

_Event = TypeVar("_Event")

_encode = msgspec.msgpack.Encoder().encode


class ForwardedRecord(msgspec.Struct, Generic[_Event], array_like=True, gc=False):
    """An event that was forwarded, and the record that it was read from, as its producer sent it.

    If `is_complete` is False, key, value and headers are only in the original record.
    """

    event: _Event  # None in a message of the version before that forwarded the record as it was
    partition: int  # of the input, from which it was read
    offset: int
    event_index: int  # the position of the event in the record, from 0
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, Any]]
    is_complete: bool


class ForwardedBatch(NamedTuple):
    """The events of one message, which all come from one partition of an input.

    The sender has written checkpoints up to `checkpointed_offset`: it never forwards records before that again.
    """

    topic: str
    partition: int
    checkpointed_offset: int
    records: list[ForwardedRecord[Event | None]]


class UnknownForwardedFormat(Unavailable):
    """Another version has forwarded events in a way that this version can't read."""


def encode_misplaced(misplaced: Misplaced, topic: str, partition: int, *, max_bytes: int) -> bytes:
    """Encode an event that was read from a partition of a Kafka topic, for the partition of its user.

    Its record goes with it, unless the record has other events too or has more than `max_bytes`.
    """
    record, _, event, event_index = misplaced
    key, value, headers = record.key, record.value, record.headers
    place = partition, record.offset, event_index or 0, record.timestamp
    if (event_index is None or value is None) and fit_into_dead_letter(key, headers):
        item = _encode((event, *place, key, value, headers, True))
        if len(item) <= max_bytes:
            return item
    replayed, _ = replay_from_headers(headers, topic)
    return _encode((event, *place, None, None, replay_headers(replayed) if replayed else [], False))


def fit_into_dead_letter(key: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> bool:
    """Whether key and headers fit into a dead letter beside a value of the largest size."""
    bytes_of_headers = sum([len(name.encode()) + len(value or b"") for name, value in headers]) if headers else 0
    return len(key or b"") + bytes_of_headers <= LARGEST_KEY_AND_HEADERS


def batches(
    items: Iterable[bytes], topic: str, partition: int, *, checkpointed_offset: int
) -> Iterator[tuple[bytes, Headers]]:
    """Put encoded events that go to one partition into as few messages as possible: the value and headers of each."""
    some: list[msgspec.Raw] = []
    size = 0
    for item in items:
        if some and size + len(item) > _BATCH_BYTES:
            yield _message(some, topic, partition, checkpointed_offset)
            some, size = [], 0
        some.append(msgspec.Raw(item))
        size += len(item)
    if some:
        yield _message(some, topic, partition, checkpointed_offset)


def _message(items: list[msgspec.Raw], topic: str, partition: int, checkpointed_offset: int) -> tuple[bytes, Headers]:
    headers: Headers = [
        (ORIGIN_TOPIC, topic.encode()),
        (ORIGIN_PARTITION, str(partition).encode()),
        (ORIGIN_OFFSET, str(_NO_OFFSET).encode()),
        (ORIGIN_CHECKPOINTED_OFFSET, str(checkpointed_offset).encode()),
        (ORIGIN_EVENT_INDEX, b"0"),
        (FORWARDED_FORMAT, _FORMAT),
    ]
    return _encode((_FOR_OLDER_VERSIONS, (topic, partition, checkpointed_offset, items))), headers


def forwarded_batch_reader(types: Mapping[str, type[Event]]) -> Callable[[Record], ForwardedBatch | None]:
    """Return a function that reads a record of the re-key topic. `types` are the types of events, by name.

    The function returns None for a record that does not say where it comes from. It raises UnknownForwardedFormat.
    """
    decode = _decoder(types)
    decode_single = _decoder_of_singles(types)

    def read(record: Record) -> ForwardedBatch | None:
        ours, theirs = split_headers(record.headers, FORWARDED_HEADERS)
        format_ = ours.get(FORWARDED_FORMAT, _FORMAT_BEFORE)
        try:
            if format_ == _FORMAT_BEFORE:
                return _read_single(record, ours, theirs, decode_single)
            if format_ == _FORMAT:
                return decode(record.value or b"")
        except (KeyError, msgspec.ValidationError) as error:
            raise _unknown_format(record, f"not readable: {error}") from None
        raise _unknown_format(record, f"in format {(format_ or b'').decode(errors='replace')!r}")

    return read


def _decoder(types: Mapping[str, type[Event]]) -> Callable[[bytes], ForwardedBatch]:
    """What decodes the value of a message."""
    of_any_type: Any = ForwardedRecord[Union[tuple(types.values())]]  # type: ignore[misc]  # noqa: UP007  known at run time
    decode = msgspec.msgpack.Decoder(tuple[str, tuple[str, int, int, list[of_any_type]]]).decode
    with_segments: frozenset[type[Any]] = frozenset(
        one for one in types.values() if "segments" in one.__struct_fields__
    )

    def read(value: bytes) -> ForwardedBatch:
        batch = ForwardedBatch(*decode(value)[1])
        for record in batch.records:
            event: Any = record.event
            if type(event) in with_segments:
                # The same objects as those of events that are read here, so that a row takes no more memory.
                force_setattr(event, "segments", shared_attribute_values(event.segments))
        return batch

    return read


def _unknown_format(record: Record, what: str) -> UnknownForwardedFormat:
    return UnknownForwardedFormat(
        f"cannot read the record at offset {record.offset} of the re-key topic: its events are {what}\n"
        "  another version has forwarded them: update this worker, and nothing is lost"
    )


# -- the version before --------------------------------------------------------------------------------------------

_DecodeSingle = Callable[[bytes], Event]


@cache  # every partition that a worker takes over has a decoder
def _with_names(event: type[Event]) -> type[msgspec.Struct]:
    """A type with the fields of an event, which is encoded with their names."""
    fields = [(field.name, field.type) for field in msgspec.structs.fields(event)]
    return msgspec.defstruct(event.__name__, fields)


def _decoder_of_singles(types: Mapping[str, type[Event]]) -> _DecodeSingle:
    """What decodes an event as the version before has encoded it: its type, and the values of its fields by name."""
    by_name = {name: _with_names(event) for name, event in types.items()}

    def decode(value: bytes) -> Event:
        name, content = msgspec.msgpack.decode(value, type=tuple[str, msgspec.Raw])
        return types[name](*msgspec.structs.astuple(msgspec.msgpack.decode(content, type=by_name[name])))

    return decode


def _read_single(
    record: Record, ours: dict[str, bytes | None], theirs: Headers, decode: _DecodeSingle
) -> ForwardedBatch | None:
    origin = origin_from_headers(ours)
    checkpointed_offset = number_from_header(ours, ORIGIN_CHECKPOINTED_OFFSET)
    has_event = ORIGIN_EVENT_INDEX in ours
    event_index = number_from_header(ours, ORIGIN_EVENT_INDEX) if has_event else 0
    if origin is None or checkpointed_offset is None or event_index is None:
        return None
    event, value = (decode(record.value or b""), None) if has_event else (None, record.value)
    forwarded = ForwardedRecord(
        event,
        origin.partition,
        origin.offset,
        event_index,
        origin.timestamp,
        ours.get(ORIGIN_KEY, record.key),
        value,  # if there is an event, the record was null, or is not here
        theirs,
        BY_REFERENCE not in ours,
    )
    return ForwardedBatch(origin.topic, origin.partition, checkpointed_offset, [forwarded])
