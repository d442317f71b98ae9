"""For any events in any order of arrival, the numbers are those of a naive recount."""

from itertools import permutations
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from stream.core.offline import Offline
from stream.core.rules import Rules
from stream.core.time import DAY_MS, HOUR_MS
from tests.core import oracle, oracle_days
from tests.core.live import Stream, assert_same, line
from tests.core.oracle_events import EventFields, moment
from tests.core.worlds import (
    ANCHORS,
    World,
    accounts,
    answers,
    contacts,
    features,
    logins,
    orders,
    reviews,
    social,
    steps_by_gap,
    steps_by_id,
    summaries,
    worlds,
)
from tests.native import READERS, TOPICS

DST_ZONES = ("America/New_York", "Europe/Berlin", "UTC")
FIRST_RING = logins, steps_by_id, steps_by_gap, summaries, answers
THIRD_RING = accounts, orders, reviews, features, social, contacts
ODD_ZONES = ("Asia/Kathmandu", "Australia/Lord_Howe", "Antarctica/Troll")


def agrees(world: World, *, days_back: int = 2) -> None:
    """Read the stream as it arrives; compare whenever the world says so, and at each of its clocks."""
    stream = Stream(world.rules, partitions=world.partitions)
    read: list[EventFields] = []
    for arrival in world.arrivals:
        read.append(arrival.event)
        limit_ms = arrival.at_ms + HOUR_MS
        assert stream.apply(arrival.event["topic"], [arrival.event], not_after_ms=limit_ms) == ([], [])
        stream.tick(arrival.at_ms)
        if arrival.then == "compare":
            stream.agrees_with_recount(read, arrival.at_ms)
        elif arrival.then == "settle":
            stream.snapshot()
        elif arrival.then:
            for worker in stream.workers:
                getattr(worker, arrival.then)()
    for clock_ms in world.clocks:
        stream.tick(clock_ms)
        stream.agrees_with_recount(read, clock_ms, days_back=days_back)


@given(worlds(logins, steps_by_gap))
def test_activity_agrees_with_counting_distinct_users_by_hand(world: World) -> None:
    agrees(world)


@given(worlds(steps_by_id))
def test_sessions_by_id_agree_with_a_recount(world: World) -> None:
    agrees(world)


@given(worlds(steps_by_gap))
def test_sessions_by_gap_agree_with_a_recount(world: World) -> None:
    agrees(world)


@given(worlds(summaries))
def test_summaries_and_their_revisions_agree_with_a_recount(world: World) -> None:
    agrees(world)


def test_two_sessions_of_one_id_that_a_later_summary_joins_were_two_until_then() -> None:
    base = ANCHORS["UTC"][0]
    for order in permutations(((0, 0), (DAY_MS + 1, DAY_MS + 1), (0, 2 * DAY_MS))):
        told = ("topic", "sessions"), ("type", "summary"), ("session_id", "s"), ("user_id", "ann"), ("page_views", 1)
        events: list[EventFields] = [
            {**dict(told), "event_time": base + end, "started_at": base + start, "ended_at": base + end}
            for start, end in order
        ]
        stream = Stream(Rules(allowed_lateness_ms=9 * DAY_MS))
        stream.apply("sessions", events, not_after_ms=base + 3 * DAY_MS)
        stream.tick(base + 4 * DAY_MS)
        stream.agrees_with_recount(events, base + 4 * DAY_MS, days_back=3)


@given(worlds(answers))
def test_survey_answers_agree_with_a_recount(world: World) -> None:
    agrees(world)


@given(worlds(accounts))
def test_accounts_agree_with_a_recount(world: World) -> None:
    agrees(world)


@given(worlds(accounts, zones=DST_ZONES, span_days=40))
def test_accounts_agree_with_a_recount_where_days_have_23_or_25_hours(world: World) -> None:
    agrees(world, days_back=5)


@given(worlds(orders))
def test_orders_and_their_refunds_agree_with_a_recount(world: World) -> None:
    agrees(world)


@given(worlds(orders, zones=DST_ZONES, span_days=40))
def test_orders_agree_with_a_recount_where_days_have_23_or_25_hours(world: World) -> None:
    agrees(world, days_back=5)


@given(worlds(reviews))
def test_reviews_agree_with_a_recount(world: World) -> None:
    agrees(world)


@given(worlds(features, features, logins))
def test_features_agree_with_a_recount(world: World) -> None:
    agrees(world)


@given(worlds(contacts))
def test_conversations_agree_with_a_recount(world: World) -> None:
    agrees(world)


@given(worlds(social))
def test_interactions_and_audiences_agree_with_a_recount(world: World) -> None:
    agrees(world)


@given(worlds(reviews, features, social, contacts, zones=DST_ZONES, span_days=40))
def test_the_third_ring_agrees_with_a_recount_where_days_have_23_or_25_hours(world: World) -> None:
    agrees(world, days_back=5)


@given(
    worlds(logins, steps_by_id, steps_by_gap, summaries, answers, accounts, orders, reviews, features, social, contacts)
)
def test_everything_together_agrees_with_a_recount(world: World) -> None:
    agrees(world)


@given(worlds(logins, summaries, zones=DST_ZONES, span_days=40))
def test_closed_days_agree_with_a_recount_where_days_have_23_or_25_hours(world: World) -> None:
    agrees(world)


@given(worlds(logins, steps_by_id, steps_by_gap, summaries, answers, zones=ODD_ZONES))
def test_closed_days_agree_with_a_recount_where_they_begin_between_two_hours(world: World) -> None:
    agrees(world, days_back=5)


everything = worlds(
    logins, steps_by_id, steps_by_gap, summaries, answers, accounts, orders, reviews, features, social, contacts
)


@given(everything, st.randoms(use_true_random=False), st.sampled_from((0, HOUR_MS, DAY_MS, 9 * DAY_MS)))
def test_offline_in_any_order_agrees_with_a_recount_of_what_had_happened(
    world: World, random: Random, before_end_ms: int
) -> None:
    at_ms = world.clocks[-1] - before_end_ms
    shuffled = random.sample(world.events, len(world.events))
    offline = Offline(world.rules, READERS, at_ms=at_ms)
    refused = list(offline.apply(line(event) for event in shuffled))
    computed = offline.computed(days=5)

    happened = [event for event in world.events if moment(event) <= at_ms]
    assert len(refused) == len(world.events) - len(happened)
    assert_same(computed.live, oracle.live(happened, at_ms, world.rules))
    for day in range(oracle_days.last_closed(at_ms, world.rules) - 4, oracle_days.last_closed(at_ms, world.rules) + 1):
        assert_same(dict(computed.closed).get(day, []), oracle_days.closed(happened, day, world.rules))


@given(everything, st.permutations(TOPICS), st.data())
def test_reading_one_topic_faster_than_another_makes_nobody_late(
    world: World, topics: list[str], data: st.DataObject
) -> None:
    stream = Stream(world.rules)
    unread = {topic: [event for event in world.events if event["topic"] == topic] for topic in topics}
    while any(unread.values()):
        behind = [topic for topic in topics if unread[topic]]
        topic = data.draw(st.sampled_from(behind))
        read, unread[topic] = unread[topic][:5], unread[topic][5:]
        limit_ms, alone = world.clocks[0] + HOUR_MS, behind == [topic]
        assert stream.apply(topic, read, not_after_ms=limit_ms, moves_clock=alone) == ([], [])
        stream.tick(world.clocks[0], behind=[topic for topic in topics if unread[topic]])
        getattr(stream.workers[0], data.draw(st.sampled_from(("checkpoint", "forget", "restart"))))()

    for clock_ms in world.clocks:
        stream.tick(clock_ms)
        stream.agrees_with_recount(world.events, clock_ms)
