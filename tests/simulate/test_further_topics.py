"""Features, conversations, social networks and reviews of simulated users, measured the naive way on six weeks."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from statistics import mean, median, quantiles
from typing import Any, NamedTuple

import pytest

from stream.core.events import Answer
from stream.simulate.behaviour import Behaviour, Changes
from stream.simulate.feature_use import BROKEN_FEATURE, FEATURE_WEIGHTS, FEATURES
from stream.simulate.population import DAY_MS, Population
from stream.simulate.simulator import SimulatedEvent, SimulatorSettings, simulate
from stream.simulate.support import CHANNELS, DESK_CLOSES, DESK_OPENS, MAX_CONVERSATION_MS
from stream.simulate.voices import MAX_REVIEW_MS, NETWORKS, PAGES
from tests.native import DECODERS

END_MS = 20_777 * DAY_MS + DAY_MS // 2
START_MS = END_MS - 42 * DAY_MS
WORLD = SimulatorSettings(users=700, further_topics=True)
TOPICS = ("features", "contacts", "social", "reviews")
HOUR_MS = 3_600_000


class Told(NamedTuple):
    """An event and its fields."""

    event: SimulatedEvent
    fields: dict[str, Any]


class History(NamedTuple):
    """A history of the four kinds, on how many days each user was active in it, and who was content by CSAT or NPS."""

    told: dict[str, list[Told]]
    active_days: Counter[str]
    content: dict[str, bool]

    def conversations(self) -> dict[str, list[Told]]:
        """All conversations whose first event is `opened`, each in order of time."""
        found: defaultdict[str, list[Told]] = defaultdict(list)
        for told in self.told["contacts"]:
            found[told.fields["conversation_id"]].append(told)
        by_time = {one: sorted(events, key=lambda told: told.event.at_ms) for one, events in found.items()}
        return {one: events for one, events in by_time.items() if events[0].fields["type"] == "opened"}


def history(world: SimulatorSettings = WORLD) -> History:
    told: defaultdict[str, list[Told]] = defaultdict(list)
    days: set[tuple[str, int]] = set()
    content: dict[str, bool] = {}
    for event in simulate(world, start_ms=START_MS, end_ms=END_MS):
        if event.topic in TOPICS:
            told[event.topic].append(Told(event, json.loads(event.value)))
        elif event.topic == "sessions":
            days.add((event.key, event.at_ms // DAY_MS))
        elif event.topic == "surveys":
            fields = json.loads(event.value)
            if fields["kind"] in ("csat", "nps") and "score" in fields:
                content[event.key] = fields["score"] >= (4 if fields["kind"] == "csat" else 9)
    return History(dict(told), Counter(user for user, _ in days), content)


@pytest.fixture(scope="module")
def steady() -> History:
    return history()


def share(of: Iterable[object]) -> float:
    return mean(map(bool, of))


def test_every_event_can_be_used_and_is_that_of_its_user(steady: History) -> None:
    assert set(steady.told) == set(TOPICS)
    for topic, events in steady.told.items():
        for event, fields in events:
            decoded = DECODERS[topic](event.value)
            assert not isinstance(decoded, Answer)
            assert (decoded.user, decoded.at_ms) == (event.key, event.at_ms)
            assert fields["user_id"] == event.key
        assert len({fields["event_id"] for _, fields in events}) == len(events)


def test_features_differ_in_who_uses_them_and_a_job_uses_one_without_its_user(steady: History) -> None:
    users: defaultdict[str, set[str]] = defaultdict(set)
    for event, fields in steady.told["features"]:
        if fields.get("interactive", True):
            users[fields["feature"]].add(event.key)
    jobs = [told for told in steady.told["features"] if told.fields.get("interactive") is False]

    assert set(users) == {feature.name for feature in FEATURES}
    assert set(users) - set(FEATURE_WEIGHTS) == {"canvas"}
    assert sorted(users, key=lambda name: -len(users[name]))[:3] == ["search", "dashboards", "reports"]
    assert len(users["search"]) > 5 * len(users["canvas"])
    assert {told.fields["feature"] for told in jobs} == {"automations"}


def test_who_comes_more_often_uses_more_features_and_says_more(steady: History) -> None:
    features: defaultdict[str, set[str]] = defaultdict(set)
    for event, fields in steady.told["features"]:
        features[event.key].add(fields["feature"])
    likes = Counter(told.event.key for told in steady.told["social"] if told.fields["type"] == "like")
    often, seldom = (
        [user for user, days in steady.active_days.items() if low <= days < high] for low, high in ((20, 99), (2, 6))
    )

    assert mean(len(features[user]) for user in often) > 1.5 * mean(len(features[user]) for user in seldom)
    assert mean(likes[user] for user in often) > 3 * mean(likes[user] for user in seldom)


def test_who_is_dissatisfied_asks_for_help_more_often_and_gives_fewer_stars(steady: History) -> None:
    asked = Counter(events[0].event.key for events in steady.conversations().values())
    stars: defaultdict[bool, list[int]] = defaultdict(list)
    for event, fields in steady.told["reviews"]:
        if event.key in steady.content and "stars" in fields:
            stars[steady.content[event.key]].append(fields["stars"])
    rate = {
        true: sum(asked[user] for user, content in steady.content.items() if content == true)
        / sum(steady.active_days[user] for user, content in steady.content.items() if content == true)
        for true in (True, False)
    }

    assert rate[False] > 1.3 * rate[True]
    assert mean(stars[False]) < mean(stars[True]) - 0.3


def test_all_that_can_happen_in_a_conversation_happens(steady: History) -> None:
    conversations = steady.conversations()
    stories = Counter(told.fields["type"] for told in steady.told["contacts"])
    is_over = {told.fields["conversation_id"] for told in steady.told["contacts"] if told.fields["type"] == "resolved"}

    assert set(stories) == {
        *("opened", "customer_message", "agent_reply", "bot_reply", "resolved", "reopened", "deleted")
    }
    assert {events[0].fields["channel"] for events in conversations.values()} == {one.name for one in CHANNELS}
    assert 0.7 < share(one in is_over for one in conversations) < 0.95
    assert any(events[0].fields.get("outbound") for events in conversations.values())
    assert any("merged_into" in told.fields for told in steady.told["contacts"])
    assert all(
        told.fields["merged_into"] in conversations
        for told in steady.told["contacts"]
        if "merged_into" in told.fields and told.event.at_ms > START_MS + DAY_MS
    )


def test_at_any_time_somebody_waits(steady: History) -> None:
    waiting = []
    for at_ms in range(END_MS - 14 * DAY_MS, END_MS, 5 * HOUR_MS):
        last = [
            [told.fields["type"] for told in events if told.event.at_ms < at_ms][-1:]
            for events in steady.conversations().values()
        ]
        waiting.append(sum(story in (["opened"], ["bot_reply"], ["customer_message"]) for story in last))

    assert mean(waiting) > 1
    assert share(waiting) > 0.8


def test_bots_reply_at_once_and_agents_sooner_in_chats_and_in_working_hours(steady: History) -> None:
    agents: defaultdict[tuple[str, bool], list[int]] = defaultdict(list)
    for events in steady.conversations().values():
        opened, *later = events
        for told in later:
            after_ms = told.event.at_ms - opened.event.at_ms
            if told.fields["type"] == "bot_reply":
                assert after_ms <= 10_000
                assert opened.fields["channel"] == "chat"
        first = next((told for told in later if told.fields["type"] == "agent_reply"), None)
        # From 15 to 18 h UTC the desks of Europe and America are open, from 0 to 6 h neither is.
        hour = opened.event.at_ms % DAY_MS // HOUR_MS
        weekday = (opened.event.at_ms // DAY_MS + 3) % 7
        if first and not opened.fields.get("outbound") and weekday < 5:
            is_day = DESK_OPENS + 7 <= hour < DESK_CLOSES - 1
            if is_day or hour < DESK_OPENS - 2:
                agents[opened.fields["channel"], is_day].append(first.event.at_ms - opened.event.at_ms)
    usual = {name: median(agents[name, True]) for name in ("chat", "mail")}

    assert usual["mail"] > 5 * usual["chat"]
    assert median(agents["chat", False]) > 1.5 * usual["chat"]


def test_conversations_and_reviews_end_in_time(steady: History) -> None:
    spans: defaultdict[str, list[int]] = defaultdict(list)
    for event, fields in steady.told["contacts"]:
        spans[fields["conversation_id"]].append(event.at_ms)
    reviews: defaultdict[str, list[int]] = defaultdict(list)
    for event, fields in steady.told["reviews"]:
        reviews[fields["review_id"]].append(event.at_ms)

    assert DAY_MS < max(max(times) - min(times) for times in spans.values()) < MAX_CONVERSATION_MS
    assert DAY_MS < max(max(times) - min(times) for times in reviews.values()) < MAX_REVIEW_MS


def test_a_history_begins_with_conversations_that_began_before_it(steady: History) -> None:
    first: dict[str, str] = {}
    for told in steady.told["contacts"]:
        first.setdefault(told.fields["conversation_id"], told.fields["type"])

    assert set(first.values()) - {"opened"}


def test_some_of_what_is_said_is_taken_back_edited_or_removed(steady: History) -> None:
    said = Counter(told.fields["type"] for told in steady.told["social"])
    networks = Counter(told.fields["network"] for told in steady.told["social"])
    versions = Counter(told.fields["review_id"] for told in steady.told["reviews"])

    for kind in ("like", "comment", "share", "save", "mention", "follow"):
        assert 0 <= said[f"un{kind}"] < 0.2 * said[kind]
    assert said["unlike"] > 5
    assert set(networks) == set(NETWORKS)
    assert 0.05 < share(count > 1 for count in versions.values()) < 0.3
    assert any(told.fields.get("status") == "removed" for told in steady.told["reviews"])
    assert {told.fields["sentiment"] for told in steady.told["social"] if "sentiment" in told.fields} == {
        *("positive", "neutral", "negative")
    }
    assert {told.fields["stars"] for told in steady.told["reviews"] if "stars" in told.fields} == {1, 2, 3, 4, 5}


def test_the_pages_tell_of_an_audience_that_grows(steady: History) -> None:
    followers: defaultdict[str, list[int]] = defaultdict(list)
    for event, fields in steady.told["social"]:
        if fields["type"] == "audience":
            followers[event.key].append(fields["followers"])

    assert len(followers) == len(PAGES)
    for counts in followers.values():
        assert counts == sorted(counts)
        assert counts[-1] > counts[0]


@pytest.mark.parametrize("scenario", ["steady", "support", "adoption", "reviews"])
def test_further_topics_add_events_and_change_none_of_the_others(scenario: str) -> None:
    world = SimulatorSettings(seed=7, users=60, customers=True, late=0.1, broken=0.05)
    span = {"start_ms": START_MS, "end_ms": START_MS + DAY_MS}
    begins_ms = None if scenario == "steady" else START_MS - 30 * DAY_MS
    further = replace(world, further_topics=True, scenario=scenario, scenario_at_ms=begins_ms)
    both = [list(simulate(one, **span)) for one in (world, further)]
    others = [event for event in both[1] if event.topic not in TOPICS]

    assert others == both[0]
    assert len(both[1]) > len(others)


def of_scenario(**changes: int) -> History:
    """Of a scenario only what the four kinds tell, without what was begun before."""
    behaviour = Behaviour(Population(seed=WORLD.seed, users=WORLD.users), seed=WORLD.seed, changes=Changes(**changes))
    told: defaultdict[str, list[Told]] = defaultdict(list)
    for hour in range(START_MS // HOUR_MS, END_MS // HOUR_MS):
        for event in behaviour.further_hour(hour):
            if event.at_ms < END_MS:
                told[event.topic].append(Told(event, json.loads(event.value)))
    return History(dict(told), Counter(), {})


@pytest.fixture(scope="module")
def usual() -> History:
    return of_scenario()


def first_replies_ms(past: History) -> list[int]:
    replies = []
    for events in past.conversations().values():
        kinds = [told.fields["type"] for told in events]
        if "agent_reply" in kinds and not events[0].fields.get("outbound"):
            replies.append(events[kinds.index("agent_reply")].event.at_ms - events[0].event.at_ms)
    return replies


def since(past: History, at_ms: int) -> History:
    """What was begun, used and said from a time on."""
    told = {topic: [one for one in events if one.event.at_ms >= at_ms] for topic, events in past.told.items()}
    return past._replace(told=told)


def users_of(past: History, feature: str) -> int:
    return len({told.event.key for told in past.told["features"] if told.fields["feature"] == feature})


# By scenario: the kinds that it changes, what it is named after, and by how much that differs from usual.
_CHANGES: dict[str, tuple[str, Callable[[History], float], float, float]] = {
    "support": ("contacts", lambda past: quantiles(first_replies_ms(past), n=10)[-1], 2.5, 99),
    "adoption": ("features", lambda past: users_of(past, BROKEN_FEATURE), 0, 0.4),
    "reviews": (
        "reviews",
        lambda past: share(told.fields["stars"] >= 4 for told in past.told["reviews"] if "stars" in told.fields),
        0,
        0.6,
    ),
}


@pytest.mark.parametrize("scenario", _CHANGES)
def test_a_scenario_changes_what_it_is_named_after_and_nothing_else_nor_before(scenario: str, usual: History) -> None:
    begins_ms = replace(WORLD, scenario=scenario).of_history(START_MS, END_MS).scenario_at_ms
    assert begins_ms is not None
    topic, number, low, high = _CHANGES[scenario]
    changed = of_scenario(**{f"{scenario}_ms": begins_ms})

    before_it, now = (number(since(past, begins_ms)) for past in (usual, changed))

    assert low * before_it < now < high * before_it
    for kind in TOPICS:
        assert (usual.told[kind] == changed.told[kind]) == (kind != topic)
        before = [[told.event for told in past.told[kind] if told.event.at_ms < begins_ms] for past in (usual, changed)]
        assert before[0] == before[1]
    for feature in FEATURES:
        if feature.name != BROKEN_FEATURE:
            assert users_of(changed, feature.name) == users_of(usual, feature.name)
