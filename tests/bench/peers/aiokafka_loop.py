"""A bare loop of aiokafka and msgspec: reads, decodes, counts by topic and commits once a second. It has no state.

What is left when everything but reading is taken away: no Python program that reads by aiokafka can be faster.

    python -m tests.bench.peers.aiokafka_loop BROKER GROUP PREFIX DIRECTORY EVENTS
"""

from __future__ import annotations

import asyncio
from collections import Counter

from aiokafka import AIOKafkaConsumer

from tests.bench.peers.job import COMMIT_SECONDS, TOPICS, Progress, Task, say_numbers, task
from tests.bench.peers.messages import decode_answer, decode_login, decode_step

_TIMEOUT_MS = 100


async def read(wanted: Task) -> None:
    """Read until all is counted."""
    decoders = dict(zip(map(wanted.topic, TOPICS), (decode_step, decode_login, decode_answer), strict=True))
    names = {wanted.topic(name): name for name in TOPICS}
    counted: Counter[str] = Counter()
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    consumer = AIOKafkaConsumer(
        *decoders,
        bootstrap_servers=wanted.broker,
        group_id=wanted.group,
        auto_offset_reset="earliest",
        auto_commit_interval_ms=int(COMMIT_SECONDS * 1_000),
    )
    async with consumer:
        Progress(counted, wanted.events, lambda: loop.call_soon_threadsafe(over.set)).start()
        while not over.is_set():
            for partition, records in (await consumer.getmany(timeout_ms=_TIMEOUT_MS)).items():
                decode = decoders[partition.topic]
                for record in records:
                    decode(record.value)
                counted[names[partition.topic]] += len(records)
    say_numbers({"events": counted})


if __name__ == "__main__":
    asyncio.run(read(task()))
