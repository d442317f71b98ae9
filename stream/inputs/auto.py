"""The format `auto`: each message is recognised by what its format always has.

Each by itself: two formats in one topic are both read, and what a message is does not depend on those before it. A
message that fits two formats, or none, is refused, and says which: nothing is guessed. Of CloudEvents, what they carry
is recognised in the same way. Recognising a message reads the names of its fields once more than reading it: who names
the format saves that.
"""

from collections.abc import Callable, Mapping

import msgspec

from stream.core.lenient_json import UNDECODABLE, fields_of
from stream.core.messages import Reader, Record
from stream.core.rejections import Reason, Rejected
from stream.inputs import cloudevents, snowplow
from stream.inputs.parts import Told, objects_in

CLOUDEVENTS, SNOWPLOW = "cloudevents", "snowplow"

# Whether a message of these fields is one of a format.
Recognises = Callable[[Mapping[str, msgspec.Raw]], bool]

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def reader_of(
    recognisers: Mapping[str, Recognises],
    reader: Callable[[str, Mapping[str, msgspec.Raw]], Reader],
    on_recognised: Callable[[str], None],
) -> Reader:
    """What reads messages of any format.

    `reader` gives the reader of a format, for a message of these fields; it raises Rejected where they don't tell
    enough. `on_recognised` is called with each format when it is first seen.
    """
    seen: set[str] = set()

    def read(record: Record) -> Told:
        name, fields = recognised(record, recognisers)
        read_it = reader(name, fields)
        if name not in seen:
            seen.add(name)
            on_recognised(name)
        return read_it(record)

    return read


def recognised(record: Record, recognisers: Mapping[str, Recognises]) -> tuple[str, Mapping[str, msgspec.Raw]]:
    """The format of a message, and the fields by which it was found; of a list, those of its first part of any format.

    Raises Rejected where it is none or could be two.
    """
    if cloudevents.is_binary(record):
        return CLOUDEVENTS, {}
    value = record.value
    if not value:
        raise Rejected(Reason.NOT_JSON, "an empty message")
    if snowplow.is_line(value):
        return SNOWPLOW, {}
    first: Mapping[str, msgspec.Raw] | None = None
    for fields in objects_in(value) if value.lstrip()[:1] == b"[" else [_fields_of(value)]:
        found = [name for name, recognises in recognisers.items() if recognises(fields)]
        if len(found) == 1:
            return found[0], fields
        if found:
            told = f"could be {' or '.join(found)}: set the format of the input ({_names_of(fields)})"
            raise Rejected(Reason.UNKNOWN_VALUE, told)
        first = fields if first is None else first
    if first is None:
        raise Rejected(Reason.WRONG_TYPE, "no format that is known: a list without an object")
    raise Rejected(Reason.UNKNOWN_VALUE, f"no format that is known has these fields: {_names_of(first)}")


def _names_of(fields: Mapping[str, msgspec.Raw]) -> str:
    return ", ".join(list(fields)[:10])


def _fields_of(value: bytes) -> Mapping[str, msgspec.Raw]:
    try:
        return _fields(value)
    except UNDECODABLE:
        try:
            return fields_of(value)
        except msgspec.ValidationError as error:
            raise Rejected(Reason.WRONG_TYPE, str(error)) from None
        except msgspec.DecodeError as error:
            raise Rejected(Reason.NOT_JSON, str(error)) from None
