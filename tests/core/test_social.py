"""Social networks: what stands, what is taken back, audiences, and what is refused."""

from typing import Any

import pytest

from stream.core.rejections import Reason
from stream.core.rules import Rules
from stream.core.time import DAY_MS, HOUR_MS
from tests.core.numbers import closed_numbers, live_numbers, refusal

NOON_MS = 1_704_110_400_000  # 2024-01-01T12:00Z
LATER_MS = NOON_MS + HOUR_MS


def social(kind: str, *, at_ms: int = NOON_MS, network: object = "mastodon", **fields: Any) -> dict[str, Any]:
    return {"topic": "social", "user_id": "ann", "event_time": at_ms, "type": kind, "network": network, **fields}


def audience(page: str, *, at_ms: int = NOON_MS, **told: Any) -> dict[str, Any]:
    return social("audience", at_ms=at_ms, user_id=page, **told)


def test_a_like_stands_once_for_each_user_network_and_post_until_it_is_taken_back() -> None:
    liked = [social("like", post_id="p"), social("like", post_id="p", at_ms=NOON_MS + 1)]
    liked += [
        social("like", post_id="q"),
        social("like", post_id="p", user_id="bob"),
        social("like", network="pixelfed"),
    ]
    assert live_numbers(*liked, at_ms=LATER_MS)["social_interactions mastodon like"] == 3

    undone = social("unlike", post_id="p", at_ms=NOON_MS + HOUR_MS)
    assert live_numbers(*liked, undone, at_ms=NOON_MS + HOUR_MS)["social_interactions mastodon like"] == 2


def test_of_a_like_and_what_takes_it_back_at_one_time_the_latter_holds_in_either_order() -> None:
    events = [social("follow"), social("unfollow")]
    for order in (events, events[::-1]):
        found = live_numbers(*order, social("save"), at_ms=LATER_MS)
        assert found["social_interactions mastodon follow"] == 0


def test_comments_and_mentions_stand_for_each_interaction_or_each_event() -> None:
    events = [social("comment", post_id="p", at_ms=NOON_MS + place) for place in (0, 0, 1)]
    events += [social("mention", interaction_id="m", sentiment="negative")]
    events += [social("mention", interaction_id="m", sentiment="positive", at_ms=NOON_MS + 1), social("mention")]
    found = live_numbers(*events, at_ms=LATER_MS)

    assert found["social_interactions mastodon comment"] == 2
    sentiments = [found[f"brand_mentions mastodon {name}"] for name in ("positive", "neutral", "negative", "unknown")]
    assert sentiments == [1, 0, 0, 1]


def test_engagement_is_of_the_newest_audience_of_each_page() -> None:
    events = [social("like"), social("share"), social("comment"), social("mention"), social("follow")]
    events += [
        audience("page", followers=50, at_ms=NOON_MS + 1),
        audience("page", followers=99),
        audience("shop", followers=10),
    ]
    found = live_numbers(*events, at_ms=LATER_MS)

    assert found["social_audience mastodon followers"] == 60
    assert found["social_engagement_ratio mastodon followers"] == 3 / 60
    assert found["social_audience mastodon reach"] == 0
    assert "social_engagement_ratio mastodon reach" not in found


def test_an_audience_that_is_told_late_is_that_of_its_time() -> None:
    events = [audience("page", followers=10), audience("page", followers=30, at_ms=NOON_MS + 2 * DAY_MS)]
    events += [audience("page", followers=20, at_ms=NOON_MS + DAY_MS)]
    days = closed_numbers(*events, at_ms=NOON_MS + 3 * DAY_MS)

    assert [day["social_audience_closed mastodon followers"] for day in days[-3:]] == [10, 20, 30]


def test_an_audience_holds_for_as_long_as_is_remembered() -> None:
    rules = Rules(memory_days=2)
    days = closed_numbers(audience("page", followers=10), at_ms=NOON_MS + 5 * DAY_MS, rules=rules)

    told = [day.get("social_audience_closed mastodon followers") for day in days]
    assert told[-5:] == [10, 10, 10, None, None]
    live = [live_numbers(audience("page", reach=7), at_ms=NOON_MS + days * DAY_MS, rules=rules) for days in (2, 3)]
    assert [one.get("social_audience mastodon reach") for one in live] == [7, None]


def test_of_many_networks_those_with_most_interactions_have_a_name() -> None:
    events = [
        social("like", network=f"n{number:02}", post_id=post) for number in range(22) for post in range(1 + number // 2)
    ]
    found = live_numbers(*events, at_ms=LATER_MS)

    assert found["social_interactions n21 like"] == 11
    assert found["social_interactions other like"] == 2
    assert "social_interactions n00 like" not in found


@pytest.mark.parametrize(
    ("fields", "reason", "told"),
    [
        ({"network": ""}, Reason.MISSING_FIELD, "'' at `$.network` names no network"),
        ({"type": "audience"}, Reason.MISSING_FIELD, "an audience needs `$.followers` or `$.reach`"),
        ({"type": "audience", "reach": -1}, Reason.OUT_OF_RANGE, "Expected `int` >= 0 - at `$.reach`"),
        (
            {"type": "uncomment"},
            Reason.MISSING_FIELD,
            "what uncomment takes back has to be named at `$.interaction_id`",
        ),
        (
            {"type": "mention", "sentiment": "mixed"},
            Reason.UNKNOWN_VALUE,
            "Invalid enum value 'mixed' - at `$.sentiment`",
        ),
        ({"type": "unaudience"}, Reason.UNKNOWN_VALUE, "Invalid enum value 'unaudience' - at `$.type`"),
    ],
)
def test_what_is_no_interaction_is_refused(fields: dict[str, Any], reason: Reason, told: str) -> None:
    assert refusal("social", {**social("like"), **fields}) == (reason, told)
