"""The format `cloudevents`: the envelope of CloudEvents 1.0, around a message of any other format.

Three modes: *structured*, where the whole is JSON (`application/cloudevents+json`), or a list of such; and *binary*,
where the value of the record is the bare message and headers of the record hold the rest (`ce_id`, `ce_type`,
`ce_time`). The header `content-type` tells them apart, and where it is missing, what is there.

| what | where |
| --- | --- |
| what happened, to whom, when | in `data`, or its bytes in `data_base64`, in the format `inside` of the input |
| time | where what is inside tells none: `time` of the envelope |
| user | where what is inside names none: the attribute that the setting `user` names, such as `subject` |

Source: the specification of CloudEvents 1.0.2, its JSON format and its Kafka protocol binding.
"""

import base64
import binascii
from collections.abc import Callable, Mapping

import msgspec
from msgspec import structs

from stream.core.lenient_json import UNDECODABLE
from stream.core.messages import Reader, Record
from stream.core.rejections import Reason, Rejected
from stream.inputs.options import Options
from stream.inputs.parts import Parts, Told
from stream.inputs.telling import Clock

USES = frozenset({"time", "user", "inside", "zone", "logins", "key_events", "passive", "questions"})

_STRUCTURED = b"application/cloudevents"
_PREFIX = "ce_"
_REQUIRED = frozenset({"specversion", "id", "source", "type"})  # of the attributes, by the specification


class _Envelope(msgspec.Struct, gc=False):
    specversion: object = None
    time: object = None
    data: msgspec.Raw = msgspec.Raw()
    data_base64: object = None


class _Carried(msgspec.Struct, gc=False):
    """What an envelope holds, as a record of its own."""

    value: bytes
    timestamp: int
    offset: int
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def reader_of(options: Options, inside: Callable[[Options], Reader], *, user_field: str | None) -> Reader:
    """What reads envelopes. `inside` makes a reader for what they carry, which names its user in `user_field`."""
    return _Envelopes(options, inside, user_field).read


class _Envelopes:
    """Reads envelopes, and what they carry."""

    def __init__(self, options: Options, inside: Callable[[Options], Reader], user_field: str | None) -> None:
        self._clock = Clock(options)
        self._user, self._user_field = options.user, user_field
        # What has no time of its own gets that of the envelope, where it has one.
        self._read_timed, self._read_untimed = inside(structs.replace(options, time="record")), inside(options)
        self._read_structured = Parts(_Envelope, self._tell).read

    def read(self, record: Record) -> Told:
        """What the record of an event tells, in whichever mode it was sent. Raises Rejected."""
        headers = {name.lower(): value for name, value in record.headers if value is not None}
        is_binary = f"{_PREFIX}specversion" in headers
        if not is_binary or headers.get("content-type", b"").startswith(_STRUCTURED):
            return self._read_structured(record)
        if not record.value:
            raise Rejected(Reason.MISSING_FIELD, "an event in binary mode without data")
        attributes: dict[str, object] = {
            name.removeprefix(_PREFIX): value.decode(errors="replace")
            for name, value in headers.items()
            if name.startswith(_PREFIX)
        }
        return self._carried(record, record.value, attributes.get("time"), attributes)

    def _tell(self, envelope: _Envelope, record: Record, raw: bytes) -> Told:
        if envelope.specversion is None:
            raise Rejected(Reason.MISSING_FIELD, "an envelope of CloudEvents needs `$.specversion`")
        attributes = _attributes_of(raw) if self._user else {}
        return self._carried(record, _data_of(envelope), envelope.time, attributes)

    def _carried(self, record: Record, value: bytes, time: object, attributes: Mapping[str, object]) -> Told:
        if self._user and self._user_field is not None:
            value = _with_user(value, self._user_field, attributes.get(self._user))
        if time is None:
            return self._read_untimed(_Carried(value, record.timestamp, record.offset, record.key))
        at_ms = self._clock.at_ms(record, time, "time")
        return self._read_timed(_Carried(value, at_ms, record.offset, record.key))


def _data_of(envelope: _Envelope) -> bytes:
    if isinstance(envelope.data_base64, str):
        try:
            return base64.b64decode(envelope.data_base64, validate=True)
        except binascii.Error as error:
            raise Rejected(Reason.WRONG_TYPE, f"`$.data_base64` is no base64: {error}") from None
    data = bytes(envelope.data)
    if not data or data == b"null":
        raise Rejected(Reason.MISSING_FIELD, "an envelope of CloudEvents without `$.data`")
    return msgspec.json.decode(data, type=str).encode() if data.startswith(b'"') else data


_attributes = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_any = msgspec.json.Decoder().decode


def _attributes_of(raw: bytes) -> dict[str, object]:
    return {name: _any(value) for name, value in _attributes(raw).items() if name not in ("data", "data_base64")}


def _with_user(value: bytes, field: str, user: object) -> bytes:
    """An object with its user, where it names none."""
    if user is None:
        return value
    try:
        fields = _attributes(value)
    except UNDECODABLE:
        return value
    if bytes(fields.get(field, b"null")) in (b"null", b'""'):
        fields[field] = msgspec.Raw(msgspec.json.encode(user))
    return msgspec.json.encode(fields)


def recognises(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a message is an envelope in structured mode."""
    return fields.keys() >= _REQUIRED


def is_binary(record: Record) -> bool:
    """Whether a record is an event in binary mode."""
    return any(name.lower() == f"{_PREFIX}specversion" for name, _ in record.headers)
