"""Messages in other encodings for tests, made by the libraries that producers use."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import fastavro
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

LOGIN_SCHEMA: Final = json.dumps(
    {
        "type": "record",
        "name": "Login",
        "namespace": "com.example",
        "fields": [
            {"name": "user_id", "type": ["null", "string"]},
            {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "success", "type": "boolean", "default": True},
            {"name": "platform", "type": {"type": "enum", "name": "Platform", "symbols": ["web", "ios"]}},
        ],
    }
)

_FIELD = descriptor_pb2.FieldDescriptorProto


class Line(NamedTuple):
    """A record of Kafka."""

    value: bytes | None
    key: bytes | None = None
    offset: int = 0
    timestamp: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


def avro_of(schema: str, message: Mapping[str, Any], *references: str) -> bytes:
    """A message of a schema, without a frame."""
    named: dict[str, Any] = {}
    for reference in references:
        fastavro.parse_schema(json.loads(reference), named_schemas=named)
    written = io.BytesIO()
    fastavro.schemaless_writer(written, fastavro.parse_schema(json.loads(schema), named_schemas=named), message)
    return written.getvalue()


def framed(schema_id: int, message: bytes, indexes: bytes = b"") -> bytes:
    """A message in the frame that names its schema."""
    return b"\0" + schema_id.to_bytes(4, "big") + indexes + message


def answer_file(name: str = "answer.proto") -> Any:
    """The descriptor of a schema of Protobuf with survey answers, which imports times and has nested messages."""
    file = descriptor_pb2.FileDescriptorProto(name=name, package="example", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    envelope = file.message_type.add(name="Envelope")
    answer = envelope.nested_type.add(name="Answer")
    kind = file.enum_type.add(name="Kind")
    for number, value in enumerate(("unknown", "nps", "csat")):
        kind.value.add(name=value, number=number)
    for number, (field, type_, type_name) in enumerate(
        (
            ("user_id", _FIELD.TYPE_STRING, ""),
            ("response_id", _FIELD.TYPE_INT64, ""),
            ("event_time", _FIELD.TYPE_MESSAGE, ".google.protobuf.Timestamp"),
            ("kind", _FIELD.TYPE_ENUM, ".example.Kind"),
            ("score", _FIELD.TYPE_INT32, ""),
            ("secret", _FIELD.TYPE_BYTES, ""),
        ),
        start=1,
    ):
        answer.field.add(
            name=field, number=number, type=type_, type_name=type_name or None, label=_FIELD.LABEL_OPTIONAL
        )
    answer.field.add(
        name="scale_max",
        number=7,
        type=_FIELD.TYPE_INT32,
        label=_FIELD.LABEL_OPTIONAL,
        proto3_optional=True,
        oneof_index=0,
    )
    answer.oneof_decl.add(name="_scale_max")
    answer.field.add(name="tags", number=8, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_REPEATED)
    entry = answer.nested_type.add(name="LabelsEntry")
    entry.options.map_entry = True
    for number, (field, type_) in enumerate((("key", _FIELD.TYPE_INT32), ("value", _FIELD.TYPE_INT64)), start=1):
        entry.field.add(name=field, number=number, type=type_, label=_FIELD.LABEL_OPTIONAL)
    answer.field.add(
        name="labels",
        number=9,
        type=_FIELD.TYPE_MESSAGE,
        type_name=".example.Envelope.Answer.LabelsEntry",
        label=_FIELD.LABEL_REPEATED,
    )
    return file


@cache
def answer_class() -> Any:
    """The class of these answers, as protoc would make it."""
    from google.protobuf import timestamp_pb2

    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(answer_file())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("example.Envelope.Answer"))
