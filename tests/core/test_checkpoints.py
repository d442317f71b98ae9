"""Checkpoints: a partition restored from what it stored goes on as if nothing had happened, and rows stay small."""

from typing import Any

import msgspec
import pytest

from stream.core.families.activity.calendar import ACTIVE_USERS
from stream.core.families.activity.family import ActivityFamily
from stream.core.families.activity.part import Activity, active_days
from stream.core.families.logins import LOGINS as LOGINS_FIELD
from stream.core.families.logins import LoginsFamily, UserLogins
from stream.core.families.sessions.family import SessionsFamily
from stream.core.families.sessions.part import UserSessions
from stream.core.families.surveys.family import SurveysFamily
from stream.core.families.surveys.part import Response, UserResponses
from stream.core.partition.batch_reader import Refused
from stream.core.partition.partition import Partition
from stream.core.partition.progress import FORMAT, FormatChanged, RulesChanged
from stream.core.partition.rows import Delta, Rows
from stream.core.rejections import Reason
from stream.core.report import closed_samples
from stream.core.rules import Rules
from stream.core.snapshot import Snapshot
from stream.core.survey_scales import DIMENSIONS, Status
from stream.core.time import DAY_MS, HOUR_MS, Days
from tests.core.live import Store, Worker, deliver, message
from tests.native import LOGINS, SESSIONS, SURVEYS, Message

NOON_MS = 1_704_110_400_000
DAY = 1_704_110_400_000 // DAY_MS
NEVER_MS = 1 << 60
RULES = Rules()


def event_fields(after_ms: int = 0, **fields: Any) -> dict[str, Any]:
    return {"user_id": "ann", "event_time": NOON_MS + after_ms, **fields}


EVERYTHING = (
    (LOGINS, event_fields()),
    (SESSIONS, event_fields(type="page_view")),
    (SESSIONS, event_fields(type="page_view", session_id="s1", engaged_ms=5)),
    (SESSIONS, event_fields(type="summary", session_id="s2", started_at=NOON_MS - 1, ended_at=NOON_MS, page_views=2)),
    (SURVEYS, event_fields(response_id="r1", kind="nps", score=9)),
    (
        SURVEYS,
        event_fields(response_id="r2", kind="cxi", scores=dict.fromkeys(DIMENSIONS, 4)),
    ),
)


def apply(worker: Worker, topic: str, event: dict[str, Any]) -> str:
    """Apply an event and return its outcome."""
    before = dict(worker.partition.progress.outcomes.get(topic, {}))
    worker.apply(topic, [message(event)], not_after_ms=NEVER_MS)
    after = worker.partition.progress.outcomes[topic]
    (outcome,) = (name for name in after if after[name] != before.get(name, 0))
    return outcome


def parts(worker: Worker, user: str = "ann") -> tuple[Activity, UserSessions, UserLogins, UserResponses]:
    """What the stored row of a user holds."""
    rows = Rows([ActivityFamily(RULES), SessionsFamily(RULES), LoginsFamily(RULES), SurveysFamily(RULES)], max_bytes=1)
    row = rows.decode(worker.store[b"user/" + user.encode()])
    activity, visits, logins, responses = (rows.part(row, place) for place in range(4))
    return activity, visits, logins, responses


def visits(worker: Worker) -> UserSessions:
    return parts(worker)[1]


def logins(worker: Worker) -> dict[int, int]:
    return parts(worker)[2].times


def responses(worker: Worker) -> dict[str, Response]:
    return parts(worker)[3].by_id


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
    apply(worker, LOGINS, event_fields())
    apply(worker, LOGINS, event_fields(user_id="bob"))
    assert worker.partition.unsaved_rows == 2
    worker.checkpoint()

    assert worker.partition.unsaved_rows == 0
    assert [key for key, _ in worker.partition.collect_delta()] == [b"progress"]
    apply(worker, LOGINS, event_fields(1))
    keys = [key for key, _ in worker.partition.collect_delta()]
    assert [key for key in keys if key.startswith(b"user/")] == [b"user/ann"]


def test_only_rows_that_are_stored_are_dropped_from_memory() -> None:
    worker = Worker(Rules())
    for user in ("ann", "bob", "cat"):
        apply(worker, LOGINS, event_fields(user_id=user))
    worker.partition.forget_users(keep=0)
    assert worker.partition.unsaved_rows == 3
    worker.checkpoint()
    worker.partition.forget_users(keep=5)
    worker.partition.forget_users(keep=1)

    worker.store.reads.clear()
    apply(worker, LOGINS, event_fields(user_id="cat"))
    apply(worker, LOGINS, event_fields(user_id="ann"))
    assert worker.store.reads == [b"user/ann"]
    assert worker.partition.progress.users == 3


def test_without_a_store_all_rows_stay_in_memory() -> None:
    partition = Partition(Rules())
    for _ in range(2):
        deliver(partition, LOGINS, [message(event_fields())], not_after_ms=NEVER_MS)
        partition.collect_delta()

    assert partition.progress.outcomes == {LOGINS: {"applied": 1, "duplicate": 1}}


def test_what_can_change_no_more_leaves_the_row_and_stays_in_the_totals() -> None:
    worker = Worker(Rules(allowed_lateness_ms=DAY_MS))
    for topic, event in EVERYTHING:
        apply(worker, topic, event)
    worker.partition.tick(NOON_MS + HOUR_MS, behind=())
    worker.checkpoint()
    assert len(logins(worker)) == 1
    assert len(list(visits(worker).counted(worker.partition.rules.session_timeout_ms))) == 3
    before = worker.partition.snapshot().families

    apply(worker, LOGINS, event_fields(4 * DAY_MS))
    worker.partition.tick(NOON_MS + 4 * DAY_MS, behind=())
    worker.restart()
    assert len(logins(worker)) == 1
    assert list(visits(worker).counted(worker.partition.rules.session_timeout_ms)) == []
    assert len(visits(worker).final_closing_minutes) == 2
    after = worker.partition.snapshot().families
    week = 7 * 1_440
    assert after["logins"].live[week] == {LOGINS_FIELD: 2}
    for family in ("activity", "sessions", "surveys"):
        assert after[family].live.get(week) == before[family].live.get(week)
    for topic, event in EVERYTHING:
        assert apply(worker, topic, event) == "late"
    assert worker.partition.snapshot().families == after


def users_of_windows(snapshot: Snapshot, day: int) -> dict[int, int]:
    """The active users of a closed day by the length of the window."""
    of_windows = snapshot.families["activity"].closed[day]
    return {length: amounts.get(ACTIVE_USERS, 0) for length, amounts in of_windows.items()}


def test_the_activity_of_a_session_that_left_the_row_as_a_summary_stays_known() -> None:
    worker = Worker(Rules(allowed_lateness_ms=DAY_MS))
    times: dict[str, Any] = {"started_at": NOON_MS - HOUR_MS, "ended_at": NOON_MS}
    apply(worker, SESSIONS, event_fields(type="summary", session_id="s", page_views=1, **times))
    for days in (2, 3):
        apply(worker, SESSIONS, event_fields(days * DAY_MS, type="heartbeat"))
        worker.partition.tick(NOON_MS + days * DAY_MS, behind=())
        worker.checkpoint()
    assert visits(worker).by_id == {}
    worker.partition.tick(NOON_MS + 4 * DAY_MS, behind=())

    snapshot = worker.partition.snapshot()
    assert snapshot.families["activity"].live[7 * 1_440][ACTIVE_USERS] == 1
    assert users_of_windows(snapshot, DAY + 3) == {0: 0, 1: 1, 7: 1, 28: 1, 30: 1}
    activity = parts(worker)[0]
    assert active_days(activity.since_day, activity.day_bits) == [DAY, DAY + 2, DAY + 3]


def test_answers_stay_in_the_row_as_long_as_a_window_may_hold_them() -> None:
    worker = Worker(Rules(windows={"surveys": ("120d",)}))
    apply(worker, SURVEYS, event_fields(response_id="r1", kind="nps", score=9))
    for days, kept in ((125, ["r1"]), (126, [])):  # the window of local days, and three days of lateness
        apply(worker, LOGINS, event_fields(days * DAY_MS))
        worker.partition.tick(NOON_MS + days * DAY_MS, behind=())
        worker.checkpoint()
        assert [name for name in responses(worker) if name == "r1"] == kept


def test_a_partition_without_lateness_limit_forgets_nothing() -> None:
    worker = Worker(Rules(allowed_lateness_ms=None))
    apply(worker, LOGINS, event_fields())
    apply(worker, LOGINS, event_fields(900 * DAY_MS))
    worker.partition.tick(NOON_MS + 900 * DAY_MS, behind=())
    worker.restart()

    assert len(logins(worker)) == 2
    assert worker.partition.progress.days_since == {}
    assert min(worker.partition.snapshot(closed_days=1_000).families["activity"].closed) == DAY


@pytest.mark.parametrize(("windows", "length"), [(("1d", "30d"), 30), (("1d", "90d"), 90), (("1d", "200d"), 200)])
def test_a_user_who_comes_back_counts_once_in_the_longest_closed_window(windows: tuple[str, ...], length: int) -> None:
    worker = Worker(Rules(windows={"activity": windows}))
    for days in (0, length - 1):
        apply(worker, LOGINS, event_fields(days * DAY_MS))
        worker.partition.tick(NOON_MS + days * DAY_MS, behind=())
        worker.restart()
    worker.partition.tick(NOON_MS + (length + 1) * DAY_MS, behind=())
    samples = closed_samples(worker.partition.snapshot(), worker.rules, DAY + length - 1)

    found = {(sample.name, sample.labels.get("window")): sample.value for sample in samples}
    assert found["engagement_active_users_closed", f"{length}d"] == 1
    assert found["engagement_daily_active_users_summed_closed", f"{length}d"] == 2


def test_days_before_the_first_event_are_absent_after_a_checkpoint_too() -> None:
    worker = Worker(Rules())
    apply(worker, LOGINS, event_fields())
    worker.partition.tick(NOON_MS + DAY_MS, behind=())
    for _ in range(2):
        assert sorted(worker.partition.snapshot().families["activity"].closed) == [DAY]
        worker.restart()


def test_pages_of_days_that_nothing_reaches_any_more_are_let_go_once_the_days_were_closed() -> None:
    worker = Worker(Rules())
    for days in (0, 150, 165):
        apply(worker, LOGINS, event_fields(days * DAY_MS))
        worker.partition.tick(NOON_MS + days * DAY_MS, behind=())
        worker.partition.update_totals()
        worker.restart()
    assert worker.partition.progress.days_since == {}

    assert len(worker.partition.close_days(count=1_000)) == 165
    worker.partition.tick(NOON_MS + 166 * DAY_MS, behind=())
    worker.restart()
    snapshot = worker.partition.snapshot(closed_days=17)
    assert worker.partition.progress.days_since["activity"] > DAY
    assert users_of_windows(snapshot, DAY + 165) == {0: 0, 1: 1, 7: 1, 28: 1, 30: 1}
    assert users_of_windows(snapshot, DAY + 149) == {0: 0, 1: 0, 7: 0, 28: 0, 30: 0}
    assert sorted(worker.partition.snapshot(closed_days=2).families["activity"].closed) == [DAY + 164, DAY + 165]


def test_a_partition_that_saw_nothing_keeps_no_day_of_the_others_open() -> None:
    worker = Worker(Rules())
    apply(worker, LOGINS, event_fields())
    worker.partition.tick(NOON_MS + DAY_MS, behind=())

    assert (worker.partition.snapshot() + Partition(Rules()).snapshot()).last_closed_day == DAY
    assert Partition(Rules()).snapshot().last_closed_day is None


def test_a_snapshot_travels_as_bytes() -> None:
    worker = Worker(Rules())
    for topic, event in EVERYTHING:
        apply(worker, topic, event)
    worker.partition.tick(NOON_MS + 2 * DAY_MS, behind=())
    snapshot = worker.partition.snapshot()

    assert snapshot.families["activity"].live[7 * 1_440][ACTIVE_USERS] == 1
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
        (Rules(windows={"surveys": ("7d",)}), "windows.surveys is 7d, the state was built with 1d,7d,28d,30d,90d"),
    ):
        with pytest.raises(RulesChanged, match=setting):
            Partition(rules).restore(store.pages)

    Partition(Rules()).restore(store.pages)


def test_state_in_another_format_is_refused_with_what_decides_it() -> None:
    before = {"offsets": {"logins": 7}, "kept_days_since": 3, "rules": {"timezone": "UTC"}}
    old_row = msgspec.msgpack.encode([[[1], 1, 1, b"x"], {}, [{}, []], {}, None])
    newer_row = msgspec.msgpack.encode({0: FORMAT + 1})
    for written, progress in ((1, before), (FORMAT + 1, {**before, "format": FORMAT + 1})):
        store = Store()
        store.write([(b"progress", msgspec.msgpack.encode(progress))])
        with pytest.raises(FormatChanged, match=f"in format {written} .*, this one has format {FORMAT}") as raised:
            Partition(Rules()).restore(store.pages)
        assert "engagement state reset --partition N" in str(raised.value)

    for row in (old_row, newer_row):
        worker = Worker(Rules())
        worker.store[b"user/ann"] = row
        with pytest.raises(FormatChanged):
            apply(worker, LOGINS, event_fields())


def test_only_state_with_parts_of_newer_families_is_in_the_format_that_has_them() -> None:
    paid = {"user_id": "bob", "type": "paid", "order_id": "1", "amount": 5, "currency": "EUR"}
    review = {"user_id": "cai", "review_id": "1", "stars": 5}
    worker = Worker(Rules())
    formats = []
    for topic, event in (
        (LOGINS, event_fields()),
        ("orders", {**event_fields(1), **paid}),
        ("reviews", {**event_fields(1), **review}),
    ):
        apply(worker, topic, event)
        worker.restart()
        found = [msgspec.msgpack.decode(value)[0] for _, value in worker.store.pages(b"user/")]
        formats.append((sorted(found), msgspec.msgpack.decode(worker.store[b"progress"])["format"]))

    assert formats == [([6], 6), ([6, 7], 7), ([6, 7, 8], FORMAT)]
    assert apply(worker, "orders", {**event_fields(1), **paid}) == "duplicate"


def test_a_part_that_no_event_touches_is_not_decoded_and_goes_back_as_it_came() -> None:
    worker = Worker(Rules())
    for topic, event in EVERYTHING:
        apply(worker, topic, event)
    worker.forget()
    before = parts(worker)
    broken = msgspec.msgpack.decode(worker.store[b"user/ann"], type=dict[int, Any]) | {4: "no answers at all"}
    worker.store[b"user/ann"] = msgspec.msgpack.encode(broken)
    assert apply(worker, LOGINS, event_fields(1)) == "applied"
    worker.forget()

    stored = msgspec.msgpack.decode(worker.store[b"user/ann"], type=dict[int, Any])
    assert stored[4] == "no answers at all"
    assert len(stored[3]) == len(before[2].times) + 1


def answered(worker: Worker, response_id: str) -> None:
    answer = message(event_fields(response_id=response_id, kind="nps", score=9), key=response_id.encode())
    worker.apply(SURVEYS, [answer], not_after_ms=NEVER_MS)


def taken_back(worker: Worker, response_id: str) -> list[Refused]:
    null = Message(None, key=response_id.encode(), timestamp=NOON_MS + 1)
    return worker.apply(SURVEYS, [null], not_after_ms=NEVER_MS)[0]


def test_whose_a_response_is_is_known_while_a_delta_with_it_is_being_written() -> None:
    worker = Worker(Rules())
    answered(worker, "r1")
    delta = worker.partition.collect_delta()
    answered(worker, "r2")
    assert taken_back(worker, "r1") == []
    assert responses(worker_after(worker, delta))["r1"].status is Status.RETRACTED

    worker.partition.forget_users(keep=0)
    assert taken_back(worker, "r2") == []
    assert [one.reason for one in taken_back(worker, "r3")] == [Reason.NO_RESPONSE]


def worker_after(worker: Worker, delta: Delta) -> Worker:
    """The worker when a delta that was collected before is written, and the next one too."""
    worker.store.write(delta)
    worker.checkpoint()
    return worker


def test_one_who_returns_while_the_row_is_being_removed_is_counted_once() -> None:
    worker = Worker(Rules())
    apply(worker, LOGINS, event_fields())
    worker.forget()
    worker.partition.tick(NOON_MS + 200 * DAY_MS, behind=())
    worker.partition.progress.watermark_ms = NOON_MS + 200 * DAY_MS
    worker.partition.sweep(worker.store.pages(b"user/"))
    delta = worker.partition.collect_delta()
    assert apply(worker, LOGINS, event_fields(200 * DAY_MS)) == "applied"
    assert len(logins(worker_after(worker, delta))) == 1
    assert worker.partition.progress.users == 1

    worker.partition.forget_users(keep=0)
    assert apply(worker, LOGINS, event_fields(200 * DAY_MS + 1)) == "applied"
    assert worker.partition.progress.users == 1


def test_unsaved_bytes_are_about_those_of_the_delta() -> None:
    worker = Worker(Rules())
    assert worker.partition.unsaved_bytes == 0
    busy = [message(event_fields(number, event_id=str(number))) for number in range(2_000)]
    worker.apply(LOGINS, busy, not_after_ms=NEVER_MS)
    for number in range(300):
        apply(worker, SESSIONS, event_fields(user_id=f"user-{number}", type="page_view"))
    for number in range(100):
        answered(worker, f"response-{number}")
    guessed = worker.partition.unsaved_bytes
    delta = worker.partition.collect_delta()
    real = sum(len(key) + len(value or b"") for key, value in delta if key.startswith((b"user/", b"named/")))

    assert real < guessed < 4 * real
    assert worker.partition.unsaved_bytes == 0
    # A large row counts as such again when little of it changes, and others don't for its sake.
    worker.apply(LOGINS, [message(event_fields(9_999))], not_after_ms=NEVER_MS)
    assert 20_000 < worker.partition.unsaved_bytes < 100_000
    worker.partition.collect_delta()
    apply(worker, SESSIONS, event_fields(user_id="user-1", type="end"))
    assert worker.partition.unsaved_bytes < 1_000
