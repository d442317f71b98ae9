"""How fast each format is read, beside native: `python -m tests.bench.formats`.

Prints for each format, and for `auto`, how many messages its reader reads in a second, and how many are read and
applied, as `compute` does it. The rate is the best of some rounds, in which the formats take turns, for other work on
the machine makes each slower now and then. The messages are of 500 users and of another second each, as in a stream.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import thread_time
from typing import Any

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from stream.core.messages import Reader, Record
from stream.core.partition.batch_applier import NOTHING_STORED
from stream.core.partition.partition import Partition
from stream.core.rules import Rules
from stream.core.survey_scales import Kind
from stream.inputs.encodings.debezium import row_reader
from stream.inputs.encodings.decoded import decoding_reader
from stream.inputs.encodings.schemas import Schema, Schemas
from stream.inputs.options import Options, Question
from stream.inputs.registry import reader
from tests.inputs.encoded import avro_of, framed
from tests.inputs.samples import BY_FORMAT, NATIVE, snowplow_line
from tests.native import Message

_EVENTS = 2_000
_ROUNDS = 15

_NPS = tuple(Question(question=name, kind=Kind.NPS) for name in ("319352786", "QID1", "nps"))


def _records(value: bytes) -> list[Record]:
    """The same message of many users at many times."""
    return [
        Message(
            value.replace(b'"ada"', b'"user-%d"' % (number % 500))
            .replace(b"\tada\t", b"\tuser-%d\t" % (number % 500))
            .replace(b"12:00:00", b"12:%02d:%02d" % divmod(number % 3_600, 60))
            .replace(b"17952624000", b"1795262%04d" % (4_000 + number)),
            timestamp=1_795_262_400_000,
        )
        for number in range(_EVENTS)
    ]


def contestants() -> dict[str, tuple[Reader, Sequence[Record]]]:
    """What is measured: a reader and the records that it reads, by name."""
    options = Options(questions=_NPS, time="record")
    found: dict[str, tuple[Reader, Sequence[Record]]] = {
        name: (reader(format=name, kind="sessions" if name == "native" else "", options=options), told)
        for name, told in ((name, _records(msgspec.json.encode(told))) for name, told in BY_FORMAT.items())
    }
    line = _records(snowplow_line())
    found["snowplow, lines"] = (reader(format="snowplow"), line)
    for name in ("native", "segment", "amplitude", "qualtrics"):
        found[f"auto, of {name}"] = (reader(format="auto", kind="sessions", options=options), found[name][1])
    found["cloudevents, of native"] = (
        reader(format="cloudevents", kind="sessions", options=Options(inside="native")),
        _records(msgspec.json.encode({**BY_FORMAT["cloudevents"], "data": NATIVE})),
    )
    found |= mapped(found["native"][1])
    found |= encoded(found["native"][1])
    clutter = {"ignored": "x" * (len(found["mapped"][1][0].value or b"") - 150)}
    as_large = [msgspec.json.encode({**msgspec.json.decode(one.value or b""), **clutter}) for one in found["native"][1]]
    found["native, as large as mapped"] = (found["native"][0], [Message(one) for one in as_large])
    return found


# What native messages tell, where other systems have it; and a mapping of each kind of thing that it may have.
_PLAIN = {
    "user_id": "user.id",
    "event_time": "at",
    "session_id": "visit.id",
    "platform": "context.os.name",
    "plan": "user.plan",
    "country": "context.geo.country",
    "event": "name",
    "events": {"page_view": ["page", "view"], "logins": "signed_in"},
}
_MORE = {
    **_PLAIN,
    "user_id": ["account.id", "user.id"],
    "country": {"path": "context.geo.country", "default": "DE"},
    "unless": [{"path": "context.env", "is": ["test", "dev"]}],
}
_IN_BATCH = {**_PLAIN, "each": "batch"}
_WITH_JMESPATH = {**_PLAIN, "user_id": {"jmespath": "user.id || account.id"}}


def mapped(native: Sequence[Record]) -> dict[str, tuple[Reader, Sequence[Record]]]:
    """Readers of messages that tell the same as native ones, somewhere else."""
    theirs = [_theirs(msgspec.json.decode(record.value or b"")) for record in native]
    one_by_one = [Message(msgspec.json.encode(one)) for one in theirs]
    batches = [Message(msgspec.json.encode({"batch": theirs[at : at + 10]})) for at in range(0, len(theirs), 10)]
    return {
        name: (reader(format="mapped", options=Options(mapping=mapping)), records)
        for name, mapping, records in (
            ("mapped", _PLAIN, one_by_one),
            ("mapped, with defaults and filters", _MORE, one_by_one),
            ("mapped, numbers as text", {**_PLAIN, "engaged_ms": "engaged"}, one_by_one),
            ("mapped, ten in a message", _IN_BATCH, batches),
            ("mapped, one field by JMESPath", _WITH_JMESPATH, one_by_one),
        )
    }


def encoded(native: Sequence[Record]) -> dict[str, tuple[Reader, Sequence[Record]]]:
    """Readers of the same messages in other encodings."""
    messages = [msgspec.json.decode(record.value or b"") for record in native]
    fields = [{"name": name, "type": "long" if name == "event_time" else "string"} for name in messages[0]]
    avro = msgspec.json.encode({"type": "record", "name": "Step", "fields": fields}).decode()
    file = descriptor_pb2.FileDescriptorProto(name="step.proto", syntax="proto3")
    step = file.message_type.add(name="Step")
    for number, name in enumerate(messages[0], start=1):
        field = step.field.add(name=name, number=number, label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL)
        field.type = field.TYPE_INT64 if name == "event_time" else field.TYPE_STRING
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    of_protobuf = message_factory.GetMessageClass(pool.FindMessageTypeByName("Step"))
    schemas = Schemas()
    schemas.add(1, Schema("AVRO", avro))
    schemas.add(2, Schema("JSON", "{}"))
    schemas.add(3, Schema("PROTOBUF", base64.b64encode(file.SerializeToString()).decode()))
    read = reader(format="native", kind="sessions")
    decoded = decoding_reader(read, schemas.json_of)
    changes = [Message(msgspec.json.encode({"op": "c", "before": None, "after": one})) for one in messages]
    return {
        "native, in Avro": (decoded, [Message(framed(1, avro_of(avro, one))) for one in messages]),
        "native, by JSON Schema": (decoded, [Message(framed(2, record.value or b"")) for record in native]),
        "native, in Protobuf": (
            decoded,
            [Message(framed(3, of_protobuf(**one).SerializeToString(), b"\0")) for one in messages],
        ),
        "native, in Debezium": (row_reader(read), changes),
    }


def _theirs(native: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "page",
        "at": native["event_time"],
        "user": {"id": native["user_id"], "plan": native["plan"]},
        "visit": {"id": native["session_id"], "number": 3},
        "engaged": "1200",
        "context": {
            "os": {"name": native["platform"], "version": "17"},
            "app": {"version": "1.10.2"},
            "geo": {"country": native["country"], "city": "Ulm"},
        },
        "properties": {"title": "A page with a title", "path": "/a/b/c", "referrer": "https://x.example/"},
    }


def seconds_to_read(read: Reader, records: Sequence[Record]) -> float:
    """CPU time that reading takes."""
    began = thread_time()
    for record in records:
        read(record)
    return thread_time() - began


def seconds_to_count(read: Reader, records: Sequence[Record]) -> float:
    """CPU time that reading and applying takes, for a partition that knows nobody yet."""
    partition = Partition(replace(Rules(), allowed_lateness_ms=None))
    began = thread_time()
    batch = partition.read("any", records, read, not_after_ms=1 << 62)
    partition.apply(batch, NOTHING_STORED, moves_clock=True)
    return thread_time() - began


def measure(say: Callable[[str], None] = print) -> dict[str, float]:
    """Messages read in a second, by what is measured; told as a table."""
    all_of_them = contestants()
    read_in, counted_in = (dict.fromkeys(all_of_them, float("inf")) for _ in range(2))
    for _ in range(_ROUNDS):
        for name, (read, records) in all_of_them.items():
            read_in[name] = min(read_in[name], seconds_to_read(read, records))
            counted_in[name] = min(counted_in[name], seconds_to_count(read, records))
    rates = {name: _EVENTS / spent for name, spent in read_in.items()}
    counted = {name: _EVENTS / spent for name, spent in counted_in.items()}
    say(f"{'format':<36}{'bytes':>7}{'read/s':>10}{'us':>7}{'of native':>11}{'counted/s':>11}{'of native':>11}")
    for name, rate in rates.items():
        size = len(all_of_them[name][1][0].value or b"")
        share, its = rate / rates["native"], counted[name]
        told = f"{name:<36}{size:>7,}{rate:>10,.0f}{1e6 / rate:>7.2f}{share:>11.0%}"
        say(f"{told}{its:>11,.0f}{its / counted['native']:>11.0%}")
    return rates


if __name__ == "__main__":
    measure()
