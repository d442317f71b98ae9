"""One partition: the outcome of each record, late events, and null messages. `test_recount.py` checks the numbers."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.events import retraction
from stream.core.families.activity.calendar import ACTIVE_USERS
from stream.core.families.sessions import numbers
from stream.core.families.surveys.contribution import RESPONSES
from stream.core.partition.partition import Partition
from stream.core.partition.progress import OUTCOMES
from stream.core.rejections import Reason
from stream.core.rules import Rules
from stream.core.survey_scales import Kind, Status
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS
from stream.core.users import user_of
from tests.core.live import Worker, deliver, event_of, forwarded, message
from tests.native import LOGINS, SESSIONS, SURVEYS, TOPICS, Message

NOON_MS = 1_704_110_400_000
NEVER_MS = 1 << 60
HOUR_RULES = Rules(allowed_lateness_ms=HOUR_MS)


def login(after_ms: int = 0, **told: object) -> dict[str, Any]:
    return {"user_id": "ann", "event_time": NOON_MS + after_ms, **told}


def csat(after_ms: int = 0, **told: object) -> dict[str, Any]:
    return {**login(after_ms), "response_id": "r1", "kind": "csat", "score": 5, **told}


def outcomes(partition: Partition, topic: str) -> dict[str, int]:
    return partition.progress.outcomes.get(topic, {})


def apply(partition: Partition, topic: str, *told: Mapping[str, Any], not_after_ms: int = NEVER_MS) -> list[Reason]:
    refused, _ = deliver(partition, topic, [message(one) for one in told], not_after_ms=not_after_ms)
    return [one.reason for one in refused]


def completed(partition: Partition) -> int:
    opinions = partition.snapshot().families["surveys"].live[90 * 1_440]
    return opinions.get(RESPONSES[Kind.CSAT, Status.COMPLETED], 0)


# -- outcomes ---------------------------------------------------------------------------------------------------------


def test_an_event_counts_once_and_its_second_copy_is_a_duplicate() -> None:
    partition = Partition(Rules())
    apply(partition, LOGINS, login(), login(), login(event_id="e"))

    assert outcomes(partition, LOGINS) == {"applied": 2, "duplicate": 1}
    assert partition.progress.newest_ms == {LOGINS: NOON_MS}


def test_an_event_is_of_the_future_only_after_the_limit() -> None:
    partition = Partition(Rules())
    refused, _ = deliver(partition, LOGINS, [message(login()), message(login(1))], not_after_ms=NOON_MS)

    assert [one.record for one in refused] == [message(login(1))]
    assert refused[0].detail == "2024-01-01T12:00:00.001Z is after 2024-01-01T12:00:00Z"
    assert outcomes(partition, LOGINS) == {"applied": 1, "future": 1}
    assert partition.progress.reasons == {LOGINS: {"future": 1}}


def test_a_summary_that_ends_in_the_future_is_of_the_future() -> None:
    summary = login(type="summary", session_id="s", started_at=NOON_MS, page_views=1)
    partition = Partition(Rules())

    assert apply(partition, SESSIONS, {**summary, "ended_at": NOON_MS}, not_after_ms=NOON_MS) == []
    assert apply(partition, SESSIONS, {**summary, "ended_at": NOON_MS + 1}, not_after_ms=NOON_MS) == [Reason.FUTURE]


def test_an_event_is_late_only_when_it_is_further_behind_the_watermark_than_allowed() -> None:
    partition = Partition(HOUR_RULES)
    apply(partition, LOGINS, login())
    partition.tick(NOON_MS, behind=())
    refused, _ = deliver(
        partition, LOGINS, [message(login(-HOUR_MS)), message(login(-HOUR_MS - 1))], not_after_ms=NEVER_MS
    )

    assert [(one.reason, one.detail) for one in refused] == [
        (Reason.LATE, "2024-01-01T10:59:59.999Z is before 2024-01-01T11:00:00Z")
    ]
    assert outcomes(partition, LOGINS) == {"applied": 2, "late": 1}
    summary = login(type="summary", session_id="s", started_at=NOON_MS - DAY_MS, page_views=1)
    assert apply(partition, SESSIONS, {**summary, "ended_at": NOON_MS - HOUR_MS - 1}) == [Reason.LATE]
    assert apply(partition, SESSIONS, {**summary, "ended_at": NOON_MS - HOUR_MS}) == []


def test_a_summary_is_two_facts_each_of_its_own_time() -> None:
    """The start of a session may be too late while its end is not. When the summary was sent does not matter."""
    told = login(-9 * DAY_MS, type="summary", session_id="s", page_views=1, ended_at=NOON_MS)
    for rules, active_yesterday in ((HOUR_RULES, 0), (Rules(), 1)):
        partition = Partition(rules)
        apply(partition, LOGINS, {**login(), "user_id": "bob"})
        partition.tick(NOON_MS, behind=())
        assert apply(partition, SESSIONS, {**told, "started_at": NOON_MS - DAY_MS}) == []

        snapshot = partition.snapshot()
        assert snapshot.family("sessions").live[60][numbers.SESSIONS] == 1
        assert snapshot.family("activity").live[60][ACTIVE_USERS] == 2
        yesterday = snapshot.family("activity").closed.get(NOON_MS // DAY_MS - 1, {1: {}})
        assert yesterday[1].get(ACTIVE_USERS, 0) == active_yesterday


def test_without_a_limit_nothing_is_late() -> None:
    partition = Partition(Rules(allowed_lateness_ms=None))
    apply(partition, LOGINS, login())
    partition.tick(NOON_MS, behind=())

    assert apply(partition, LOGINS, login(-8_000 * DAY_MS)) == []


def test_a_bot_makes_nobody_active_and_moves_no_watermark() -> None:
    partition = Partition(Rules())
    assert apply(partition, LOGINS, login(is_bot=True), login(user_agent="Googlebot/2.1")) == []
    partition.tick(NOON_MS, behind=())

    assert outcomes(partition, LOGINS) == {"bot": 2}
    assert partition.progress.newest_ms == {}
    assert partition.progress.users == 0
    assert partition.snapshot().families["activity"].live[1_440] == {}


def test_a_message_that_is_too_large_or_no_json_is_refused_and_counted() -> None:
    partition = Partition(Rules(), max_message_bytes=100)
    refused, _ = deliver(partition, LOGINS, [Message(b"x" * 100), Message(b"x" * 101), Message(None)], not_after_ms=0)

    assert [one.reason for one in refused] == [Reason.NOT_JSON, Reason.TOO_LARGE, Reason.NOT_JSON]
    assert refused[1].detail == "101 bytes, 100 are allowed"
    assert refused[2].detail == "a null message: only survey responses are removed by one"
    assert partition.progress.reasons == {LOGINS: {"not_json": 2, "too_large": 1}}
    assert outcomes(partition, LOGINS) == {"invalid": 3}


def test_a_user_of_another_partition_is_sent_there_with_the_message_as_it_came() -> None:
    partition = Partition(Rules())
    told = [message(login()), message(login(user_id="bob"))]
    refused, misplaced = deliver(partition, LOGINS, told, not_after_ms=NEVER_MS, belongs=lambda user: user == "ann")

    assert refused == []
    assert [(one.user, one.record, one.event.user, one.event_index) for one in misplaced] == [
        ("bob", told[1], "bob", None)
    ]
    assert outcomes(partition, LOGINS) == {"applied": 1, "rekeyed": 1}
    assert partition.progress.users == 1


records = st.one_of(
    st.binary(max_size=10).map(Message),
    st.just(Message(None, key=b"r1", timestamp=NOON_MS)),
    st.just(Message(None, key=b"bob", timestamp=NOON_MS, headers=(("response_id", b"r1"),))),
    st.builds(
        lambda user, after_ms, bot, key: message(csat(after_ms, user_id=user, is_bot=bot, type="end"), key=key),
        st.sampled_from(("ann", "bob", "null")),
        st.sampled_from((-DAY_MS, 0, 1, DAY_MS)),
        st.booleans(),
        st.sampled_from((None, b"r1")),
    ),
)


@given(st.lists(st.tuples(st.sampled_from(TOPICS), st.lists(records, max_size=5)), max_size=6))
def test_every_record_has_one_outcome(batches: list[tuple[str, list[Message]]]) -> None:
    partition, given_records, returned = Partition(HOUR_RULES), 0, 0
    for topic, batch in batches:
        not_used = deliver(partition, topic, batch, not_after_ms=NOON_MS + HOUR_MS, belongs=lambda user: user != "bob")
        given_records += len(batch)
        returned += len(not_used[0]) + len(not_used[1])
        partition.tick(NOON_MS, behind=())

    counts = partition.snapshot().outcomes
    by_outcome = {outcome: sum(of.get(outcome, 0) for of in counts.values()) for outcome in OUTCOMES}
    assert sum(by_outcome.values()) == given_records
    assert sum(of for counted in counts.values() for of in counted.values()) == given_records
    assert returned == sum(by_outcome[outcome] for outcome in ("late", "future", "invalid", "rekeyed"))
    reasons = partition.snapshot().reasons.values()
    assert sum(sum(of.values()) for of in reasons) == returned - by_outcome["rekeyed"]


# -- the watermark and the clock --------------------------------------------------------------------------------------


def test_the_watermark_is_the_newest_event_of_the_least_advanced_topic_with_records_left() -> None:
    partition = Partition(Rules())
    apply(partition, LOGINS, login(HOUR_MS))
    apply(partition, SURVEYS, csat())

    steps: list[tuple[tuple[str, ...], int]] = [((SESSIONS, LOGINS), -1), ((LOGINS, SURVEYS), NOON_MS)]
    for behind, watermark_ms in [*steps, ((LOGINS,), NOON_MS + HOUR_MS)]:
        partition.tick(NOON_MS + DAY_MS, behind=behind)
        assert (partition.progress.watermark_ms, partition.progress.now_ms) == (watermark_ms, watermark_ms)


def test_a_partition_that_caught_up_shows_the_clock() -> None:
    partition = Partition(Rules())
    partition.tick(NOON_MS, behind=())
    assert (partition.progress.watermark_ms, partition.progress.now_ms) == (-1, NOON_MS)

    apply(partition, LOGINS, login(-HOUR_MS))
    partition.tick(NOON_MS + 1, behind=())
    assert (partition.progress.watermark_ms, partition.progress.now_ms) == (NOON_MS - HOUR_MS, NOON_MS + 1)


def test_a_partition_that_is_behind_is_not_led_ahead_of_the_clock_by_a_wrong_one() -> None:
    partition = Partition(Rules())
    apply(partition, LOGINS, login(HOUR_MS))
    partition.tick(NOON_MS, behind=(LOGINS,))

    assert (partition.progress.watermark_ms, partition.progress.now_ms) == (NOON_MS + HOUR_MS, NOON_MS)


@pytest.mark.parametrize(("after_ms", "clock_ms"), [(0, NOON_MS), (1, NOON_MS), (-1, NOON_MS - 1)])
def test_while_one_topic_alone_is_behind_the_clock_follows_its_events_up_to_the_wall_clock(
    after_ms: int, clock_ms: int
) -> None:
    partition, limit_ms = Partition(Rules()), NOON_MS + HOUR_MS
    told = [message(login(-DAY_MS)), message(login(after_ms))]
    deliver(partition, LOGINS, told, not_after_ms=limit_ms, moves_clock=True)

    assert (partition.progress.watermark_ms, partition.progress.now_ms) == (NOON_MS + after_ms, clock_ms)
    deliver(partition, LOGINS, told[:1], not_after_ms=limit_ms, moves_clock=True)
    assert (partition.progress.watermark_ms, partition.progress.now_ms) == (NOON_MS + after_ms, clock_ms)


def test_neither_watermark_nor_clock_goes_back() -> None:
    partition = Partition(Rules())
    apply(partition, LOGINS, login())
    partition.tick(NOON_MS + HOUR_MS, behind=())
    partition.tick(NOON_MS, behind=(SESSIONS,))

    assert (partition.progress.watermark_ms, partition.progress.now_ms) == (NOON_MS, NOON_MS + HOUR_MS)


def test_an_event_ahead_of_the_clock_counts_when_its_minute_has_come() -> None:
    partition = Partition(Rules())
    apply(partition, LOGINS, login(MINUTE_MS))
    for clock_ms, users in ((NOON_MS, 0), (NOON_MS + MINUTE_MS - 1, 0), (NOON_MS + MINUTE_MS, 1)):
        partition.tick(clock_ms, behind=())
        assert partition.snapshot().families["activity"].live[1_440].get(ACTIVE_USERS, 0) == users


# -- null messages ----------------------------------------------------------------------------------------------------


def test_a_null_message_with_user_and_response_takes_the_answer_back() -> None:
    partition = Partition(Rules())
    apply(partition, SURVEYS, csat())
    partition.tick(NOON_MS + HOUR_MS, behind=())
    assert completed(partition) == 1

    null = Message(None, key=b" ann", timestamp=NOON_MS + 1, headers=(("x", b"y"), ("response_id", b"r1")))
    assert deliver(partition, SURVEYS, [null], not_after_ms=NEVER_MS) == ([], [])
    assert completed(partition) == 0
    assert outcomes(partition, SURVEYS) == {"applied": 2}


@pytest.mark.parametrize("stored", [False, True])
def test_a_null_message_keyed_by_an_anonymous_id_takes_that_answer_back(stored: bool) -> None:
    worker = Worker(Rules())
    apply(worker.partition, SURVEYS, csat(user_id=None, anonymous_id="device"))
    worker.partition.tick(NOON_MS + HOUR_MS, behind=())
    if stored:
        worker.forget()

    null = Message(None, key=b"device", timestamp=NOON_MS + 1, headers=(("response_id", b"r1"),))
    worker.apply(SURVEYS, [null], not_after_ms=NEVER_MS)
    assert completed(worker.partition) == 0
    assert worker.partition.progress.users == 1


def test_a_null_message_may_come_before_its_answer() -> None:
    partition = Partition(Rules())
    null = Message(None, key=b"ann", timestamp=NOON_MS + 1, headers=(("response_id", b"r1"),))
    deliver(partition, SURVEYS, [null], not_after_ms=NEVER_MS)
    apply(partition, SURVEYS, csat())
    partition.tick(NOON_MS + HOUR_MS, behind=())

    assert completed(partition) == 0


@pytest.mark.parametrize("stored", [False, True])
def test_a_null_message_keyed_by_the_response_finds_its_user(stored: bool) -> None:
    worker = Worker(Rules())
    worker.apply(SURVEYS, [message(csat(), key=b"r1")], not_after_ms=NEVER_MS)
    worker.partition.tick(NOON_MS + HOUR_MS, behind=())
    if stored:
        worker.restart()
    assert completed(worker.partition) == 1

    null = Message(None, key=b"r1", timestamp=NOON_MS + 1)
    assert worker.apply(SURVEYS, [null], not_after_ms=NEVER_MS) == ([], [])
    assert completed(worker.partition) == 0


def test_a_null_message_for_a_user_of_another_partition_is_sent_there_as_a_retraction() -> None:
    for user, told in (("ann", {"user_id": "ann"}), (user_of(None, "ann"), {"anonymous_id": "ann"})):
        partition = Partition(Rules())
        answer = message({**csat(user_id=None), **told}, key=b"r1")
        null = Message(None, key=b"r1", timestamp=NOON_MS + 1)
        _, misplaced = deliver(partition, SURVEYS, [answer, null], not_after_ms=NEVER_MS, belongs=lambda _: False)

        assert [one.user for one in misplaced] == [user, user]
        assert (misplaced[0].event_index, misplaced[1].event_index) == (None, 0)
        assert misplaced[1].event == retraction(user, "r1", at_ms=NOON_MS + 1)
        there = Partition(Rules())
        sent = [forwarded(one.event) for one in misplaced]
        deliver(there, SURVEYS, sent[:1], reader=event_of, not_after_ms=NEVER_MS)
        there.tick(NOON_MS + HOUR_MS, behind=())
        assert completed(there) == 1
        deliver(there, SURVEYS, sent[1:], reader=event_of, not_after_ms=NEVER_MS)
        there.tick(NOON_MS + HOUR_MS, behind=())
        assert completed(there) == 0


@pytest.mark.parametrize(
    "null",
    [
        Message(None, key=b"r2", timestamp=NOON_MS),
        Message(None, timestamp=NOON_MS),
        Message(None, timestamp=NOON_MS, headers=(("response_id", b"r1"),)),
        Message(None, key=b"ann", timestamp=NOON_MS, headers=(("response_id", b""),)),
    ],
)
def test_a_null_message_that_names_no_known_response_is_refused(null: Message) -> None:
    partition = Worker(Rules()).partition
    known = [message(csat(), key=b"r1"), message(csat(response_id="ann"), key=b"ann")]
    deliver(partition, SURVEYS, known, not_after_ms=NEVER_MS)
    refused, _ = deliver(partition, SURVEYS, [null], not_after_ms=NEVER_MS)

    assert [one.reason for one in refused] == [Reason.NO_RESPONSE]
    key = (null.key or b"").decode()
    assert refused[0].detail.startswith(f"a null message with key {key!r}: no response of that id is known")


def test_a_null_message_without_a_possible_time_or_user_is_refused() -> None:
    header = (("response_id", b"r1"),)
    partition = Partition(Rules())
    nulls = [Message(None, key=b"ann", timestamp=-1, headers=header), Message(None, key=b"null", headers=header)]
    refused, _ = deliver(partition, SURVEYS, nulls, not_after_ms=NEVER_MS)

    assert [one.reason for one in refused] == [Reason.BAD_TIME, Reason.BAD_USER]


def test_clock_and_watermark_follow_a_backlog_only_as_far_as_the_topics_they_wait_for() -> None:
    limit_ms = NOON_MS + 9 * DAY_MS
    for newest_view_ms, follows_to_ms in (
        (NOON_MS + DAY_MS, NOON_MS + DAY_MS),
        (NOON_MS + 5 * DAY_MS, NOON_MS + 2 * DAY_MS),
    ):
        partition = Partition(Rules())
        view = {"user_id": "ann", "event_time": newest_view_ms, "type": "page_view"}
        deliver(partition, SESSIONS, [message(view)], not_after_ms=limit_ms)
        backlog = [message({"user_id": "bob", "event_time": NOON_MS + 2 * DAY_MS})]

        deliver(partition, LOGINS, backlog, not_after_ms=limit_ms, moves_clock=True, waits_for=(SESSIONS,))

        assert partition.progress.watermark_ms == follows_to_ms
        assert partition.progress.now_ms == follows_to_ms
