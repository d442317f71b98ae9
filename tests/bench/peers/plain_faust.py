"""The job as a good Faust user writes it from Faust's documentation.

One agent a topic, `faust.Record` models in JSON, a table for each state, the memory store with its changelog. It writes
a table only where something has changed. After a crash some events count twice.

    python -m tests.bench.peers.plain_faust BROKER GROUP PREFIX DIRECTORY EVENTS
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Any

import faust

from tests.bench.peers.job import (
    PARTITIONS,
    VIEWS,
    Progress,
    Task,
    answer_key,
    milliseconds,
    numbers,
    say_numbers,
    task,
)


class Step(faust.Record, serializer="json"):
    """A message of the topic `sessions`; unknown fields are ignored."""

    type: str
    event_time: Any
    user_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    interactive: bool = True


class Login(faust.Record, serializer="json"):
    """A message of the topic `logins`."""

    event_time: Any
    user_id: str | None = None
    anonymous_id: str | None = None
    success: bool = True


class Answer(faust.Record, serializer="json"):
    """A message of the topic `surveys`."""

    kind: str
    status: str = "completed"
    score: float | None = None


class Session(faust.Record, serializer="json"):
    """What is known of one session."""

    views: int
    begin_ms: int
    end_ms: int


class Engagement:
    """The app, its tables and its agents."""

    def __init__(self, wanted: Task) -> None:
        self.counted: Counter[str] = Counter()
        self.app = app = faust.App(
            wanted.group,
            broker=f"kafka://{wanted.broker}",
            store="memory://",
            datadir=wanted.directory,
            value_serializer="json",
            topic_partitions=PARTITIONS,
            topic_replication_factor=1,
            consumer_auto_offset_reset="earliest",
            web_enabled=False,
            worker_redirect_stdouts=False,
        )
        self.last_seen = app.Table("last_seen", default=int)
        self.sessions = app.Table("sessions_by_id", value_type=Session)
        self.answers = app.Table("answers", default=int)
        app.agent(app.topic(wanted.topic("sessions"), value_type=Step))(self.on_step)
        app.agent(app.topic(wanted.topic("logins"), value_type=Login))(self.on_login)
        app.agent(app.topic(wanted.topic("surveys"), value_type=Answer))(self.on_answer)
        Progress(self.counted, wanted.events, lambda: app.loop.call_soon_threadsafe(self.end)).start()

    async def on_step(self, steps: Any) -> None:
        """Users, and sessions with an id."""
        async for step in steps:
            at_ms = milliseconds(step.event_time)
            if step.interactive:
                self._seen(step.user_id or step.anonymous_id, at_ms)
            if step.session_id is not None:
                views = step.type in VIEWS
                known = self.sessions.get(step.session_id)
                if known is None:
                    self.sessions[step.session_id] = Session(views=int(views), begin_ms=at_ms, end_ms=at_ms)
                else:
                    self.sessions[step.session_id] = Session(
                        views=known.views + views,
                        begin_ms=min(known.begin_ms, at_ms),
                        end_ms=max(known.end_ms, at_ms),
                    )
            self.counted["sessions"] += 1

    async def on_login(self, logins: Any) -> None:
        """Users."""
        async for login in logins:
            if login.success:
                self._seen(login.user_id or login.anonymous_id, milliseconds(login.event_time))
            self.counted["logins"] += 1

    async def on_answer(self, answers: Any) -> None:
        """Answers by kind, status and score."""
        async for answer in answers:
            self.answers[answer_key(answer.kind, answer.status, answer.score)] += 1
            self.counted["surveys"] += 1

    def _seen(self, user: str, at_ms: int) -> None:
        if at_ms > self.last_seen[user]:
            self.last_seen[user] = at_ms

    def end(self) -> None:
        """Tell the numbers, as the tables have them, and end."""
        sessions = [(each.views, each.begin_ms, each.end_ms) for each in self.sessions.values()]
        say_numbers(numbers(self.counted, self.last_seen.values(), sessions, dict(self.answers.items())))
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    faust.Worker(Engagement(task()).app, loglevel="error").execute_from_commandline()
