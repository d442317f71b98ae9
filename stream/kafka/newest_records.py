"""Read the newest records of a topic, without a consumer group: nothing is committed, and nobody notices."""

from aiokafka.structs import ConsumerRecord, TopicPartition

from stream.kafka import range_reader
from stream.kafka.options import client_options
from stream.kafka.topics import partition_counts
from stream.settings import Settings, Unavailable


async def newest_records(settings: Settings, topic: str, *, limit: int) -> tuple[list[ConsumerRecord], int]:
    """Return the newest records of a topic, about as many of each partition, and the number of its partitions.

    Records of transactions that were aborted, or are open, are left out. Raises Unavailable.
    """
    counts = partition_counts([topic], client_options=client_options(settings))
    if topic not in counts:
        raise Unavailable(f"topic {topic!r} does not exist at {settings.kafka.servers}")
    partitions = [TopicPartition(topic, number) for number in range(counts[topic])]
    records: list[ConsumerRecord] = []
    async with range_reader.open_consumer(settings, isolation_level="read_committed") as consumer:
        stored = await range_reader.current_ranges(consumer, partitions)
        wanted = _newest(stored, limit)
        async for record in range_reader.read_ranges(consumer, wanted):
            records.append(record)
            if len(records) >= limit:
                break
    return records, counts[topic]


def _newest(stored: range_reader.OffsetRanges, limit: int) -> range_reader.OffsetRanges:
    """The ends of these ranges, which hold `limit` offsets together if there are so many."""
    left, wanted = limit, range_reader.OffsetRanges()
    by_size = sorted(stored.items(), key=lambda item: item[1].end - item[1].first)
    for number, (partition, offsets) in enumerate(by_size):
        # What small partitions don't have is taken from larger ones.
        share = -(-left // (len(by_size) - number))
        count = min(share, offsets.end - offsets.first)
        wanted[partition] = offsets._replace(first=offsets.end - count)
        left -= count
    return wanted
