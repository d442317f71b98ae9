"""A message may have several events: of different users and kinds, and some of them can't be used."""

from collections.abc import Mapping
from typing import Any

import msgspec

from stream.core.events import Event, EventWithoutUser, MultipleEvents, Rejection
from stream.core.messages import Record
from stream.core.partition.partition import Partition
from stream.core.rejections import LeftOut, Reason, Rejected
from stream.core.rules import Rules
from stream.core.time import DAY_MS, HOUR_MS
from tests.core.live import deliver, event_of, forwarded
from tests.native import LOGINS, READERS, SURVEYS, Message

NOON_MS = 1_704_110_400_000


def login(user: str, after_ms: int = 0, **sent: Any) -> dict[str, Any]:
    return {"kind": LOGINS, "user_id": user, "event_time": NOON_MS + after_ms, **sent}


def answer(user: str) -> dict[str, Any]:
    return {**login(user), "kind": SURVEYS, "response_id": "r1", "survey": "nps", "score": 9}


def batch(*sent: Mapping[str, Any], **record: Any) -> Message:
    return Message(msgspec.json.encode(sent), **record)


def read_batch(record: Record) -> MultipleEvents:
    """A format that sends many messages in one, each with its kind."""
    events: list[tuple[int, Event]] = []
    rejections = []
    for place, sent in enumerate(msgspec.json.decode(record.value or b"[]")):
        kind = sent.pop("kind")
        content = {**sent, "kind": sent.pop("survey")} if kind == SURVEYS else sent
        try:
            event = READERS[kind](Message(msgspec.json.encode(content), key=record.key))
        except Rejected as rejection:
            rejections.append(Rejection(place, rejection.reason, str(rejection)))
            continue
        assert isinstance(event, Event)
        events.append((place, event))
    return MultipleEvents(tuple(events), tuple(rejections))


def is_ann(user: str) -> bool:
    return user == "ann"


def test_each_thing_that_a_message_tells_has_its_own_outcome() -> None:
    partition = Partition(Rules(allowed_lateness_ms=DAY_MS))
    partition.tick(NOON_MS, behind=())
    partition.progress.watermark_ms = NOON_MS
    sent = [
        login("ann"),
        login("ann"),
        login("null"),
        login("bob"),
        login("ann", 2 * HOUR_MS),
        login("ann", -DAY_MS - 1),
        login("ann", is_bot=True),
        answer("ann"),
    ]

    refused, misplaced = deliver(
        partition, "gateway", [batch(*sent)], reader=read_batch, not_after_ms=NOON_MS + HOUR_MS, belongs=is_ann
    )

    counts = {"applied": 2, "duplicate": 1, "invalid": 1, "rekeyed": 1, "future": 1, "late": 1, "bot": 1}
    assert partition.progress.outcomes["gateway"] == counts
    assert sum(counts.values()) == len(sent)
    assert [(one.user, one.event_index) for one in misplaced] == [("bob", 3)]
    assert [one.reason for one in refused] == [Reason.FUTURE, Reason.LATE, Reason.BAD_USER]
    assert [one.detail.split(":")[0] for one in refused] == [f"part {n} of the message" for n in (4, 5, 2)]
    assert all(one.record.value == batch(*sent).value for one in refused)


def test_a_message_that_tells_nothing_is_read_and_counts_as_nothing() -> None:
    partition = Partition(Rules())

    assert deliver(partition, "gateway", [batch()], reader=read_batch, not_after_ms=NOON_MS) == ([], [])
    assert partition.progress.outcomes["gateway"] == {}


def test_an_event_that_is_sent_on_counts_where_its_user_is_and_once_whatever_is_sent_again() -> None:
    here, there = Partition(Rules()), Partition(Rules())
    message = batch(login("ann"), login("bob", 1), login("bob", 2))
    for _ in range(2):
        _, misplaced = deliver(
            here, "gateway", [message], reader=read_batch, not_after_ms=NOON_MS + HOUR_MS, belongs=is_ann
        )
        events = [forwarded(one.event) for one in misplaced]
        assert deliver(there, "gateway", events, reader=event_of, not_after_ms=NOON_MS + HOUR_MS) == (
            [],
            [],
        )

    assert here.progress.outcomes["gateway"] == {"applied": 1, "rekeyed": 4, "duplicate": 1}
    assert there.progress.outcomes["gateway"] == {"applied": 2, "duplicate": 2}
    for partition, users in ((here, 1), (there, 1)):
        partition.tick(NOON_MS + HOUR_MS, behind=())
        assert partition.progress.users == users


def test_a_name_that_is_left_among_several_events_finds_its_user() -> None:
    partition = Partition(Rules())
    sent = batch(login("bob"), answer("bob"), key=b"r1")
    deliver(partition, SURVEYS, [sent], reader=read_batch, not_after_ms=NOON_MS, belongs=is_ann)
    null = READERS[SURVEYS](Message(None, timestamp=NOON_MS, key=b"r1"))
    assert isinstance(null, EventWithoutUser)

    _, misplaced = deliver(
        partition, SURVEYS, [Message(b"")], reader=lambda _: null, not_after_ms=NOON_MS, belongs=is_ann
    )

    assert [one.user for one in misplaced] == ["bob"]
    assert misplaced[0].event == null.with_user("bob")


def test_what_no_family_hears_is_counted_by_its_word_and_adds_up() -> None:
    sent = MultipleEvents((), (), (LeftOut.ORDER, LeftOut.IDENTITY, LeftOut.ORDER))
    partitions = [Partition(Rules(allowed_lateness_ms=DAY_MS)) for _ in range(2)]
    for partition in partitions:
        batch = partition.read("shop", [Message(b"{}")], lambda record: sent, not_after_ms=NOON_MS)
        partition.apply(batch, {})
    one, other = (partition.snapshot() for partition in partitions)

    assert one.left_out == {"shop": {"order": 2, "identity": 1}}
    assert (one + other).left_out == {"shop": {"order": 4, "identity": 2}}
    assert sum(one.outcomes["shop"].values()) == 0


def test_what_was_left_out_is_known_after_a_checkpoint() -> None:
    partition, restored = (Partition(Rules(allowed_lateness_ms=DAY_MS)) for _ in range(2))
    sent = MultipleEvents((), (), (LeftOut.ORDER,))
    batch = partition.read("shop", [Message(b"{}")], lambda record: sent, not_after_ms=NOON_MS)
    partition.apply(batch, {})
    stored = {key: value for key, value in partition.collect_delta() if value is not None}
    restored.restore(lambda prefix: [item for item in stored.items() if item[0].startswith(prefix)])

    assert restored.snapshot().left_out == {"shop": {"order": 1}}
