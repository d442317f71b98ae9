"""The job as a Bytewax dataflow with its recovery store: state is snapshotted into SQLite once a second.

Messages are decoded a batch at a time and the state of a user gets all of the user's events of a batch together
(`flat_map_batch` and `stateful_batch`, which its documentation recommends for speed). The flow reads up to the end of
the topics and ends with a last snapshot; the numbers are then read from the recovery store, from which it would resume.

    python -m tests.bench.peers.bytewax_flow BROKER GROUP PREFIX DIRECTORY EVENTS
"""

from __future__ import annotations

import pickle
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from tests.bench.peers.job import (
    COMMIT_SECONDS,
    TOPICS,
    VIEWS,
    Progress,
    Session,
    Task,
    answer_key,
    numbers,
    say_numbers,
    task,
    with_step,
)
from tests.bench.peers.messages import Login, Step, at_ms_of, decode_answer, decode_login, decode_step, user_of

counted: Counter[str] = Counter()


class User(StatefulBatchLogic):  # type: ignore[misc, unused-ignore]  # Bytewax is not where types are checked
    """When a user was last seen, and the user's sessions by id."""

    def __init__(self, resumed: tuple[int | None, dict[str, Session]] | None) -> None:
        self.last_seen_ms, self.sessions = resumed or (None, {})

    def on_batch(self, values: list[Step | Login]) -> tuple[Iterable[Any], bool]:
        """Take steps and logins in."""
        for event in values:
            at_ms = at_ms_of(event)
            if isinstance(event, Step):
                seen = event.interactive
                if event.session_id is not None:
                    session = self.sessions.get(event.session_id)
                    self.sessions[event.session_id] = with_step(session, at_ms, event.type in VIEWS)
                counted["sessions"] += 1
            else:
                seen = event.success
                counted["logins"] += 1
            if seen and (self.last_seen_ms is None or at_ms > self.last_seen_ms):
                self.last_seen_ms = at_ms
        return (), StatefulBatchLogic.RETAIN

    def snapshot(self) -> tuple[int | None, dict[str, Session]]:
        """What the recovery store gets, which must not change any more."""
        return self.last_seen_ms, self.sessions.copy()


class Answers(StatefulBatchLogic):  # type: ignore[misc, unused-ignore]  # Bytewax is not where types are checked
    """How many answers there are of one kind, status and score."""

    def __init__(self, resumed: int | None) -> None:
        self.count = resumed or 0

    def on_batch(self, values: list[None]) -> tuple[Iterable[Any], bool]:
        """Take answers in."""
        self.count += len(values)
        counted["surveys"] += len(values)
        return (), StatefulBatchLogic.RETAIN

    def snapshot(self) -> int:
        """What the recovery store gets."""
        return self.count


class Nowhere(DynamicSink, StatelessSinkPartition):  # type: ignore[misc, unused-ignore]  # see above
    """Takes what the dataflow emits, which is nothing; a dataflow needs an output."""

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Nowhere:
        """The part of a worker."""
        return self

    def write_batch(self, items: list[Any]) -> None:
        """Forget the items."""


def by_user(decode: Callable[[bytes], Step | Login], batch: list[Any]) -> list[tuple[str, Step | Login]]:
    """Decode a batch of messages and key them by user."""
    return [(user_of(event), event) for event in [decode(message.value) for message in batch]]


def by_answer(batch: list[Any]) -> list[tuple[str, None]]:
    """Decode a batch of answers and key them by what is counted apart."""
    answers = [decode_answer(message.value) for message in batch]
    return [(answer_key(answer.kind, answer.status, answer.score), None) for answer in answers]


def dataflow(wanted: Task) -> Dataflow:
    """The topics, what is made of them, and nowhere for it to go."""
    flow = Dataflow("engagement")
    sources = (KafkaSource([wanted.broker], [wanted.topic(name)], tail=False) for name in TOPICS)
    sessions, logins, surveys = (op.input(name, flow, source) for name, source in zip(TOPICS, sources, strict=True))
    steps = op.flat_map_batch("decode_steps", sessions, partial(by_user, decode_step))
    tries = op.flat_map_batch("decode_logins", logins, partial(by_user, decode_login))
    answers = op.flat_map_batch("decode_answers", surveys, by_answer)
    users = op.stateful_batch("users", op.merge("activity", steps, tries), User)
    counts = op.stateful_batch("answers", answers, Answers)
    op.output("out", op.merge("all", users, counts), Nowhere())
    return flow


def recovered(directory: Path) -> dict[str, Any]:
    """The numbers as the recovery store has them: the newest snapshot of each key."""
    users: dict[str, tuple[int | None, dict[str, Session]]] = {}
    answers: dict[str, int] = {}
    for path in sorted(directory.glob("*.sqlite3")):
        with sqlite3.connect(path) as database:
            rows = database.execute("SELECT step_id, state_key, ser_change FROM snaps ORDER BY snap_epoch")
            for step, key, change in rows:
                if step.startswith("engagement.users"):
                    users[key] = pickle.loads(change)
                elif step.startswith("engagement.answers"):
                    answers[key] = pickle.loads(change)
    seen = [last_seen_ms for last_seen_ms, _ in users.values() if last_seen_ms is not None]
    sessions = [session for _, by_id in users.values() for session in by_id.values()]
    return numbers(counted, seen, sessions, answers)


def main(wanted: Task) -> None:
    """Run the dataflow, and tell the numbers."""
    directory = Path(wanted.directory)
    directory.mkdir(parents=True, exist_ok=True)
    init_db_dir(directory, 1)
    progress = Progress(counted, wanted.events, lambda: None)
    progress.start()
    cli_main(
        dataflow(wanted),
        epoch_interval=timedelta(seconds=COMMIT_SECONDS),
        recovery_config=RecoveryConfig(str(directory)),
    )
    progress.join()
    say_numbers(recovered(directory))


if __name__ == "__main__":
    main(task())
