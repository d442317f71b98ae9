"""A bare loop of confluent-kafka and msgspec: reads, decodes, counts by topic, commits once a second. It has no state.

python -m tests.bench.peers.confluent_loop BROKER GROUP PREFIX DIRECTORY EVENTS
"""

from __future__ import annotations

import threading
from collections import Counter

from confluent_kafka import Consumer, KafkaException

from tests.bench.peers.job import COMMIT_SECONDS, TOPICS, Progress, Task, say_numbers, task
from tests.bench.peers.messages import decode_answer, decode_login, decode_step

_RECORDS = 2_000
_TIMEOUT_SECONDS = 0.1


def read(wanted: Task) -> None:
    """Read until all is counted."""
    decoders = dict(zip(map(wanted.topic, TOPICS), (decode_step, decode_login, decode_answer), strict=True))
    names = {wanted.topic(name): name for name in TOPICS}
    counted: Counter[str] = Counter()
    over = threading.Event()
    consumer = Consumer(
        {
            "bootstrap.servers": wanted.broker,
            "group.id": wanted.group,
            "auto.offset.reset": "earliest",
            "auto.commit.interval.ms": int(COMMIT_SECONDS * 1_000),
        }
    )
    consumer.subscribe(list(decoders))
    Progress(counted, wanted.events, over.set).start()
    while not over.is_set():
        for message in consumer.consume(_RECORDS, _TIMEOUT_SECONDS):
            if message.error():
                raise KafkaException(message.error())
            topic, value = message.topic(), message.value()
            assert topic is not None
            assert value is not None
            decoders[topic](value)
            counted[names[topic]] += 1
    consumer.close()
    say_numbers({"events": counted})


if __name__ == "__main__":
    read(task())
