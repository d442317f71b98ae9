"""The closed days of all partitions: shown when each has told them, and as they were told last."""

from msgspec.structs import replace

from stream.core.partition.partition import Partition
from stream.core.snapshot import ClosedDay
from stream.core.time import DAY_MS
from stream.export.board import Board
from stream.telemetry import ClosedDayReport, Owner, Report, encode_closed_day
from tests.core.live import deliver
from tests.export.boards import NOW, Event, moment, report, settings

DAYS = 6
LAST = moment(NOW) // DAY_MS - 1


def partition(*users: str) -> Partition:
    """One whose users log in each day at noon."""
    one = Partition(settings().rules)
    for ago in range(DAYS, 0, -1):
        login(one, *users, ago=ago)
        one.tick(moment(NOW) - ago * DAY_MS, behind=())
    one.tick(moment(NOW), behind=())
    one.update_totals()
    return one


def login(one: Partition, *users: str, ago: int) -> None:
    for user in users:
        told = b'{"user_id":"%s","event_time":%d}' % (user.encode(), moment(NOW) - ago * DAY_MS)
        deliver(one, "logins", [Event(told, 0)], not_after_ms=moment(NOW))
    one.update_totals()


def told_of(one: Partition) -> list[ClosedDay]:
    one.tick(one.progress.now_ms + 10_000, behind=())
    one.update_totals()
    return [closed for _ in range(20) for closed in one.close_days()]


def put(board: Board, number: int, days: list[ClosedDay]) -> None:
    for closed in days:
        board.put_day(number, closed.day, encode_closed_day(ClosedDayReport(number, "w", 0, closed)))


def report_of(number: int, one: Partition) -> Report:
    told = report(number, [])
    return replace(told, snapshot=one.live_snapshot(), days_since=one.progress.closed_since)


def dau(board: Board) -> dict[int, float]:
    return {
        day - LAST: next(one.value for one in samples if one.name == "engagement_active_users_closed")
        for day, samples in board.closed(days=40)
    }


def test_a_day_is_shown_when_each_partition_has_told_it_and_then_as_it_was_told_last() -> None:
    board = Board(settings(), now_ms=lambda: moment(NOW))
    one, other = partition("ann"), partition("bob", "cat")
    days, others = told_of(one), told_of(other)
    put(board, 0, days)
    put(board, 1, others[:-2])
    for number, its in ((0, one), (1, other)):
        board.put(report_of(number, its))
    assert dau(board) == dict.fromkeys(range(1 - DAYS, -1), 3)

    put(board, 1, others[-2:])
    assert dau(board) == dict.fromkeys(range(1 - DAYS, 1), 3)
    changes = board.closed_days.changes
    login(one, "eve", ago=2)
    put(board, 0, told_of(one))
    assert dau(board) == {**dict.fromkeys(range(1 - DAYS, 1), 3), -1: 4}
    assert board.closed_days.changes == changes + 2  # that day, and the one after it, whose week it is in

    put(board, 0, days)  # as it lies in the topic, again
    board.put_day(0, LAST, None)
    assert dau(board) == dict.fromkeys(range(1 - DAYS, 0), 3)
    board.put_day(0, LAST - 20, None)  # one that nobody knows


def test_a_partition_that_began_later_keeps_no_day_of_the_others_back() -> None:
    board = Board(settings(), now_ms=lambda: moment(NOW))
    one, other = partition("ann"), Partition(settings().rules)
    login(other, "bob", ago=2)
    other.tick(moment(NOW), behind=())
    other.update_totals()
    for number, its in ((0, one), (1, other)):
        put(board, number, told_of(its))
        board.put(report_of(number, its))

    assert dau(board) == {**dict.fromkeys(range(1 - DAYS, 1), 1), -1: 2}
    board.put(report_of(1, Partition(settings().rules)))
    assert dau(board)[0] == 1


def test_corrections_are_counted() -> None:
    board = Board(settings(), now_ms=lambda: moment(NOW))
    one = partition("ann")
    told_of(one)
    login(one, "eve", ago=2)
    told_of(one)
    for number in (0, 1):
        board.put(report_of(number, one))

    assert {s.value for s in board.health() if s.name == "engagement_closed_corrections_total"} == {4}


def test_what_a_replaced_worker_says_of_a_day_does_not_take_the_place_of_what_a_later_owner_has_said() -> None:
    board = Board(settings(), now_ms=lambda: moment(NOW))
    one, other = partition("ann"), partition("bob", "cat")
    days, others = told_of(one), told_of(other)

    def tell(told: list[ClosedDay], owner: Owner, number: int = 0) -> dict[int, float]:
        for closed in told:
            report = ClosedDayReport(number, "w", 0, closed, owner.epoch, owner.counted_since_ms)
            board.put_day(number, closed.day, encode_closed_day(report))
        return dau(board)

    tell(days, Owner(0, 1), 1)
    for number, its in ((0, other), (1, one)):
        board.put(report_of(number, its))
    both = tell(others, Owner(0, 5))
    assert set(both.values()) == {3}
    assert tell(days, Owner(0, 4)) == both, "a zombie"
    board.put_day(0, LAST, None, deleted_by=Owner(0, 4))
    assert dau(board) == both
    assert set(tell(days, Owner(0, 6)).values()) == {2}, "the next owner"
    # A reset begins epochs anew, and so does the loss of the changelog: then the owner reports with its epoch.
    assert set(tell(others, Owner(9, 1)).values()) == {3}
    assert set(tell(days, Owner(0, 7)).values()) == {3}
    board.put(replace(report_of(0, one), epoch=3))
    assert set(tell(days, Owner(0, 3)).values()) == {2}
    board.put_day(0, LAST, None, deleted_by=Owner(0, 3))
    assert 0 not in dau(board)
