"""Avro: a schema makes a function that turns a message into JSON. Needs fastavro, an extra.

| Avro | JSON |
| --- | --- |
| record, map | object |
| enum, uuid | text |
| timestamp | ISO 8601 text in UTC; of a local timestamp without an offset |
| decimal | number |
| bytes, fixed | base64 |
| union | the value itself |

A file of Avro has its schema in it. It is read row by row, each as the JSON of a message.
"""

import io
import struct
from collections.abc import Callable, Iterator, Sequence
from decimal import InvalidOperation
from typing import Any

import msgspec

from stream.core.rejections import Reason, Rejected

# What fastavro raises for bytes that are no message of the schema.
_BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    InvalidOperation,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)

_ROWS = 1_000  # between two looks at how much of a file was read

_encode = msgspec.json.Encoder(decimal_format="number").encode


class SchemaUnusable(ValueError):
    """A schema that no message can be read by. The text says why."""


def decoder_of(schema: str, references: Sequence[str] = ()) -> Callable[[bytes], bytes]:
    """Return what turns a message into JSON; it raises Rejected. `references` are schemas that this one names.

    Each of them comes after those that it names itself. Raises SchemaUnusable.
    """
    import fastavro  # an extra, and a tenth of a second to import

    try:
        named: dict[str, Any] = {}
        for text in references:
            fastavro.parse_schema(msgspec.json.decode(text), named_schemas=named)
        parsed = fastavro.parse_schema(msgspec.json.decode(schema), named_schemas=named)
    except (fastavro.schema.SchemaParseException, fastavro.schema.UnknownType, *_BROKEN) as error:
        raise SchemaUnusable(f"no schema of Avro: {error!r}") from None
    read = fastavro.schemaless_reader

    def decode(message: bytes) -> bytes:
        source = io.BytesIO(message)
        try:
            found = read(source, parsed, None)
            value = _encode(found)
        except _BROKEN as error:
            raise Rejected(Reason.NOT_JSON, f"the message is no Avro of its schema: {error!r}"[:500]) from None
        left = len(message) - source.tell()
        if left:
            raise Rejected(Reason.NOT_JSON, f"the message is no Avro of its schema: {left} bytes are left over")
        return value

    return decode


def rows_of(path: str, source: Any, on_bytes_read: Callable[[], None]) -> Iterator[bytes]:
    """The rows of a file of Avro. `source` has its bytes. Raises OSError without fastavro, or for a broken file."""
    try:
        import fastavro
    except ImportError:
        raise OSError(
            f"{path} is a file of Avro, which needs fastavro: pip install 'engagement-stream[avro]'"
        ) from None
    try:
        for number, row in enumerate(fastavro.reader(source)):
            if number % _ROWS == 0:
                on_bytes_read()
            yield _encode(row)
    except _BROKEN as error:
        raise OSError(f"{path} can't be read as a file of Avro: {error!r}") from None
    on_bytes_read()
