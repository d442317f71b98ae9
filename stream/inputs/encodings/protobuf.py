"""Protobuf: a schema makes a function that turns a message into JSON. Needs protobuf, an extra.

The JSON has the names of the fields as the schema writes them, and whole numbers of 64 bits are numbers. Protobuf's own
form of JSON writes them as text, which no time and no count may be. A field that has no presence (`optional` gives it
one) is there with its zero, because a score of 0 is one.

| Protobuf | JSON |
| --- | --- |
| message, map | object |
| enum | the name of the value |
| bytes | base64 |
| Timestamp, Duration, Struct, Value, wrappers | as Protobuf's own JSON has them: ISO 8601 text, "3s", the value |
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import msgspec

from stream.core.rejections import Reason, Rejected
from stream.inputs.encodings.avro import SchemaUnusable
from stream.inputs.encodings.framing import Frame

_WELL_KNOWN = "google.protobuf."
_LONGEST_VARINT = 10  # bytes, for 64 bits
_MAX_NESTED = 100  # messages within messages, as the parser of Protobuf has it

_encode = msgspec.json.encode


def decoder_of(schema: str, references: Mapping[str, str]) -> Callable[[Frame], bytes]:
    """Return what turns a message into JSON, by the indexes that stand before it; it raises Rejected.

    A schema is a serialized FileDescriptorProto in base64, as a registry gives it in the format `serialized`.
    `references` are those that this one imports, by the names under which it does. Raises SchemaUnusable.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from google.protobuf.message import DecodeError

    pool = descriptor_pool.DescriptorPool()
    file = _file_of(schema, descriptor_pb2)
    try:
        _add(pool, file, {name: _file_of(text, descriptor_pb2) for name, text in references.items()}, set())
        described = pool.FindFileByName(file.name)
    except (TypeError, KeyError, RecursionError) as error:
        raise SchemaUnusable(f"no schema of Protobuf: {error!r}") from None
    top_level = [described.message_types_by_name[one.name] for one in file.message_type]
    classes: dict[tuple[int, ...], Any] = {}

    def decode(frame: Frame) -> bytes:
        indexes, used = _indexes(frame.rest)
        new = classes.get(indexes)
        if new is None:
            new = classes[indexes] = message_factory.GetMessageClass(_message_at(top_level, indexes))
        try:
            message = new.FromString(frame.message(after=used))
            return _encode(_object(message, 0))
        except (DecodeError, ValueError, OverflowError, RecursionError) as error:
            raise Rejected(Reason.NOT_JSON, f"the message is no Protobuf of its schema: {error!r}"[:500]) from None

    return decode


def _file_of(text: str, descriptor_pb2: Any) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, DecodeError):
        told = "the registry does not know `format=serialized`, in which a schema of Protobuf is asked for"
        raise SchemaUnusable(told) from None


def _add(pool: Any, file: Any, references: Mapping[str, Any], added: set[str]) -> None:
    """Add a file to a pool, after those that it imports."""
    for name in file.dependency:
        if name in added:
            continue
        added.add(name)
        if name in references:
            imported = references[name]
            imported.name = name
            _add(pool, imported, references, added)
        else:
            _add_well_known(pool, name, added)
    if not file.name:
        file.name = "message.proto"
    pool.Add(file)


def _add_well_known(pool: Any, name: str, added: set[str]) -> None:
    """Add a file that comes with Protobuf, such as google/protobuf/timestamp.proto. Raises KeyError for others."""
    from google.protobuf import descriptor_pb2, descriptor_pool

    # A module adds its file to the default pool when it is imported.
    for module in (
        "any",
        "api",
        "duration",
        "empty",
        "field_mask",
        "source_context",
        "struct",
        "timestamp",
        "type",
        "wrappers",
    ):
        import_module(f"google.protobuf.{module}_pb2")

    file = descriptor_pb2.FileDescriptorProto()
    descriptor_pool.Default().FindFileByName(name).CopyToProto(file)
    _add(pool, file, {}, added)


def _indexes(rest: bytes) -> tuple[tuple[int, ...], int]:
    """Return which message of the schema it is, by the places on the way to it, and how many bytes say so."""
    count, used = _varint(rest, 0)
    if count == 0:  # short for the first message
        return (0,), used
    if not 0 < count <= _MAX_NESTED:
        raise Rejected(Reason.NOT_JSON, f"a message of a schema of Protobuf lies in {count} others")
    indexes = []
    for _ in range(count):
        index, used = _varint(rest, used)
        indexes.append(index)
    return tuple(indexes), used


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a whole number in the zigzag form, in which negative ones are short too."""
    number = shift = 0
    for place in range(at, min(len(data), at + _LONGEST_VARINT)):
        number |= (data[place] & 0x7F) << shift
        shift += 7
        if data[place] < 0x80:
            return (number >> 1) ^ -(number & 1), place + 1
    raise Rejected(Reason.NOT_JSON, "the message says not which message of its schema of Protobuf it is")


def _message_at(top_level: Sequence[Any], indexes: tuple[int, ...]) -> Any:
    messages, found = top_level, None
    for index in indexes:
        if not 0 <= index < len(messages):
            raise Rejected(Reason.NOT_JSON, f"the schema of Protobuf has no message {list(indexes)}")
        found = messages[index]
        messages = found.nested_types
    return found


def _object(message: Any, depth: int) -> Any:
    """A message as JSON's values."""
    described = message.DESCRIPTOR
    if described.full_name.startswith(_WELL_KNOWN):
        from google.protobuf import json_format

        return json_format.MessageToDict(message)
    if depth > _MAX_NESTED:
        raise ValueError("messages are nested too deeply")
    fields: dict[str, Any] = {}
    for field in described.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            of_value = field.message_type.fields_by_name["value"]
            fields[field.name] = {str(key): _value(value[key], of_value, depth) for key in value}
        elif field.is_repeated:
            fields[field.name] = [_value(one, field, depth) for one in value]
        elif not field.has_presence or message.HasField(field.name):
            fields[field.name] = _value(value, field, depth)
    return fields


def _value(value: Any, field: Any, depth: int) -> Any:
    if field.message_type is not None:
        return _object(value, depth + 1)
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return value if named is None else named.name
    return value
