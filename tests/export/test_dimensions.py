"""`/api/v1/dimensions`: what it says of now and of a month ago is what the other documents of the API say."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from stream.core.time import DAY_MS
from stream.export.board import Board
from stream.export.dimensions import dimensions
from tests.export import test_cohorts_api
from tests.export.boards import NOW, board, moment, settings
from tests.export.crowds import crowd
from tests.export.serving import Serving
from tests.timeouts import TIMEOUT_SECONDS

LAST, BEFORE = "2026-03-09", "2026-02-09"


@pytest.fixture(scope="module")
def crowded() -> Iterator[Serving]:
    with Serving(crowd()) as serving:
        yield serving


def get(serving: Serving, path: str) -> Any:
    with urllib.request.urlopen(f"{serving.address}/api/v1/{path}", timeout=TIMEOUT_SECONDS) as answer:
        return json.load(answer)


def numbers(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {number["title"]: number for one in document["dimensions"] for number in one["numbers"]}


def as_told(samples: list[dict[str, Any]], name: str, labels: dict[str, str]) -> dict[str, float] | None:
    """A number with its interval and sample size, from samples of the API."""
    found = {one["name"]: one for one in samples if one["labels"] == labels}
    if name not in found:
        return None
    ends = {end: found[f"{name}_{end}"]["value"] for end in ("lower", "upper") if f"{name}_{end}" in found}
    size = {"sample_size": found[name]["sample_size"]} if "sample_size" in found[name] else {}
    return {"value": found[name]["value"], **ends, **size}


def test_each_number_is_that_of_the_api_now_and_on_the_closed_day_four_weeks_before(crowded: Serving) -> None:
    document = get(crowded, "dimensions")
    live = get(crowded, "metrics")
    days = {day["day"]: day["samples"] for day in get(crowded, "metrics?days=35")["closed"]}

    assert (document["at"], document["last_closed_day"], document["before_day"]) == (NOW, LAST, BEFORE)
    assert [one["name"] for one in document["dimensions"]] == [
        "longevity", "frequency", "volume", "context", "proactiveness",
    ]  # fmt: skip
    compared = 0
    for number in numbers(document).values():
        if number["metric"] in ("engagement_l28_users_closed", "engagement_segment_active_users"):
            continue  # made of several: below
        name, labels = number["metric"], number["labels"]
        closed = name if not number["is_live"] else _closed(name)
        assert number["now"] == as_told(live["live"] if number["is_live"] else days[LAST], name, labels)
        # 16 days lie between the first one and that day: no window of 28 days is whole.
        assert number["before"] is None
        assert number["unit"] == live["definitions"][name]["unit"]
        assert number["definition"] == live["definitions"][name]["definition"]
        assert labels["window"] == "28d"
        assert any(one["name"] == closed for one in days[BEFORE])
        compared += 1
    assert compared == 8


@pytest.mark.parametrize(("days_ago", "is_known"), [(28 + 28, True), (28 + 27, False)])
def test_a_month_ago_is_told_where_its_whole_window_is_known(days_ago: int, is_known: bool) -> None:
    with Serving(_known_since(crowd(), days_ago=days_ago)) as serving:
        days = {day["day"]: day["samples"] for day in get(serving, "metrics?days=35")["closed"]}
        told = numbers(get(serving, "dimensions")).values()

    compared = 0
    for number in told:
        if number["labels"].get("window") == "28d":
            name = _closed(number["metric"]) if number["is_live"] else number["metric"]
            before = as_told(days[BEFORE], name, number["labels"])
            assert number["before"] == (before if is_known else None), number["title"]
            compared += before is not None
    assert compared > 5


def test_active_days_are_the_mean_of_the_days_of_all_users(crowded: Serving) -> None:
    samples = get(crowded, "metrics")["closed"][-1]["samples"]
    users = {
        int(one["labels"]["days"]): one["value"] for one in samples if one["name"] == "engagement_l28_users_closed"
    }
    number = numbers(get(crowded, "dimensions"))["Active days of 28, mean"]

    whole = sum(users.values())
    assert number["now"] == {
        "value": pytest.approx(sum(days * count for days, count in users.items()) / whole),
        "sample_size": whole,
    }
    assert (number["unit"], number["is_live"]) == ("days", False)
    # As the dashboard calculates it: the sum of the daily active users over those of the month.
    summed, active = (
        as_told(samples, f"engagement_{name}_closed", {"window": "28d"})
        for name in ("daily_active_users_summed", "active_users")
    )
    assert summed is not None
    assert active is not None
    assert number["now"]["value"] == pytest.approx(summed["value"] / active["value"])


def test_of_each_segment_the_three_greatest_values_are_told_as_shares_of_the_active_users(crowded: Serving) -> None:
    live = get(crowded, "metrics")["live"]
    context = next(one for one in get(crowded, "dimensions")["dimensions"] if one["name"] == "context")["numbers"]
    users = next(
        one["value"] for one in live if (one["name"], one["labels"]) == ("engagement_active_users", {"window": "30d"})
    )
    for segment in ("platform", "plan", "country"):
        told = [one for one in context if one["labels"]["segment"] == segment]
        counts = sorted(
            (
                one["value"]
                for one in live
                if one["name"] == "engagement_segment_active_users"
                and (one["labels"]["window"], one["labels"]["segment"]) == ("30d", segment)
            ),
            reverse=True,
        )
        assert [one["now"]["value"] * users for one in told] == [pytest.approx(count) for count in counts[:3]]
        assert all(one["now"]["lower"] < one["now"]["value"] < one["now"]["upper"] for one in told)
        assert {one["now"]["sample_size"] for one in told} == {users}


def test_what_a_deployment_does_not_read_is_left_out() -> None:
    told = numbers(dimensions(test_cohorts_api.shown()))

    assert "Orders, a buyer" not in told
    assert "Contacts that customers began" not in told
    assert told["Established users"]["before"] is None


def test_before_anything_is_known_there_are_five_dimensions_without_numbers() -> None:
    document = dimensions(Board(settings(), now_ms=lambda: moment(NOW)))

    assert (document["at"], document["last_closed_day"], document["before_day"]) == (None, None, None)
    assert [one["numbers"] for one in document["dimensions"]] == [[]] * 5


def test_before_a_day_has_closed_what_is_live_is_told() -> None:
    told = numbers(dimensions(board()))

    assert told["Steps, an active user"]["now"]["value"] > 0
    assert told["Steps, an active user"]["before"] is None


def _known_since(shown: Board, *, days_ago: int) -> Board:
    """The same board, as if the first event had come so many days before the last closed day."""
    for report in shown.reports:
        snapshot = msgspec.structs.replace(report.snapshot, first_ms=moment(f"{LAST}T00:00:00Z") - days_ago * DAY_MS)
        shown.put(msgspec.structs.replace(report, snapshot=snapshot))
    return shown


def _closed(name: str) -> str:
    return f"{name.removesuffix('_ratio')}_closed_ratio" if name.endswith("_ratio") else f"{name}_closed"
