"""Whoever is erased is in no number any more, but in what closed days said before.

For any events and requests in any order of arrival, live numbers are those of a recount without what was erased. Of a
closed day the recount has those too who were erased on a later day. It makes no difference to that what a partition had
forgotten of them, and when.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.families.registry import FAMILIES, families
from stream.core.partition.partition import SWEPT_PREFIXES
from stream.core.personal_data import personal_data
from stream.core.privacy import RECORDS_PREFIX, Erased, PrivacyRequested, Request
from stream.core.report import closed_samples, live_samples
from stream.core.rules import Rules
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS, date_of, iso
from tests.core import oracle, oracle_days, test_forgetting
from tests.core.live import Stream, Worker, assert_same, event_of, forwarded
from tests.core.oracle_events import EventFields, Person, moment, who
from tests.core.oracle_numbers import Samples, key
from tests.core.test_forgetting import ALL_TOGETHER, PROCESSED, START_MS, histories, record_of
from tests.core.worlds import Arrival, Happening, World, worlds
from tests.native import READERS, Message

EVERYTHING = tuple(happening for happening in ALL_TOGETHER if happening is not test_forgetting.taken_back)


@dataclass
class Life:
    """What was told of one person until an erasure, or until now."""

    told: list[EventFields] = field(default_factory=list)
    counts_before: int | None = None  # the first closed day that has lost her; None while she is not erased


class Recount:
    """Who is known, and who was erased when: by lists of events alone."""

    def __init__(self) -> None:
        self.lives: dict[Person, list[Life]] = {}
        self.until_ms: dict[Person, int] = {}
        self.dropped = self.repeated = 0

    def hear(self, event: EventFields, *, first_open: int, rules: Rules) -> None:
        person, of_person = who(event), self.lives.setdefault(who(event), [Life()])
        is_too_early = moment(event) <= self.until_ms.get(person, -1)
        if event["topic"] != "privacy":
            if is_too_early:
                self.dropped += 1
            else:
                of_person[-1].told.append(event)
        elif is_too_early:
            self.repeated += 1
        else:
            of_person[-1].counts_before = max(rules.days.day_of(moment(event)), first_open)
            of_person.append(Life())
            self.until_ms[person] = moment(event)

    def known_at(self, day: int | None = None) -> list[EventFields]:
        """What counts on a closed day, or now: each life that it knows is somebody of her own."""
        return [
            {**event, "user_id": f"{person}, life {number}", "anonymous_id": None}
            for person, of_person in self.lives.items()
            for number, life in enumerate(of_person)
            if life.counts_before is None or (day is not None and day < life.counts_before)
            for event in life.told
        ]


@st.composite
def erasing_worlds(draw: st.DrawFn, *happenings: Happening) -> World:
    """A history in which people ask to be erased: as of now, of some time ago, or of a clock that is ahead."""
    world = draw(worlds(*happenings))
    first = min(moment(event) for event in world.events)
    rules = replace(world.rules, erases=True)
    arrivals = list(world.arrivals)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(arrivals) - 1))
        before = arrivals[place]
        ago_ms = draw(st.sampled_from((0, 0, MINUTE_MS, -HOUR_MS, HOUR_MS, DAY_MS, 3 * DAY_MS)))
        person = {name: before.event[name] for name in ("user_id", "anonymous_id") if name in before.event}
        request = {"topic": "privacy", "type": "erase", "event_time": max(0, before.at_ms - ago_ms), **person}
        arrivals.insert(
            place + 1, replace(before, event=request, then=draw(st.sampled_from(("", "compare", "restart"))))
        )
    # Somebody who stays: where a stream begins is no matter of those who are erased.
    witness = {"topic": "logins", "user_id": "witness", "event_time": first - DAY_MS}
    return replace(world, rules=rules, arrivals=[Arrival(witness, first - DAY_MS, ""), *arrivals])


def starts_before(event: EventFields, until_ms: int) -> bool:
    """Whether a session began before an erasure and ended after it; of such a summary the recount knows no rule."""
    return event.get("type") == "summary" and event["started_at"] <= until_ms < moment(event)


def compare(stream: Stream, recount: Recount, at_ms: int, *, days_back: int = 4) -> None:
    snapshot, rules = stream.snapshot(closed_days=days_back + 1), stream.rules
    assert_same(live_samples(snapshot, rules), oracle.live(recount.known_at(), at_ms, rules))
    last = oracle_days.last_closed(at_ms, rules)
    for day in range(last - days_back, last + 1):
        expected = oracle_days.closed(recount.known_at(day), day, rules)
        assert_same(closed_samples(snapshot, rules, day), expected)


def agrees(world: World) -> None:
    stream, recount = Stream(world.rules, partitions=world.partitions), Recount()
    for arrival in world.arrivals:
        event = arrival.event
        if starts_before(event, recount.until_ms.get(who(event), -1)):
            continue
        worker = stream.workers[stream.place_of(event)]
        late_before_ms = worker.partition.progress.watermark_ms - (world.rules.allowed_lateness_ms or 0)
        recount.hear(event, first_open=world.rules.days.day_of(max(0, late_before_ms)), rules=world.rules)
        assert stream.apply(event["topic"], [event], not_after_ms=arrival.at_ms + HOUR_MS) == ([], [])
        stream.tick(arrival.at_ms)
        if arrival.then == "compare":
            compare(stream, recount, arrival.at_ms)
        elif arrival.then == "settle":
            stream.snapshot()
        elif arrival.then:
            for one in stream.workers:
                getattr(one, arrival.then)()
    for clock_ms in world.clocks:
        stream.tick(clock_ms)
        compare(stream, recount, clock_ms)
    counted = stream.snapshot().outcomes
    assert sum(outcomes.get("erased", 0) for outcomes in counted.values()) == recount.dropped
    assert counted.get("privacy", {}).get("duplicate", 0) == recount.repeated


OF_FAMILY = {name: tuple(one for one in of if one in EVERYTHING) for name, of in PROCESSED.items()}


def test_each_family_takes_people_out() -> None:
    assert OF_FAMILY.keys() == {family.name for family in FAMILIES}
    assert all("take_out" in vars(family) for family in FAMILIES)


@settings(max_examples=settings().max_examples // 3)
@pytest.mark.parametrize("happenings", [*OF_FAMILY.values(), EVERYTHING], ids=[*OF_FAMILY, "all together"])
@given(st.data())
def test_numbers_are_those_of_a_recount_without_those_who_were_erased(
    happenings: tuple[Happening, ...], data: st.DataObject
) -> None:
    agrees(data.draw(erasing_worlds(*happenings)))


# -- forgetting --------------------------------------------------------------------------------------------------------


def requested(draw: st.DrawFn, start: int, number: int, reused: bool) -> list[dict[str, Any]]:
    """Somebody asks to be erased."""
    return [{"topic": "privacy", "type": "erase", "event_time": start}]


@settings(max_examples=settings().max_examples // 3)
@pytest.mark.parametrize("happenings", [*PROCESSED.values(), ALL_TOGETHER], ids=[*PROCESSED, "all together"])
@given(st.data())
def test_what_was_forgotten_of_somebody_makes_no_difference_when_she_is_erased(
    happenings: tuple[Happening, ...], data: st.DataObject
) -> None:
    history = data.draw(histories(*happenings, requested))
    test_forgetting.agrees(replace(history, rules=replace(history.rules, erases=True)))


# -- each by itself ----------------------------------------------------------------------------------------------------

RULES = Rules(erases=True)


def told(days: float, topic: str, **fields: Any) -> dict[str, Any]:
    return {"topic": topic, "user_id": "ann", "event_time": START_MS + int(days * DAY_MS), **fields}


def request(days: float, **fields: Any) -> dict[str, Any]:
    return told(days, "privacy", **{"type": "erase", **fields})


def hear(worker: Worker, *events: dict[str, Any]) -> None:
    for event in events:
        record = record_of(event)
        assert worker.apply(event["topic"], [record], not_after_ms=event["event_time"] + HOUR_MS) == ([], [])
        worker.partition.tick(event["event_time"], behind=())


def live_of(worker: Worker) -> Samples:
    return {key(one.name, **one.labels): one.value for one in live_samples(worker.partition.snapshot(), worker.rules)}


def test_live_numbers_lose_her_at_once_and_days_that_ended_keep_her() -> None:
    worker = Worker(RULES)
    hear(worker, told(0.5, "logins"), told(0.6, "logins", user_id="bob"), told(1.5, "logins"), request(1.6))
    worker.partition.tick(START_MS + int(2.1 * DAY_MS), behind=())

    assert live_of(worker)[key("engagement_active_users", window="7d")] == 1
    snapshot, first = worker.partition.snapshot(), START_MS // DAY_MS
    active = {
        day: {one.labels["window"]: one.value for one in closed_samples(snapshot, RULES, day)
              if one.name == "engagement_active_users_closed"}
        for day in (first, first + 1)
    }  # fmt: skip
    assert active[first]["1d"] == 2
    assert (active[first + 1]["1d"], active[first + 1]["7d"]) == (0, 1)


def test_what_she_did_before_is_dropped_whenever_it_arrives_and_what_she_does_after_is_of_somebody_new() -> None:
    worker = Worker(RULES)
    hear(worker, told(1, "logins"), request(1.5))
    worker.restart()
    hear(worker, told(1.4, "logins"), told(1.5, "logins"), told(1.6, "logins"))

    assert worker.partition.progress.outcomes["logins"] == {"applied": 2, "erased": 2}
    numbers = live_of(worker)
    assert numbers[key("engagement_logins", window="7d")] == 1
    assert numbers[key("engagement_active_users", window="7d")] == 1


def test_nothing_of_her_is_stored_but_a_hash_and_that_only_as_long_as_it_is_needed() -> None:
    worker = Worker(RULES, salt=b"salt")
    hear(worker, told(1, "logins"), told(1, "surveys", response_id="r", kind="nps", score=9))
    worker.forget()
    assert any(b"ann" in key + value for key, value in worker.store.items())
    hear(worker, request(1.5))
    for _ in range(2):  # a reference goes when it is swept
        worker.forget()
        for prefix in SWEPT_PREFIXES:
            worker.partition.sweep(worker.store.pages(prefix))

    assert not any(b"ann" in key + value for key, value in worker.store.items())
    ((name, _),) = worker.store.pages(RECORDS_PREFIX.encode())
    assert name.decode() == RECORDS_PREFIX + Erased(salt=b"salt", allowed_lateness_ms=None).hash_of("ann")
    for days, records in ((7.5, 1), (7.6, 0)):  # twice three days
        hear(worker, told(days, "logins", user_id="bob"))
        worker.forget()
        assert len(worker.store.pages(RECORDS_PREFIX.encode())) == records


def test_a_request_that_comes_again_erases_nobody_who_came_back() -> None:
    worker = Worker(RULES)
    hear(worker, told(1, "logins"), request(1.5), told(2, "logins"), request(1.5))
    assert live_of(worker)[key("engagement_logins", window="7d")] == 1
    assert worker.partition.progress.outcomes["privacy"] == {"applied": 1, "duplicate": 1}

    hear(worker, told(9, "logins", user_id="bob"))
    worker.forget()
    refused, _ = worker.apply("privacy", [record_of(request(1.5))], not_after_ms=START_MS + 10 * DAY_MS)
    assert [one.reason.value for one in refused] == ["late"]


def test_an_event_of_the_time_before_in_one_batch_with_the_request_is_dropped_too() -> None:
    batches = ([request(1.5), told(1.4, "logins"), told(1.6, "logins")], [told(1.4, "logins"), request(1.5)])
    readers = {name: READERS[name] for name in ("privacy", "logins")}
    for batch, counted in zip(batches, (1, 0), strict=True):
        worker = Worker(RULES)
        records = [record_of(event)._replace(headers=(("topic", event["topic"].encode()),)) for event in batch]
        worker.apply(
            "logins",
            records,
            not_after_ms=START_MS + 2 * DAY_MS,
            reader=lambda one: readers[dict(one.headers)["topic"].decode()](one),
        )
        worker.partition.tick(START_MS + 2 * DAY_MS, behind=())
        assert live_of(worker)[key("engagement_logins", window="7d")] == counted


def test_a_session_that_began_before_and_ends_after_makes_her_active_at_its_end_alone() -> None:
    worker = Worker(RULES)
    times = {"started_at": START_MS + DAY_MS, "ended_at": START_MS + 2 * DAY_MS - HOUR_MS}
    hear(worker, request(1.5))
    hear(worker, told(1.99, "sessions", type="summary", session_id="s", page_views=1, **times))

    ((_, part),) = worker.partition.parts("activity")
    assert part.summaries["s"].first_ms == times["ended_at"]


def test_whoever_is_made_anonymous_keeps_all_counts_under_an_id_that_nothing_leads_to() -> None:
    worker = Worker(RULES, random_ids=lambda: "anonymised-1")
    events = [told(1, "logins", plan="pro"), told(1.1, "surveys", response_id="r", kind="nps", score=9)]
    hear(worker, *events)
    worker.forget()
    before = live_of(worker)
    hear(worker, request(1.1, type="anonymise"))
    assert live_of(worker) == before

    worker.forget()
    assert [key for key, _ in worker.store.pages(b"user/")] == [b"user/anonymised-1"]
    hear(worker, *events)
    assert live_of(worker) == before
    gone, done = worker.partition.take_gone()
    assert gone == ["ann"]
    assert [(one.request, one.was_known, one.parts > 1) for one in done] == [(Request.ANONYMISE, True, True)]


def test_a_partition_that_is_not_hers_forgets_whom_a_reference_means_before_it_sends_the_request_on() -> None:
    worker = Worker(RULES)
    answer = record_of(told(1, "surveys", response_id="r", kind="nps", score=9))
    limits: dict[str, Any] = {"not_after_ms": START_MS + 9 * DAY_MS, "belongs": lambda user: False}
    worker.apply("surveys", [answer], **limits)
    worker.forget()
    assert worker.store.pages(b"named/")
    _, misplaced = worker.apply("privacy", [record_of(request(1.5))], **limits)
    for _ in range(2):
        worker.forget()
        worker.partition.sweep(worker.store.pages(b"named/"))

    assert [one.user for one in misplaced] == ["ann"]
    assert not worker.store.pages(b"named/")


def test_the_partitions_that_are_told_of_a_request_count_nothing_and_know_whom_it_means() -> None:
    worker = Worker(RULES)
    answer = record_of(told(1, "surveys", response_id="r", kind="nps", score=9))
    worker.apply("surveys", [answer], not_after_ms=START_MS + 9 * DAY_MS, belongs=lambda user: False)
    worker.forget()
    asked = PrivacyRequested("ann", START_MS + int(1.5 * DAY_MS), False, Request.ERASE, is_told=True)
    batch: dict[str, Any] = {"not_after_ms": START_MS + 9 * DAY_MS, "reader": event_of}
    records: Any = [forwarded(asked)]
    assert worker.apply("privacy", records, **batch) == ([], [])

    assert worker.partition.take_gone() == ([], [])
    counted = worker.partition.snapshot()
    assert (sum(counted.outcomes["privacy"].values()), counted.privacy_requests) == (0, {})
    assert counted.rows["user"] == 0
    for _ in range(2):
        worker.forget()
        worker.partition.sweep(worker.store.pages(b"named/"))
    assert not worker.store.pages(b"named/")


@pytest.mark.parametrize("is_hers", [True, False])
@pytest.mark.parametrize("is_in_memory", [True, False])
def test_a_response_of_the_time_before_leads_to_nobody_any_more(is_hers: bool, is_in_memory: bool) -> None:
    worker = Worker(RULES)
    limits: dict[str, Any] = {"not_after_ms": START_MS + 9 * DAY_MS, "belongs": lambda user: is_hers}
    first, second = (
        record_of(told(days, "surveys", response_id=response, kind="nps", score=9))
        for response, days in (("r", 1), ("s", 2))
    )
    worker.apply("surveys", [first], **limits)
    if not is_in_memory:
        worker.forget()
    worker.apply("privacy", [record_of(request(1.5))], **limits)
    removed = Message(None, key=b"r", timestamp=START_MS + int(1.6 * DAY_MS))
    refused, misplaced = worker.apply("surveys", [removed], **limits)
    assert ([one.reason.value for one in refused], misplaced) == (["no_response"], [])
    assert worker.partition.snapshot().rows["user"] == 0

    worker.apply("surveys", [second], **limits)  # of whoever came back
    _, misplaced = worker.apply("surveys", [removed._replace(key=b"s", timestamp=START_MS + 3 * DAY_MS)], **limits)
    assert [one.user for one in misplaced] == ([] if is_hers else ["ann"])
    assert worker.partition.snapshot().rows["user"] == is_hers


def test_whoever_has_a_full_row_is_erased_too() -> None:
    worker = Worker(RULES, max_user_bytes=200)
    hear(worker, *(told(1 + part / 100, "logins") for part in range(50)))
    worker.forget()
    limits = {"not_after_ms": START_MS + 9 * DAY_MS}
    for _ in range(2):  # that the row is full shows when it is read
        refused, _ = worker.apply("logins", [record_of(told(1.6, "logins"))], **limits)
    assert [one.reason.value for one in refused] == ["user_full"]

    hear(worker, request(1.7), told(1.8, "logins"))
    assert live_of(worker)[key("engagement_logins", window="7d")] == 1


def test_a_copy_of_what_is_held_says_it_in_words_and_times() -> None:
    worker = Worker(RULES)
    hear(
        worker,
        told(1, "logins"),
        told(1, "sessions", type="page_view", session_id="s"),
        told(1, "accounts", type="signed_up"),
        told(1, "accounts", type="subscribed"),
        told(1, "contacts", type="opened", conversation_id="c"),
        told(1, "features", feature="search"),
        told(1, "surveys", response_id="r", kind="nps", score=9),
        told(1, "orders", type="paid", order_id="o", amount="5", currency="EUR"),
    )
    worker.forget()
    ((_, row),) = worker.store.pages(b"user/")
    held = personal_data(families(RULES), row)

    at, day = iso(START_MS + DAY_MS), str(date_of(START_MS // DAY_MS + 1))
    assert held["logins"] == [{"at": at, "success": True}]
    assert held["activity"]["active_days"] == [day]
    assert held["sessions"]["by_id"]["s"]["sessions"][0]["steps"] == [at]
    assert held["accounts"]["told"] == [{"at": at, "change": "subscribed", "effective_at": at}]
    assert held["contacts"]["c"] == [{"at": at, "type": "opened", "channel": "", "is_outbound": False}]
    assert held["features"]["by_name"]["other"] == {"minutes": [at], "days": [day]}
    assert held["surveys"]["by_id"]["r"]["score"] == 9
    assert held["orders"]["by_id"]["o"][0]["paid"]["first_at"] == at
    msgspec.json.encode(held)


LET_GO: dict[str, list[dict[str, Any]]] = {
    "logins": [told(day, "logins", success=day % 2 == 0) for day in range(100, 116, 5)],
    "sessions and their steps": [
        told(day + part / 100, "sessions", type=type_, session_id=f"s{day}", **more)
        for day in range(100, 116, 5)
        for part, (type_, more) in enumerate((("page_view", {}), ("heartbeat", {}), ("event", {"in_session": False})))
    ],
    "active days": [told(day, "logins") for day in (40, 43, 50, 57, 64, 71, 78, 90, 99, 115)],
    "orders of years ago": [
        *(
            told(day, "orders", type="paid", order_id=f"o{day}", amount=day + 1, currency="EUR")
            for day in (0, 1, 2, 110)
        ),
        *(told(day, "logins") for day in (60, 90, 115)),
    ],
}


@pytest.mark.parametrize("what", LET_GO)
def test_what_her_row_has_let_go_of_is_taken_out_too(what: str) -> None:
    rules = Rules(erases=True, memory_days=60 if what.startswith("orders") else 400)
    with_her, without_her = Worker(rules), Worker(rules)
    others = [told(day, "logins", user_id="bob") for day in range(-2, 120, 3)]
    others.append(told(-2, "orders", user_id="bob", type="paid", order_id="o", amount=7, currency="EUR"))
    for worker, events in ((with_her, [*others, *LET_GO[what]]), (without_her, others)):
        for event in sorted(events, key=moment):
            hear(worker, event)
            worker.restart()
            worker.partition.sweep(worker.store.pages(b"user/"))
        hear(worker, told(120, "logins", user_id="bob"))
        worker.restart()
    hear(with_her, request(120))
    for worker in (with_her, without_her):
        worker.partition.tick(START_MS + 122 * DAY_MS, behind=())

    assert live_of(with_her) == live_of(without_her)
    day = START_MS // DAY_MS + 120
    closed = (
        {key(one.name, **one.labels): one.value for one in closed_samples(worker.partition.snapshot(), rules, day)}
        for worker in (with_her, without_her)
    )
    assert next(closed) == next(closed)
