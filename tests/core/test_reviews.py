"""Reviews: examples counted by hand, edits, removals, and what is refused."""

from typing import Any

import pytest

from stream.core.families.family import Horizon
from stream.core.families.reviews.family import ReviewsFamily
from stream.core.families.reviews.messages import ReviewWritten
from stream.core.families.reviews.part import UserReviews, Version
from stream.core.rejections import Reason
from stream.core.rules import Rules
from stream.core.time import DAY_MS, HOUR_MS
from tests.core.numbers import closed_numbers, live_numbers, refusal

NOON_MS = 1_704_110_400_000  # 2024-01-01T12:00Z
LATER_MS = NOON_MS + HOUR_MS


def review(stars: float | None, number: int = 1, *, at_ms: int = NOON_MS, **fields: Any) -> dict[str, Any]:
    told = {} if stars is None else {"stars": stars}
    return {"topic": "reviews", "user_id": "ann", "event_time": at_ms, "review_id": number, **told, **fields}


def test_the_share_and_the_ratio_of_positive_reviews() -> None:
    found = live_numbers(*(review(stars, number) for number, stars in enumerate((5, 5, 4, 3, 1))), at_ms=NOON_MS)

    assert found["review_positive_ratio"] == 0.6
    assert found["review_positive_to_negative_ratio"] == 3
    assert found["review_stars_mean"] == 3.6
    assert [found[f"reviews {stars}"] for stars in range(1, 6)] == [1, 0, 1, 1, 2]


def test_without_a_negative_review_there_is_no_ratio_to_them_and_without_any_there_are_no_numbers() -> None:
    assert "review_positive_to_negative_ratio" not in live_numbers(review(5), at_ms=NOON_MS)
    assert not [name for name in live_numbers(review(5), at_ms=NOON_MS + 99 * DAY_MS) if "review" in name]


def test_an_edit_moves_a_review_and_earlier_days_keep_what_it_was() -> None:
    events = review(1), review(5, at_ms=NOON_MS + 2 * DAY_MS)
    first, second, third = closed_numbers(*events, at_ms=NOON_MS + 3 * DAY_MS, window="1d")[-3:]

    assert (first["reviews_closed 1"], first["reviews_closed 5"]) == (1, 0)
    assert (second["reviews_closed 1"], second["reviews_closed 5"]) == (0, 0)
    assert (third["reviews_closed 1"], third["reviews_closed 5"]) == (0, 1)
    week = closed_numbers(*events, at_ms=NOON_MS + 3 * DAY_MS)[-1]
    assert (week["reviews_closed 1"], week["reviews_closed 5"]) == (0, 1)


def test_a_review_that_is_removed_counts_no_more_and_one_of_another_user_still_does() -> None:
    removed = review(None, at_ms=NOON_MS + HOUR_MS, status="removed")
    found = live_numbers(review(4), review(4, user_id="bob"), removed, at_ms=NOON_MS + HOUR_MS)

    assert found["reviews 4"] == 1


@pytest.mark.parametrize(
    ("fields", "reason", "told"),
    [
        ({"stars": 4.5}, Reason.OUT_OF_RANGE, "stars are a whole number: 4.5 at `$.stars`"),
        ({"stars": 6}, Reason.OUT_OF_RANGE, "6 at `$.stars` is not between 1 and 5"),
        ({"stars": 0, "status": "removed"}, Reason.OUT_OF_RANGE, "0 at `$.stars` is not between 1 and 5"),
        ({"stars": None}, Reason.MISSING_FIELD, "a review that is not removed needs `$.stars`"),
        ({"review_id": " "}, Reason.MISSING_FIELD, "' ' at `$.review_id` names no review"),
        ({"status": "hidden"}, Reason.UNKNOWN_VALUE, "Invalid enum value 'hidden' - at `$.status`"),
    ],
)
def test_what_can_be_no_review_is_refused(fields: dict[str, Any], reason: Reason, told: str) -> None:
    assert refusal("reviews", {**review(4), **fields}) == (reason, told)


def test_a_review_is_forgotten_when_no_window_reaches_it() -> None:
    family, part = ReviewsFamily(Rules()), UserReviews({})
    family.apply_review(part, ReviewWritten("ann", NOON_MS, False, "r1", Version(NOON_MS, False, 4)), 0)

    for days, kept in ((92, True), (93, False)):
        family.prune(part, Horizon(NOON_MS + days * DAY_MS, 0))
        assert bool(part.by_id) is kept
