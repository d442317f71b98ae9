"""The job in PyFlink's DataStream API: keyed state in RocksDB, an incremental checkpoint a second, exactly once.

Python runs in thread mode, within Flink's JVM, which its documentation recommends for speed. The topics are read up to
their ends. Then a timer of each key fires, which was set when the key was first seen, and gives out its state: so the
numbers are those of Flink's state.

    python -m tests.bench.peers.pyflink_job BROKER GROUP PREFIX DIRECTORY EVENTS CONNECTOR

CONNECTOR is the jar of Flink's connector for Kafka.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyflink.common import Configuration, Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import DataStream, KeyedProcessFunction, StreamExecutionEnvironment
from pyflink.datastream.connectors.kafka import KafkaOffsetsInitializer, KafkaSource
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

from tests.bench.peers.job import (
    COMMIT_SECONDS,
    TOPICS,
    VIEWS,
    Progress,
    Task,
    answer_key,
    numbers,
    say_numbers,
    task,
)
from tests.bench.peers.messages import at_ms_of, decode_answer, decode_login, decode_step, user_of

_AT_THE_END = 2**63 - 1  # when the watermark of a source that has ended fires all timers

# A step or login: whose, when, whether the user did it, the session or nothing, how many views, and the topic.
_ACTIVITY = Types.TUPLE([Types.STRING(), Types.LONG(), Types.BOOLEAN(), Types.STRING(), Types.LONG(), Types.STRING()])
_SESSION = Types.TUPLE([Types.LONG(), Types.LONG(), Types.LONG()])
_STATE = Types.PICKLED_BYTE_ARRAY()

counted: Counter[str] = Counter()
_watchers: list[Progress] = []


def step(value: str) -> tuple[Any, ...]:
    """A step as a tuple."""
    event = decode_step(value.encode())
    views = int(event.session_id is not None and event.type in VIEWS)
    return user_of(event), at_ms_of(event), event.interactive, event.session_id or "", views, "sessions"


def login(value: str) -> tuple[Any, ...]:
    """A login as a tuple."""
    event = decode_login(value.encode())
    return user_of(event), at_ms_of(event), event.success, "", 0, "logins"


def answer(value: str) -> str:
    """By what answers are counted apart."""
    event = decode_answer(value.encode())
    return answer_key(event.kind, event.status, event.score)


def watch(events: int) -> None:
    """Begin to tell how far it has got, in the process where the events are counted."""
    if not _watchers:
        _watchers.append(Progress(counted, events, lambda: None))
        _watchers[0].start()


class Users(KeyedProcessFunction):  # type: ignore[misc, unused-ignore]  # PyFlink is not where types are checked
    """When a user was last seen, and the user's sessions by id."""

    def __init__(self, events: int) -> None:
        self._events = events

    def open(self, runtime_context: Any) -> None:
        """Get the state of this key."""
        self._last_seen = runtime_context.get_state(ValueStateDescriptor("last_seen", Types.LONG()))
        self._sessions = runtime_context.get_map_state(MapStateDescriptor("sessions", Types.STRING(), _SESSION))
        watch(self._events)

    def process_element(self, value: tuple[Any, ...], ctx: Any) -> None:
        """Take a step or a login in."""
        _, at_ms, seen, session_id, views, topic = value
        last_seen = self._last_seen.value()
        if last_seen is None:
            ctx.timer_service().register_event_time_timer(_AT_THE_END)
        if last_seen is None or (seen and at_ms > last_seen):
            self._last_seen.update(at_ms if seen else -1)
        if session_id:
            known = self._sessions.get(session_id)
            if known is None:
                self._sessions.put(session_id, (views, at_ms, at_ms))
            else:
                self._sessions.put(session_id, (known[0] + views, min(known[1], at_ms), max(known[2], at_ms)))
        counted[topic] += 1

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[tuple[Any, ...]]:
        """Give the state out."""
        yield "user", self._last_seen.value(), list(self._sessions.values()), dict(counted)


class Answers(KeyedProcessFunction):  # type: ignore[misc, unused-ignore]  # see above
    """How many answers there are of one kind, status and score."""

    def open(self, runtime_context: Any) -> None:
        """Get the state of this key."""
        self._count = runtime_context.get_state(ValueStateDescriptor("count", Types.LONG()))

    def process_element(self, value: str, ctx: Any) -> None:
        """Take an answer in."""
        count = self._count.value()
        if count is None:
            ctx.timer_service().register_event_time_timer(_AT_THE_END)
        self._count.update((count or 0) + 1)
        counted["surveys"] += 1

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[tuple[Any, ...]]:
        """Give the state out."""
        yield "answer", ctx.get_current_key(), self._count.value(), dict(counted)


def environment(wanted: Task, connector: str) -> StreamExecutionEnvironment:
    """One slot, checkpoints into the directory."""
    # What the Python within the JVM imports; it does not know of virtual environments.
    os.environ["PYTHONPATH"] = os.pathsep.join([sysconfig.get_paths()["purelib"], str(Path.cwd())])
    config = Configuration()
    config.set_string("python.executable", sys.executable)
    config.set_string("python.execution-mode", "thread")
    config.set_string("state.backend.type", "rocksdb")
    config.set_string("execution.checkpointing.incremental", "true")
    config.set_string("execution.checkpointing.dir", (Path(wanted.directory) / "checkpoints").resolve().as_uri())
    config.set_string("execution.checkpointing.interval", f"{int(COMMIT_SECONDS * 1_000)} ms")
    config.set_string("pipeline.jars", Path(connector).resolve().as_uri())
    env = StreamExecutionEnvironment.get_execution_environment(config)
    env.set_parallelism(1)
    return env


def source(env: StreamExecutionEnvironment, wanted: Task, name: str) -> DataStream:
    """A topic up to its end, as texts."""
    kafka = (
        KafkaSource.builder()
        .set_bootstrap_servers(wanted.broker)
        .set_topics(wanted.topic(name))
        .set_group_id(wanted.group)
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_bounded(KafkaOffsetsInitializer.latest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    return env.from_source(kafka, WatermarkStrategy.no_watermarks(), name)


def main(wanted: Task, connector: str) -> None:
    """Run up to the end of the topics, and tell the numbers."""
    env = environment(wanted, connector)
    sessions, logins, surveys = (source(env, wanted, name) for name in TOPICS)
    activity = sessions.map(step, _ACTIVITY).union(logins.map(login, _ACTIVITY))
    users = activity.key_by(lambda event: event[0], Types.STRING()).process(Users(wanted.events), _STATE)
    answers = surveys.map(answer, Types.STRING()).key_by(lambda key: key, Types.STRING()).process(Answers(), _STATE)
    seen, by_id, counts, events = [], [], {}, {}
    with users.union(answers).execute_and_collect() as rows:
        for what, first, second, events in rows:  # noqa: B007  the last ones are those of the end
            if what == "user":
                by_id += second
                if first >= 0:
                    seen.append(first)
            else:
                counts[first] = second
    say_numbers(numbers(events, seen, by_id, counts))


if __name__ == "__main__":
    # By its own name: what is counted in `__main__` would not be what Flink's interpreter counts.
    from tests.bench.peers import pyflink_job

    pyflink_job.main(task(), sys.argv[6])
