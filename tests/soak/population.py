"""A population that moves on: users arrive without end, stay a few days each, and never come back.

So what a worker must know is always of the same size, and what it need not know any more grows without end. All kinds
of messages are among theirs, with the faults that producers have: late ones, some too late, duplicates, some under
another key, crawlers, broken and oversized ones, and null messages that take a survey answer back.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple

import msgspec

from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS
from tests.native import LOGINS, SESSIONS, SURVEYS

STAYS_AT_MOST_MS: Final = 5 * DAY_MS
LATE_BY_AT_MOST_MS: Final = DAY_MS
_DUPLICATE_AFTER_AT_MOST_MS: Final = 12 * HOUR_MS
# How many of the messages each fault befalls.
_SHARES: Final = {"late": 0.02, "duplicate": 0.02, "misrouted": 0.02}
# What comes on top of them, as shares of them.
_ON_TOP: Final = {"too_late": 0.004, "bot": 0.005, "broken": 0.005, "too_large": 0.000_1}
_KINDS: Final = ({"kind": "csat"}, {"kind": "nps"}, {"kind": "ces"}, {"kind": "cxi"})
_DIMENSIONS: Final = ("effort", "empathy", "understanding", "efficiency")

_PLATFORMS: Final = ("web", "ios", "android")
_PLANS: Final = ("free", "pro")

Event = dict[str, Any]


class Message(NamedTuple):
    """A record on its way to Kafka, and the event that a recount takes it for."""

    arrives_ms: int
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    event: bytes  # what a null message means; else the value
    is_too_late: bool = False  # on purpose

    @property
    def mark(self) -> bytes:
        """What it is known by in the dead letters, also as a null message or after a detour."""
        return mark_of(self.key, self.value, dict(self.headers))


class _Retraction(msgspec.Struct):
    response_id: str
    status: Literal["retracted"]


_retraction = msgspec.json.Decoder(_Retraction).decode


def mark_of(key: bytes | None, value: bytes | None, headers: Mapping[str, bytes]) -> bytes:
    """The value of a message. Null messages are forwarded as retractions: both are known by their response."""
    if value is None:
        return b"null " + (headers.get("response_id") or key or b"")
    try:
        return b"null " + _retraction(value).response_id.encode()
    except msgspec.MsgspecError:
        return value


class Moving:
    """The messages of a moving population, in order of arrival from `start_ms` on; a seed gives the same ones.

    `late_after_ms` is the lateness that is allowed: some messages come later than that. Those of more than
    `largest_bytes` are too large.
    """

    def __init__(
        self, *, seed: int, users_a_day: float, start_ms: int, late_after_ms: int, largest_bytes: int = 1_000_000
    ) -> None:
        self._chance = random.Random(seed)
        self._users_an_hour = users_a_day / 24
        self._start_ms = start_ms
        self._late_after_ms = late_after_ms
        self._largest_bytes = largest_bytes
        self.users = 0  # who have arrived so far
        self._serial = 0

    def messages(self) -> Iterator[Message]:
        """Every message, without end."""
        arriving_in: defaultdict[int, list[Message]] = defaultdict(list)
        hour = self._start_ms // HOUR_MS
        due = 0.0
        while True:
            due += self._users_an_hour
            while self.users < due:
                self.users += 1
                for message in self._of_user(f"u{self.users:x}", hour * HOUR_MS):
                    for its in self._disturbed(message):
                        arriving_in[its.arrives_ms // HOUR_MS].append(its)
            # Nothing arrives before its user does, so no later hour can add to this one.
            yield from sorted(arriving_in.pop(hour, ()), key=attrgetter("arrives_ms"))
            hour += 1

    # -- what users do -------------------------------------------------------------------------------------------------

    def _of_user(self, name: str, hour_ms: int) -> Iterator[Message]:
        chance = self._chance
        who: Event = {"anonymous_id": name} if chance.random() < 0.1 else {"user_id": name}
        if chance.random() < 0.8:
            who |= self._labels(hour_ms)
        moments = sorted(chance.randrange(STAYS_AT_MOST_MS) for _ in range(chance.choice((0, 0, 1, 2))))
        for moment_ms in (0, *moments):
            yield from self._visit(who, name, hour_ms + moment_ms + chance.randrange(HOUR_MS))

    def _labels(self, at_ms: int) -> Event:
        """What segments go by. A new version of the app comes out each week, so there are ever more of them."""
        chance = self._chance
        version = f"{at_ms // (7 * DAY_MS)}.{chance.choice((0, 0, 0, 1))}"
        labels = {"platform": chance.choice(_PLATFORMS), "country": f"C{int(chance.expovariate(0.1))}"}
        return {**labels, "plan": chance.choice(_PLANS), "app_version": version}

    def _visit(self, who: Event, name: str, at_ms: int) -> Iterator[Message]:
        chance = self._chance
        if "user_id" in who and chance.random() < 0.5:
            success = chance.random() < 0.9
            yield self._message(LOGINS, {**who, "event_time": at_ms, "success": success}, key=name)
        way = chance.random()
        if way < 0.1:
            yield from self._summaries(who, name, at_ms)
        else:
            yield from self._steps(who, name, at_ms, with_id=way < 0.7)
        if chance.random() < 0.3:
            yield from self._response(who, name, at_ms + 10 * MINUTE_MS)

    def _steps(self, who: Event, name: str, at_ms: int, *, with_id: bool) -> Iterator[Message]:
        chance = self._chance
        session = {"session_id": f"s{self._next()}"} if with_id else {}
        steps = chance.randrange(1, 5)
        for number in range(steps):
            told: Event = {**who, **session, "type": chance.choice(("page_view", "screen_view", "heartbeat", "event"))}
            if number == steps - 1 and chance.random() < 0.3:
                told["type"] = "end"
            if chance.random() < 0.3:
                told["engaged_ms"] = chance.randrange(60_000)
            if chance.random() < 0.1:
                told["key_event" if told["type"] == "event" else "interactive"] = told["type"] == "event"
            yield self._message(SESSIONS, {**told, "event_time": at_ms}, key=name)
            at_ms += chance.randrange(1, 10 * MINUTE_MS)

    def _summaries(self, who: Event, name: str, at_ms: int) -> Iterator[Message]:
        session, ended_ms = f"s{self._next()}", at_ms
        for revision in range(1, self._chance.randrange(2, 4)):
            ended_ms += self._chance.randrange(20 * MINUTE_MS)
            told = {"type": "summary", "session_id": session, "started_at": at_ms, "ended_at": ended_ms}
            told |= {"page_views": self._chance.randrange(5), "revision": revision, "event_time": ended_ms}
            yield self._message(SESSIONS, {**who, **told}, key=name)

    def _response(self, who: Event, name: str, at_ms: int) -> Iterator[Message]:
        """A survey response in its states, keyed by the user or by itself."""
        chance = self._chance
        told: Event = {**who, "response_id": f"r{self._next()}", **chance.choice(_KINDS)}
        key = str(told["response_id"]) if chance.random() < 0.5 else name
        if chance.random() < 0.3:
            yield self._message(SURVEYS, {**told, "status": "shown", "event_time": at_ms}, key=key)
        if told["kind"] == "cxi":
            told["scores"] = {dimension: chance.randrange(1, 6) for dimension in _DIMENSIONS}
        else:
            told["score"] = chance.randrange(0, 11) if told["kind"] == "nps" else chance.randrange(1, 6)
        if chance.random() < 0.3 and told["kind"] in ("csat", "ces"):
            told["interaction_id"] = f"i{told['response_id']}"
        at_ms += chance.randrange(10 * MINUTE_MS)
        answer = self._message(SURVEYS, {**told, "event_time": at_ms}, key=key)
        yield answer
        if chance.random() < 0.1:
            yield self._taken_back(answer, told, at_ms + chance.randrange(2 * HOUR_MS))

    def _taken_back(self, answer: Message, told: Event, at_ms: int) -> Message:
        """A null message: keyed by the response, or by the user with the response in a header."""
        response_id = str(told["response_id"])
        by_response = answer.key == response_id.encode()
        headers = [] if by_response else [("response_id", response_id.encode())]
        who: Event = {name: told[name] for name in ("user_id", "anonymous_id") if name in told}
        event: Event = {**who, "response_id": response_id, "kind": "csat", "status": "retracted", "event_time": at_ms}
        return Message(at_ms, SURVEYS, answer.key, None, headers, msgspec.json.encode(event))

    def _message(self, topic: str, told: Event, *, key: str) -> Message:
        value = msgspec.json.encode({**told, "event_id": self._next()})
        return Message(told["event_time"], topic, key.encode(), value, (), value)

    def _next(self) -> str:
        self._serial += 1
        return f"{self._serial:x}"

    # -- what goes wrong -----------------------------------------------------------------------------------------------

    def _disturbed(self, message: Message) -> Iterator[Message]:
        """What arrives of a message. Those of surveys keep their order: a null message follows what it takes back."""
        chance = self._chance
        fate = chance.random()
        if message.topic == SURVEYS or fate >= sum(_SHARES.values()):
            yield message
        elif fate < _SHARES["late"]:
            yield message._replace(arrives_ms=message.arrives_ms + chance.randrange(LATE_BY_AT_MOST_MS))
        elif fate < _SHARES["late"] + _SHARES["duplicate"]:
            again_ms = message.arrives_ms + chance.randrange(_DUPLICATE_AFTER_AT_MOST_MS)
            yield from (message, message._replace(arrives_ms=again_ms))
        else:
            yield message._replace(key=f"x{chance.randrange(1 << 40):x}".encode())
        for fault, share in _ON_TOP.items():
            if chance.random() < share:
                yield self._added(fault, message)

    def _added(self, fault: str, beside: Message) -> Message:
        at_ms, name = beside.arrives_ms, f"y{self._chance.randrange(1_000)}"
        if fault == "too_late":
            told_ms = at_ms - self._late_after_ms - self._chance.randrange(2 * DAY_MS, 10 * DAY_MS)
            late = self._message(LOGINS, {"user_id": name, "event_time": told_ms}, key=name)
            return late._replace(arrives_ms=at_ms, is_too_late=True)
        if fault == "bot":
            told = {"anonymous_id": name, "type": "page_view", "is_bot": True, "event_time": at_ms}
            return self._message(SESSIONS, told, key=name)
        value = b'{"user_id":"%s","event_time":' % self._next().encode()
        if fault == "too_large":
            value += b"x" * self._largest_bytes
        return Message(at_ms, beside.topic, name.encode(), value, (), value)
