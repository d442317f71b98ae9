"""Conversations, features, social networks and reviews of a simulated population, for tests of what people see.

They follow from the logins of the population: who logs in may use features, ask for help, review or share. So nobody is
active because of them who would not be without them.
"""

import random
from collections.abc import Iterable, Iterator, Mapping
from heapq import heappop, heappush
from typing import TypeVar
from zlib import crc32

import msgspec

from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS
from stream.simulate.messages import SimulatedEvent

TOPICS = {f"topics.{kind}": kind for kind in ("contacts", "features", "social", "reviews")}
Value = TypeVar("Value")

# `theme` has a name and no weight; what has none is `other`.
WEIGHTS = {"search": 3.0, "export": 2.0, "invite": 1.0, "theme": 0.0}
_USED = {"search": 0.5, "export": 0.2, "invite": 0.08, "theme": 0.15, "labs": 0.05}
_CHANNELS = {"chat": 5, "mail": 3, "phone": 1}
_STARS = {5: 9, 4: 6, 3: 3, 2: 1, 1: 2}
_NETWORKS = {"instagram": 5, "linkedin": 2, "mastodon": 1}
_INTERACTIONS = {"like": 12, "comment": 3, "share": 2, "save": 2, "mention": 3, "follow": 2}
_SENTIMENTS = {"positive": 5, "neutral": 3, "negative": 2, None: 1}


def with_further_kinds(events: Iterable[SimulatedEvent], *, seed: int = 1) -> Iterator[SimulatedEvent]:
    """The events of a population, and among them those of the further kinds, in order of arrival."""
    coming: list[tuple[int, int, SimulatedEvent]] = []
    made = day = 0
    for event in events:
        more = list(_after_login(event, seed)) if event.topic == "logins" and not event.fault else []
        if event.arrives_at_ms // DAY_MS != day:
            day = event.arrives_at_ms // DAY_MS
            more += _audiences(event.arrives_at_ms, day)
        for one in more:
            made += 1
            heappush(coming, (one.arrives_at_ms, made, one))
        while coming and coming[0][0] <= event.arrives_at_ms:
            yield heappop(coming)[2]
        yield event


def _after_login(login: SimulatedEvent, seed: int) -> Iterator[SimulatedEvent]:
    told = msgspec.json.decode(login.value)
    user, at_ms = told.get("user_id"), login.at_ms
    if not user or not told.get("success", True):
        return
    of = random.Random(crc32(f"{seed} {user} {at_ms}".encode()))

    def event(topic: str, after_ms: float, **fields: object) -> SimulatedEvent:
        return _event(topic, user, at_ms + int(after_ms), **fields)

    for feature, share in _USED.items():
        if of.random() < share:
            yield event("features", of.random() * MINUTE_MS, feature=feature)
    if of.random() < 0.05:
        yield from (event("contacts", after_ms, **fields) for after_ms, fields in _conversation(of, f"{user}-{at_ms}"))
    if of.random() < 0.03:
        yield event("reviews", MINUTE_MS, review_id=f"{user}-{at_ms}", stars=_one_of(of, _STARS))
    if of.random() < 0.15:
        kind = _one_of(of, _INTERACTIONS)
        told_of_mention = {"sentiment": _one_of(of, _SENTIMENTS)} if kind == "mention" else {}
        post = f"p{at_ms // DAY_MS}"
        yield event("social", MINUTE_MS, type=kind, network=_one_of(of, _NETWORKS), post_id=post, **told_of_mention)


def _conversation(of: random.Random, name: str) -> Iterator[tuple[float, dict[str, object]]]:
    """What happens in a conversation, each with how long after the login."""
    fields: dict[str, object] = {"conversation_id": name, "channel": _one_of(of, _CHANNELS)}
    is_outbound = of.random() < 0.2
    at_ms = 2.0 * MINUTE_MS
    yield at_ms, {"type": "opened", "outbound": is_outbound, **fields}
    if of.random() < 0.4:
        yield at_ms + 5_000, {"type": "bot_reply", **fields}
    if is_outbound:
        at_ms += of.lognormvariate(0, 1) * HOUR_MS
        yield at_ms, {"type": "customer_message", **fields}
    for _ in range(of.randint(1, 3)):
        at_ms += of.lognormvariate(-1, 1.2) * HOUR_MS
        yield at_ms, {"type": "agent_reply", **fields}
        at_ms += of.lognormvariate(-1, 1) * HOUR_MS
        yield at_ms, {"type": "customer_message", **fields}
    if of.random() < 0.85:
        yield at_ms + of.lognormvariate(0.5, 1) * HOUR_MS, {"type": "resolved", **fields}


def _audiences(at_ms: int, day: int) -> Iterator[SimulatedEvent]:
    for place, network in enumerate(_NETWORKS):
        followers = 4_000 // (place + 1) + day % 1_000
        reach = {} if place else {"reach": 9_000 + day % 1_000}  # of one network only
        page = f"page-{network}"
        yield _event("social", page, at_ms, type="audience", network=network, followers=followers, **reach)


def _event(topic: str, user: str, at_ms: int, **fields: object) -> SimulatedEvent:
    value = msgspec.json.encode({"user_id": user, "event_time": at_ms, **fields})
    return SimulatedEvent(at_ms, at_ms, topic, user, value, "")


def _one_of(of: random.Random, weights: Mapping[Value, int]) -> Value:
    return of.choices(list(weights), list(weights.values()))[0]
