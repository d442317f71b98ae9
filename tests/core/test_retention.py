"""What is forgotten, and how large a row may be: the state grows only with the users that are in the windows."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stream.core.offline import Offline
from stream.core.partition.partition import SWEPT_PREFIXES
from stream.core.report import live_samples
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.time import DAY_MS, HOUR_MS
from tests.core.live import Store, Worker, deliver, message
from tests.native import READERS

LOGINS, SESSIONS, SURVEYS = "logins", "sessions", "surveys"
START_MS = 1_699_999_200_000  # an hour begins
NEVER_MS = 1 << 60
# 100 days of retention, three of lateness, one more.
KEPT_DAYS = 104
# The long-term parts of users have tests of their own below.
RULES = Rules(memory_days=1)


def login(user: str, *, day: float = 0, **sent: object) -> dict[str, object]:
    return {"user_id": user, "event_time": START_MS + int(day * DAY_MS), **sent}


def answer(user: str, response_id: str, *, day: float = 0) -> dict[str, object]:
    return {**login(user, day=day), "response_id": response_id, "kind": "nps", "score": 9}


def apply(worker: Worker, topic: str, *sent: dict[str, object], key: bytes | None = None) -> list[str]:
    refused, _ = worker.apply(topic, [message(one, key=key) for one in sent], not_after_ms=NEVER_MS)
    return [one.reason.value for one in refused]


def move_to(worker: Worker, day: float) -> None:
    """Move the clock and the watermark to a day."""
    worker.partition.tick(START_MS + int(day * DAY_MS), behind=())
    worker.partition.progress.watermark_ms = START_MS + int(day * DAY_MS)


def swept(worker: Worker) -> Store:
    """What is stored after all of it was checked."""
    worker.checkpoint()
    for prefix in SWEPT_PREFIXES:
        worker.partition.sweep(worker.store.pages(prefix))
    worker.checkpoint()
    return worker.store


def test_a_user_is_forgotten_when_no_window_and_no_late_event_can_reach_the_last_activity() -> None:
    worker = Worker(RULES)
    apply(worker, LOGINS, login("ann"), login("bob", day=1))
    worker.forget()
    move_to(worker, KEPT_DAYS)
    assert b"user/ann" in swept(worker)

    move_to(worker, KEPT_DAYS + 0.01)
    store = swept(worker)

    assert b"user/ann" not in store
    assert b"user/bob" in store
    assert worker.partition.snapshot().rows["user"] == 1


def test_retention_is_never_shorter_than_what_the_windows_need() -> None:
    worker = Worker(Rules(memory_days=1, retention_ms=0, windows={"activity": ("90d",)}))
    apply(worker, LOGINS, login("ann"))
    move_to(worker, 94)
    assert b"user/ann" in swept(worker)

    move_to(worker, 94.01)
    assert b"user/ann" not in swept(worker)


def test_whatever_a_user_did_last_keeps_the_row() -> None:
    acts = {
        "failed": (LOGINS, login("failed", day=2, success=False)),
        "idle": (SESSIONS, {**login("idle", day=2), "type": "heartbeat", "interactive": False, "session_id": "s"}),
        "asked": (SURVEYS, {**answer("asked", "r", day=2), "status": "shown"}),
    }
    worker = Worker(RULES)
    for topic, sent in acts.values():
        apply(worker, topic, sent)
    move_to(worker, 4)  # as long as one of these acts may be sent again
    store = swept(worker)
    assert {f"user/{name}".encode() for name in acts} <= store.keys()

    move_to(worker, KEPT_DAYS + 3)
    assert not {key for key in swept(worker) if key.startswith(b"user/")}


def test_whose_a_response_is_is_forgotten_with_the_response() -> None:
    worker = Worker(RULES)
    apply(worker, SURVEYS, answer("ann", "r1"), key=b"r1")
    apply(worker, SURVEYS, answer("ann", "r2", day=9), key=b"r2")
    move_to(worker, KEPT_DAYS + 1)
    store = swept(worker)

    assert b"named/r1" not in store
    assert b"named/r2" in store


def test_a_response_that_is_answered_again_while_its_name_is_swept_keeps_it() -> None:
    worker = Worker(RULES)
    apply(worker, SURVEYS, answer("ann", "r1"), key=b"r1")
    worker.checkpoint()
    move_to(worker, 200)
    apply(worker, SURVEYS, answer("ann", "r1", day=200), key=b"r1")
    worker.partition.sweep(worker.store.pages(b"named/"))
    worker.checkpoint()

    assert b"named/r1" in worker.store


def test_one_who_came_back_since_the_row_was_stored_stays() -> None:
    worker = Worker(RULES)
    apply(worker, LOGINS, login("ann"))
    worker.checkpoint()
    move_to(worker, 200)
    apply(worker, LOGINS, login("ann", day=200))
    worker.partition.sweep(worker.store.pages(b"user/"))
    worker.checkpoint()

    assert b"user/ann" in worker.store


def test_where_nothing_is_ever_late_nothing_is_forgotten() -> None:
    worker = Worker(Rules(allowed_lateness_ms=None))
    apply(worker, LOGINS, login("ann"))
    move_to(worker, 10_000)

    assert b"user/ann" in swept(worker)


@given(days=st.lists(st.integers(0, 400), min_size=1, max_size=12))
def test_forgetting_changes_no_number(days: list[int]) -> None:
    forgetful, keeping = Worker(Rules()), Worker(Rules(retention_ms=100_000 * DAY_MS))
    for number, day in enumerate(sorted(days)):
        for worker in (forgetful, keeping):
            move_to(worker, day)
            apply(worker, LOGINS, login(f"user-{number % 3}", day=day))
            swept(worker)
            worker.forget()

    one, other = forgetful.partition.snapshot(), keeping.partition.snapshot()
    assert one.families == other.families


@given(st.lists(st.tuples(st.sampled_from((28, 29, 30, 64, 65, 87, 88, 89, 90)), st.integers(1, 3)), max_size=4))
def test_a_late_event_corrects_closed_days_whatever_was_let_go_before_it(pauses: list[tuple[int, int]]) -> None:
    windows = {"activity": ("1d", "30d", "90d")}
    forgetful, keeping = Worker(Rules(windows=windows)), Worker(Rules(windows=windows, allowed_lateness_ms=NEVER_MS))
    now, arriving = 0, [(0, 0)]
    for pause, late_days in pauses:
        back = now + pause
        now = back + late_days
        arriving += [(now, now), (now, back)]  # what ended the pause comes last, as late as it may
    for at_day, day in arriving:
        for worker in (forgetful, keeping):
            move_to(worker, at_day)
            assert apply(worker, LOGINS, login("ann", day=day)) == []
            worker.forget()

        one, other = forgetful.partition.snapshot(), keeping.partition.snapshot()
        assert one.families["activity"] == other.families["activity"]


# -- a row has a limit ------------------------------------------------------------------------------------------------


def busy(worker: Worker, count: int, *, day: float = 0) -> list[str]:
    return apply(worker, LOGINS, *(login("ann", day=day, event_id=f"{day}-{n}") for n in range(count)))


def test_what_a_full_row_has_no_room_for_is_refused_until_older_events_are_let_go() -> None:
    worker = Worker(RULES, max_user_bytes=1_000)
    assert busy(worker, 200) == []  # the limit is looked at with each checkpoint
    worker.checkpoint()

    assert busy(worker, 3, day=0.1) == ["user_full"] * 3
    assert apply(worker, LOGINS, login("bob")) == []
    assert worker.partition.progress.reasons[LOGINS] == {"user_full": 3}

    move_to(worker, 4)
    worker.checkpoint()
    assert busy(worker, 1, day=4) == []


def test_a_full_row_is_not_written_with_each_checkpoint() -> None:
    worker = Worker(RULES, max_user_bytes=1_000)
    busy(worker, 200)
    worker.checkpoint()
    written = []
    for hour in range(24):
        move_to(worker, hour / 24)
        assert busy(worker, 1, day=hour / 24) == ["user_full"]
        for _ in range(60):
            written += [key for key, _ in worker.partition.collect_delta() if key == b"user/ann"]

    assert 20 <= len(written) <= 24


def test_a_full_row_that_was_dropped_from_memory_is_looked_at_when_it_is_read() -> None:
    worker = Worker(RULES, max_user_bytes=1_000)
    busy(worker, 200)
    worker.forget()
    assert busy(worker, 1, day=0.01) == ["user_full"]
    move_to(worker, 4)
    worker.checkpoint()

    assert busy(worker, 1, day=4) == []
    worker.checkpoint()
    assert busy(worker, 1, day=4.01) == []
    assert len(worker.store[b"user/ann"]) < 1_000


def test_a_full_row_is_known_as_full_after_a_restart() -> None:
    worker = Worker(RULES, max_user_bytes=1_000)
    busy(worker, 200)
    worker.restart()

    assert busy(worker, 1, day=0.1) == []  # it was read with this one
    assert busy(worker, 1, day=0.2) == ["user_full"]


def test_the_limit_is_on_both_sides_of_the_edge() -> None:
    worker = Worker(RULES)
    busy(worker, 5)
    worker.checkpoint()
    size = len(worker.store[b"user/ann"])

    for limit, refused in ((size, []), (size - 1, ["user_full"])):
        again = Worker(RULES, max_user_bytes=limit)
        busy(again, 5)
        again.checkpoint()
        assert busy(again, 1, day=HOUR_MS / DAY_MS) == refused


def test_reading_a_batch_changes_nothing() -> None:
    worker = Worker(RULES)
    before = worker.partition.snapshot()
    worker.partition.read(LOGINS, [message(login("ann"))], READERS[LOGINS], not_after_ms=NEVER_MS)

    assert worker.partition.snapshot() == before
    assert deliver(worker.partition, LOGINS, [message(login("ann"))], not_after_ms=NEVER_MS) == ([], [])


def new_users(worker: Worker, window: str) -> float:
    rules, snapshot = worker.partition.rules, worker.partition.snapshot()
    return one(live_samples(snapshot, rules), "engagement_new_users", window=window)


def test_who_comes_back_is_no_new_user_for_as_long_as_the_memory_lasts() -> None:
    worker = Worker(Rules())
    apply(worker, LOGINS, login("first"))  # the day of the first event of all makes nobody new
    apply(worker, LOGINS, login("ann", day=1, plan="pro"), login("bob", day=1))
    move_to(worker, 1)
    assert (new_users(worker, "1d"), new_users(worker, "7d")) == (2, 2)

    whole = len(swept(worker)[b"user/ann"])
    move_to(worker, 300)
    store = swept(worker)
    assert 0 < len(store[b"user/ann"]) < whole
    apply(worker, LOGINS, login("ann", day=300), login("eve", day=300))
    assert new_users(worker, "1d") == 1  # eve
    assert worker.partition.snapshot().rows["user"] == 4

    # 400 days after the last event, and as long as one may be late.
    move_to(worker, 405)
    assert b"user/bob" in swept(worker)
    move_to(worker, 407)
    assert b"user/bob" not in swept(worker)
    assert b"user/ann" in worker.store


@given(st.lists(st.integers(1, 1_300), min_size=1, max_size=8), st.booleans())
def test_what_is_remembered_says_who_is_new_as_all_events_do(days: list[int], shuffled: bool) -> None:
    forgetful, sent = Worker(Rules()), [login("first"), *(login("ann", day=day) for day in sorted(days))]
    for one_login in sent:
        apply(forgetful, LOGINS, one_login)
        move_to(forgetful, (one_login["event_time"] - START_MS) / DAY_MS)  # type: ignore[operator]
        swept(forgetful)
        forgetful.forget()

    offline = Offline(Rules(), READERS)
    lines = [msgspec.json.encode({"topic": LOGINS, **one_login}) for one_login in sent]
    assert list(offline.apply(reversed(lines) if shuffled else lines)) == []
    computed = offline.computed()
    for window in ("1d", "30d"):
        assert new_users(forgetful, window) == one(computed.live, "engagement_new_users", window=window)


def one(samples: list[Sample], name: str, **labels: str) -> float:
    return next(sample.value for sample in samples if (sample.name, sample.labels) == (name, labels))
