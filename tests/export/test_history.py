"""The last hours of live numbers, as far as the server has watched."""

from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stream.core.time import SECOND_MS
from stream.export.board import Board
from stream.export.history import History, Point, PointBuffer
from tests.export.boards import board, moment, settings
from tests.export.crowds import later

START = moment("2026-03-10T12:00:00Z")


class Watched:
    """A board that a history looks at once a second."""

    def __init__(self, shown: Board | None = None) -> None:
        self.now_ms = START
        self.board = board() if shown is None else shown
        self.board.now_ms = lambda: self.now_ms
        self.history = History(settings().rules)
        self._reports = self.board.reports

    def seconds(self, count: int, *, reporting: bool = True, step: int = 1) -> None:
        for _ in range(count):
            self.now_ms += step * SECOND_MS
            if reporting:
                for report in self._reports:
                    self.board.put(later(report, self.now_ms - START))
            self.history.update(self.board)

    @property
    def seconds_seen(self) -> list[float]:
        """When points were taken, in seconds after the start."""
        return [at - START / SECOND_MS for at in self.history.document()["at"]]


def values(document: dict[str, Any], name: str, **labels: str) -> list[float | None]:
    return next(s["values"] for s in document["series"] if (s["name"], s["labels"]) == (name, labels))


def test_a_server_that_has_just_started_has_no_past_and_says_so() -> None:
    document = Watched().history.document()

    assert document["since"] is None
    assert document["at"] == []


def test_a_point_is_taken_each_five_seconds_once_numbers_have_been_trusted_for_five() -> None:
    watched = Watched()

    watched.seconds(4)
    assert watched.seconds_seen == []
    watched.seconds(8)
    assert watched.seconds_seen == [5, 10]
    assert watched.history.document()["since"] == "2026-03-10T12:00:05Z"


def test_the_last_quarter_of_an_hour_is_kept_fine_and_what_was_before_by_the_minute() -> None:
    watched = Watched()
    watched.seconds(3 * 60, step=60)
    watched.seconds(20 * 60 // 5, step=5)

    seen = watched.seconds_seen
    steps = [after - before for before, after in pairwise(seen)]
    assert seen[0] == 5 * 60
    assert set(steps[-179:]) == {5}
    assert set(steps[:-180]) == {60}


def test_points_hold_what_the_api_told_then() -> None:
    watched = Watched()
    watched.seconds(5)

    document = watched.history.document()
    assert values(document, "engagement_active_users", window="1d") == [2]
    assert values(document, "engagement_bounce_ratio", window="1d", rule="ga4") == [0.5]
    assert values(document, "engagement_csat_ratio", window="30d") == [0.5]
    assert values(document, "engagement_events_total") == [12]
    assert values(document, "engagement_lag_events") == [6]


def test_what_is_undefined_is_none_and_not_zero() -> None:
    watched = Watched(board(partitions=(1,)))
    watched.board.put(msgspec.structs.replace(watched.board.reports[0], partition=0))
    watched._reports = watched.board.reports
    watched.seconds(5)

    assert values(watched.history.document(), "engagement_nps", window="30d") == [None]


def test_numbers_that_can_not_be_trusted_leave_a_gap() -> None:
    watched = Watched()
    watched.seconds(10)
    watched.seconds(30, reporting=False)
    watched.seconds(10)

    document = watched.history.document()
    users = values(document, "engagement_active_users", window="1d")
    assert users[0] == 2
    assert users.count(None) == 1
    assert 0 < users.index(None) < len(users) - 1
    assert all(series["values"][users.index(None)] is None for series in document["series"])


def test_windows_that_are_not_configured_give_way_to_the_longest_there_is() -> None:
    rules = settings(
        **{"windows.sessions": "1h,4h", "windows.surveys": "7d,90d", "windows.activity": "1h,1d,14d"}
    ).rules
    told = {(s["name"], s["labels"].get("window")) for s in History(rules).document()["series"]}

    assert ("engagement_bounce_ratio", "4h") in told
    assert ("engagement_nps", "90d") in told
    assert ("engagement_stickiness_ratio", "14d") in told


@given(st.lists(st.integers(0, 500), max_size=200), st.integers(1, 20), st.integers(1, 30))
def test_a_ring_keeps_one_point_a_step_of_its_span_whatever_comes(steps: list[int], step: int, count: int) -> None:
    ring = PointBuffer(step_ms=step, span_ms=step * count)
    for at_ms in steps:
        if ring.is_due(at_ms):
            ring.put(Point(at_ms, (1,)))

    kept = [point.at_ms for point in ring.points]
    assert len(kept) <= count
    assert kept == sorted(kept)
    assert len({at_ms // step for at_ms in kept}) == len(kept)
    assert not kept or kept[-1] - kept[0] < step * count
    assert not steps or kept[-1] // step == max(steps) // step
