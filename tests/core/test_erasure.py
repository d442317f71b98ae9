"""Whoever is erased is in no number any more, but in what closed days said before.

For any events and requests in any order of arrival, live numbers are those of a recount without what was erased. Of a
closed day the recount has those too who were erased on a later day. It makes no difference to that what a partition had
forgotten of them, and when.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.families.registry import FAMILIES
from stream.core.report import closed_samples, live_samples
from stream.core.rules import Rules
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS
from tests.core import oracle, oracle_days, test_forgetting
from tests.core.live import Stream, assert_same
from tests.core.oracle_events import EventFields, Person, moment, who
from tests.core.test_forgetting import ALL_TOGETHER, PROCESSED
from tests.core.worlds import Arrival, Happening, World, worlds

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
