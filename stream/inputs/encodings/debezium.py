"""The envelope of Debezium: a change of a row of a database. The row as it is after it is the message.

| `op` | what it tells |
| --- | --- |
| c, r, u | a row that was inserted, read or updated: what is in `after` |
| d, t, m, and the tombstone after a d | nothing: a row that is deleted says not what happened to a user |

The envelope may stand in `payload`, beside its `schema`. `after` may be JSON in a text, as for MongoDB. Where the time
of the record stands for a missing one, it is `source.ts_ms`, when the database changed, if there is one.

Source: the documentation of Debezium 3, data change events of the connectors for PostgreSQL, MySQL and MongoDB.
"""

import msgspec

from stream.core.lenient_json import UNDECODABLE
from stream.core.messages import Reader, Record
from stream.core.rejections import LeftOut, Reason, Rejected
from stream.inputs.encodings.decoded import Decoded
from stream.inputs.parts import NOTHING, Told

_WITHOUT_ROW = ("d", "t", "m")
_NULL = (b"", b"null")


class _Source(msgspec.Struct, gc=False):
    ts_ms: object = None


class _Envelope(msgspec.Struct, gc=False):
    op: object = None
    after: msgspec.Raw = msgspec.Raw()
    payload: msgspec.Raw = msgspec.Raw()
    source: msgspec.Raw = msgspec.Raw()


_envelope = msgspec.json.Decoder(_Envelope).decode
_source = msgspec.json.Decoder(_Source).decode


def row_reader(read_row: Reader) -> Reader:
    """Return what reads envelopes. `read_row` reads the rows in them."""

    def read(record: Record) -> Told:
        row = row_of(record)
        return NOTHING[LeftOut.EMPTY] if row is None else read_row(row)

    return read


def row_of(record: Record) -> Record | None:
    """Return the row of an envelope as a record of its own; None if it tells none. Raises Rejected."""
    if record.value is None:
        return None
    envelope = _envelope_of(record.value)
    if envelope.op in _WITHOUT_ROW:
        return None
    row = bytes(envelope.after)
    if envelope.op is None or row in _NULL:
        name = "op" if envelope.op is None else "after"
        raise Rejected(Reason.MISSING_FIELD, f"an envelope of Debezium needs `$.{name}`")
    if row.startswith(b'"'):
        row = msgspec.json.decode(row, type=str).encode()
    return Decoded(row, _changed_ms(envelope, record), record.offset, record.key)


def _envelope_of(value: bytes) -> _Envelope:
    try:
        envelope = _envelope(value)
        if envelope.op is None and bytes(envelope.payload) not in _NULL:
            envelope = _envelope(envelope.payload)
    except UNDECODABLE as error:
        is_json = isinstance(error, msgspec.ValidationError)
        raise Rejected(Reason.WRONG_TYPE if is_json else Reason.NOT_JSON, f"no envelope of Debezium: {error}") from None
    return envelope


def _changed_ms(envelope: _Envelope, record: Record) -> int:
    try:
        changed_ms = _source(envelope.source).ts_ms if envelope.source else None
    except UNDECODABLE:
        changed_ms = None
    return changed_ms if type(changed_ms) is int and changed_ms > 0 else record.timestamp
