"""Checkpoints: a partition restored from what it stored goes on as if nothing had happened, and rows stay small."""

from typing import Any

import msgspec
import pytest

from stream.core import user as rows
from stream.core.activity import active_days
from stream.core.events import LOGINS, SESSIONS, SURVEYS
from stream.core.fields import ACTIVE_USERS
from stream.core.fields import LOGINS as LOGINS_FIELD
from stream.core.partition import Partition, RulesChanged
from stream.core.report import closed_samples
from stream.core.rules import Rules
from stream.core.snapshot import Snapshot
from stream.core.survey_scales import DIMENSIONS
from stream.core.time import DAY_MS, HOUR_MS, Days
from tests.core.live import Store, Worker, deliver, message

NOON_MS = 1_704_110_400_000
DAY = 1_704_110_400_000 // DAY_MS
NEVER_MS = 1 << 60


def told(after_ms: int = 0, **fields: Any) -> dict[str, Any]:
    return {"user_id": "ann", "event_time": NOON_MS + after_ms, **fields}


EVERYTHING = (
    (LOGINS, told()),
    (SESSIONS, told(type="page_view")),
    (SESSIONS, told(type="page_view", session_id="s1", engaged_ms=5)),
    (SESSIONS, told(type="summary", session_id="s2", started_at=NOON_MS - 1, ended_at=NOON_MS, page_views=2)),
    (SURVEYS, told(response_id="r1", kind="nps", score=9)),
    (
        SURVEYS,
        told(response_id="r2", kind="cxi", scores=dict.fromkeys(DIMENSIONS, 4)),
    ),
)


def apply(worker: Worker, topic: str, event: dict[str, Any]) -> str:
    """Apply an event and tell what became of it."""
    before = dict(worker.partition.progress.outcomes.get(topic, {}))
    worker.apply(topic, [message(event)], not_after_ms=NEVER_MS)
    after = worker.partition.progress.outcomes[topic]
    (outcome,) = (name for name in after if after[name] != before.get(name, 0))
    return outcome


def row(worker: Worker, user: str = "ann") -> rows.User:
    return rows.decode(worker.store[b"user/" + user.encode()])


def test_a_restored_partition_tells_the_same_and_knows_what_it_has_seen() -> None:
    worker = Worker(Rules())
    for topic, event in EVERYTHING:
        apply(worker, topic, event)
    worker.partition.progress.offsets = {"sessions": 7}
    worker.partition.tick(NOON_MS + HOUR_MS, behind=())
    before = worker.partition.snapshot()
    worker.restart()

    assert worker.partition.snapshot() == before
    assert worker.partition.progress.offsets == {"sessions": 7}
    for topic, event in EVERYTHING:
        assert apply(worker, topic, event) == "duplicate"


def test_an_empty_store_restores_an_empty_partition() -> None:
    partition = Partition(Rules())
    partition.restore(Store().pages)

    assert partition.snapshot() == Partition(Rules()).snapshot()


def test_a_delta_holds_only_what_has_changed() -> None:
    worker = Worker(Rules())
    worker.partition.tick(NOON_MS, behind=())
    apply(worker, LOGINS, told())
    apply(worker, LOGINS, told(user_id="bob"))
    assert worker.partition.unsaved_rows == 2
    worker.checkpoint()

    assert worker.partition.unsaved_rows == 0
    assert [key for key, _ in worker.partition.collect_delta()] == [b"progress"]
    apply(worker, LOGINS, told(1))
    keys = [key for key, _ in worker.partition.collect_delta()]
    assert [key for key in keys if key.startswith(b"user/")] == [b"user/ann"]


def test_only_rows_that_are_stored_are_dropped_from_memory() -> None:
    worker = Worker(Rules())
    for user in ("ann", "bob", "cat"):
        apply(worker, LOGINS, told(user_id=user))
    worker.partition.forget_users(keep=0)
    assert worker.partition.unsaved_rows == 3
    worker.checkpoint()
    worker.partition.forget_users(keep=5)
    worker.partition.forget_users(keep=1)

    worker.store.reads.clear()
    apply(worker, LOGINS, told(user_id="cat"))
    apply(worker, LOGINS, told(user_id="ann"))
    assert worker.store.reads == [b"user/ann"]
    assert worker.partition.progress.users == 3


def test_without_a_store_all_rows_stay_in_memory() -> None:
    partition = Partition(Rules())
    for _ in range(2):
        deliver(partition, LOGINS, [message(told())], not_after_ms=NEVER_MS)
        partition.collect_delta()

    assert partition.progress.outcomes == {LOGINS: {"applied": 1, "duplicate": 1}}


def test_what_can_change_no_more_leaves_the_row_and_stays_in_the_totals() -> None:
    worker = Worker(Rules(allowed_lateness_ms=DAY_MS))
    for topic, event in EVERYTHING:
        apply(worker, topic, event)
    worker.partition.tick(NOON_MS + HOUR_MS, behind=())
    worker.checkpoint()
    full = row(worker)
    assert len(full.logins) == 1
    assert len(list(full.visits.all())) == 3
    before = worker.partition.snapshot().traffic[7 * 1_440]

    apply(worker, LOGINS, told(2 * DAY_MS))
    worker.partition.tick(NOON_MS + 2 * DAY_MS, behind=())
    worker.restart()
    settled = row(worker)
    assert len(settled.logins) == 1
    assert list(settled.visits.all()) == []
    assert settled.visits.settled_minute is not None
    after = worker.partition.snapshot().traffic[7 * 1_440]
    assert after == {**before, LOGINS_FIELD: 2}
    for topic, event in EVERYTHING:
        assert apply(worker, topic, event) == "late"
    assert worker.partition.snapshot().traffic[7 * 1_440] == after


def test_the_activity_of_a_session_that_left_the_row_as_a_summary_stays_known() -> None:
    worker = Worker(Rules(allowed_lateness_ms=DAY_MS))
    times: dict[str, Any] = {"started_at": NOON_MS - HOUR_MS, "ended_at": NOON_MS}
    apply(worker, SESSIONS, told(type="summary", session_id="s", page_views=1, **times))
    for days in (2, 3):
        apply(worker, SESSIONS, told(days * DAY_MS, type="heartbeat"))
        worker.partition.tick(NOON_MS + days * DAY_MS, behind=())
        worker.checkpoint()
    assert row(worker).visits.by_id == {}
    worker.partition.tick(NOON_MS + 4 * DAY_MS, behind=())

    snapshot = worker.partition.snapshot()
    assert snapshot.traffic[7 * 1_440][ACTIVE_USERS] == 1
    assert snapshot.closed_users[DAY + 3] == {1: 1, 7: 1, 28: 1, 30: 1}
    assert active_days(row(worker).activity) == [DAY, DAY + 2, DAY + 3]


def test_answers_stay_in_the_row_as_long_as_a_window_may_hold_them() -> None:
    worker = Worker(Rules(survey_windows=("7d",)))
    apply(worker, SURVEYS, told(response_id="r1", kind="nps", score=9))
    for days, kept in ((8, ["r1"]), (9, [])):
        apply(worker, LOGINS, told(days * DAY_MS))
        worker.partition.tick(NOON_MS + days * DAY_MS, behind=())
        worker.checkpoint()
        assert [name for name in row(worker).responses if name == "r1"] == kept


def test_a_partition_without_lateness_limit_forgets_nothing() -> None:
    worker = Worker(Rules(allowed_lateness_ms=None))
    apply(worker, LOGINS, told())
    apply(worker, LOGINS, told(900 * DAY_MS))
    worker.partition.tick(NOON_MS + 900 * DAY_MS, behind=())
    worker.restart()

    assert len(row(worker).logins) == 2
    assert worker.partition.progress.kept_days_since is None
    assert worker.partition.ledger.first_day() == DAY


@pytest.mark.parametrize(("windows", "length"), [(("1d", "30d"), 30), (("1d", "90d"), 90), (("1d", "200d"), 200)])
def test_a_user_who_comes_back_counts_once_in_the_longest_closed_window(windows: tuple[str, ...], length: int) -> None:
    worker = Worker(Rules(activity_windows=windows))
    for days in (0, length - 1):
        apply(worker, LOGINS, told(days * DAY_MS))
        worker.partition.tick(NOON_MS + days * DAY_MS, behind=())
        worker.restart()
    worker.partition.tick(NOON_MS + (length + 1) * DAY_MS, behind=())
    samples = closed_samples(worker.partition.snapshot(), worker.rules, DAY + length - 1)

    found = {(sample.name, sample.labels["window"]): sample.value for sample in samples}
    assert found["engagement_active_users_closed", f"{length}d"] == 1
    assert found["engagement_active_user_days_closed", f"{length}d"] == 2


def test_days_before_the_first_event_are_absent_after_a_checkpoint_too() -> None:
    worker = Worker(Rules())
    apply(worker, LOGINS, told())
    worker.partition.tick(NOON_MS + DAY_MS, behind=())
    for _ in range(2):
        assert sorted(worker.partition.snapshot().closed_users) == [DAY]
        worker.restart()


def test_old_days_are_told_no_more_but_their_users_still_count() -> None:
    worker = Worker(Rules())
    for days in (0, 150, 165):
        apply(worker, LOGINS, told(days * DAY_MS))
        worker.partition.tick(NOON_MS + days * DAY_MS, behind=())
        worker.restart()
    worker.partition.tick(NOON_MS + 166 * DAY_MS, behind=())
    snapshot = worker.partition.snapshot()

    assert worker.partition.progress.kept_days_since is not None
    assert max(snapshot.closed_users) == DAY + 165
    assert snapshot.closed_users[DAY + 165] == {1: 1, 7: 1, 28: 1, 30: 1}
    assert snapshot.closed_users[DAY + 149] == {}
    assert sorted(worker.partition.snapshot(closed_days=2).closed_users) == [DAY + 164, DAY + 165]


def test_a_partition_that_saw_nothing_keeps_no_day_of_the_others_open() -> None:
    worker = Worker(Rules())
    apply(worker, LOGINS, told())
    worker.partition.tick(NOON_MS + DAY_MS, behind=())

    assert (worker.partition.snapshot() + Partition(Rules()).snapshot()).last_closed_day == DAY
    assert Partition(Rules()).snapshot().last_closed_day is None


def test_a_snapshot_travels_as_bytes() -> None:
    worker = Worker(Rules())
    for topic, event in EVERYTHING:
        apply(worker, topic, event)
    worker.partition.tick(NOON_MS + 2 * DAY_MS, behind=())
    snapshot = worker.partition.snapshot()

    assert snapshot.traffic[7 * 1_440][ACTIVE_USERS] == 1
    assert snapshot.rows["user"] == 1
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(snapshot), type=Snapshot) == snapshot


def test_state_built_under_other_rules_is_refused_by_name() -> None:
    store = Store()
    before = Partition(Rules())
    deliver(before, "logins", [], not_after_ms=0)
    store.write(before.collect_delta())

    for rules, setting in (
        (Rules(days=Days("Europe/Berlin")), "timezone is Europe/Berlin, the state was built with UTC"),
        (Rules(session_timeout_ms=60_000), "session_timeout is 60s, the state was built with 1800s"),
        (Rules(survey_windows=("7d",)), "windows.surveys is 7d, the state was built with 1d,7d,28d,30d,90d"),
    ):
        with pytest.raises(RulesChanged, match=setting):
            Partition(rules).restore(store.pages)

    Partition(Rules()).restore(store.pages)
