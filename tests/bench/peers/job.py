"""The small job that every peer does, and how it tells what it has done.

It is what a first version of an engagement dashboard needs, and far less than `engagement worker` does:

- of each user the time last seen: the latest step that is not `"interactive": false`, or the latest login that
  succeeded;
- of each session that has an id: its page and screen views, the time of its first step and that of its last;
- of survey answers: how many there are of each kind, status and score.

There are no rolling windows, no sessions by a gap of 30 minutes, no quantiles, no closed days, no corrections, and an
event that is sent twice counts twice.

A peer is started as

    python -m tests.bench.peers.NAME BROKER GROUP PREFIX DIRECTORY EVENTS

It reads the topics PREFIXsessions, PREFIXlogins and PREFIXsurveys from their beginnings, keeps its files in DIRECTORY,
and prints five times a second a line `counted TIME EVENTS`: its clock, and how many events it has taken into its
state. When these are EVENTS or more it prints that line once more, then its numbers as one line of JSON, and ends.

Peers run in virtual environments of their own: this module needs nothing but Python.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

TOPICS = ("sessions", "logins", "surveys")
VIEWS = frozenset({"page_view", "screen_view"})
PARTITIONS = 4

# So often a peer says how far it has got: the bare loops are done with a million events in two seconds.
REPORT_SECONDS = 0.2
# So often a peer keeps its state safe: as often as `engagement worker` does.
COMMIT_SECONDS = 1.0

_WATCHED_EVERY_SECONDS = 0.05


class Task(NamedTuple):
    """What a peer is to do, as its command says it."""

    broker: str
    group: str
    prefix: str
    directory: str
    events: int

    def topic(self, name: str) -> str:
        """The topic in Kafka that is 'sessions', 'logins' or 'surveys'."""
        return self.prefix + name


def task() -> Task:
    """What the command of this process asks for."""
    broker, group, prefix, directory, events = sys.argv[1:6]
    return Task(broker, group, prefix, directory, int(events))


class Session(NamedTuple):
    """What is known of a session: its views, and the times of its first and last step in ms since 1970."""

    views: int
    begin_ms: int
    end_ms: int


def with_step(known: Session | None, at_ms: int, views: int) -> Session:
    """The session with one step more."""
    if known is None:
        return Session(views, at_ms, at_ms)
    return Session(known.views + views, min(known.begin_ms, at_ms), max(known.end_ms, at_ms))


def milliseconds(event_time: str | float) -> int:
    """An event's time in ms since 1970: producers send ISO 8601 with an offset, or a number of s, ms or us."""
    if isinstance(event_time, str):
        return round(datetime.fromisoformat(event_time).timestamp() * 1_000)
    return round(event_time * (1e3 if event_time < 1e11 else 1 if event_time < 1e14 else 1e-3))


def answer_key(kind: str, status: str, score: float | None) -> str:
    """The name under which answers are counted: `csat/completed/5`, or `nps/shown/-` of one without a score."""
    return f"{kind}/{status}/{'-' if score is None else format(score, 'g')}"


def numbers(
    events: Mapping[str, int],
    last_seen_ms: Iterable[int],
    sessions: Iterable[Iterable[int]],
    answers: Mapping[str, int],
) -> dict[str, Any]:
    """The numbers of the job in a form that is short and that hardly any mistake leaves unchanged: counts and sums.

    `last_seen_ms` has an item for each user, and `sessions` one for each session: its views, begin and end.
    """
    seen = list(last_seen_ms)
    columns = [list(column) for column in zip(*sessions, strict=True)] or [[], [], []]
    views, begin_ms, end_ms = columns
    return {
        "events": dict(events),
        "users": len(seen),
        "last_seen_ms": sum(seen),
        "sessions": len(views),
        "views": sum(views),
        "begin_ms": sum(begin_ms),
        "end_ms": sum(end_ms),
        "answers": dict(sorted(answers.items())),
    }


class Progress(threading.Thread):
    """Says five times a second how many events `counted` has, and calls `done` when they are as many as were asked for.

    `done` may be called in this thread before the event that was counted last is in the state.
    """

    def __init__(self, counted: Mapping[str, int], events: int, done: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._counted = counted
        self._events = events
        self._done = done

    def run(self) -> None:
        """Watch until all is counted."""
        told_at = 0.0
        while (count := sum(self._counted.values())) < self._events:
            now = time.time()
            if now >= told_at + REPORT_SECONDS:
                say_counted(count)
                told_at = now
            time.sleep(_WATCHED_EVERY_SECONDS)
        say_counted(count)
        self._done()


def say_counted(count: int) -> None:
    """Say how far this peer has got."""
    _say(f"counted {time.time()} {count}")


def say_numbers(found: Mapping[str, Any]) -> None:
    """Say the numbers, which is the last thing a peer says."""
    _say(json.dumps(found))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
