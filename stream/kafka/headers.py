"""The headers we write on records: where one was produced to, why it was refused, how often it was replayed.

Producers have headers of their own, and may name one as we do. Theirs are kept whatever they are called: ours are
written after theirs, and begin with the last header of a name that is always among them.

A dead letter says where its record was produced to (`origin-…`) and how often it had been replayed by then
(`attempts`). A replayed record carries the same under `replayed-…` until it is refused again: then its new letter tells
the first origin, and one attempt more. Those headers are read from an input topic, where any producer can write them.
It does no harm to believe them: they place no event, count nothing and enter no state, but end up in the dead letter of
that same record. Who forges one keeps the own record from being replayed, or has one of the same topic replayed in its
stead, which counts once however often it comes. An origin in another topic is not believed.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# None is Kafka's null, which header values may be too.
Headers = list[tuple[str, bytes | None]]

ORIGIN_TOPIC, ORIGIN_PARTITION, ORIGIN_OFFSET, ORIGIN_TIMESTAMP = ORIGIN = (
    "origin-topic",
    "origin-partition",
    "origin-offset",
    "origin-timestamp",
)

# What was left out, for it is too large, and stays where the record was produced to: `value`, or the whole `record`.
BY_REFERENCE = "by-reference"
VALUE, RECORD = b"value", b"record"

REASON, DETAIL, ATTEMPTS = "reason", "detail", "attempts"
LETTER = (REASON, DETAIL, *ORIGIN, ATTEMPTS, BY_REFERENCE)

ORIGIN_SAVED = "origin-saved"  # what comes before this offset is never forwarded again
ORIGIN_KEY = "origin-key"  # where it is another one than the user's
ORIGIN_VALUE = "origin-value"  # null, where the record's value was
# Where the record carries an event instead of the message: which of the things that the message tells, from 0.
ORIGIN_THING = "origin-thing"
FORWARDED = (*ORIGIN, ORIGIN_SAVED, ORIGIN_KEY, ORIGIN_VALUE, ORIGIN_THING, BY_REFERENCE)

_REPLAYED = "replayed-"
REPLAYED = tuple(_REPLAYED + name for name in (ATTEMPTS, *ORIGIN))

# As Kafka has them: 64 bits, or less.
_NUMBER = re.compile(rb"-?[0-9]{1,19}")


class Origin(NamedTuple):
    """The place in Kafka that a record was produced to, and the record's time there."""

    topic: str
    partition: int
    offset: int
    timestamp: int


class Replayed(NamedTuple):
    """How often a record has been replayed, and where it was first produced to."""

    attempts: int
    origin: Origin


def parted(
    headers: Iterable[tuple[str, bytes | None]], names: Sequence[str]
) -> tuple[dict[str, bytes | None], Headers]:
    """Our headers, of which the first name is always there and comes first, and those of the producer."""
    given = list(headers)
    begins = max((place for place, (name, _) in enumerate(given) if name == names[0]), default=len(given))
    ours = {name: value for name, value in given[begins:] if name in names}
    return ours, given[:begins] + [header for header in given[begins:] if header[0] not in names]


def origin_headers(origin: Origin) -> Headers:
    """An origin as headers."""
    return [(name, str(part).encode()) for name, part in zip(ORIGIN, origin, strict=True)]


def origin_in(headers: dict[str, bytes | None], prefix: str = "") -> Origin | None:
    """The origin that headers tell, each name behind a prefix; None when they don't."""
    topic = headers.get(prefix + ORIGIN_TOPIC)
    partition, offset, timestamp = (number_in(headers, prefix + name) for name in ORIGIN[1:])
    if topic is None or partition is None or offset is None or timestamp is None or min(partition, offset) < 0:
        return None
    return Origin(topic.decode(errors="replace"), partition, offset, timestamp)


def number_in(headers: dict[str, bytes | None], name: str) -> int | None:
    """The number that a header tells; None when it is none."""
    text = headers.get(name) or b""
    return int(text) if _NUMBER.fullmatch(text) else None


def replayed_headers(replayed: Replayed) -> Headers:
    """What a replayed record carries."""
    told = [(ATTEMPTS, str(replayed.attempts).encode()), *origin_headers(replayed.origin)]
    return [(_REPLAYED + name, value) for name, value in told]


def replayed_in(headers: Iterable[tuple[str, bytes | None]], topic: str) -> tuple[Replayed | None, Headers]:
    """What a record of a Kafka topic tells of its replays, and the headers of its producer.

    Where it does not tell that it was replayed from this topic, all headers are its producer's.
    """
    given = list(headers)
    ours, theirs = parted(given, REPLAYED)
    attempts, origin = number_in(ours, _REPLAYED + ATTEMPTS), origin_in(ours, _REPLAYED)
    if attempts is None or attempts < 1 or origin is None or origin.topic != topic:
        return None, given
    return Replayed(attempts, origin), theirs
