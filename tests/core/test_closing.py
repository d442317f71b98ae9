"""Closing days: each is told once, and again only when late events have changed it."""

from itertools import chain
from typing import Any

import msgspec

from stream.core.families.activity.calendar import ACTIVE_USERS
from stream.core.partition.partition import Partition
from stream.core.rules import Rules
from stream.core.snapshot import ClosedDay
from stream.core.time import DAY_MS, HOUR_MS
from tests.core.live import Worker, message

MIDNIGHT_MS = 1_704_067_200_000
FIRST = MIDNIGHT_MS // DAY_MS
NEVER_MS = 1 << 60


def login(user: str, day: float, **told: Any) -> dict[str, Any]:
    return {"user_id": user, "event_time": MIDNIGHT_MS + int(day * DAY_MS), **told}


def apply(worker: Worker, *told: dict[str, Any], moves_clock: bool = False) -> list[str]:
    messages = [message(one) for one in told]
    refused, _ = worker.apply("logins", messages, not_after_ms=NEVER_MS, moves_clock=moves_clock)
    return [one.reason.value for one in refused]


def at(worker: Worker, day: float) -> list[int]:
    """The clock shows that day; returns which days are told, counted from the first."""
    worker.partition.tick(MIDNIGHT_MS + int(day * DAY_MS), behind=())
    worker.partition.update_totals()
    return [one.day - FIRST for _ in range(20) for one in worker.partition.close_days()]


def test_a_day_is_told_when_it_has_closed_and_again_when_a_late_event_changes_it() -> None:
    worker = Worker(Rules())
    apply(worker, login("ann", 0.5))
    assert at(worker, 1.04) == []
    assert at(worker, 1.05) == [0]
    assert at(worker, 1.9) == []
    assert at(worker, 3.1) == [1, 2]
    assert worker.partition.progress.corrections == 0

    apply(worker, login("bob", 3.1))
    assert at(worker, 3.2) == []
    apply(worker, login("cat", 1.5))
    assert at(worker, 3.2) == [1, 2]
    assert worker.partition.progress.corrections == 2
    apply(worker, login("cat", 1.5))
    assert at(worker, 3.3) == []


def test_days_are_looked_at_again_with_each_tenth_call_for_something_is_always_late() -> None:
    worker = Worker(Rules())
    apply(worker, login("ann", 0.5))
    at(worker, 3.1)

    def told(*user: str) -> list[list[int]]:
        if user:
            apply(worker, login(user[0], 1.5))
        worker.partition.update_totals()  # the clock stands still, as it does where it is that of events
        return [[one.day - FIRST for one in worker.partition.close_days()] for _ in range(10)]

    assert told("bob") == [[1], [2], *[[]] * 8]
    assert told("cat") == [[1], [2], *[[]] * 8]
    apply(worker, login("dan", 1.5))
    worker.partition.update_totals()
    assert [one.day - FIRST for one in worker.partition.close_days()] == [1]
    apply(worker, login("eve", 1.5))
    worker.restart()  # in the middle of it: it goes on, and then begins anew
    assert [*chain(*told())] == [2, 1]
    assert [*chain(*told())] == []


def test_a_day_that_says_the_same_is_not_told_again() -> None:
    worker = Worker(Rules())
    apply(worker, login("ann", 0.5), login("ann", 1.5))
    at(worker, 3.1)
    worker.partition.progress.stale_from = FIRST  # they are looked at again, and found to be the same

    assert at(worker, 3.15) == []
    worker.partition.tell_days_again()
    assert at(worker, 3.15) == [0, 1, 2]  # they may be lost
    worker.restart()
    worker.partition.tell_days_again()
    assert at(worker, 3.2) == [0, 1, 2]  # who had it before may not have got it through
    assert worker.partition.progress.corrections == 0


def test_what_a_late_event_changed_is_told_after_a_crash_too() -> None:
    worker = Worker(Rules())
    apply(worker, login("ann", 0.5))
    at(worker, 3.1)
    apply(worker, login("bob", 1.5))
    worker.restart()

    assert at(worker, 3.1) == [1, 2]
    assert worker.partition.progress.corrections == 2


def test_a_day_has_the_number_of_its_corrections_and_a_new_owner_reports_it_as_the_last_one_did() -> None:
    worker = Worker(Rules())
    apply(worker, login("ann", 0.5))
    at(worker, 3.1)
    for user in ("bob", "cat"):
        apply(worker, login(user, 1.5))
        at(worker, 3.2)

    def told(day: float) -> list[tuple[int, int, float]]:
        worker.restart()
        worker.partition.tell_days_again()
        worker.partition.tick(MIDNIGHT_MS + int(day * DAY_MS), behind=())
        worker.partition.update_totals()
        closed = [one for _ in range(20) for one in worker.partition.close_days()]
        return [(one.day - FIRST, one.corrections, (one.changed_ms - MIDNIGHT_MS) / DAY_MS) for one in closed]

    assert told(3.3) == [(0, 0, 3.1), (1, 2, 3.2), (2, 2, 3.2)]
    apply(worker, login("dan", 2.5))
    assert told(3.4) == [(0, 0, 3.1), (1, 2, 3.2), (2, 3, 3.4)]


def test_no_more_days_are_looked_at_together_than_a_batch_can_wait_for() -> None:
    worker = Worker(Rules())
    apply(worker, login("ann", 0.5))
    worker.partition.tick(MIDNIGHT_MS + 30 * DAY_MS, behind=())
    worker.partition.update_totals()

    assert [one.day - FIRST for one in worker.partition.close_days(count=4)] == [0, 1, 2, 3]
    assert worker.partition.live_snapshot().last_closed_day == FIRST + 3
    assert [one.day - FIRST for one in worker.partition.close_days(count=1)] == [4]


def test_what_is_kept_stays_bounded_where_days_are_closed_as_long_as_some_wait() -> None:
    worker = Worker(Rules())
    apply(worker, login("ann", 0.5))
    pages = []
    for day in range(8, 2_000, 16):
        apply(worker, login("ann", day), login("bob", day - 2.5), moves_clock=True)
        worker.partition.tick(MIDNIGHT_MS + day * DAY_MS, behind=())
        worker.partition.update_totals()
        worker.partition.close_days()
        while worker.partition.closing_backlog:
            worker.partition.close_days()
        worker.partition.collect_delta()
        pages.append(worker.partition.snapshot(closed_days=1).rows["page"])

    assert max(pages[60:]) <= max(pages[:60])


def test_what_came_in_the_last_moment_is_told_of_a_day_that_is_final_by_then() -> None:
    worker = Worker(Rules())
    apply(worker, login("ann", 0.5))
    at(worker, 4.1)
    assert apply(worker, login("bob", 1.2)) == []
    apply(worker, login("ann", 5.2), moves_clock=True)
    assert apply(worker, login("cat", 1.2)) == ["late"]

    assert at(worker, 5.2)[:2] == [4, 1]
    assert at(worker, 5.2) == []


def test_a_final_day_is_told_no_more_whoever_returns() -> None:
    worker = Worker(Rules())

    def view(user: str, day: float) -> None:
        told = {"user_id": user, "type": "page_view", "event_time": MIDNIGHT_MS + int(day * DAY_MS)}
        worker.apply("sessions", [message(told)], not_after_ms=NEVER_MS)

    days = []
    for day in range(60):
        view("daily", day + 0.5)
        if day in (0, 20, 25, 59):
            view("rare", day + 0.6)
        days += [(day, told) for told in at(worker, day + 1.1) if told < day - 4]  # that one was open a day before
        worker.forget() if day % 2 else worker.restart()

    assert days == []


def test_a_day_is_final_when_no_event_of_it_can_be_applied_any_more() -> None:
    worker = Worker(Rules(allowed_lateness_ms=DAY_MS))
    apply(worker, login("ann", 0.5))
    at(worker, 2.1)
    last_of_day = {"event_time": MIDNIGHT_MS + DAY_MS - 1}
    apply(worker, login("ann", 2) | {"event_time": MIDNIGHT_MS + 2 * DAY_MS - 1})
    at(worker, 2.2)
    assert worker.partition.live_snapshot().final_through == FIRST - 1
    assert apply(worker, login("bob", 0) | last_of_day) == []

    apply(worker, login("ann", 2))
    at(worker, 2.2)
    assert worker.partition.live_snapshot().final_through == FIRST
    assert apply(worker, login("cat", 0) | last_of_day) == ["late"]
    assert Partition(Rules()).live_snapshot().final_through is None


def test_a_day_before_the_first_event_is_not_final_as_long_as_a_late_event_may_be_of_it() -> None:
    worker = Worker(Rules(allowed_lateness_ms=3 * DAY_MS))
    apply(worker, login("ann", 10.5))
    at(worker, 11.1)
    assert worker.partition.live_snapshot().final_through == FIRST + 6

    assert apply(worker, login("bob", 7.5)) == []
    assert at(worker, 11.2) == [7, 8, 9, 10]
    assert worker.partition.live_snapshot().final_through == FIRST + 6
    assert apply(worker, login("bob", 7.499)) == ["late"]


def test_a_partition_that_reads_nothing_for_a_day_holds_no_day_open() -> None:
    worker = Worker(Rules(allowed_lateness_ms=DAY_MS))
    apply(worker, login("ann", 0.5))
    for clock, final in ((1.5, FIRST - 2), (2.4, FIRST - 2), (2.6, FIRST), (5, FIRST + 3)):
        at(worker, clock)
        worker.restart()  # how long it has been quiet is kept with the state
        assert worker.partition.live_snapshot().final_through == final, clock
    assert apply(worker, login("bob", 3.9)) == ["late"]
    apply(worker, login("bob", 4.5))
    at(worker, 5.5)
    assert worker.partition.live_snapshot().final_through == FIRST + 3


def test_what_is_told_travels_as_bytes_and_is_kept_with_the_state_for_so_many_days() -> None:
    worker = Worker(Rules(history_days=40))
    for day in range(50):
        apply(worker, login("ann", day + 0.5))
        at(worker, day + 1.05)
        worker.checkpoint()
    kept = {int(key.split(b"/")[1]) - FIRST: value for key, value in worker.store.pages(b"closed/")}

    assert sorted(kept) == list(range(10, 50))
    closed = msgspec.msgpack.decode(kept[49], type=ClosedDay)
    assert closed.day == FIRST + 49
    assert closed.changed_ms == MIDNIGHT_MS + int(50.05 * DAY_MS)
    assert {length: told[ACTIVE_USERS] for length, told in closed.families["activity"].items() if length} == {
        1: 1, 7: 1, 28: 1, 30: 1,
    }  # fmt: skip
    assert worker.partition.take_dropped_days() == [FIRST + day for day in range(10)]
    assert worker.partition.take_dropped_days() == []
    pages = {int(key.rsplit(b"/", 1)[1]) - FIRST for key, _ in worker.store.pages(b"days/logins/")}
    assert min(pages) == 50 - 4 - 3 - 30, "no more than windows of days reach that may still change"


def kept_days(worker: Worker) -> list[int]:
    worker.checkpoint()
    return sorted(int(key.split(b"/")[1]) - FIRST for key, _ in worker.store.pages(b"closed/"))


def test_no_older_day_is_kept_also_if_it_was_told_late_or_if_more_were_kept_before() -> None:
    worker = Worker(Rules(history_days=40))
    apply(worker, login("ann", 2.5))
    at(worker, 3.1)
    apply(worker, login("bob", 0.5))
    at(worker, 3.2)
    assert kept_days(worker) == [0, 1, 2]
    at(worker, 50.1)
    assert kept_days(worker) == [*range(10, 50)]

    worker.rules = Rules(history_days=35)
    worker.restart()
    at(worker, 51.1)
    assert worker.partition.take_dropped_days() == [FIRST + day for day in range(10, 16)]
    assert kept_days(worker) == [*range(16, 51)]


def test_days_of_the_clock_s_zone_close_an_hour_after_they_end() -> None:
    worker = Worker(Rules(close_after_ms=2 * HOUR_MS))
    apply(worker, login("ann", 0.5))

    assert at(worker, 1 + 2 / 24 - 0.000_1) == []
    assert at(worker, 1 + 2 / 24) == [0]


def test_a_late_event_of_a_day_before_all_others_is_told_too() -> None:
    worker = Worker(Rules())
    apply(worker, login("ann", 2.5))
    assert at(worker, 3.1) == [2]
    apply(worker, login("bob", 0.5))

    assert at(worker, 3.2) == [0, 1, 2]


def test_a_partition_that_others_began_tells_what_late_events_add_to_days_that_were_closed_before_it() -> None:
    worker = Worker(Rules())
    progress = worker.partition.progress
    progress.first_ms, progress.closed_through, progress.closed_since = MIDNIGHT_MS, FIRST + 2, FIRST + 3
    apply(worker, login("ann", 1.5))

    assert at(worker, 4.1) == [3, 1, 2]
