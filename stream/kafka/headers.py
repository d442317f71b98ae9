"""The headers that we write on records: where a record came from, why it was refused, how often it was replayed.

Producers write headers too, and may use one of our names. All of their headers are kept. Ours are written after theirs:
each set of our headers begins with a name that is always present, and the last header of that name is where ours begin.

A dead letter says where its record was produced to (`origin-...`) and how often the record had been replayed before it
was refused (`attempts`). A replayed record carries the same under `replayed-...`. If it is refused again, its new dead
letter has the first origin and one attempt more. The `replayed-...` headers are read from an input topic, where any
producer can write them. Trusting them does no harm: they do not place an event, count nothing and are not stored in the
state. They only reach the dead letter of the same record. A producer that forges them prevents the replay of its own
record, or causes another record of the same topic to be replayed instead, which still counts once. An origin in another
topic is not trusted.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# None stands for a header value of null.
Headers = list[tuple[str, bytes | None]]

ORIGIN_TOPIC, ORIGIN_PARTITION, ORIGIN_OFFSET, ORIGIN_TIMESTAMP = ORIGIN_HEADERS = (
    "origin-topic",
    "origin-partition",
    "origin-offset",
    "origin-timestamp",
)

# Names the part that was too large for a dead letter and stays in the original record: its `value`, or all of it.
BY_REFERENCE = "by-reference"
VALUE, RECORD = b"value", b"record"

REASON, DETAIL, ATTEMPTS = "reason", "detail", "attempts"
LETTER_HEADERS = (REASON, DETAIL, *ORIGIN_HEADERS, ATTEMPTS, BY_REFERENCE)

ORIGIN_CHECKPOINTED_OFFSET = "origin-saved"  # records before this offset will never be forwarded again
ORIGIN_KEY = "origin-key"  # the original key, if it differs from the user's key
ORIGIN_VALUE = "origin-value"  # present if the original value was null
# If the record carries one event of a message that has several: the position of the event in the message, from 0.
ORIGIN_EVENT_INDEX = "origin-thing"
# The format of a message that has forwarded events. Without it the message has one event (`kafka.forwarded_batches`).
FORWARDED_FORMAT = "forwarded-format"
FORWARDED_HEADERS = (
    *ORIGIN_HEADERS,
    ORIGIN_CHECKPOINTED_OFFSET,
    ORIGIN_KEY,
    ORIGIN_VALUE,
    ORIGIN_EVENT_INDEX,
    FORWARDED_FORMAT,
    BY_REFERENCE,
)

# Of a message that deletes a closed day: the owner of the partition who does so.
DELETED_BY = "deleted-by"

_REPLAYED_PREFIX = "replayed-"
REPLAYED_HEADERS = tuple(_REPLAYED_PREFIX + name for name in (ATTEMPTS, *ORIGIN_HEADERS))

# A decimal number that can be a Kafka offset or timestamp, which have 64 bits.
_NUMBER = re.compile(rb"-?[0-9]{1,19}")


class Origin(NamedTuple):
    """Where a record was produced to, and its timestamp in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int


class Replay(NamedTuple):
    """How often a record has been replayed, and where it was first produced to."""

    attempts: int
    origin: Origin


def split_headers(
    headers: Iterable[tuple[str, bytes | None]], names: Sequence[str]
) -> tuple[dict[str, bytes | None], Headers]:
    """Split the headers of a record into ours and those of its producer.

    `names` are our header names; the first of them is always present and comes first.
    """
    given = list(headers)
    begins = max((place for place, (name, _) in enumerate(given) if name == names[0]), default=len(given))
    ours = {name: value for name, value in given[begins:] if name in names}
    return ours, given[:begins] + [header for header in given[begins:] if header[0] not in names]


def origin_headers(origin: Origin) -> Headers:
    """Write an origin as headers."""
    return [(name, str(part).encode()) for name, part in zip(ORIGIN_HEADERS, origin, strict=True)]


def origin_from_headers(headers: dict[str, bytes | None], prefix: str = "") -> Origin | None:
    """Read an origin from headers whose names begin with `prefix`. Returns None if one is missing or invalid."""
    topic = headers.get(prefix + ORIGIN_TOPIC)
    partition, offset, timestamp = (number_from_header(headers, prefix + name) for name in ORIGIN_HEADERS[1:])
    if topic is None or partition is None or offset is None or timestamp is None or min(partition, offset) < 0:
        return None
    return Origin(topic.decode(errors="replace"), partition, offset, timestamp)


def number_from_header(headers: dict[str, bytes | None], name: str) -> int | None:
    """Read a header as a number. Returns None if it is missing or not a number."""
    text = headers.get(name) or b""
    return int(text) if _NUMBER.fullmatch(text) else None


def replay_headers(replayed: Replay) -> Headers:
    """Return the headers that a replayed record carries."""
    values = [(ATTEMPTS, str(replayed.attempts).encode()), *origin_headers(replayed.origin)]
    return [(_REPLAYED_PREFIX + name, value) for name, value in values]


def replay_from_headers(headers: Iterable[tuple[str, bytes | None]], topic: str) -> tuple[Replay | None, Headers]:
    """Read from the headers of a record how it was replayed; also return the headers of its producer.

    If the record was not replayed, or not from this topic, the first is None and all headers are its producer's.
    """
    given = list(headers)
    ours, theirs = split_headers(given, REPLAYED_HEADERS)
    attempts, origin = (
        number_from_header(ours, _REPLAYED_PREFIX + ATTEMPTS),
        origin_from_headers(ours, _REPLAYED_PREFIX),
    )
    if attempts is None or attempts < 1 or origin is None or origin.topic != topic:
        return None, given
    return Replay(attempts, origin), theirs
