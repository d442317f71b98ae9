"""A board with everything on: each kind of message, each kind of number, and four segments that are full.

A full segment has more values than are shown by name, so that there is `other`, and users who tell none, so that there
is `unknown`. There are more texts of other labels than one, and fewer than can have a name: two currencies, three types
of transactions, channels and networks, three steps of onboarding and four features with a name.
"""

from collections.abc import Iterator
from itertools import chain, cycle
from typing import Any, NamedTuple

import msgspec

from stream.core.partition.partition import Partition
from stream.core.segments import NAMED_VALUES, SEGMENTS
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS
from stream.export.board import Board
from stream.settings import Settings, load
from stream.telemetry import CHECKPOINT_BOUNDS, LATENCY_BOUNDS, ClosedDayReport, Report, Timings, encode_closed_day
from tests.core.live import deliver
from tests.native import Message

# What a scrape of that stays under.
MOST_SERIES, MOST_BYTES = 10_000, 2_000_000

PARTITIONS = 4
# As long as cohorts are followed, so that there is a number of every kind.
DAYS = 100
NOW_MS = 1_767_225_600_000 + DAYS * DAY_MS + 12 * HOUR_MS

# More values than have a name, and some users who tell none.
_VALUES = NAMED_VALUES + 5
PEOPLE = 3 * _VALUES

_FURTHER = ("accounts", "orders", "contacts", "features", "social", "reviews")
_CURRENCIES, _PURCHASES, _CHANNELS = ("EUR", "USD"), ("shop", "subscription", "upgrade"), ("chat", "mail", "phone")
_NETWORKS = ("instagram", "linkedin", "mastodon")
_INTERACTIONS = ("like", "comment", "share", "save", "mention", "follow")
_SENTIMENTS = ("positive", "neutral", "negative", None)
_STEPS = ("profile", "invite", "import")
# So many days ago these came for the last time: in the window before, whichever it is.
_LEFT = {1: 2, 2: 10, 4: 40}
_CAPEX = {"period": "first", "first": "2026-01-01", "last": "2026-03-31", "amount": "1000", "currency": "EUR"}
_FEATURES = {"search": 3.0, "export": 2.0, "invite": 1.0, "theme": 0.0}


def settings(**overrides: object) -> Settings:
    """Settings with everything on."""
    on: dict[str, object] = {
        "topics.partitions": PARTITIONS,
        "health.enabled": "true",
        "gross_margin": "0.75",
        "onboarding_steps": _STEPS,
        "features": _FEATURES,
        "capex": (_CAPEX,),
        **{f"topics.{kind}": kind for kind in _FURTHER},
    }
    return load(None, {}, {**on, **overrides})


class Told(NamedTuple):
    """A message."""

    partition: int
    topic: str
    fields: dict[str, Any]


class Filled(NamedTuple):
    """A board on which all of that has left its numbers, the reports that it has last heard, and the bytes of days."""

    board: Board
    reports: list[Report]
    day_bytes: list[float]


def happened(*, every_days: int = 1) -> Iterator[Told]:
    """What some people do on each day, or on every so many days; all of them come today and yesterday."""
    turn = cycle(range(5))
    for ago in range(DAYS, -1, -1):
        for number in range(PEOPLE):
            begun = max(0, DAYS - 3 * number // 2)  # so many days ago: somebody yesterday, and some today
            left = _LEFT.get(number, 0)
            is_off = ago > 1 and ago not in (begun, left) and (number + ago) % (every_days * (1 + number % 4))
            if not left <= ago <= begun or is_off:
                continue
            at_ms = NOW_MS - ago * DAY_MS - HOUR_MS
            labels = {} if number % 13 == 0 else dict.fromkeys(SEGMENTS, f"value {number % _VALUES:02}")
            who = {"user_id": f"u{number}", "event_time": at_ms, **labels}
            told = (_first_ring(ago, at_ms, turn), _customer(number, ago, at_ms, begun), _further(number, ago, at_ms))
            for topic, fields in chain.from_iterable(told):
                yield Told(number % PARTITIONS, topic, {**who, **fields})


def _first_ring(ago: int, at_ms: int, turn: Iterator[int]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "logins", {"success": next(turn) > 0}
    views = 1 + next(turn)
    for view in range(views):
        step = {"type": "page_view", "session_id": f"s{ago}", "event_time": at_ms + view * MINUTE_MS}
        yield "sessions", {**step, "engaged_ms": 5_000, "prompted": views > 3}
    for kind, score in (("csat", 1 + next(turn)), ("nps", 2 * next(turn) + 2), ("ces", 1 + next(turn))):
        answer = {"kind": kind, "response_id": f"{kind}-{ago}", "score": score}
        yield "surveys", {**answer, "status": "shown", "event_time": at_ms - 1}
        yield "surveys", answer
    scores = {name: 1 + next(turn) for name in ("effort", "empathy", "understanding", "efficiency")}
    cxi = {"kind": "cxi", "response_id": f"cxi-{ago}", "scores": scores}
    yield "surveys", {**cxi, "status": "shown", "event_time": at_ms - 1}
    yield "surveys", cxi


def _customer(number: int, ago: int, at_ms: int, begun: int) -> Iterator[tuple[str, dict[str, Any]]]:
    if ago == begun:
        step = {"step": (*_STEPS, "tour")[number % 4]}
        for change in ({"type": "signed_up"}, {"type": "onboarding_step", **step}, {"type": "subscribed"}):
            yield "accounts", {**change, "event_time": at_ms - HOUR_MS}
        yield "accounts", {"type": "onboarded"}
    elif ago == 1 and number % 7 == 1:
        yield "accounts", {"type": "cancelled"}
    order = {"order_id": f"o{ago}", "currency": _CURRENCIES[(number + ago) % 2]}
    purchase = {} if number % 11 == 0 else {"transaction_type": _PURCHASES[(number + ago) % 3]}
    yield "orders", {"type": "paid", **order, **purchase, "amount": "20.00"}
    if (number + ago) % 5 == 0:
        yield "orders", {"type": "refunded", **order, "amount": "5.00"}


def _further(number: int, ago: int, at_ms: int) -> Iterator[tuple[str, dict[str, Any]]]:
    conversation = {"conversation_id": f"c{ago}"}
    if number % 11:
        conversation["channel"] = _CHANNELS[(number + ago) % 3]
    for minute, change in enumerate(("opened", "agent_reply", "resolved")):
        if change == "opened" or (number + ago) % 6:  # some wait for an answer
            yield "contacts", {"type": change, **conversation, "event_time": at_ms + minute * MINUTE_MS}
    yield "features", {"feature": (*_FEATURES, "labs")[(number + ago) % 5]}
    network = _NETWORKS[(number + ago) % 3]
    yield "social", {"type": "audience", "network": network, "followers": 100 + number, "reach": 300 + number}
    for index, change in enumerate(_INTERACTIONS):
        mention = {"sentiment": _SENTIMENTS[(number + ago) % 4]} if change == "mention" else {}
        yield "social", {"type": change, "network": network, "post_id": f"p{ago}-{index}", **mention}
    yield "reviews", {"review_id": f"r{ago}", "stars": 1 + (number + ago) % 5}


def filled(used: Settings, *, every_days: int = 1) -> Filled:
    """A board that has heard of all that happened."""
    day_bytes: list[float] = []
    partitions = [Partition(used.rules) for _ in range(PARTITIONS)]
    board = Board(used, now_ms=lambda: NOW_MS)
    for number, topic, fields in happened(every_days=every_days):
        deliver(partitions[number], topic, [Message(msgspec.json.encode(fields))], not_after_ms=NOW_MS)
    reports = []
    for number, partition in enumerate(partitions):
        partition.tick(NOW_MS, behind=())
        partition.update_totals()
        while closed := partition.close_days(count=50):
            for one in closed:
                value = encode_closed_day(ClosedDayReport(number, "worker", NOW_MS, one, 1))
                board.put_day(number, one.day, value)
                day_bytes.append(len(value))
        reports.append(
            Report(
                partition=number,
                worker="worker",
                reported_ms=NOW_MS,
                snapshot=partition.live_snapshot(),
                lag=dict.fromkeys(used.input_topics, 0),
                behind=(),
                event_latency=Timings((1,) * (len(LATENCY_BOUNDS) + 1), 1.0),
                checkpoints=Timings((1,) * (len(CHECKPOINT_BOUNDS) + 1), 1.0),
                recovery_seconds=0.5,
                settings=used.shared,
                epoch=1,
                days_since=partition.progress.closed_since,
                generation=1,
                started_ms=1,
            )
        )
    for report in reports:
        board.put(report)
    return Filled(board, reports, day_bytes[-30:])


def series_of(page: bytes) -> list[str]:
    """The lines of a page that are series."""
    return [line for line in page.decode().splitlines() if not line.startswith("#")]
