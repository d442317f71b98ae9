"""The messages as msgspec structs, for peers whose users would take msgspec. Fields without a name here are skipped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec


class Step(msgspec.Struct, gc=False):
    """A message of the topic `sessions`."""

    type: str
    event_time: datetime | int
    user_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    interactive: bool = True


class Login(msgspec.Struct, gc=False):
    """A message of the topic `logins`."""

    event_time: datetime | int
    user_id: str | None = None
    anonymous_id: str | None = None
    success: bool = True


class Answer(msgspec.Struct, gc=False):
    """A message of the topic `surveys`."""

    kind: str
    status: str = "completed"
    score: float | None = None


decode_step: Callable[[bytes], Step] = msgspec.json.Decoder(Step).decode
decode_login: Callable[[bytes], Login] = msgspec.json.Decoder(Login).decode
decode_answer: Callable[[bytes], Answer] = msgspec.json.Decoder(Answer).decode


def user_of(event: Step | Login) -> str:
    """Whose event it is."""
    return event.user_id or event.anonymous_id or ""


def at_ms_of(event: Step | Login) -> int:
    """An event's time in ms since 1970; the producers of these events send ISO 8601 or ms."""
    at = event.event_time
    return at if isinstance(at, int) else round(at.timestamp() * 1_000)
