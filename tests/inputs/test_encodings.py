"""From the bytes of a message to its JSON: frames of a registry, Avro, Protobuf, the envelope of Debezium."""

from __future__ import annotations

import base64
import datetime as dt
import json
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pytest

from stream.core.events import Login, MultipleEvents
from stream.core.rejections import LeftOut, Reason, Rejected
from stream.inputs.encodings import avro, protobuf
from stream.inputs.encodings.debezium import row_reader
from stream.inputs.encodings.framing import Frame, frame_of, is_framed
from stream.inputs.encodings.schemas import Schema, Schemas
from stream.inputs.files import messages_of
from stream.inputs.registry import reader
from tests.inputs.encoded import LOGIN_SCHEMA, Line, answer_class, answer_file, avro_of, framed

UTC = dt.timezone.utc
AT = dt.datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
AT_MS = int(AT.timestamp()) * 1_000


def login(**changed: Any) -> dict[str, Any]:
    return {"user_id": "ada", "event_time": AT, "success": True, "platform": "ios", **changed}


def rejected(read: Callable[[], object]) -> tuple[Reason, str]:
    with pytest.raises(Rejected) as caught:
        read()
    return caught.value.reason, str(caught.value)


# -- the frame ---------------------------------------------------------------------------------------------------------


def test_a_frame_names_a_schema_by_id_or_guid_before_the_message_or_in_a_header() -> None:
    guid = "6ba7b812-9dad-11d1-80b4-00c04fd430c8"
    by_guid = b"\1" + bytes.fromhex(guid.replace("-", ""))

    assert frame_of(Line(b"\0\0\0\1\2rest")) == Frame(258, b"rest", None)
    assert frame_of(Line(by_guid + b"rest")) == Frame(guid, b"rest", None)
    in_header = frame_of(Line(b"message", headers=(("other", b"x"), ("__value_schema_id", by_guid + b"\0"))))
    assert in_header == Frame(guid, b"\0", b"message")
    assert (in_header.message(after=1), Frame(1, b"abc", None).message(after=1)) == (b"message", b"bc")


@pytest.mark.parametrize("value", [b"", b"\0\0\0\1", b'{"a":1}', b"\1" + bytes(15), b"\2" + bytes(20)])
def test_what_is_not_framed_says_how_it_begins(value: bytes) -> None:
    reason, detail = rejected(lambda: frame_of(Line(value)))

    assert reason is Reason.NOT_JSON
    assert detail == f"the message names no schema of a registry: it begins with {value[:8].hex(' ') or 'nothing'}"


def test_no_text_looks_framed() -> None:
    assert is_framed(framed(1, b"x"))
    assert not any(map(is_framed, (b"", b"\0\0", b'{"a":1}', b"[1]", b"\xef\xbb\xbf{}", b"a\tb")))


# -- Avro --------------------------------------------------------------------------------------------------------------


def test_avro_becomes_the_json_that_formats_read() -> None:
    types: dict[str, tuple[Any, Any, Any]] = {
        "optional": (["null", "string"], "x", "x"),
        "missing": (["null", "string"], None, None),
        "millis": ({"type": "long", "logicalType": "timestamp-millis"}, AT, "2026-03-10T12:30:00Z"),
        "micros": ({"type": "long", "logicalType": "timestamp-micros"}, AT, "2026-03-10T12:30:00Z"),
        "local": (
            {"type": "long", "logicalType": "local-timestamp-millis"},
            AT.replace(tzinfo=None),
            "2026-03-10T12:30:00",
        ),
        "day": ({"type": "int", "logicalType": "date"}, AT.date(), "2026-03-10"),
        "price": ({"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}, Decimal("1.25"), 1.25),
        "raw": ("bytes", b"\xff", "/w=="),
        "words": ({"type": "map", "values": "long"}, {"a": 2**60}, {"a": 2**60}),
        "inner": ({"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "int"}]}, {"x": 1}, {"x": 1}),
    }
    fields = [{"name": name, "type": type_} for name, (type_, _, _) in types.items()]
    schema = json.dumps({"type": "record", "name": "All", "fields": fields})
    message = avro_of(schema, {name: given for name, (_, given, _) in types.items()})

    assert json.loads(avro.decoder_of(schema)(message)) == {name: told for name, (_, _, told) in types.items()}


def test_a_schema_of_avro_may_name_others() -> None:
    person = '{"type":"record","name":"com.example.Person","fields":[{"name":"id","type":"string"}]}'
    visit = '{"type":"record","name":"com.example.Visit","fields":[{"name":"who","type":"com.example.Person"}]}'
    message = avro_of(visit, {"who": {"id": "ada"}}, person)

    assert json.loads(avro.decoder_of(visit, [person])(message)) == {"who": {"id": "ada"}}
    with pytest.raises(avro.SchemaUnusable, match=r"no schema of Avro: .*Person"):
        avro.decoder_of(visit)


@pytest.mark.parametrize("text", ["", "{", '{"type":"record"}', '"nonsense"', "[1]"])
def test_what_is_no_schema_of_avro_is_refused(text: str) -> None:
    with pytest.raises(avro.SchemaUnusable, match="no schema of Avro"):
        avro.decoder_of(text)


def test_bytes_that_are_no_avro_of_the_schema_are_refused() -> None:
    decode = avro.decoder_of(LOGIN_SCHEMA)
    whole = avro_of(LOGIN_SCHEMA, login())
    assert json.loads(decode(whole))["user_id"] == "ada"

    for broken in (b"", whole[:-1], whole[:3], b"\xff" * 20, b'{"user_id":"ada"}'):
        assert rejected(lambda broken=broken: decode(broken))[0] is Reason.NOT_JSON  # type: ignore[misc]
    assert rejected(lambda: decode(whole + b"\0"))[1] == "the message is no Avro of its schema: 1 bytes are left over"


def test_whatever_the_bytes_are_nothing_but_a_refusal_comes_of_them() -> None:
    random_ = random.Random(7)
    answers = _protobuf_decoder()
    decoders: list[tuple[Callable[[bytes], bytes], bytes]] = [
        (avro.decoder_of(LOGIN_SCHEMA), avro_of(LOGIN_SCHEMA, login())),
        (lambda message: answers(Frame(1, message, None)), b"\4\0\0" + answer().SerializeToString()),
    ]
    for decode, whole in decoders:
        refused = 0
        for _ in range(2_000):
            changed = bytearray(whole)
            for _ in range(random_.randint(1, 4)):
                changed[random_.randrange(len(changed))] = random_.randrange(256)
            try:
                json.loads(decode(bytes(changed)))
            except Rejected:
                refused += 1
        assert refused > 100


def test_a_file_of_avro_is_read_row_by_row(tmp_path: Path) -> None:
    path, schema = tmp_path / "logins.avro", fastavro.parse_schema(json.loads(LOGIN_SCHEMA))
    rows = [login(user_id=f"u{number}") for number in range(20_000)]
    with path.open("wb") as file:
        fastavro.writer(file, schema, rows, codec="deflate")
    told: list[int] = []

    with messages_of(str(path), max_line_bytes=1_000, on_bytes_read=told.append) as messages:
        read = [json.loads(message) for message in messages]

    assert [row["user_id"] for row in read] == [row["user_id"] for row in rows]
    assert read[0] == {**login(user_id="u0"), "event_time": "2026-03-10T12:30:00Z"}
    assert told == sorted(told)
    assert told[-1] == path.stat().st_size
    path.write_bytes(path.read_bytes()[:-40])
    with (
        pytest.raises(OSError, match=r"logins\.avro can't be read as a file of Avro"),
        messages_of(str(path), max_line_bytes=1_000) as messages,
    ):
        list(messages)


# -- Protobuf ----------------------------------------------------------------------------------------------------------


def answer(**changed: Any) -> Any:
    message = answer_class()(user_id="ada", response_id=2**53 + 1, kind="nps", score=0, secret=b"\xff", tags=["a"])
    message.event_time.FromDatetime(AT.replace(tzinfo=None))
    message.labels[7] = 2**60
    for name, value in changed.items():
        setattr(message, name, value)
    return message


def _serialized(file: Any) -> str:
    return base64.b64encode(file.SerializeToString()).decode()


def _protobuf_decoder() -> Callable[[Frame], bytes]:
    return protobuf.decoder_of(_serialized(answer_file()), {})


def test_protobuf_becomes_json_with_numbers_that_are_numbers_and_zeros_that_are_there() -> None:
    decode = _protobuf_decoder()
    told = {
        "user_id": "ada",
        "response_id": 2**53 + 1,
        "event_time": "2026-03-10T12:30:00Z",
        "kind": "nps",
        "score": 0,
        "secret": "/w==",
        "tags": ["a"],
        "labels": {"7": 2**60},
    }
    nested = b"\4\0\0"  # two indexes: the first message, and of those in it the first

    assert json.loads(decode(Frame(1, nested + answer().SerializeToString(), None))) == told
    assert json.loads(decode(Frame(1, nested, answer(scale_max=0).SerializeToString()))) == {**told, "scale_max": 0}
    assert json.loads(decode(Frame(1, b"\0", None))) == {}  # one 0 is short for the first message


@pytest.mark.parametrize("indexes", [b"", b"\1", b"\2", b"\2\2", b"\4\0\4", b"\2\1", b"\xff\3", b"\xff" * 12])
def test_a_message_that_its_schema_does_not_have_is_refused(indexes: bytes) -> None:
    reason, detail = rejected(lambda: _protobuf_decoder()(Frame(1, indexes, None)))

    assert reason is Reason.NOT_JSON
    assert "schema of Protobuf" in detail


def test_a_schema_of_protobuf_may_import_others() -> None:
    main = answer_file("main.proto")
    main.dependency.append("common/person.proto")
    person = type(main)(name="anything.proto", package="example", syntax="proto3")
    person.message_type.add(name="Person").field.add(name="id", number=1, type=9, label=1)
    main.message_type[0].field.add(name="who", number=1, type=11, type_name=".example.Person", label=1)

    decode = protobuf.decoder_of(_serialized(main), {"common/person.proto": _serialized(person)})

    assert json.loads(decode(Frame(1, b"\0", b"\x0a\x05\x0a\x03ada"))) == {"who": {"id": "ada"}}
    with pytest.raises(avro.SchemaUnusable, match="no schema of Protobuf"):
        protobuf.decoder_of(_serialized(main), {})
    with pytest.raises(avro.SchemaUnusable, match="the registry does not know `format=serialized`"):
        protobuf.decoder_of('syntax = "proto3";', {})


# -- schemas of a registry ---------------------------------------------------------------------------------------------


def test_what_must_be_fetched_is_asked_once_and_what_does_not_exist_is_refused() -> None:
    schemas, message = Schemas(), avro_of(LOGIN_SCHEMA, login())
    records = [Line(framed(number, message)) for number in (7, 8, 7)] + [Line(None), Line(b"{}")]

    assert schemas.unknown(records) == [7, 8]
    schemas.add(7, Schema("AVRO", LOGIN_SCHEMA))
    schemas.add(8, None)

    assert schemas.unknown(records) == []
    assert json.loads(schemas.json_of(records[0]))["user_id"] == "ada"
    told = "the registry has no schema 8, or not all that it refers to"
    assert rejected(lambda: schemas.json_of(records[1])) == (Reason.UNKNOWN_VALUE, told)
    schemas.forget_unusable()
    assert schemas.unknown(records) == [8]


def test_the_kind_of_a_schema_decides_how_a_message_is_read() -> None:
    schemas = Schemas()
    schemas.add(1, Schema("JSON", "{}"))
    schemas.add(2, Schema("PROTOBUF", _serialized(answer_file())))
    schemas.add(3, Schema("XML", ""))

    assert schemas.json_of(Line(framed(1, b'{"a":1}'))) == b'{"a":1}'
    assert json.loads(schemas.json_of(Line(framed(2, answer().SerializeToString(), b"\4\0\0"))))["score"] == 0
    told = "schema 3 of the registry: its kind 'XML' is none of AVRO, JSON, PROTOBUF"
    assert rejected(lambda: schemas.json_of(Line(framed(3, b"")))) == (Reason.UNKNOWN_VALUE, told)


def test_garbage_that_looks_framed_does_not_fill_the_memory() -> None:
    schemas = Schemas()
    for number in range(10_000):
        schemas.add(number, None)
    assert schemas.unknown([Line(framed(0, b""))]) == []

    schemas.add(10_000, None)

    assert schemas.unknown([Line(framed(0, b"")), Line(framed(10_000, b""))]) == [0]


# -- Debezium ----------------------------------------------------------------------------------------------------------

ROW = {"user_id": "ada", "event_time": AT_MS, "success": True}


def change(**changed: Any) -> dict[str, Any]:
    source = {"connector": "postgresql", "ts_ms": AT_MS + 1, "table": "logins"}
    return {"before": None, "after": ROW, "source": source, "op": "c", "ts_ms": AT_MS + 2, **changed}


def read_change(envelope: object, *, time: str = "event") -> Any:
    from stream.inputs.options import Options

    read = row_reader(reader(format="native", kind="logins", options=Options(time=time)))  # type: ignore[arg-type]
    return read(Line(None if envelope is None else json.dumps(envelope).encode(), timestamp=5))


@pytest.mark.parametrize(
    "envelope",
    [
        change(),
        change(op="r"),
        change(op="u", before={"user_id": "eve"}),
        {"schema": {"type": "struct"}, "payload": change()},
        change(after=json.dumps(ROW)),
    ],
)
def test_the_row_after_a_change_is_the_message(envelope: object) -> None:
    told = read_change(envelope)

    assert isinstance(told, Login)
    assert (told.user, told.at_ms) == ("ada", AT_MS)


@pytest.mark.parametrize(
    "envelope", [None, change(op="d", before=ROW, after=None), change(op="t", after=None), {"op": "m", "message": {}}]
)
def test_a_row_that_is_deleted_tells_nothing(envelope: object) -> None:
    assert read_change(envelope) == MultipleEvents((), (), (LeftOut.EMPTY,))


@pytest.mark.parametrize(
    ("envelope", "reason", "detail"),
    [
        (ROW, Reason.MISSING_FIELD, "an envelope of Debezium needs `$.op`"),
        (change(after=None), Reason.MISSING_FIELD, "an envelope of Debezium needs `$.after`"),
        ([1], Reason.WRONG_TYPE, "no envelope of Debezium: Expected `object`, got `array`"),
        (change(after={"event_time": AT_MS}), Reason.MISSING_FIELD, "needs `$.user_id` or `$.anonymous_id`"),
    ],
)
def test_what_is_no_change_of_a_row_is_refused(envelope: object, reason: Reason, detail: str) -> None:
    assert rejected(lambda: read_change(envelope))[0] is reason
    assert detail in rejected(lambda: read_change(envelope))[1]


def test_a_row_without_a_time_has_that_of_the_change_in_the_database() -> None:
    timeless = {"user_id": "ada", "success": True}

    assert read_change(change(after=timeless), time="record").at_ms == AT_MS + 1
    without_source = change(after={**timeless}, source=None)
    assert rejected(lambda: read_change(without_source))[0] is Reason.MISSING_FIELD
