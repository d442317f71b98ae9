"""Features: examples counted by hand, who counts, and what is refused."""

from typing import Any

import pytest

from stream.core.rejections import Reason
from stream.core.rules import Rules
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS
from tests.core.numbers import closed_numbers, live_numbers, refusal

NOON_MS = 1_704_110_400_000  # 2024-01-01T12:00Z
LATER_MS = NOON_MS + HOUR_MS
RULES = Rules(features={"search": 3, "export": 1, "help": 0})


def used(feature: object, user: str = "ann", *, at_ms: int = NOON_MS, **fields: Any) -> dict[str, Any]:
    return {"topic": "features", "user_id": user, "event_time": at_ms, "feature": feature, **fields}


def login(user: str) -> dict[str, Any]:
    return {"topic": "logins", "user_id": user, "event_time": NOON_MS}


def test_the_product_adoption_score_weighs_the_adoption_of_vital_features() -> None:
    events = [*map(login, ("ann", "bob", "cat", "dan")), used("search"), used("search", "bob"), used("export")]
    found = live_numbers(*events, used("help", "cat"), at_ms=LATER_MS, rules=RULES)

    assert found["feature_adoption_ratio search"] == 0.5
    assert found["feature_adoption_ratio export"] == 0.25
    assert found["feature_users help"] == 1  # counted by name, and not vital
    assert found["product_adoption_score"] == 43.75


def test_features_without_a_name_in_the_settings_are_one_and_a_user_of_several_is_one_user() -> None:
    found = live_numbers(used("tour"), used("import", at_ms=NOON_MS + 1), at_ms=LATER_MS, rules=RULES)

    assert found["feature_users other"] == 1
    assert [found[f"feature_users {name}"] for name in RULES.features] == [0, 0, 0]


def test_the_use_of_a_feature_makes_active_and_one_by_no_person_counts_nowhere() -> None:
    assert live_numbers(used("search"), at_ms=LATER_MS, rules=RULES)["active_users"] == 1
    nobody = live_numbers(used("search", interactive=False), at_ms=LATER_MS, rules=RULES)
    assert nobody["active_users"] == 0
    assert not [name for name in nobody if "feature" in name]


def test_without_vital_features_there_is_no_score() -> None:
    assert "product_adoption_score" not in live_numbers(used("search"), at_ms=NOON_MS)


def test_a_user_counts_on_each_day_of_use_and_once_in_a_window() -> None:
    events = used("search"), used("search", at_ms=NOON_MS + DAY_MS), used("search", at_ms=NOON_MS + DAY_MS + MINUTE_MS)
    end_ms = NOON_MS + 2 * DAY_MS

    days = [
        one["feature_users_closed search"] for one in closed_numbers(*events, at_ms=end_ms, rules=RULES, window="1d")
    ]
    assert days[-2:] == [1, 1]
    assert closed_numbers(*events, at_ms=end_ms, rules=RULES)[-1]["feature_users_closed search"] == 1


@pytest.mark.parametrize(
    ("fields", "reason", "told"),
    [
        ({"feature": " "}, Reason.MISSING_FIELD, "' ' at `$.feature` names no feature"),
        ({"feature": "null"}, Reason.MISSING_FIELD, "'null' at `$.feature` names no feature"),
        ({"type": "seen"}, Reason.UNKNOWN_VALUE, "Invalid enum value 'seen' - at `$.type`"),
    ],
)
def test_what_names_no_feature_is_refused(fields: dict[str, Any], reason: Reason, told: str) -> None:
    assert refusal("features", {**used("search"), **fields}) == (reason, told)
