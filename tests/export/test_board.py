"""A board with partitions without owner, with stores that can't be reached, and with counters of several owners."""

from itertools import pairwise

from msgspec.structs import replace

from stream.core.partition.progress import OUTCOMES
from stream.core.rejections import Reason
from stream.core.snapshot import Snapshot
from stream.export.board import Board
from stream.export.counters import Counters
from stream.telemetry import OpenTransaction, Report, Standby, Timings, Unowned
from tests.core.live import with_sums
from tests.export.boards import NOW, board, moment, report
from tests.native import TOPICS

AT_MS = moment(NOW)


def unowned(partition: int, **progress: float | None) -> Unowned:
    told: dict[str, object] = {"partition": partition, "worker": "w", "reported_ms": AT_MS, "why": "w has stopped"}
    return Unowned(**{**told, **progress})  # type: ignore[arg-type]


def values(shown: Board, name: str) -> dict[str, float]:
    return {"/".join(sample.labels.values()): sample.value for sample in shown.health() if sample.name == name}


def test_a_partition_whose_worker_has_left_is_stale_at_once_and_keeps_its_numbers() -> None:
    shown = board()
    numbers = shown.live()
    shown.put(unowned(1))

    assert shown.stale() == [1]
    assert shown.unready() == ["partition 1: w has stopped"]
    assert values(shown, "engagement_partitions_owned") == {"": 1}
    assert list(values(shown, "engagement_partition_owner_info")) == ["0/worker-1"]
    assert shown.live() == numbers

    shown.put(report(1, []))
    assert shown.stale() == []


def test_a_recovery_tells_how_far_it_is_and_how_long_it_will_take() -> None:
    shown = board()
    shown.put(unowned(0, rows_left=1_200, seconds_left=3.6))
    shown.put(unowned(1, rows_left=9))

    assert shown.unready() == [
        "partition 0: w has stopped, 1,200 records to go, about 4 s",
        "partition 1: w has stopped, 9 records to go",
    ]
    assert values(shown, "engagement_recovery_rows_remaining") == {"0": 1_200, "1": 9}
    assert values(shown, "engagement_recovery_remaining_seconds") == {"0": 3.6}


def test_a_store_that_is_away_is_told_and_its_partition_still_owned() -> None:
    shown = board()
    shown.put(replace(report(0, []), away="redis at redis://r: connection refused"))

    assert shown.unready() == ["partition 0: redis at redis://r: connection refused"]
    assert values(shown, "engagement_store_available") == {"0": 0, "1": 1}
    assert values(shown, "engagement_partitions_owned") == {"": 2}


def test_an_open_transaction_that_holds_a_partition_back_is_told_with_its_topic_and_how_much_waits() -> None:
    shown = board()
    shown.put(replace(report(0, []), open_transactions={"logins": OpenTransaction(seconds=90.4, records=1_204)}))

    told = "a producer's transaction in logins has been open for 90 s, since 2026-03-10T11:58:30Z"
    assert shown.unready() == [f"partition 0: {told}: 1,204 records wait for its end"]
    assert shown.partitions()[0].reason == f"{told}: 1,204 records wait for its end"
    assert values(shown, "engagement_open_transaction_seconds") == {
        "logins/0": 90.4,
        "sessions/0": 0,
        "logins/1": 0,
        "sessions/1": 0,
    }

    shown.put(unowned(0))
    assert shown.unready() == ["partition 0: w has stopped"]


def test_a_topic_that_is_not_read_any_more_is_told_with_the_commands_that_decide_it() -> None:
    shown = board()
    why = "'logins' was created again; to keep the numbers: engagement state accept --partition 0"
    shown.put(replace(report(0, []), unread={"logins": why}, behind=("sessions",)))

    assert shown.unready() == [
        "partition 0 is still reading sessions",
        f"partition 0: logins is not read: {why}",
    ]
    assert shown.partitions()[0].reason == f"logins is not read: {why}"
    assert values(shown, "engagement_topic_readable") == {
        "logins/0": 0,
        "sessions/0": 1,
        "logins/1": 1,
        "sessions/1": 1,
    }

    shown.put(report(0, []))
    shown.reports_missing = "topic 'reports' is not in Kafka any more"
    assert shown.unready() == ["topic 'reports' is not in Kafka any more"]


def test_sums_that_can_not_be_make_no_page_fail() -> None:
    shown = board()
    told = report(0, []).snapshot
    live = told.families["activity"].live
    impossible = {window: {**tally, 1: 5 if window > 1_440 else 9} for window, tally in live.items()}
    shown.put(replace(report(0, []), snapshot=with_sums(told, "activity", live=impossible)))

    assert shown.live() == []
    assert shown.closed() == []
    assert shown.unready() == ["sums of the workers can't be: a part is larger than its whole; look at their logs"]


def counted(applied: int, *, late: int = 0, timings: tuple[int, ...] = ()) -> Report:
    snapshot = Snapshot(outcomes={"logins": {"applied": applied}}, reasons={"logins": {"late": late}})
    return replace(report(0, []), snapshot=snapshot, event_latency=Timings(timings, float(sum(timings))))


def applied_of(shown: Board) -> float:
    return values(shown, "engagement_events_total")["logins/applied"]


def test_a_counter_waits_when_a_new_owner_begins_with_the_last_checkpoint() -> None:
    shown = board()
    told = []
    for count in (1_000, 1_500, 1_450, 1_490, 1_600):
        shown.put(counted(count))
        told.append(applied_of(shown))

    rises = [later - earlier for earlier, later in pairwise(told)]
    assert rises == [500, 0, 0, 100]


def test_state_that_was_reset_counts_from_nothing_however_much_its_first_report_tells() -> None:
    shown = board()
    shown.put(counted(1_000, late=20))
    before = applied_of(shown)
    shown.put(replace(counted(1_010, late=10), counted_since_ms=5))  # another order of arrival: fewer were late

    assert applied_of(shown) == before + 10
    assert values(shown, "engagement_dead_letters_total")["logins/late"] == 10


def test_what_can_be_counted_is_there_as_0_so_that_the_first_of_its_kind_is_seen_to_come() -> None:
    shown = Board(board().settings, now_ms=lambda: AT_MS)
    assert values(shown, "engagement_events_total") == {}, "before a report nothing is known of any"

    shown.put(report(0, []))
    events, letters = (values(shown, f"engagement_{name}_total") for name in ("events", "dead_letters"))

    inputs = shown.settings.named_inputs
    assert set(events) == {f"{name}/{outcome}" for name in inputs for outcome in OUTCOMES}
    assert set(letters) == {f"{name}/{reason.value}" for name in inputs for reason in Reason}
    assert {*events.values(), *letters.values()} == {0}


def test_timings_go_on_where_the_last_owner_left_them() -> None:
    counters = Counters(TOPICS)
    for timings in ((1, 2), (3, 2), (0, 1), (1, 1)):
        counters.take(counted(1, timings=timings))

    assert counters.timings("event_latency") == Timings((4, 3), 7.0)


def test_each_partition_stands_as_its_worker_has_told_last() -> None:
    shown = board(partitions=(0,), behind=("logins",))
    never, behind = shown.partitions()[1], shown.partitions()[0]

    assert (never.worker, never.age_seconds, never.stale, never.reason) == (None, None, True, "no report for 15s")
    assert (behind.worker, behind.age_seconds, behind.stale) == ("worker-1", 0.0, False)
    assert behind.reason == "still reading logins"

    shown.put(replace(report(0, []), away="redis at redis://r: connection refused"))
    assert shown.partitions()[0].reason == "redis at redis://r: connection refused"
    shown.put(unowned(0))
    assert (shown.partitions()[0].worker, shown.partitions()[0].reason) == ("w", "w has stopped")
    assert shown.partitions()[0].stale
    assert shown.unready() == ["partition 0: w has stopped", "no report for 15s of partitions 1"]


def test_what_was_told_of_a_partition_some_time_ago_says_so() -> None:
    moments = [NOW]
    shown = board(now=lambda: moments[0])
    shown.put(unowned(0, rows_left=9))

    moments[0] = "2026-03-10T12:00:15Z"
    assert shown.partitions()[0].reason == "w has stopped, 9 records to go"
    moments[0] = "2026-03-10T12:00:16Z"
    assert shown.partitions()[0].reason == "w has stopped, 9 records to go (told 16 s ago)"


def test_who_stands_by_is_told_with_his_lag_for_as_long_as_he_is_heard_of() -> None:
    moments = [NOW]
    shown = board(now=lambda: moments[0])
    for worker, partition, lag in (("b", 1, 7), ("c", 1, 0), ("b", 1, 3)):
        shown.put(Standby(partition=partition, worker=worker, reported_ms=AT_MS, lag=lag))

    assert [board_status.standbys for board_status in shown.partitions()] == [{}, {"b": 3, "c": 0}]
    assert values(shown, "engagement_standby_lag_rows") == {"1/b": 3, "1/c": 0}
    assert shown.unready() == []
    moments[0] = "2026-03-10T12:00:16Z"
    assert values(shown, "engagement_standby_lag_rows") == {}
