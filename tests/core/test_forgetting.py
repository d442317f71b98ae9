"""Forgetting is never seen: whatever a partition has dropped, and when, its numbers are those of one that keeps all.

What is needed for how long is a rule on the times of events. So it makes no difference to any number, live or of a
closed day, when a checkpoint was written, when stored rows were checked, when users left memory, when closed days were
looked at, and when the partition was recovered. `compute`, which keeps everything, gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.customers import customers_of_parts, customers_of_rows
from stream.core.days import OfWindows
from stream.core.families.activity.calendar import ACTIVE_USERS
from stream.core.families.activity.closing import CELLS
from stream.core.families.registry import families
from stream.core.offline import Offline
from stream.core.partition.partition import SWEPT_PREFIXES, Partition
from stream.core.report import closed_days, closed_samples, live_samples
from stream.core.rules import Capex, Health, Rules
from stream.core.snapshot import ClosedDay, Snapshot, Sums
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS, Days
from tests.core.live import Store, Worker, assert_same, deliver, line, message
from tests.core.oracle_events import EventFields, moment
from tests.core.oracle_numbers import Samples, key
from tests.core.worlds import (
    ANCHORS,
    TIMEOUT,
    USERS,
    Happening,
    accounts,
    answers,
    chosen,
    contacts,
    features,
    logins,
    orders,
    reviews,
    social,
    steps_by_gap,
    steps_by_id,
    summaries,
)
from tests.native import READERS, Message


def taken_back(draw: st.DrawFn, start: int, number: int, reused: bool) -> list[dict[str, Any]]:
    """A null message for a response: by its key alone, or by the user with the response in a header."""
    response = f"{chosen(draw, ('csat', 'nps', 'ces', 'cxi'))}-{draw(st.integers(0, 2))}"
    return [{"topic": "surveys", "event_time": start, "removes": response}]


# What may happen that a family processes. A new family needs a line here.
PROCESSED: dict[str, tuple[Happening, ...]] = {
    "activity": (logins, steps_by_gap, summaries, accounts),
    "sessions": (steps_by_id, steps_by_gap, summaries),
    "logins": (logins,),
    "surveys": (answers, taken_back),
    "accounts": (accounts,),
    "orders": (orders,),
    "reviews": (reviews,),
    "features": (features,),
    "social": (social,),
    "contacts": (contacts,),
    "health": (logins, summaries, features, answers, contacts, accounts),
}
# A row is kept or forgotten as a whole, so what one family remembers must make no difference to another one.
ALL_TOGETHER = tuple(dict.fromkeys(happening for of_family in PROCESSED.values() for happening in of_family))

# Between one thing that happens and the next: nothing, or about as long as a rule remembers anything.
PAUSES_DAYS = (0, 0, 1, 2, 3, 5, 10, 29, 64, 66, 89, 90, 91, 92, 94, 101, 104, 106, 200, 399, 400, 401, 403, 406)
PAUSES_MS = (*(days * DAY_MS for days in PAUSES_DAYS), HOUR_MS, DAY_MS + 1, 90 * DAY_MS + 1)
# Where all days are closed there must not be thousands of them.
_SHORT_PAUSES_MS = tuple(pause_ms for pause_ms in PAUSES_MS if pause_ms <= 66 * DAY_MS)

WINDOWS: tuple[dict[str, tuple[str, ...]], ...] = (
    {},
    {
        "activity": ("5m",),
        "sessions": ("10m",),
        **dict.fromkeys(("surveys", "accounts", "orders", "reviews", "social", "contacts"), ("15m",)),
    },
    {
        "activity": ("1d", "90d"),
        "sessions": ("1h", "90d"),
        "surveys": ("1d", "120d"),
        "accounts": ("1d", "120d"),
        "orders": ("1d", "120d"),
        "reviews": ("1d", "120d"),
        "features": ("1d", "120d"),
        "social": ("1d", "120d"),
        "contacts": ("1d", "120d"),
    },
)

# What a worker does after an event: several of these, in this order.
ACTIONS = ("settle", "close", "collect", "write", "evict", "sweep", "restart", "crash", "compare")


@dataclass(frozen=True)
class Arrival:
    """An event, when it comes in, and what the worker that forgets does after it."""

    told: EventFields
    at_ms: int
    then: tuple[str, ...]


@dataclass(frozen=True)
class History:
    """What arrives, under some rules; and when to look once all has arrived."""

    rules: Rules
    arrivals: list[Arrival]
    clocks: list[int]
    closes: bool  # whether its days are closed, and compared


@st.composite
def histories(draw: st.DrawFn, *happenings: Happening) -> History:
    """A history of months in which few users come back again and again, and use the ids of their things again."""
    zone = chosen(draw, ("UTC", "America/New_York"))
    rules = Rules(
        days=Days(zone),
        session_timeout_ms=TIMEOUT,
        allowed_lateness_ms=chosen(draw, (0, HOUR_MS, DAY_MS, 3 * DAY_MS, 20 * DAY_MS)),
        retention_ms=chosen(draw, (0, 100 * DAY_MS)),
        memory_days=chosen(draw, (400, 400, 30, 1)),
        windows=chosen(draw, WINDOWS),
        onboarding_steps=("profile",),
        features={"search": 2, "export": 1},
        health=chosen(draw, (None, Health(), Health(target_days=2))),
        gross_margin=chosen(draw, (None, 0.5)),
        capex=_capex(Days(zone).day_of(ANCHORS[zone][0])),
    )
    closes = draw(st.booleans())
    now, told = chosen(draw, ANCHORS[zone]), list[EventFields]()
    for number in range(draw(st.integers(1, 6))):
        now += chosen(draw, _SHORT_PAUSES_MS if closes else PAUSES_MS) + chosen(draw, (0, 0, HOUR_MS // 2, 7 * HOUR_MS))
        person = chosen(draw, (USERS[0], USERS[0], USERS[5]))
        happening = chosen(draw, happenings)
        labels = chosen(draw, ({}, {}, {"plan": "pro"}, {"plan": "free", "country": "DE"}))
        told += [{**person, **one, **labels} for one in happening(draw, now, number, True)]
    told += draw(st.lists(st.sampled_from(told), max_size=3))
    return History(rules, *_arriving(draw, told, rules.allowed_lateness_ms or 0, closes), closes)


def _capex(day: int) -> tuple[Capex, ...]:
    """Capital that was spent where a history begins, and later."""
    return Capex("early", day - 3, day + 30, 5_000, "EUR"), Capex("later", day + 31, day + 600, 5_000, "EUR")


def _arriving(
    draw: st.DrawFn, told: list[EventFields], lateness_ms: int, closes: bool
) -> tuple[list[Arrival], list[int]]:
    """The events in order of arrival, some ahead of the clock, and some later than is allowed."""
    delays = st.one_of(st.just(0), st.integers(-HOUR_MS, lateness_ms + HOUR_MS), st.just(lateness_ms))
    may_happen = ACTIONS if closes else tuple(action for action in ACTIONS if action != "close")
    actions = st.lists(st.sampled_from(may_happen), max_size=4).map(tuple)
    arrivals = [Arrival(one, moment(one) + draw(delays), draw(actions)) for one in told]
    arrivals.sort(key=lambda arrival: arrival.at_ms)
    # Whoever looks sees all that was ahead of the clock.
    end_ms = max(arrivals[-1].at_ms, *(moment(one) for one in told))
    later = draw(st.lists(st.sampled_from((0, MINUTE_MS, HOUR_MS, DAY_MS, 95 * DAY_MS)), min_size=1, max_size=2))
    return arrivals, [end_ms + sum(later[: place + 1]) for place in range(len(later))]


@dataclass
class Forgetful:
    """A partition that forgets. What happened since its last checkpoint happens again when it is recovered."""

    rules: Rules
    store: Store = field(default_factory=Store)
    in_flight: list[tuple[bytes, bytes | None]] | None = None
    since_written: list[Callable[[Partition], object]] = field(default_factory=list)
    since_collected: list[Callable[[Partition], object]] = field(default_factory=list)
    told: dict[int, ClosedDay] = field(default_factory=dict)  # what it has told last of each closed day

    def __post_init__(self) -> None:
        self.partition = Partition(self.rules)

    def do(self, what: Callable[[Partition], object]) -> None:
        """Do what comes from outside."""
        self.since_collected.append(what)
        what(self.partition)

    def settle(self) -> None:
        self.partition.snapshot()

    def close(self) -> None:
        """Tell some of the days that have closed, or that were changed."""
        self.partition.update_totals()
        self.told |= {closed.day: closed for closed in self.partition.close_days()}

    def close_all(self) -> None:
        """Tell all of them."""
        self.partition.update_totals()
        progress, quiet = self.partition.progress, 0
        # A round begins with each tenth call, and what came meanwhile waits for the next one.
        while quiet < 20 or progress.stale_from is not None or progress.looking_at is not None:
            closed = self.partition.close_days(count=1_000)
            self.told |= {one.day: one for one in closed}
            quiet = 0 if closed else quiet + 1

    def collect(self) -> None:
        """Collect what is to be stored; it is on its way to the store until `write`."""
        self.write()
        self.in_flight = list(self.partition.collect_delta())
        self.since_written, self.since_collected = self.since_collected, []

    def write(self) -> None:
        if self.in_flight is not None:
            self.store.write(self.in_flight)
            self.in_flight, self.since_written = None, []

    def evict(self) -> None:
        self.collect()
        self.write()
        self.partition.forget_users(keep=0)

    def sweep(self) -> None:
        for prefix in SWEPT_PREFIXES:
            self.partition.sweep(self.store.pages(prefix))

    def restart(self) -> None:
        self.collect()
        self.write()
        self._recover()

    def crash(self) -> None:
        """What is not stored is lost, and read again."""
        again = [*self.since_written, *self.since_collected]
        self.in_flight, self.since_written, self.since_collected = None, [], []
        self._recover()
        for what in again:
            self.do(what)

    def _recover(self) -> None:
        self.partition = Partition(self.rules)
        self.partition.restore(self.store.pages)
        self.partition.tell_days_again()


def record_of(told: EventFields) -> Message:
    """The event as a message; survey messages have the response as their key."""
    removed = told.get("removes")
    if removed is not None and "user_id" in told:
        user = str(told["user_id"]).encode()
        return Message(None, key=user, timestamp=told["event_time"], headers=(("response_id", removed.encode()),))
    if removed is not None:
        return Message(None, key=removed.encode(), timestamp=told["event_time"])
    response = told.get("response_id")
    return message(told) if response is None else message(told, key=str(response).encode())


def apply(told: EventFields, *, clock_ms: int, store: Store) -> Callable[[Partition], list[str]]:
    """What a partition does with an event that arrives when the clock shows a time. Returns why it was refused."""

    def what(partition: Partition) -> list[str]:
        refused, _ = deliver(partition, told["topic"], [record_of(told)], store, not_after_ms=clock_ms + HOUR_MS)
        partition.tick(clock_ms, behind=())
        return [one.reason.value for one in refused]

    return what


def numbers(snapshot: Snapshot, rules: Rules, *, days: int) -> dict[str, Samples]:
    """All live numbers, and those of the last closed days."""
    found = {"live": live_samples(snapshot, rules)}
    found |= {str(day): closed_samples(snapshot, rules, day) for day in closed_days(snapshot, count=days)}
    return {
        when: {(one.name, frozenset(one.labels.items())): one.value for one in samples}
        for when, samples in found.items()
    }


def told_samples(families: dict[str, OfWindows], day: int, snapshot: Snapshot, rules: Rules) -> Samples:
    """All numbers of one closed day, of what each family says of it; and what it says of cohorts."""
    sums = {name: Sums(closed={day: of_windows}) for name, of_windows in families.items()}
    of_day = Snapshot(first_ms=snapshot.first_ms, families=sums, last_closed_day=day)
    samples = {key(one.name, **one.labels): one.value for one in closed_samples(of_day, rules, day)}
    cells = families["activity"].get(CELLS, {})
    return samples | {key("cell", field=str(field)): users for field, users in cells.items()}


def same_history(forgetful: Forgetful, keeping: Partition, days: Iterable[int]) -> None:
    """What was told last of each closed day is what a partition says that forgets nothing."""
    rules, snapshot = keeping.rules, keeping.live_snapshot()
    if snapshot.first_ms is None:
        return
    forgetful.close_all()
    assert snapshot.first_ms is not None
    first_known = rules.days.day_of(snapshot.first_ms)
    for day in sorted({*days} & {*forgetful.told}):
        expected = {family.name: family.closed_sums(day, first_known) for family in keeping.families}
        found, known = (told_samples(told, day, snapshot, rules) for told in (forgetful.told[day].families, expected))
        assert found == known, f"day {day}: {difference(found, known)}"


def difference(found: Samples, expected: Samples) -> str:
    """What differs, and how; empty where nothing does."""
    return "; ".join(
        f"{name}{dict(labels)} is {found.get((name, labels))}, not {expected.get((name, labels))}"
        for name, labels in sorted({*found, *expected}, key=str)
        if found.get((name, labels)) != expected.get((name, labels))
    )


def agrees(history: History) -> None:
    """A partition that forgets has at any time the numbers of one that does not, and in the end those of `compute`."""
    rules = history.rules
    forgetful, keeping = Forgetful(rules), Partition(rules)
    applied: list[EventFields] = []
    for arrival in history.arrivals:
        starts_late = _starts_late(arrival.told, keeping)
        forgetful.do(apply(arrival.told, clock_ms=arrival.at_ms, store=forgetful.store))
        why = apply(arrival.told, clock_ms=arrival.at_ms, store=Store())(keeping)
        if not why:
            applied.append({**arrival.told, "starts_late": True} if starts_late else arrival.told)
        for action in arrival.then:
            if action == "compare":
                same(forgetful.partition, keeping)
            else:
                getattr(forgetful, action)()
    for clock_ms in history.clocks:
        forgetful.do(partial(Partition.tick, clock_ms=clock_ms, behind=()))
        keeping.tick(clock_ms, behind=())
        same(forgetful.partition, keeping)
    same_customers(forgetful, keeping)
    if history.closes:
        same_history(forgetful, keeping, _days_to_look_at(history))
    # `compute` knows no lateness and no null messages, and to whoever is erased the order of arrival matters.
    others = [told for told in applied if "starts_late" in told or "removes" in told or told["topic"] == "privacy"]
    if applied and not others:
        same_as_computed(forgetful.partition, applied, history.clocks[-1])


def same_customers(forgetful: Forgetful, keeping: Partition) -> None:
    """Whoever is kept has bought what a partition knows that forgets nothing."""
    forgetful.collect()
    forgetful.write()
    at_ms = keeping.progress.now_ms
    found = customers_of_rows(keeping.rules, forgetful.store.pages(b"user/"), at_ms=at_ms)
    expected = customers_of_parts(keeping.rules, keeping.parts("orders"), at_ms=at_ms, of_all_times=False)
    assert {*found} <= {*expected}


def same_as_computed(partition: Partition, applied: list[EventFields], at_ms: int) -> None:
    """The live numbers and those of the last closed days are those of `compute`, whatever order it reads."""
    rules = partition.rules
    offline = Offline(rules, READERS, at_ms=at_ms)
    assert list(offline.apply(line(told) for told in reversed(applied))) == []
    computed, found = offline.computed(days=3), numbers(partition.snapshot(), rules, days=3)
    assert_same(computed.live, found["live"])
    for day, samples in computed.closed:
        assert_same(samples, found[str(day)])


def _days_to_look_at(history: History) -> set[int]:
    """Those of events and after them, as far as windows and cohorts reach."""
    days = {history.rules.days.day_of(moment(arrival.told)) for arrival in history.arrivals}
    return {day + more for day in days for more in (0, 1, 30, 61)}


def _starts_late(told: EventFields, partition: Partition) -> bool:
    late_before_ms = partition.progress.watermark_ms - (partition.rules.allowed_lateness_ms or 0)
    return told.get("type") == "summary" and told["started_at"] < late_before_ms


def same(forgetful: Partition, keeping: Partition) -> None:
    """Both have the same numbers, and the same outcome of each event."""
    rules = keeping.rules
    found, expected = (numbers(one.snapshot(), rules, days=3) for one in (forgetful, keeping))
    assert found.keys() == expected.keys()
    for when in expected:
        assert found[when] == expected[when], difference(found[when], expected[when])
    for what in ("outcomes", "reasons"):
        assert getattr(forgetful.progress, what) == getattr(keeping.progress, what), what


def test_each_family_is_tested() -> None:
    assert set(PROCESSED) == {family.name for family in families(Rules())}


# A third of the default number: each has some thousand numbers to compare.
@settings(max_examples=settings().max_examples // 3)
@pytest.mark.parametrize("happenings", [*PROCESSED.values(), ALL_TOGETHER], ids=[*PROCESSED, "all together"])
@given(st.data())
def test_when_a_partition_forgets_makes_no_difference_to_any_number(
    happenings: tuple[Happening, ...], data: st.DataObject
) -> None:
    agrees(data.draw(histories(*happenings)))


# -- what these tests have found, each by itself ---------------------------------------------------------------------

START_MS = ANCHORS["UTC"][0]


def at(days: float, topic: str, **told: Any) -> dict[str, Any]:
    return {"topic": topic, "user_id": "ann", "event_time": START_MS + int(days * DAY_MS), **told}


def login(days: float, **told: Any) -> EventFields:
    return at(days, "logins", **told)


def answer(days: float, **told: Any) -> EventFields:
    return at(days, "surveys", **{"response_id": "r", "kind": "nps", **told})


def summary(days: float, *, hours: int = 1, **told: Any) -> EventFields:
    ends_ms = START_MS + int(days * DAY_MS)
    times = {"started_at": ends_ms - hours * HOUR_MS, "ended_at": ends_ms}
    return at(days, "sessions", type="summary", session_id="s", page_views=1, **times, **told)


def view(days: float, *, session_id: str = "s") -> EventFields:
    return at(days, "sessions", type="page_view", session_id=session_id)


def responses(status: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return key("engagement_survey_responses", window="90d", kind="nps", status=status)


FOUND: dict[str, tuple[list[EventFields], dict[Any, float | None]]] = {
    "a summary under the id of one that ended ten days before is of another session": (
        [summary(0, revision=9), summary(10), login(20)],
        {key("engagement_sessions", window="30d"): 2, key("engagement_repeat_visitors", window="30d"): 1},
    ),
    "a step under the id of a session of ten days before is of another session": (
        [view(0), view(0.01), view(10), view(10.01), login(20)],
        {key("engagement_sessions", window="30d"): 2, key("engagement_repeat_visitors", window="30d"): 1},
    ),
    "a step a day after the last one is of the same session": (
        [view(0), view(1), view(2), login(20)],
        {key("engagement_sessions", window="30d"): 1, key("engagement_session_time_seconds", window="30d"): 86_400},
    ),
    "a step as late as is allowed belongs to the session that ended a day before it": (
        [view(0), view(3.5, session_id="t"), view(0.9), login(20)],
        {key("engagement_sessions", window="30d"): 2},
    ),
    "a revision that ends less than a day later is of the same session": (
        [summary(0, revision=1), summary(0.9, revision=2), login(20)],
        {key("engagement_sessions", window="30d"): 1, key("engagement_repeat_visitors", window="30d"): 0},
    ),
    "a revision as late as is allowed says when its user was new": (
        [
            login(-3, user_id="first"),
            summary(0, revision=1),
            login(3.5),
            summary(0.9, revision=2),
            login(30.5, user_id="first"),
        ],
        {key("engagement_new_users", window="30d"): 1},
    ),
    "a session that goes on for three days is one, however late its last revision ends": (
        [summary(0, revision=1), summary(3, hours=73, revision=2), login(20)],
        {key("engagement_sessions", window="30d"): 1, key("engagement_session_time_seconds", window="30d"): 86_400},
    ),
    "what is shown half a year after an answer with the same id is another response": (
        [answer(0, score=9), answer(180, status="shown"), login(200)],
        {responses("shown"): 1, key("engagement_survey_shown_completed", window="90d", kind="nps"): 0},
    ),
    "an answer of 80 days before does not count beside the newest one of its user": (
        [
            answer(0, score=9, response_id="first"),
            answer(60, score=5, response_id="second", kind="csat"),
            answer(80, score=0),
            login(81),
        ],
        {key("engagement_nps", window="90d"): -100},
    ),
    "what is taken back within 90 days was not shown either": (
        [answer(0, score=9), answer(80, status="shown"), answer(120, status="retracted"), login(121)],
        {responses("shown"): 0},
    ),
    "what is shown again and again within 90 days is one response": (
        [answer(0, status="shown"), answer(1, score=9), answer(80, status="shown"), answer(150, status="shown")],
        {responses("shown"): 0},
    ),
    "who comes back when the memory is over has no attributes": (
        [login(0, plan="pro"), login(401)],
        {key("engagement_segment_active_users", window="30d", segment="plan", value="pro"): None},
    ),
    "a user who is known from a summary alone is not new when she comes back": (
        [login(-1, user_id="first"), summary(0), login(150, user_id="first"), login(199)],
        {key("engagement_new_users", window="30d"): 0},
    ),
}


@pytest.mark.parametrize("what", FOUND)
def test_it_follows_from_the_times_of_events_that(what: str) -> None:
    told, expected = FOUND[what]
    at_ms = moment(told[-1]) + MINUTE_MS
    offline = Offline(Rules(), READERS, at_ms=at_ms)
    assert list(offline.apply(line(one) for one in reversed(told))) == []
    computed = numbers(offline.snapshot(at_ms), Rules(), days=1)["live"]

    worker = Worker(Rules())
    for one in told:
        worker.apply(one["topic"], [record_of(one)], not_after_ms=at_ms)
        worker.partition.tick(moment(one), behind=())
        for _ in range(2):
            worker.forget()
            for prefix in SWEPT_PREFIXES:
                worker.partition.sweep(worker.store.pages(prefix))
        worker.restart()
    worker.partition.tick(at_ms, behind=())
    found = numbers(worker.partition.snapshot(), Rules(), days=1)["live"]

    assert {which: found.get(which) for which in expected} == expected
    assert not difference(found, computed)


def swept_at(days: float, *told: EventFields) -> Worker:
    """A worker that has just found out, on a day, that nothing of these events is needed any more."""
    worker = Worker(Rules(memory_days=1))
    for one in told:
        worker.apply(one["topic"], [record_of(one)], not_after_ms=START_MS)
    worker.forget()
    worker.partition.progress.newest_ms["logins"] = START_MS + int(days * DAY_MS)
    worker.partition.tick(START_MS + int(days * DAY_MS), behind=())
    for prefix in SWEPT_PREFIXES:
        worker.partition.sweep(worker.store.pages(prefix))
    return worker


def test_a_user_who_comes_back_between_the_sweep_and_the_next_checkpoint_keeps_the_new_row() -> None:
    worker = swept_at(200, login(0))
    worker.apply("logins", [record_of(login(200))], not_after_ms=START_MS + 201 * DAY_MS)
    worker.restart()
    worker.apply("logins", [record_of(login(200))], not_after_ms=START_MS + 201 * DAY_MS)

    assert worker.partition.progress.outcomes == {"logins": {"applied": 2, "duplicate": 1}}
    assert worker.partition.progress.users == 1


def test_a_reference_that_is_used_again_between_the_sweep_and_the_next_checkpoint_is_known() -> None:
    worker = swept_at(200, answer(0, score=9))
    null = {"topic": "surveys", "event_time": START_MS + 201 * DAY_MS, "removes": "r"}
    worker.apply("surveys", [record_of(answer(200, score=9))], not_after_ms=START_MS + 201 * DAY_MS)
    worker.restart()

    assert worker.apply("surveys", [record_of(null)], not_after_ms=START_MS + 201 * DAY_MS) == ([], [])


def test_a_reference_means_nobody_when_it_was_used_long_ago_whether_it_is_still_stored_or_not() -> None:
    null = {"topic": "surveys", "removes": "r"}
    for sweeps in (True, False):
        worker = Worker(Rules())
        worker.apply("surveys", [record_of(answer(0, score=9))], not_after_ms=START_MS)
        worker.partition.tick(START_MS, behind=())
        for days, why in ((101, []), (101.01, ["no_response"])):  # the retention, and a day more
            if sweeps:
                worker.forget()
                worker.partition.sweep(worker.store.pages(b"named/"))
            told = {**null, "event_time": START_MS + int(days * DAY_MS)}
            refused, _ = worker.apply("surveys", [record_of(told)], not_after_ms=START_MS + 102 * DAY_MS)
            assert [one.reason.value for one in refused] == why


def test_a_day_that_a_late_event_has_changed_is_looked_at_even_if_it_is_final_by_then() -> None:
    worker, told = Worker(Rules()), dict[int, ClosedDay]()
    first = START_MS // DAY_MS

    def look(calls: int) -> None:
        worker.partition.update_totals()
        for _ in range(calls):
            told.update({one.day: one for one in worker.partition.close_days()})

    def users(day: int) -> int:
        return told[day].families["activity"][1].get(ACTIVE_USERS, 0)

    for one in (login(0), login(3.2)):
        worker.apply("logins", [record_of(one)], not_after_ms=moment(one))
    worker.partition.tick(START_MS + int(3.2 * DAY_MS), behind=())
    look(20)
    assert users(first + 1) == 0

    worker.apply("logins", [record_of(login(1.5))], not_after_ms=START_MS + 4 * DAY_MS)
    worker.partition.tick(START_MS + int(3.2 * DAY_MS), behind=())
    worker.restart()
    worker.apply("logins", [record_of(login(9))], not_after_ms=START_MS + 10 * DAY_MS)
    worker.partition.tick(START_MS + 9 * DAY_MS, behind=())
    worker.restart()  # nobody has looked at the closed days meanwhile
    assert worker.partition.live_snapshot().final_through == first
    look(40)

    assert users(first + 1) == 1
    assert worker.partition.live_snapshot().final_through == first + 5


def test_which_of_two_states_of_one_moment_counts_does_not_depend_on_which_was_stored() -> None:
    one, other = answer(0, score=None, status="partial"), answer(0, score=None, status="partial", interaction_id="x")
    for told in ([one, other], [other, one]):
        outcomes = []
        for stored in (False, True):
            worker = Worker(Rules())
            for state in told:
                worker.apply("surveys", [record_of(state)], not_after_ms=START_MS)
                if stored:
                    worker.restart()
            outcomes.append(worker.partition.progress.outcomes)
        assert outcomes[0] == outcomes[1]


def test_a_second_event_of_a_minute_is_a_duplicate_whether_an_earlier_minute_is_still_kept_or_not() -> None:
    for stored in (False, True):
        worker = Worker(Rules())
        for told in (login(0), login(0.1), login(0.2)):
            worker.apply("logins", [record_of(told)], not_after_ms=START_MS + DAY_MS)  # ahead of the clock
            worker.partition.tick(moment(told), behind=())
        if stored:
            worker.restart()
        worker.apply("logins", [record_of(login(0))], not_after_ms=START_MS + DAY_MS)

        assert worker.partition.progress.outcomes == {"logins": {"applied": 3, "duplicate": 1}}
