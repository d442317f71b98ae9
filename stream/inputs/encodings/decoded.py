"""A record whose value was decoded: what its format reads is JSON, and everything else is the record's own."""

from collections.abc import Callable, Iterable

import msgspec

from stream.core.events import Event, MultipleEvents
from stream.core.messages import Reader, Record


class Decoded(msgspec.Struct, gc=False):
    """A record with another value, and perhaps another time."""

    value: bytes | None
    timestamp: int
    offset: int
    key: bytes | None
    headers: Iterable[tuple[str, bytes]] = ()


def decoding_reader(read: Reader, json_of: Callable[[Record], bytes]) -> Reader:
    """Return what reads encoded messages. `json_of` decodes one that is not null, `read` reads its JSON."""

    def read_encoded(record: Record) -> Event | MultipleEvents:
        if record.value is None:
            return read(record)
        return read(decoded(record, json_of))

    return read_encoded


def decoded(record: Record, json_of: Callable[[Record], bytes]) -> Decoded:
    """Return a record that is not null with its value as JSON. Raises Rejected."""
    return Decoded(json_of(record), record.timestamp, record.offset, record.key, record.headers)
