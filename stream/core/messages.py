"""Native messages: the fields that all of them have, and how a family declares a kind of its own.

A family declares the fields of its kind of messages, and a function that makes an event of a message. Bytes, ids and
times are read in the same way for all kinds, in `stream/inputs/native.py`. FORMATS.md documents the messages.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol
from zlib import crc32

import msgspec

from stream.core.events import Event, EventWithoutUser, MultipleEvents
from stream.core.ids import Id, text_of
from stream.core.rejections import Reason, Rejected
from stream.core.segments import AttributeValues, attribute_values_of, cached_attribute_values
from stream.core.time import DAY_MS, LATEST_MS, SECOND_MS, epoch_ms

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)

Time = Annotated[dt.datetime, msgspec.Meta(tz=True)] | int | float
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Record(Protocol):
    """The fields of a Kafka record that we read. aiokafka's ConsumerRecord has them."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Iterable[tuple[str, bytes]]: ...


# Makes events of a record of an input. Raises Rejected.
Reader = Callable[[Record], Event | MultipleEvents]


class Message(msgspec.Struct, gc=False):
    """The fields of every native message."""

    event_time: Time
    user_id: Id | None = None
    anonymous_id: Id | None = None
    event_id: Id | None = None
    is_bot: bool | None = False
    user_agent: str | None = None


class LabelledMessage(Message, gc=False):
    """The fields of a message that hold segments. They may be of any type: bad values refuse no event."""

    platform: object = None
    plan: object = None
    country: object = None
    app_version: object = None


def segments_of(message: LabelledMessage) -> AttributeValues:
    """The values that a message has for the segments."""
    labels = message.platform, message.plan, message.country, message.app_version
    try:
        return cached_attribute_values[labels]
    except (KeyError, TypeError):  # these values are not cached, or one of them is an object, which has no hash
        return attribute_values_of(labels)


@dataclass(frozen=True, slots=True)
class MessageKind:
    """One kind of native messages.

    `event_of` gets the message, its user, its time in milliseconds, whether a bot sent it, and the record's key. It
    raises Rejected for a message that can't be used. `event_of_tombstone` makes an event of a null message, if the kind
    has such messages. `ignored_fields` says which fields a message does not use, by the value of its field
    `type_field`. These may hold anything. `needs` names those that it must have besides the ones that its
    `message_type` requires. `fields` says what each field of its own means, and `examples` are whole messages, both for
    people.
    """

    kind: str
    message_type: type[Message]
    event_of: Callable[[Any, str, int, bool, bytes | None], Event]
    event_of_tombstone: Callable[[Record], EventWithoutUser] | None = None
    type_field: str = ""
    ignored_fields: Mapping[str, frozenset[str]] = field(default_factory=dict)
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    examples: tuple[Mapping[str, Any], ...] = ()


def identity_of(at_ms: int, event_id: Id | None, content: int) -> int:
    """64 bits that are equal if the same event is sent twice: its time, its content and its `event_id`.

    Mixpanel deduplicates in the same way, by $insert_id, time, event and user together. Identities are kept per user
    and for a few days. In that time the 32 bits of the event time (49 days of milliseconds) do not repeat, so two
    different events of a user can be confused only if they are of the same millisecond.
    """
    if event_id:
        # In the common case no function is called.
        text = event_id.strip() if isinstance(event_id, str) and event_id.isascii() else text_of(event_id)
        content = crc32(text.encode(), content)
    elif event_id == 0:
        content = crc32(b"0", content)
    return (at_ms & 0xFFFFFFFF) << 32 | content


def time_field_ms(time: dt.datetime | int | float | None, field: str) -> int:
    """The milliseconds of a time in a message. Raises Rejected if it is not a valid time."""
    if isinstance(time, dt.datetime):
        since = time - EPOCH
        return checked_time_ms(
            since.days * DAY_MS + since.seconds * SECOND_MS + since.microseconds // 1_000, time, field
        )
    at_ms = None if time is None else epoch_ms(time)
    if at_ms is None:
        raise Rejected(Reason.BAD_TIME, f"{time} at `$.{field}` has not 10 (s), 13 (ms) or 16 (us) digits")
    return at_ms


def checked_time_ms(at_ms: int, as_sent: object, field: str) -> int:
    """Return the same milliseconds. Raises Rejected if they are not between 1970 and 9999."""
    if 0 <= at_ms < LATEST_MS:
        return at_ms
    raise Rejected(Reason.BAD_TIME, f"{as_sent} at `$.{field}` is not between 1970 and 9999")
