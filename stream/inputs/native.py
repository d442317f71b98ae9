"""The format `native`: each message is a JSON object with one event, as FORMATS.md describes it.

The families define the fields of their kinds of messages (`stream/core/messages.py`). This module decodes the bytes and
reads what all kinds have in common: the user, the time, and whether a bot sent the message. Unknown fields are ignored
and may hold anything.
"""

import datetime as dt
import re
from collections.abc import Callable, Mapping

import msgspec

from stream.core.events import Event
from stream.core.ids import Id
from stream.core.lenient_json import UNDECODABLE, fields_of, object_of
from stream.core.messages import EPOCH, MessageKind, Reader, Record, checked_time_ms, time_field_ms
from stream.core.rejections import Reason, Rejected
from stream.core.time import DAY_MS, LATEST_MS, SECOND_MS
from stream.core.users import user_of, users_by_id
from stream.inputs.bots import is_crawler
from stream.inputs.lenient import lenient_decoder_of
from stream.inputs.options import Options

USES = frozenset({"time"})

FIRST_13_DIGITS, LAST_13_DIGITS = 10**12, 10**13 - 1

# The decoder rounds to microseconds. Such a fraction of a second would be rounded up to the next millisecond, which may
# lie in the next day.
ROUNDED_UP = re.compile(rb"\.\d{3}999[5-9]")


def reader_of(messages: MessageKind, options: Options) -> Reader:
    """A reader of the messages of one kind."""
    decode, read_slowly = msgspec.json.Decoder(messages.message_type).decode, _slow_reader_of(messages, options)
    event_of, known_users = messages.event_of, users_by_id

    def read(record: Record) -> Event:
        value = record.value
        if value is None:
            return read_slowly(record)
        try:
            message = decode(value)
        except UNDECODABLE:
            return read_slowly(record)
        # User and time have a common case without a function call, because this code runs for each event.
        user_id, time = message.user_id, message.event_time
        user = known_users.get(user_id) or user_of(user_id, message.anonymous_id)  # type: ignore[arg-type]
        if type(time) is int and FIRST_13_DIGITS <= time <= LAST_13_DIGITS:  # milliseconds as they are
            at_ms = time
        elif type(time) is dt.datetime:
            since = time - EPOCH
            at_ms = since.days * DAY_MS + since.seconds * SECOND_MS + since.microseconds // 1_000
            if not 0 <= at_ms < LATEST_MS:
                checked_time_ms(at_ms, time, "event_time")
        else:
            at_ms = time_field_ms(time, "event_time")
        is_bot = message.is_bot or (message.user_agent is not None and is_crawler(message.user_agent)) or False
        event = event_of(message, user, at_ms, is_bot, record.key)
        if (type(time) is not int or event.has_start_time) and b"999" in value and ROUNDED_UP.search(value):
            return read_slowly(record)
        return event

    return read


def _slow_reader_of(messages: MessageKind, options: Options) -> Callable[[Record], Event]:
    """A reader for the rare messages of one kind: null messages, and those that must be decoded leniently."""
    decode, event_of_tombstone = lenient_decoder_of(messages), messages.event_of_tombstone
    of_record = options.time == "record"

    def read(record: Record) -> Event:
        if record.value is not None:
            message = decode(record.value, record.timestamp if of_record else None)
            user, at_ms = (
                user_of(message.user_id, message.anonymous_id),
                time_field_ms(message.event_time, "event_time"),
            )
            is_bot = message.is_bot or (message.user_agent is not None and is_crawler(message.user_agent)) or False
            return messages.event_of(message, user, at_ms, is_bot, record.key)
        if event_of_tombstone is None:
            raise Rejected(Reason.NOT_JSON, "a null message: only survey responses are removed by one")
        return event_of_tombstone(record)

    return read


_ENDS_WITH_OFFSET = re.compile(rb'(?:[Zz]|[+-]\d\d(?::?\d\d)?)"\Z')


def recognises(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a message may be a native one: who, and when, as no other format says it."""
    time = bytes(fields.get("event_time", b""))
    is_time = time[:1].isdigit() or _ENDS_WITH_OFFSET.search(time) is not None
    return is_time and ("user_id" in fields or "anonymous_id" in fields)


class _Ids(msgspec.Struct, gc=False):
    user_id: Id | None = None
    anonymous_id: Id | None = None


_ids_of = msgspec.json.Decoder(_Ids).decode


def user_of_message(value: bytes) -> str | None:
    """The user of a message, for which only its ids are decoded; None if it can't be read, and the message neither."""
    try:
        try:
            ids = _ids_of(value)
        except UNDECODABLE:
            ids = _ids_of(object_of(fields_of(value), _Ids.__struct_fields__))
        user_id = ids.user_id
        return (None if user_id is None else users_by_id.get(user_id)) or user_of(user_id, ids.anonymous_id)
    except (msgspec.DecodeError, Rejected):
        return None
