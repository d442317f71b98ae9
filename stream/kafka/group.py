"""What Kafka knows of our topics and our consumer group: ranges of offsets, what was committed, who is a member."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import GroupIdNotFoundError
from kafka.structs import OffsetAndMetadata

from stream.kafka.topics import admin_client

Offsets = dict[tuple[str, int], int]


class Range(NamedTuple):
    """The records that a partition of a topic has: from `first` up to `end`, that one not."""

    first: int
    end: int


class Group:
    """The consumer group of a deployment, by the options of kafka-python. Raises BrokerUnreachable."""

    def __init__(self, name: str, options: Mapping[str, object]) -> None:
        self.name = name
        self._options = options

    def members(self) -> list[str]:
        """The client ids of the workers that are in the group now."""
        with admin_client(self._options) as admin:
            try:
                told = admin.describe_groups([self.name])[self.name]
            except GroupIdNotFoundError:
                return []
        return [str(member.get("client_id", "")) for member in told.get("members", ())]

    def committed(self) -> Offsets:
        """The committed offsets, by topic and partition."""
        with admin_client(self._options) as admin:
            told = cast(dict[str, Any], admin.list_group_offsets({self.name: None})).get(self.name, {})
        return {(place.topic, place.partition): held.offset for place, held in told.items() if held.offset >= 0}

    def commit(self, offsets: Offsets) -> None:
        """Set committed offsets. The group must have no members."""
        wanted = {TopicPartition(*place): OffsetAndMetadata(offset, "", -1) for place, offset in offsets.items()}
        with admin_client(self._options) as admin:
            answers = admin.alter_group_offsets(self.name, wanted)
        for error in answers.values():
            if error.errno:
                raise error(f"can't commit offsets of the group {self.name!r}")

    def ranges(self, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Range]:
        """What some partitions of topics have."""
        places = [TopicPartition(*place) for place in wanted]
        with admin_client(self._options) as admin:
            firsts = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST))
            ends = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST))
        return {(place.topic, place.partition): Range(firsts[place].offset, ends[place].offset) for place in places}
