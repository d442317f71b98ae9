"""The frame by which a message names its schema, as the serializers of Confluent write it.

| what | bytes |
| --- | --- |
| a schema by its id | 0, the id in 4 bytes (big endian) |
| a schema by its GUID | 1, the GUID in 16 bytes |

They stand before the message, or are the value of the header `__value_schema_id`. Protobuf puts after them which of the
messages of its schema this one is.

Source: the wire format in the documentation of Confluent's Schema Registry; Apicurio, Karapace and Redpanda follow it.
"""

from typing import NamedTuple
from uuid import UUID

from stream.core.messages import Record
from stream.core.rejections import Reason, Rejected

SchemaId = int | str  # a number, or a GUID as text

_HEADER = "__value_schema_id"
_BY_ID, _BY_GUID = 0, 1
_ID_BYTES, _GUID_BYTES = 5, 17


class Frame(NamedTuple):
    """A message without its frame."""

    schema_id: SchemaId
    rest: bytes  # what follows the id: the message; if the id is in a header, what else is in that header
    payload: bytes | None  # the message, if the id is in a header

    def message(self, after: int = 0) -> bytes:
        """Return the message. `after` is how many bytes of the rest belong to the frame."""
        return self.rest[after:] if self.payload is None else self.payload


def frame_of(record: Record) -> Frame:
    """Return the frame of a message that is not null. Raises Rejected if it has none."""
    value = record.value
    assert value is not None, "a null message has no frame"
    for name, held in record.headers:
        if name == _HEADER and held:
            return _frame(held, value, f"the header {_HEADER}")
    return _frame(value, None, "the message")


def is_framed(value: bytes) -> bool:
    """Whether a message begins as those do that name their schema. No text does."""
    return len(value) >= _ID_BYTES and value[0] in (_BY_ID, _BY_GUID)


def _frame(framed: bytes, payload: bytes | None, place: str) -> Frame:
    if len(framed) >= _ID_BYTES and framed[0] == _BY_ID:
        return Frame(int.from_bytes(framed[1:_ID_BYTES], "big"), framed[_ID_BYTES:], payload)
    if len(framed) >= _GUID_BYTES and framed[0] == _BY_GUID:
        return Frame(str(UUID(bytes=framed[1:_GUID_BYTES])), framed[_GUID_BYTES:], payload)
    begins = framed[:8].hex(" ") or "nothing"
    raise Rejected(Reason.NOT_JSON, f"{place} names no schema of a registry: it begins with {begins}")
