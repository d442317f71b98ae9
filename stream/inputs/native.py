"""The format `native`: a JSON object a message, as README.md describes it. Each tells one event.

What a kind of messages looks like is said by the family that brings it (`stream/core/messages.py`); here its bytes are
read, and what all kinds have in common: who it is of, when it happened, and whether a bot sent it. Unknown fields are
ignored, nothing is repaired.
"""

import datetime as dt
from collections.abc import Callable
from typing import TypeVar

import msgspec

from stream.core.events import Event
from stream.core.ids import Id
from stream.core.messages import EPOCH, Message, Messages, Reader, Record, moment_ms, possible_ms
from stream.core.rejections import Reason, Rejected
from stream.core.time import DAY_MS, LATEST_MS, SECOND_MS, iso, parse_iso
from stream.core.users import user_of, users_by_id
from stream.inputs.bots import crawls

_FIRST_13_DIGITS, _LAST_13_DIGITS = 10**12, 10**13 - 1

_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def reader_of(messages: Messages) -> Reader:
    """What reads the messages of one kind."""
    decode, event_of, removal_of = msgspec.json.Decoder(messages.shape).decode, messages.event_of, messages.removal_of
    known_users = users_by_id

    def read(record: Record) -> Event:
        value = record.value
        if value is None:
            if removal_of is None:
                raise Rejected(Reason.NOT_JSON, "a null message: only survey responses are removed by one")
            return removal_of(record)
        try:
            message = decode(value)
        except _UNDECODABLE as error:
            message = _decoded_otherwise(decode, value, error)
        # Who and when: both have a common case that needs no call, for this runs for each event.
        user_id, time = message.user_id, message.event_time
        user = known_users.get(user_id) or user_of(user_id, message.anonymous_id)  # type: ignore[arg-type]
        if type(time) is int and _FIRST_13_DIGITS <= time <= _LAST_13_DIGITS:  # milliseconds as they are
            at_ms = time
        elif type(time) is dt.datetime:
            since = time - EPOCH
            at_ms = since.days * DAY_MS + since.seconds * SECOND_MS + since.microseconds // 1_000
            if not 0 <= at_ms < LATEST_MS:
                possible_ms(at_ms, time, "event_time")
        else:
            at_ms = moment_ms(time, "event_time")
        is_bot = message.is_bot or (message.user_agent is not None and crawls(message.user_agent)) or False
        return event_of(message, user, at_ms, is_bot, record.key)

    return read


class _Ids(msgspec.Struct, gc=False):
    user_id: Id | None = None
    anonymous_id: Id | None = None


_ids_of = msgspec.json.Decoder(_Ids).decode


def user_named_by(value: bytes) -> str | None:
    """The user of a message, by a look at its ids alone; None where it can't be said and reading it would fail too."""
    try:
        ids = _ids_of(value)
        user_id = ids.user_id
        return (None if user_id is None else users_by_id.get(user_id)) or user_of(user_id, ids.anonymous_id)
    except (*_UNDECODABLE, Rejected):
        return None


_Shape = TypeVar("_Shape", bound=Message)


def _decoded_otherwise(decode: Callable[[bytes], _Shape], value: bytes, error: Exception) -> _Shape:
    """What could not be decoded, with its times in another form of ISO 8601. Raises Rejected when that is not why."""
    if not isinstance(error, msgspec.ValidationError):
        raise Rejected(Reason.NOT_JSON, str(error)) from None
    told = str(error)
    if not _is_about_a_time(told):
        raise Rejected(_reason_of(told), told) from None
    return _decoded_with_any_iso_time(decode, value)


class _Times(msgspec.Struct):
    event_time: object = None
    started_at: object = None
    ended_at: object = None


_times_of = msgspec.json.Decoder(_Times).decode
_fields_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _decoded_with_any_iso_time(decode: Callable[[bytes], _Shape], value: bytes) -> _Shape:
    """The slow way in, for ISO 8601 beyond RFC 3339: the basic form, no seconds, a comma before the fraction."""
    try:
        times, fields = _times_of(value), _fields_of(value)
        for name in times.__struct_fields__:
            text = getattr(times, name)
            if isinstance(text, str):
                fields[name] = msgspec.Raw(msgspec.json.encode(_in_rfc_3339(text, name)))
        return decode(msgspec.json.encode(fields))
    except msgspec.ValidationError as error:
        told = str(error)
        raise Rejected(Reason.BAD_TIME if _is_about_a_time(told) else _reason_of(told), told) from None
    except _UNDECODABLE as error:
        raise Rejected(Reason.NOT_JSON, str(error)) from None


def _in_rfc_3339(text: str, field: str) -> str:
    at_ms = parse_iso(text)
    if at_ms is None:
        raise Rejected(Reason.BAD_TIME, f"{text!r} at `$.{field}` is no ISO 8601 time with an offset")
    return iso(possible_ms(at_ms, text, field))


def _is_about_a_time(told: str) -> bool:
    # A message of msgspec names the type that was expected; only of an unknown value it repeats what was sent.
    return "datetime" in told and not told.startswith("Invalid enum value")


def _reason_of(told: str) -> Reason:
    if told.startswith("Object missing required field"):
        return Reason.MISSING_FIELD
    if told.startswith("Invalid enum value"):
        return Reason.UNKNOWN_VALUE
    if ">=" in told or "<=" in told or "out of range" in told:
        return Reason.OUT_OF_RANGE
    return Reason.WRONG_TYPE
