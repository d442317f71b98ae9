"""The job in Quix Streams: state in RocksDB with changelog topics, a checkpoint a second.

State belongs to a message key and to a topic. So the time last seen is kept for each topic, and the later of the two is
taken when the numbers are read; answers are regrouped by what is counted apart, through a topic that Quix makes.
JSON is read by Quix's own deserializer, which uses orjson.

    python -m tests.bench.peers.quix_streams BROKER GROUP PREFIX DIRECTORY EVENTS [exactly-once]
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from quixstreams import Application, State
from rocksdict import AccessType, Options, Rdict

from tests.bench.peers.job import (
    COMMIT_SECONDS,
    VIEWS,
    Progress,
    Task,
    answer_key,
    milliseconds,
    numbers,
    say_numbers,
    task,
)

_LAST_SEEN = "last_seen"
_ANSWERS = "answers"
_SEPARATOR = b"|"  # between the key of the message and the key in its state, on disk

counted: Counter[str] = Counter()


def on_step(step: dict[str, Any], state: State) -> None:
    """When the user was last seen, and the session with this id."""
    at_ms = milliseconds(step["event_time"])
    if step.get("interactive", True):
        see(at_ms, state)
    session_id = step.get("session_id")
    if session_id is not None:
        views = step["type"] in VIEWS
        known = state.get(session_id)
        if known is None:
            state.set(session_id, [int(views), at_ms, at_ms])
        else:
            state.set(session_id, [known[0] + views, min(known[1], at_ms), max(known[2], at_ms)])
    counted["sessions"] += 1


def on_login(login: dict[str, Any], state: State) -> None:
    """When the user was last seen."""
    if login.get("success", True):
        see(milliseconds(login["event_time"]), state)
    counted["logins"] += 1


def see(at_ms: int, state: State) -> None:
    """The user was there."""
    if at_ms > state.get(_LAST_SEEN, -1):
        state.set(_LAST_SEEN, at_ms)


def counted_apart(answer: dict[str, Any]) -> str:
    """By what answers are regrouped."""
    return answer_key(answer["kind"], answer.get("status", "completed"), answer.get("score"))


def on_answer(_: dict[str, Any], state: State) -> None:
    """How many answers there are of this kind, status and score."""
    state.set(_ANSWERS, state.get(_ANSWERS, 0) + 1)
    counted["surveys"] += 1


def main(wanted: Task, guarantee: Any) -> None:
    """Run until all is counted, and tell the numbers."""
    app = Application(
        broker_address=wanted.broker,
        consumer_group=wanted.group,
        auto_offset_reset="earliest",
        commit_interval=COMMIT_SECONDS,
        state_dir=wanted.directory,
        processing_guarantee=guarantee,
        loglevel="WARNING",
    )
    sessions, logins, surveys = (
        app.dataframe(app.topic(wanted.topic(name))) for name in ("sessions", "logins", "surveys")
    )
    sessions.update(on_step, stateful=True)
    logins.update(on_login, stateful=True)
    answers = surveys.group_by(counted_apart, name="answer", key_serializer="str", key_deserializer="str")
    answers.update(on_answer, stateful=True)
    Progress(counted, wanted.events, app.stop).start()
    app.run()
    say_numbers(stored(Path(wanted.directory)))


def stored(directory: Path) -> dict[str, Any]:
    """The numbers as they lie in RocksDB."""
    last_seen_ms: dict[bytes, int] = {}
    sessions: list[list[int]] = []
    answers: dict[str, int] = {}
    for key, value in rows(directory):
        whose, _, what = key.rpartition(_SEPARATOR)
        name = orjson.loads(what)
        if name == _LAST_SEEN:
            last_seen_ms[whose] = max(value, last_seen_ms.get(whose, value))
        elif name == _ANSWERS:
            answers[orjson.loads(whose)] = value
        else:
            sessions.append(value)
    return numbers(counted, last_seen_ms.values(), sessions, answers)


def rows(directory: Path) -> Iterator[tuple[bytes, Any]]:
    """Key and value of everything in the stores."""
    for current in sorted(directory.rglob("CURRENT")):
        store = Rdict(str(current.parent), Options(raw_mode=True), access_type=AccessType.read_only())
        for key, value in store.items():
            assert isinstance(key, bytes)
            yield key, orjson.loads(value)
        store.close()


if __name__ == "__main__":
    main(task(), sys.argv[6] if len(sys.argv) > 6 else "at-least-once")
