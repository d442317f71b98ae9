"""Who leads the consumer group, and how often it was shared out anew: as the broker has written it down.

No request of Kafka's protocol tells the leader. But whenever a group has been shared out, the broker appends a record
to `__consumer_offsets` with the generation and the leader's member id, which begins with the client id of the member,
or with its name where it has one.

The record is described by `GroupMetadataKey.json` and `GroupMetadataValue.json` of Apache Kafka.
"""

from __future__ import annotations

import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

TOPIC: Final = "__consumer_offsets"

_GROUP_METADATA: Final = 2  # the version of a key that names a group; lower ones are those of committed offsets
_SHORT: Final = struct.Struct(">h")
_INT: Final = struct.Struct(">i")

_LENGTH_OF_SUFFIX: Final = 37

# For a broker of this machine; it may be away.
_ANSWER_MS: Final = 3_000


@dataclass(frozen=True, slots=True)
class Generation:
    """One way in which a group was shared out."""

    number: int
    leader: str  # member id; empty when the group has no members


def group_of(key: bytes) -> str | None:
    """The group that a record of the topic tells the state of; None for a record of another kind."""
    (version,) = _SHORT.unpack_from(key)
    return _text(key, _SHORT.size)[0] if version == _GROUP_METADATA else None


def generation_of(value: bytes) -> Generation:
    """The generation that such a record tells."""
    _, after = _text(value, _SHORT.size)  # the protocol type, after the version
    (number,) = _INT.unpack_from(value, after)
    _, after = _text(value, after + _INT.size)  # the protocol
    leader, _ = _text(value, after)
    return Generation(number, leader)


def _text(data: bytes, at: int) -> tuple[str, int]:
    """A string, or an empty one for null, and where the next field begins."""
    (size,) = _SHORT.unpack_from(data, at)
    start = at + _SHORT.size
    end = start + max(0, size)
    return data[start:end].decode(), end


def is_of(member_id: str, client: str) -> bool:
    """Whether a member id belongs to a client id or name: the broker appends a dash and a UUID to it."""
    return member_id[:-_LENGTH_OF_SUFFIX] == client


class GroupLog:
    """What the broker has written down of one group, read on from where it was read to."""

    def __init__(self, address: str, group: str) -> None:
        self._address, self._group = address, group
        self._positions: dict[TopicPartition, int] = {}
        self._newest = Generation(0, "")

    def newest(self) -> Generation:
        """The newest generation that is known; the last one known where the broker can't be asked."""
        # A consumer of its own each time: one that has met a broker that is away waits for longer and longer.
        with suppress(KafkaError):
            consumer = KafkaConsumer(
                bootstrap_servers=self._address,
                bootstrap_timeout_ms=_ANSWER_MS,
                request_timeout_ms=_ANSWER_MS,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
            )
            try:
                self._read(consumer)
            finally:
                consumer.close()
        return self._newest

    def _read(self, consumer: KafkaConsumer) -> None:
        places = [TopicPartition(TOPIC, number) for number in consumer.partitions_for_topic(TOPIC) or ()]
        ends = consumer.end_offsets(places)
        consumer.assign(places)
        for place in places:
            consumer.seek(place, self._positions.get(place, 0))
        deadline = time.monotonic() + _ANSWER_MS / 1_000
        while any(consumer.position(place) < ends[place] for place in places) and time.monotonic() < deadline:
            for place, records in consumer.poll(timeout_ms=_ANSWER_MS).items():
                for record in records:
                    self._take_in(record)
                self._positions[place] = records[-1].offset + 1

    def _take_in(self, record: Any) -> None:
        if record.value is not None and group_of(record.key) == self._group:
            self._newest = generation_of(record.value)
