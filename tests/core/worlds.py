"""Random histories for property tests: the events, their order of arrival, and what the worker does in between.

Many times are near the limits of rules: at a timeout and just beside it, at minutes, hours and local midnights, and on
days when the clocks change.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

from hypothesis import strategies as st

from stream.core.business_hours import BusinessHours
from stream.core.rules import Capex, Health, Rules
from stream.core.segments import SEGMENTS
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS, Days
from tests.core.oracle_events import EventFields, moment, who

TIMEOUT = 30 * MINUTE_MS

# Midnights UTC: a plain one, and those of the days on which New York and Berlin change their clocks. And local ones
# that lie between two hours, or of the days before clocks change by half an hour or by two.
ANCHORS = {
    "UTC": (1_704_067_200_000,),
    "America/New_York": (1_710_028_800_000, 1_730_592_000_000),  # 2024-03-10 has 23 h, 2024-11-03 25 h
    "Europe/Berlin": (1_711_843_200_000, 1_729_987_200_000),  # 2024-03-31, 2024-10-27
    "Asia/Kathmandu": (1_704_046_500_000,),  # 2024-01-01, UTC+05:45
    "Australia/Lord_Howe": (1_712_322_000_000, 1_728_048_600_000),  # 2024-04-06 and 2024-10-05
    "Antarctica/Troll": (1_711_756_800_000, 1_729_893_600_000),  # 2024-03-30 and 2024-10-26
}

Action = Literal["", "settle", "compare", "checkpoint", "forget", "restart"]
_ACTIONS: tuple[Action, ...] = ("", "", "settle", "compare", "checkpoint", "forget", "restart")


@dataclass(frozen=True)
class Arrival:
    """An event, when it comes in, and what the worker does after it."""

    event: EventFields
    at_ms: int
    then: Action


@dataclass(frozen=True)
class World:
    """A history in the order of arrival, with the rules under which it is counted."""

    rules: Rules
    arrivals: list[Arrival]
    clocks: list[int]  # when to look, once all has arrived
    partitions: int

    @property
    def events(self) -> list[EventFields]:
        return [arrival.event for arrival in self.arrivals]


USERS: tuple[EventFields, ...] = (
    {"user_id": "ann"},
    {"user_id": " ann ", "anonymous_id": "device"},  # the same one
    {"user_id": "undefined", "anonymous_id": "ann"},  # the third one below
    {"user_id": 7},
    {"user_id": "7", "anonymous_id": ""},  # the same one
    {"anonymous_id": "ann"},  # another one
    {"user_id": "bob"},
    {"user_id": "zoë"},
)

_OFFSETS = (0, 1, 9_999, 10_000, 59_999, MINUTE_MS, TIMEOUT - 1, TIMEOUT, TIMEOUT + 1, 2 * TIMEOUT)
# What is told of a thing on other days than before.
_DAYS_LATER = (DAY_MS - TIMEOUT, DAY_MS, 2 * DAY_MS)
_HOUR_EDGES = (0, 1, HOUR_MS - 1, HOUR_MS // 2)


_Value = TypeVar("_Value")


# Hypothesis looks at each new strategy before it draws from it, which takes longer than to draw. So all that are asked
# for again and again are made once.
@cache
def _places(count: int) -> st.SearchStrategy[int]:
    return st.integers(0, count - 1)


@cache
def _lists_of(offsets: tuple[int, ...], max_size: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.sampled_from(offsets), min_size=1, max_size=max_size)


@cache
def _hours(count: int) -> st.SearchStrategy[int]:
    return st.one_of(st.integers(0, 30), st.integers(0, count - 1))


def chosen(draw: st.DrawFn, among: Sequence[_Value]) -> _Value:
    """Draw one of these, as from `sampled_from`."""
    return among[draw(_places(len(among)))]


_WITHIN_AN_HOUR = st.one_of(st.sampled_from(_HOUR_EDGES), st.integers(0, HOUR_MS - 1))


def _moment(draw: st.DrawFn, base: int, span_days: int) -> int:
    """A time within the span, near an edge more often than not."""
    return base + draw(_hours(24 * span_days)) * HOUR_MS + draw(_WITHIN_AN_HOUR)


# Some ids that mean the same, some that are none, and those that could be confused with names of our own.
_LABELS: st.SearchStrategy[EventFields] = st.fixed_dictionaries(
    {},
    optional={
        "platform": st.sampled_from(("web", " web ", "ios", "Web", "", None, 3.1, {"os": "ios"})),
        "plan": st.sampled_from(("free", "other", "unknown", "Other", "null", "a\x07b")),
        "country": st.sampled_from(("DE", "FR")),
        "app_version": st.sampled_from(("1.10", 7, "7", True, ["7"])),
    },
)

_IDS = st.sampled_from(("e1", "e2"))
_OF_STEPS: st.SearchStrategy[EventFields] = st.fixed_dictionaries(
    {},
    optional={
        "event_id": _IDS,
        "engaged_ms": st.sampled_from((0, 1, 5_000, 9_999, 10_000, DAY_MS)),
        "key_event": st.booleans(),
        "interactive": st.sampled_from((True, True, False)),
        "in_session": st.sampled_from((True, True, False)),
        "prompted": st.booleans(),
    },
)
_OF_SUMMARIES: st.SearchStrategy[EventFields] = st.fixed_dictionaries(
    {},
    optional={
        "key_events": st.integers(0, 1),
        "engaged_ms": st.sampled_from((0, 9_999, 10_000)),
        "prompted": st.booleans(),
    },
)
_OF_LOGINS: st.SearchStrategy[EventFields] = st.fixed_dictionaries(
    {}, optional={"success": st.booleans(), "event_id": _IDS}
)
_OF_ORDERS: st.SearchStrategy[EventFields] = st.fixed_dictionaries(
    {},
    optional={
        "margin": st.sampled_from((0, 0.25, "0.333", 1)),
        "transaction_type": st.sampled_from(("web", " web ", "store", "", "unknown", "other", None, 3)),
    },
)
_STARS = st.sampled_from(({"stars": 1}, {"stars": 3.0}, {"stars": 5, "status": "published"}, {"stars": 4}))
_OF_REVIEWS: st.SearchStrategy[EventFields] = st.one_of(
    _STARS, _STARS, st.sampled_from(({"status": "removed"}, {"status": "removed", "stars": 2}))
)

# Draws something that happens: from when on, the number of it, and whether it takes ids that others take too.
Happening = Callable[[st.DrawFn, int, int, bool], list[dict[str, Any]]]


def _steps(draw: st.DrawFn, start: int, number: int, reused: bool, *, ids: bool) -> list[dict[str, Any]]:
    """A burst of steps with or without a session id. No pause in it is longer than two timeouts."""
    session = chosen(draw, ("s1", "s2")) if reused else f"s{number}"
    steps = []
    offsets = (*_OFFSETS, DAY_MS, DAY_MS + 1, DAY_MS + TIMEOUT) if ids else _OFFSETS
    for offset in draw(_lists_of(offsets, 5)):
        kinds = ("page_view", "screen_view", "heartbeat", "event", "start", "end")
        event: dict[str, Any] = {
            "topic": "sessions",
            "event_time": start + offset,
            "type": chosen(draw, kinds),
        }
        if ids:
            event["session_id"] = session
        event |= draw(_OF_STEPS)
        steps.append(event)
    return steps


def steps_by_id(draw: st.DrawFn, start: int, number: int, reused: bool) -> list[dict[str, Any]]:
    """Steps that carry a session id."""
    return _steps(draw, start, number, reused, ids=True)


def steps_by_gap(draw: st.DrawFn, start: int, number: int, reused: bool) -> list[dict[str, Any]]:
    """Steps without session id."""
    return _steps(draw, start, number, reused, ids=False)


def summaries(draw: st.DrawFn, start: int, number: int, reused: bool) -> list[dict[str, Any]]:
    """Revisions of a session, with some of its steps."""
    session = chosen(draw, ("s1", "s2")) if reused else f"s{number}"
    long = reused and draw(st.booleans())
    event = []
    for revision in draw(st.lists(st.integers(0, 2), min_size=1, max_size=3)):
        offsets = (*_OFFSETS, *_DAYS_LATER, DAY_MS + 1) if long else _OFFSETS
        first = chosen(draw, offsets)
        ended = max(first, chosen(draw, offsets))
        summary = {
            "topic": "sessions",
            "type": "summary",
            "session_id": session,
            "event_time": start + chosen(draw, (ended, ended + 5 * DAY_MS)),  # when it was sent
            "started_at": start + first,
            "ended_at": start + ended,
            "page_views": draw(st.integers(0, 3)),
        }
        event.append({**summary, "revision": revision, **draw(_OF_SUMMARIES)})
    return event + (steps_by_id(draw, start, number, reused) if draw(st.booleans()) else [])


def logins(draw: st.DrawFn, start: int, number: int, reused: bool) -> list[dict[str, Any]]:
    """Logins, some failed."""
    offsets = draw(_lists_of(_OFFSETS, 4))
    return [{"topic": "logins", "event_time": start + offset, **draw(_OF_LOGINS)} for offset in offsets]


def answers(draw: st.DrawFn, start: int, number: int, reused: bool) -> list[dict[str, Any]]:
    """States of one response of any kind."""
    kind = chosen(draw, ("csat", "nps", "ces", "cxi"))
    response = f"{kind}-{draw(st.integers(0, 2)) if reused else number}"
    event = []
    for offset in draw(_lists_of((*_OFFSETS, *_DAYS_LATER), 3)):
        status = chosen(draw, ("completed", "completed", "partial", "dismissed", "shown", "retracted"))
        state: dict[str, Any] = {"topic": "surveys", "event_time": start + offset, "response_id": response}
        state |= {"kind": kind, "status": status}
        if status == "completed" or draw(st.booleans()):
            state |= _content(draw, kind)
        if draw(st.booleans()):
            state |= draw(_LABELS)
        if draw(st.booleans()):
            state["interaction_id"] = chosen(draw, ("call-1", "call-2", 3, "3", "null", ""))
        event.append(state)
    return event


def accounts(draw: st.DrawFn, start: int, number: int, reused: bool) -> list[dict[str, Any]]:
    """What happens to an account, in any order of time; cancellations may lie in the future."""
    changes = (
        *("signed_up", "onboarding_step", "onboarded", "trial_started", "subscribed", "subscribed", "renewed"),
        *("paused", "resumed", "cancelled", "cancelled", "newsletter_joined", "newsletter_left"),
        *("loyalty_joined", "loyalty_left"),
    )
    events = []
    for offset in draw(_lists_of((*_OFFSETS, *_DAYS_LATER, 7 * DAY_MS), 6)):
        change = chosen(draw, changes)
        event = {"topic": "accounts", "event_time": start + offset, "type": change}
        if change == "onboarding_step":
            event["step"] = chosen(draw, ("profile", " invite ", "tour", 3))
        if change == "cancelled":
            later = chosen(draw, (None, -HOUR_MS, 0, HOUR_MS, DAY_MS, 5 * DAY_MS, 30 * DAY_MS))
            event["effective_at"] = None if later is None else start + offset + later
        events.append(event)
    return events


def orders(draw: st.DrawFn, start: int, number: int, reused: bool) -> list[dict[str, Any]]:
    """Versions of an order and of its refunds, in any order of time; some refunds are of no order, or of too much."""
    order = chosen(draw, ("o1", "o2", 3, "3")) if reused else f"o{number}"
    events = []
    for offset in draw(_lists_of((*_OFFSETS, *_DAYS_LATER), 5)):
        kind = chosen(draw, ("paid", "paid", "refunded"))
        currency, amount = chosen(draw, _AMOUNTS)
        event = {"topic": "orders", "event_time": start + offset, "type": kind, "order_id": order}
        event |= {"amount": amount, "currency": currency}
        if kind == "refunded":
            event |= chosen(draw, ({}, {"refund_id": "r1"}, {"refund_id": "r2"}, {"refund_id": ""}))
        else:
            event |= draw(_OF_ORDERS)
        events.append(event)
    return events


def reviews(draw: st.DrawFn, start: int, number: int, reused: bool) -> list[dict[str, Any]]:
    """Versions of a review, in any order of time."""
    review = chosen(draw, ("r1", 3, "3")) if reused else f"r{number}"
    events = []
    for offset in draw(_lists_of((*_OFFSETS, *_DAYS_LATER), 5)):
        event = {"topic": "reviews", "event_time": start + offset, "review_id": review}
        events.append({**event, **draw(_OF_REVIEWS)})
    return events


def features(draw: st.DrawFn, start: int, number: int, reused: bool) -> list[dict[str, Any]]:
    """Uses of features, some of them by nobody."""
    events = []
    for offset in draw(_lists_of((*_OFFSETS, *_DAYS_LATER), 5)):
        name = chosen(draw, ("search", " search ", "export", "other", "7", 7, "tour"))
        event = {"topic": "features", "event_time": start + offset, "type": "used", "feature": name}
        event |= chosen(draw, ({}, {}, {"interactive": True}, {"interactive": False}))
        events.append({**event, **draw(_LABELS)})
    return events


def social(draw: st.DrawFn, start: int, number: int, reused: bool) -> list[dict[str, Any]]:
    """Interactions of one kind that are taken back and done again, or the audience of a page."""
    network, kind = chosen(draw, ("a", " a ", "b")), chosen(draw, (*_INTERACTIONS, "audience"))
    thing = chosen(draw, ("i1", "i2")) if reused else f"i{number}"
    events = []
    for offset in draw(_lists_of((*_OFFSETS, *_DAYS_LATER), 5)):
        event = {"topic": "social", "event_time": start + offset, "network": network, "type": kind}
        if kind == "audience":
            told = ({"followers": 5}, {"followers": 0, "reach": 9}, {"reach": 100}, {"followers": 7, "sentiment": 3})
            events.append({**event, **chosen(draw, told)})
            continue
        is_named = draw(st.booleans()) or kind not in ("comment", "mention")
        if is_named:
            event |= {"type": chosen(draw, (kind, kind, f"un{kind}")), "interaction_id": thing}
        event |= chosen(draw, ({}, {"post_id": "p"}, {"post_id": 3, "event_id": "e"}))
        event |= chosen(draw, ({}, {"sentiment": "positive"}, {"sentiment": "negative"}, {"sentiment": None}))
        events.append(event)
    return events


def contacts(draw: st.DrawFn, start: int, number: int, reused: bool) -> list[dict[str, Any]]:
    """What happens in a conversation, in any order of time."""
    conversation = chosen(draw, ("c1", "c2", 3, "3")) if reused else f"c{number}"
    kinds = [*("opened", "customer_message", "customer_message", "bot_reply", "agent_reply", "agent_reply")]
    kinds += ["resolved", "resolved", "reopened", "reopened", "deleted"]
    events = []
    offsets = (*_OFFSETS, *_DAYS_LATER, 8 * DAY_MS)
    for offset in draw(_lists_of(offsets, 7)):
        event = {"topic": "contacts", "event_time": start + offset, "conversation_id": conversation}
        event["type"] = chosen(draw, kinds[:-1] if draw(st.booleans()) else kinds)
        event |= chosen(draw, ({}, {}, {"channel": "chat"}, {"channel": " mail "}, {"channel": "unknown"}))
        event |= chosen(draw, ({}, {}, {}, {"outbound": True}, {"outbound": False}))
        event |= chosen(draw, _MERGES)
        events.append(event)
    return events


_HOURS = BusinessHours(
    "Europe/Berlin",
    {"mon": ((540, 720), (780, 1_020)), "wed": ((0, 1_440),), "fri": ((540, 1_020),), "sun": ((120, 180),)},
    [dt.date(2024, 1, 3), dt.date(2024, 3, 8)],
)
_MERGES: tuple[EventFields, ...] = (*({},) * 12, {"merged_into": "c9"}, {"merged_into": " "})
_INTERACTIONS = ("like", "comment", "share", "save", "mention", "follow")
_AMOUNTS = (
    *(("EUR", amount) for amount in (0, 1, "9.99", 10.5, "20.00", 100)),
    *(("JPY", amount) for amount in (0, 1, 500, "20")),
    ("BHD", "1.001"),
    ("USD", 3),
)


def _content(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    if kind == "cxi":
        names = ("effort", "empathy", "understanding", "efficiency")
        return {"scores": {name: draw(st.integers(1, 5)) for name in names}}
    if kind == "nps":
        return {"score": draw(st.integers(0, 10))}
    scales = ((1, 5), (0, 10), (0, 1), (1, 3), (1, 4), (1, 8), (0, 100))
    told = chosen(draw, (None, *scales))
    scale = {} if told is None else {"scale_min": told[0], "scale_max": told[1]}
    low, high = scale.get("scale_min", 1), scale.get("scale_max", 7 if kind == "ces" else 5)
    turned = {"higher_is": chosen(draw, ("easier", "harder"))} if draw(st.booleans()) else {}
    return {**scale, **turned, "score": draw(st.integers(low, high))}


_WINDOWS: tuple[dict[str, tuple[str, ...]], ...] = (
    {},
    {
        "activity": ("5m",),
        "sessions": ("10m",),
        "surveys": ("15m",),
        "orders": ("15m",),
        "accounts": ("15m",),
        "reviews": ("15m",),
        "social": ("15m",),
        "contacts": ("15m",),
        "features": ("5m",),
        "segments_activity": ("5m",),
    },
    {
        "activity": ("90m", "1d"),
        "sessions": ("1h", "150m", "1d"),
        "surveys": ("1d", "3h"),
        "orders": ("1d", "3h"),
        "accounts": ("1d", "3h"),
        "reviews": ("1d", "3h"),
        "social": ("1d", "3h"),
        "contacts": ("1d", "3h"),
        "features": ("90m", "1d"),
        "segments_activity": ("1d", "90m"),
        "segments_sessions": ("150m", "1d"),
        "segments_surveys": ("3h", "1d"),
    },
    {
        "activity": ("1d", "2d", "26h", "40d"),
        "sessions": ("7d",),
        "surveys": ("1d", "7d"),
        "orders": ("2d", "26h"),
        "accounts": ("2d", "26h"),
        "reviews": ("2d", "26h"),
        "social": ("2d", "26h"),
        "contacts": ("2d", "26h"),
        "features": ("2d", "26h"),
        "segments_activity": ("26h", "1d", "2d"),
        "segments_surveys": ("1d", "7d"),
    },
)


@st.composite
def worlds(draw: st.DrawFn, *families: Happening, zones: tuple[str, ...] = ("UTC",), span_days: int = 12) -> World:
    """A history of the families, with rules under which no event is late."""
    zone = chosen(draw, zones)
    base = chosen(draw, ANCHORS[zone])
    # Short lateness lets rows settle in between.
    reused = draw(st.booleans())
    delay_ms = chosen(draw, (0, 2 * HOUR_MS, 3 * DAY_MS, (span_days + 4) * DAY_MS))
    rules = Rules(
        days=Days(zone),
        session_timeout_ms=TIMEOUT,
        # A session of an hour, or of two days where ids are used again, is not late at its start either.
        allowed_lateness_ms=delay_ms + 2 * HOUR_MS + (2 * DAY_MS if reused else 0),
        close_after_ms=chosen(draw, (0, HOUR_MS, 3 * HOUR_MS)),
        segments=chosen(draw, (SEGMENTS, SEGMENTS, SEGMENTS[:1], SEGMENTS[1:], ())),
        windows=chosen(draw, _WINDOWS),
        memory_days=chosen(draw, (400, 400, 1)),
        refund_wait_ms=chosen(draw, (0, DAY_MS, 3 * DAY_MS)),
        onboarding_steps=chosen(draw, ((), ("profile", "invite"))),
        features=chosen(draw, ({}, {"search": 3, "export": 1.5}, {"search": 0, "7": 2})),
        contact_hours=chosen(draw, (None, None, _HOURS)),
        health=chosen(draw, (None, Health(), Health(weights=(1, 0, 2, 1, 0.5), target_days=2))),
        gross_margin=chosen(draw, (None, 0.5)),
        capex=chosen(draw, ((), _capex(base, zone))),
    )
    happened: list[EventFields] = []
    for number in range(draw(st.integers(1, 6))):
        person = chosen(draw, (USERS[0], *USERS))  # the first one more often: rows have a past
        family = chosen(draw, families)
        happened += [{**person, **event} for event in family(draw, _moment(draw, base, span_days), number, reused)]
    happened = list({_identity(event): event for event in happened}.values())
    happened += draw(st.lists(st.sampled_from(happened), max_size=4))
    if draw(st.booleans()):  # the same event sent twice may tell another value
        happened = [event if event["topic"] == "surveys" else {**event, **draw(_LABELS)} for event in happened]
    return _arriving(draw, happened, rules, delay_ms)


def _capex(base: int, zone: str) -> tuple[Capex, ...]:
    first = Days(zone).day_of(base)
    return Capex("spring", first, first + 4, 5_000, "EUR"), Capex("nothing", first, first + 9, 0, "JPY")


def _arriving(draw: st.DrawFn, happened: list[EventFields], rules: Rules, delay_ms: int) -> World:
    """The events in order of arrival. A clock may be wrong by an hour, and an event as late as is allowed."""
    delays = st.one_of(st.just(0), st.integers(-HOUR_MS, delay_ms), st.sampled_from((-HOUR_MS, delay_ms)))
    actions: st.SearchStrategy[Action] = st.sampled_from(_ACTIONS)
    arrivals = [Arrival(event, moment(event) + draw(delays), draw(actions)) for event in happened]
    arrivals.sort(key=lambda arrival: arrival.at_ms)
    later = draw(
        st.lists(st.sampled_from((0, MINUTE_MS, TIMEOUT, HOUR_MS, DAY_MS, 6 * DAY_MS)), min_size=1, max_size=3)
    )
    clocks = [arrivals[-1].at_ms + sum(later[: place + 1]) for place in range(len(later))]
    return World(rules, arrivals, clocks, draw(st.integers(1, 3)))


def _identity(event: EventFields) -> tuple[object, ...]:
    """The identity of an event, which may also be two states of a response that the contract can't rank."""
    fields = (
        *("topic", "session_id", "type", "event_id", "response_id", "status", "revision"),
        *("order_id", "refund_id", "amount", "currency", "margin", "transaction_type", "step", "effective_at"),
        *("review_id", "stars", "feature"),
        *("network", "post_id", "sentiment", "followers", "reach"),
        *("conversation_id", "channel", "outbound", "merged_into"),
    )
    success = event.get("success", True) if event["topic"] == "logins" else None
    interaction = event.get("interaction_id") if event["topic"] == "social" else None
    interactive = event.get("interactive") if event["topic"] == "features" else None
    return (who(event), moment(event), success, interaction, interactive, *(event.get(field) for field in fields))
