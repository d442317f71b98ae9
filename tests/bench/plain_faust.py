"""The peer: the same job as a good Faust user writes it from Faust's documentation.

One agent a topic, `faust.Record` models in JSON, a table for each state, the memory store with its changelog. It keeps
each user's last activity, the users active and the logins in each hour, sessions by id with their views, begin and
end, and answers by kind and score, and writes a table only where something has changed.

It computes fewer numbers than `engagement worker`: no rolling distinct counts, no sessions by a 30-minute gap, no
quantiles, no closed days, no scales of surveys, no corrections, no events told twice; and after a crash some events
count twice.

    python -m tests.bench.plain_faust BROKER APP_ID PREFIX DIRECTORY

reads the topics PREFIXsessions, PREFIXlogins and PREFIXsurveys, keeps its files in DIRECTORY, and prints its clock and
how many events it has counted once a second.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta
from typing import Any

import faust

PARTITIONS = 4

_HOUR_SECONDS = 3_600
_VIEWS = ("page_view", "screen_view")


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

    event_time: Any
    kind: str
    status: str = "completed"
    score: float | None = None


class Session(faust.Record, serializer="json"):
    """What is known of one session."""

    first: float
    last: float
    views: int


def seconds_of(event_time: Any) -> float:
    """An event's time as seconds since 1970: producers send ISO 8601, or a number of s, ms or us."""
    if isinstance(event_time, str):
        return datetime.fromisoformat(event_time.replace("Z", "+00:00")).timestamp()
    return float(event_time) / (1 if event_time < 1e11 else 1e3 if event_time < 1e14 else 1e6)


def _hourly(app: faust.App, name: str) -> Any:
    """A table of counts by hour of event time."""
    counts: Any = app.Table(name, default=int).tumbling(timedelta(hours=1), expires=timedelta(days=30))
    return counts.relative_to(lambda event: seconds_of(event.value.event_time))


class Engagement:
    """The app, its tables and its agents."""

    def __init__(self, broker: str, app_id: str, prefix: str, directory: str) -> None:
        self.counted = 0
        self.app = app = faust.App(
            app_id,
            broker=f"kafka://{broker}",
            store="memory://",
            datadir=directory,
            value_serializer="json",
            topic_partitions=PARTITIONS,
            topic_replication_factor=1,
            consumer_auto_offset_reset="earliest",
            web_enabled=False,
            worker_redirect_stdouts=False,
        )
        self.last_seen = app.Table("last_seen", default=float)
        self.sessions = app.Table("sessions_by_id", value_type=Session)
        self.answers = app.Table("answers", default=int)
        self.active_users = _hourly(app, "active_users")
        self.logins = _hourly(app, "logins")
        app.agent(app.topic(f"{prefix}sessions", value_type=Step))(self.on_step)
        app.agent(app.topic(f"{prefix}logins", value_type=Login))(self.on_login)
        app.agent(app.topic(f"{prefix}surveys", value_type=Answer))(self.on_answer)
        app.timer(1.0)(self.tell)

    async def on_step(self, steps: Any) -> None:
        """Users, and sessions with an id."""
        async for step in steps:
            at = seconds_of(step.event_time)
            if step.interactive:
                self._seen(step.user_id or step.anonymous_id, at)
            if step.session_id is not None:
                views = step.type in _VIEWS
                known = self.sessions.get(step.session_id)
                if known is None:
                    self.sessions[step.session_id] = Session(first=at, last=at, views=int(views))
                else:
                    self.sessions[step.session_id] = Session(
                        first=min(known.first, at), last=max(known.last, at), views=known.views + views
                    )
            self.counted += 1

    async def on_login(self, logins: Any) -> None:
        """Users, and logins of each hour."""
        async for login in logins:
            if login.success:
                self._seen(login.user_id or login.anonymous_id, seconds_of(login.event_time))
            self.logins["success" if login.success else "failure"] += 1
            self.counted += 1

    async def on_answer(self, answers: Any) -> None:
        """Answers by kind and score."""
        async for answer in answers:
            self.answers[f"{answer.kind}/{answer.status}/{answer.score}"] += 1
            self.counted += 1

    def _seen(self, user: str, at: float) -> None:
        before = self.last_seen[user]
        if at > before:
            self.last_seen[user] = at
            if at // _HOUR_SECONDS != before // _HOUR_SECONDS:
                self.active_users["users"] += 1

    async def tell(self) -> None:
        """Say how far it has got."""
        sys.stdout.write(f"counted {time.time()} {self.counted}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _, broker, app_id, prefix, directory = sys.argv
    faust.Worker(Engagement(broker, app_id, prefix, directory).app, loglevel="error").execute_from_commandline()
