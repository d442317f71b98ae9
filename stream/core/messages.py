"""What native messages look like: the fields that all have, and what a family says of its own kinds.

A family that brings a kind of messages declares its shape and the function that makes an event of one; reading bytes,
ids and times is the same for all and lies in `stream/inputs/native.py`. The contract is in README.md.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol
from zlib import crc32

import msgspec

from stream.core.events import Event, Nameless, Several
from stream.core.ids import Id, text_of
from stream.core.rejections import Reason, Rejected
from stream.core.segments import Values, known_values, values_of
from stream.core.time import DAY_MS, LATEST_MS, SECOND_MS, epoch_ms

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)

Time = Annotated[dt.datetime, msgspec.Meta(tz=True)] | int | float
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Record(Protocol):
    """What is read of a Kafka record (aiokafka's ConsumerRecord has it)."""

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


# What reads a record of an input: what it tells. Raises Rejected.
Reader = Callable[[Record], Event | Several]


class Message(msgspec.Struct, gc=False):
    """The fields of every native message."""

    event_time: Time
    user_id: Id | None = None
    anonymous_id: Id | None = None
    event_id: Id | None = None
    is_bot: bool | None = False
    user_agent: str | None = None


class LabelledMessage(Message, gc=False):
    """What a message tells of segments, of any type: a label that can't be used costs no event."""

    platform: object = None
    plan: object = None
    country: object = None
    app_version: object = None


def segments_of(message: LabelledMessage) -> Values:
    """What a message tells of each segment."""
    labels = message.platform, message.plan, message.country, message.app_version
    try:
        return known_values[labels]
    except (KeyError, TypeError):  # not seen before, or an object, which can't be looked up
        return values_of(labels)


@dataclass(frozen=True, slots=True)
class Messages:
    """One kind of native messages.

    `event_of` is given the message, its user, time in milliseconds, whether a bot sent it, and the record's key; it
    raises Rejected for what can't be. `removal_of` says what a null message means, where it means anything. `unused`
    names, by the value of the field `told_apart_by`, the fields that such a message has no use for: whatever they hold,
    they are ignored.
    """

    kind: str
    shape: type[Message]
    event_of: Callable[[Any, str, int, bool, bytes | None], Event]
    removal_of: Callable[[Record], Nameless] | None = None
    told_apart_by: str = ""
    unused: Mapping[str, frozenset[str]] = field(default_factory=dict)


def identity_of(at_ms: int, event_id: Id | None, content: int) -> int:
    """64 bits that are the same for the same event sent twice: its time, its content and its `event_id`.

    As Mixpanel does ($insert_id, time, event and user together). Kept per user and per few days, 32 bits of time
    (49 days of milliseconds) never repeat, and two events of one user share them only in the same millisecond.
    """
    if event_id:
        # The common case needs no call.
        text = event_id.strip() if isinstance(event_id, str) and event_id.isascii() else text_of(event_id)
        content = crc32(text.encode(), content)
    elif event_id == 0:
        content = crc32(b"0", content)
    return (at_ms & 0xFFFFFFFF) << 32 | content


def moment_ms(time: dt.datetime | int | float | None, field: str) -> int:
    """Milliseconds of a time as a message tells it. Raises Rejected for one that is none."""
    if isinstance(time, dt.datetime):
        since = time - EPOCH
        return possible_ms(since.days * DAY_MS + since.seconds * SECOND_MS + since.microseconds // 1_000, time, field)
    at_ms = None if time is None else epoch_ms(time)
    if at_ms is None:
        told = f"{time} at `$.{field}` has not 10 (s), 13 (ms) or 16 (us) digits"
        raise Rejected(Reason.BAD_TIME, told)
    return at_ms


def possible_ms(at_ms: int, told: object, field: str) -> int:
    """The same milliseconds. Raises Rejected where no calendar has them."""
    if 0 <= at_ms < LATEST_MS:
        return at_ms
    raise Rejected(Reason.BAD_TIME, f"{told} at `$.{field}` is not between 1970 and 9999")
