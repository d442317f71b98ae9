"""The consumer group of a deployment: its members, its committed offsets, and the offsets that partitions have now."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import GroupIdNotFoundError
from kafka.structs import OffsetAndMetadata

from stream.kafka.range_reader import OffsetRange
from stream.kafka.topics import admin_client

Offsets = dict[tuple[str, int], int]


class ConsumerGroup:
    """The consumer group of a deployment. `options` are those of a kafka-python client.

    Each method opens a connection of its own, and raises BrokerUnreachable when no broker answers.
    """

    def __init__(self, name: str, options: Mapping[str, object]) -> None:
        self.name = name
        self._options = options

    def members(self) -> list[str]:
        """Return the client ids of the workers that are in the group now."""
        with admin_client(self._options) as admin:
            try:
                description = admin.describe_groups([self.name])[self.name]
            except GroupIdNotFoundError:
                return []
        return [str(member.get("client_id", "")) for member in description.get("members", ())]

    def committed(self) -> Offsets:
        """Return the committed offsets, by topic and partition."""
        with admin_client(self._options) as admin:
            committed = cast(dict[str, Any], admin.list_group_offsets({self.name: None})).get(self.name, {})
        return {(tp.topic, tp.partition): held.offset for tp, held in committed.items() if held.offset >= 0}

    def commit(self, offsets: Offsets) -> None:
        """Set the committed offsets. Kafka allows this only while the group has no members."""
        wanted = {TopicPartition(*place): OffsetAndMetadata(offset, "", -1) for place, offset in offsets.items()}
        with admin_client(self._options) as admin:
            answers = admin.alter_group_offsets(self.name, wanted)
        for error in answers.values():
            if error.errno:
                raise error(f"can't commit offsets of the group {self.name!r}")

    def ranges(self, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], OffsetRange]:
        """Return the offsets that these partitions, given as (topic, partition), have now."""
        places = [TopicPartition(*place) for place in wanted]
        with admin_client(self._options) as admin:
            firsts = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST))
            ends = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST))
        return {
            (place.topic, place.partition): OffsetRange(firsts[place].offset, ends[place].offset) for place in places
        }
