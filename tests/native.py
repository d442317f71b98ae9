"""The three kinds of native messages that every deployment reads, and what decodes one without a record around it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from stream.core.events import Answer, Event, Login, Step, Summary
from stream.inputs.registry import NATIVE, kinds, reader

SESSIONS, LOGINS, SURVEYS = ("sessions", "logins", "surveys")
TOPICS = (SESSIONS, LOGINS, SURVEYS, "accounts", "orders", "reviews", "features", "social", "contacts")

READERS = {kind: reader(format=NATIVE, kind=kind) for kind in kinds()}


class Message(NamedTuple):
    """A record as Kafka delivers it."""

    value: bytes | None
    offset: int = 0
    timestamp: int = 0
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def _decoder(kind: str) -> Callable[[bytes], Any]:
    return lambda value: READERS[kind](Message(value))


DECODERS: dict[str, Callable[[bytes], Event]] = {kind: _decoder(kind) for kind in TOPICS}
decode_session: Callable[[bytes], Step | Summary] = _decoder(SESSIONS)
decode_login: Callable[[bytes], Login] = _decoder(LOGINS)
decode_survey: Callable[[bytes], Answer] = _decoder(SURVEYS)
