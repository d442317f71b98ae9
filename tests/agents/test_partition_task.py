"""What a task does with batches and checkpoints, with a store and an outbox that are dicts and lists."""

import asyncio
import time
from collections.abc import Awaitable, Iterable
from typing import Any, NamedTuple

import msgspec
import pytest
from aiokafka.errors import KafkaError
from structlog.testing import capture_logs

from stream.agents.partition_task import HalfDone, PartitionTask
from stream.agents.task_state import ChangelogState
from stream.core import zones
from stream.core.partition.batch_reader import Misplaced, Refused
from stream.core.partition.rows import Delta
from stream.core.privacy import PrivacyRequested, Request
from stream.core.time import DAY_MS
from stream.core.user_scores import ScoreMessage
from stream.kafka.forwarded_batches import batches, encode_misplaced
from stream.kafka.outbox import PartitionChangelog
from stream.kafka.transactions import ReadProgress
from stream.partitioning import partition_of
from stream.settings import Settings, load
from stream.state.memory import MemoryStore
from stream.telemetry import ClosedDayReport, OpenTransaction, Owner
from tests.export.boards import Event, moment
from tests.timeouts import TIMEOUT_SECONDS

NOW_MS = moment("2026-03-10T12:00:00Z")


class Delivered(NamedTuple):
    """What Kafka says of a record that has arrived."""

    offset: int


class Outbox:
    """Keeps what is sent; `broken` is what the changelog answers with."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []
        self.letters: list[tuple[str, Refused]] = []
        self.forwarded: list[tuple[str, Misplaced]] = []
        self.requests: list[tuple[str, Misplaced]] = []  # requests of people, to all other partitions
        self.days: list[tuple[int, int]] = []
        self.day_reports: list[ClosedDayReport] = []
        self.days_end = 0  # of the topic of days
        self.scores: list[tuple[str, float | None]] = []
        self.unsent: asyncio.Future[None] | None = None
        self.broken: Exception | None = None

    async def write_delta(self, partition: int, delta: Delta) -> int:
        if self.broken is not None:
            raise self.broken
        self.deltas.append(delta)
        return sum(map(len, self.deltas)) - 1

    async def dead_letter(self, topic: str, partition: int, letter: Refused) -> "asyncio.Future[None]":
        self.letters.append((topic, letter))
        return self._sent()

    async def forward(
        self, topic: str, partition: int, misplaced: Iterable[Misplaced], **_: int
    ) -> "list[asyncio.Future[None]]":
        self.forwarded += [(topic, one) for one in misplaced]
        return [self._sent()]

    async def tell_others(
        self, topic: str, partition: int, requests: Iterable[Misplaced], **_: int
    ) -> "list[asyncio.Future[None]]":
        self.requests += [(topic, one) for one in requests]
        return [self._sent()]

    async def send_audit(self, partition: int, record: object) -> "asyncio.Future[None]":
        return self._sent()

    async def send_closed_day(self, report: ClosedDayReport) -> "asyncio.Future[Delivered]":
        self.days.append((report.partition, report.closed.day))
        self.day_reports.append(report)
        self.days_end += 1
        return self._delivered()

    async def delete_closed_day(self, partition: int, day: int, *, by: Owner) -> "asyncio.Future[Delivered]":
        self.days.remove((partition, day))
        self.days_end += 1
        return self._delivered()

    async def send_score(self, partition: int, user: str, message: ScoreMessage | None) -> "asyncio.Future[None]":
        self.scores.append((user, None if message is None else message.score))
        return self._sent()

    def _delivered(self) -> "asyncio.Future[Delivered]":
        offset = self.days_end - 1

        async def delivered() -> Delivered:
            await self._sent()
            return Delivered(offset)

        return asyncio.ensure_future(delivered())

    def _sent(self) -> "asyncio.Future[None]":
        if self.unsent is not None:
            return self.unsent
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


def settings(*, scored: bool = False, erases: bool = False) -> Settings:
    chosen = {"topics.partitions": 4, "topics.logins": "app-logins", "health.enabled": scored, "health.target_days": 2}
    return load(None, {}, {**chosen, "topics.privacy": "privacy" if erases else ""})


def users_of(partition: int, count: int) -> list[str]:
    """So many users whose partition it is."""
    names = (f"user-{number}" for number in range(10_000))
    return [name for name in names if partition_of(name.encode(), 4) == partition][:count]


def login(user: str, offset: int, *, at: str = "2026-03-10T11:59:00Z") -> Event:
    value = msgspec.json.encode({"user_id": user, "event_time": at})
    return Event(value, offset, key=user.encode(), timestamp=NOW_MS)


def asked(user: str, offset: int) -> Event:
    value = msgspec.json.encode({"user_id": user, "event_time": "2026-03-10T11:59:00Z", "type": "erase"})
    return Event(value, offset, key=user.encode(), timestamp=NOW_MS)


Remaining = dict[str, int | None]


async def task(
    outbox: Outbox,
    store: MemoryStore | None = None,
    *,
    remaining: Remaining | None = None,
    read_progress: dict[str, ReadProgress] | None = None,
    scored: bool = False,
    erases: bool = False,
) -> PartitionTask:
    held: Any = outbox
    left = dict.fromkeys(("sessions", "app-logins", "surveys", "privacy"), 0) if remaining is None else remaining
    state = ChangelogState(store or MemoryStore(), PartitionChangelog(held, 1))
    reached: dict[str, ReadProgress] = {} if read_progress is None else read_progress
    one = PartitionTask(
        settings(scored=scored, erases=erases),
        1,
        state,
        held,
        remaining=left.__getitem__,
        recovery_seconds=0.0,
        read_progress=lambda topic: reached.get(topic, ReadProgress()),
    )
    await one.open()
    return one


async def apply(one: PartitionTask, records: Iterable[Event], topic: str = "app-logins") -> int:
    batch: Any = list(records)
    return await one.apply(topic, batch, now_ms=NOW_MS, clock_ms=NOW_MS)


def daily_users(one: PartitionTask) -> int:
    one.tick(NOW_MS)
    return one.report("w", {}, now_ms=NOW_MS).snapshot.families["activity"].live[1_440].get(1, 0)


def test_what_the_state_holds_is_not_applied_again() -> None:
    async def scenario() -> None:
        ann, bob, cid = users_of(1, 3)
        one = await task(Outbox())

        assert await apply(one, [login(ann, 5), login(bob, 6)]) == 2
        assert one.position("app-logins") == 7
        assert await apply(one, [login(ann, 5), login(bob, 6), login(cid, 9)]) == 1
        assert await apply(one, [login(ann, 5)]) == 0
        assert one.position("app-logins") == 10
        assert daily_users(one) == 3

    asyncio.run(scenario())


def test_a_task_opened_on_what_another_has_saved_goes_on_where_that_stopped() -> None:
    async def scenario() -> None:
        ann, bob = users_of(1, 2)
        outbox, store = Outbox(), MemoryStore()
        first = await task(outbox, store)
        await apply(first, [login(ann, 0)])
        await first.checkpoint()
        await apply(first, [login(bob, 1)])  # lost with the process

        second = await task(outbox, store)

        assert second.position("app-logins") == 1
        assert daily_users(second) == 1
        assert await apply(second, [login(ann, 0), login(bob, 1)]) == 1
        assert daily_users(second) == 2

    asyncio.run(scenario())


def test_a_state_whose_days_were_cut_by_other_rules_of_the_time_zone_is_taken_over_with_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        outbox, store = Outbox(), MemoryStore()
        editions = (("1999a", "0" * 12, 0), ("1999b", "0" * 12, 0), ("1999c", "1" * 12, 1))
        for offset, (edition, rules, warnings) in enumerate(editions):
            monkeypatch.setattr(zones, "EDITION", edition)
            monkeypatch.setattr(zones, "fingerprint", lambda name, rules=rules: rules)
            with capture_logs() as logged:
                one = await task(outbox, store)
            found = [entry for entry in logged if entry["log_level"] == "warning"]
            assert len(found) == warnings
            await apply(one, [login(user, offset) for user in users_of(1, 1)])
            await one.checkpoint()
        assert (found[0]["before"], found[0]["now"]) == (f"1999b ({'0' * 12})", f"1999c ({'1' * 12})")

    asyncio.run(scenario())


def test_a_checkpoint_that_fails_saves_nothing() -> None:
    async def scenario() -> None:
        outbox, store = Outbox(), MemoryStore()
        one = await task(outbox, store)
        held = store.offset()
        await apply(one, [login(users_of(1, 1)[0], 0)])
        outbox.broken = ConnectionError("no broker")

        with pytest.raises(ConnectionError):
            await one.checkpoint()

        assert one.checkpointed_offsets() == {}
        assert store.offset() == held

    asyncio.run(scenario())


@pytest.mark.parametrize("ends", ["with an error of Kafka's", "cancelled", "with something unsent"])
def test_after_a_checkpoint_that_failed_no_later_one_is_saved(ends: str) -> None:
    """It would lack what the one that failed has collected, and say that all up to its offsets is counted."""

    async def scenario() -> None:
        (ann, ben), (outbox, store) = users_of(1, 2), (Outbox(), MemoryStore())
        one = await task(outbox, store)
        outbox.unsent = asyncio.get_running_loop().create_future()
        await apply(one, [login(ann, 0), Event(b"not json", 1)])
        saving = asyncio.create_task(one.checkpoint())
        await asyncio.sleep(0.01)  # it has collected, and waits for what was sent
        await apply(one, [login(ben, 2)])
        if ends == "cancelled":
            saving.cancel()
        elif ends == "with something unsent":
            outbox.unsent.set_exception(KafkaError("refused"))
        else:
            outbox.broken = KafkaError("no broker")
            outbox.unsent.set_result(None)
        with pytest.raises((KafkaError, asyncio.CancelledError)):
            await saving
        outbox.broken = None

        with pytest.raises(HalfDone, match="a checkpoint of partition 1 failed"):
            await one.checkpoint()
        assert (await task(outbox, store)).position("app-logins") is None

    asyncio.run(scenario())


def test_a_checkpoint_waits_for_what_was_sent_before_it() -> None:
    async def scenario() -> None:
        outbox = Outbox()
        outbox.unsent = asyncio.get_running_loop().create_future()
        one = await task(outbox)
        await apply(one, [Event(b"not json", 0)])
        saving = asyncio.create_task(one.checkpoint())
        await asyncio.sleep(0.01)

        assert len(outbox.deltas) == 1  # that of the takeover
        outbox.unsent.set_result(None)
        await saving
        assert len(outbox.deltas) == 2

    asyncio.run(scenario())


def test_what_was_not_sent_fails_the_checkpoint() -> None:
    async def scenario() -> None:
        outbox = Outbox()
        outbox.unsent = asyncio.get_running_loop().create_future()
        outbox.unsent.set_exception(ConnectionError("no broker"))
        one = await task(outbox)
        await apply(one, [Event(b"not json", 0)])

        with pytest.raises(ConnectionError):
            await one.checkpoint()
        assert len(outbox.deltas) == 1  # that of the takeover

    asyncio.run(scenario())


def test_once_a_day_has_closed_the_score_of_each_user_is_sent_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.agents.partition_task.SWEPT_ROWS", 2)

    async def scenario() -> None:
        users, outbox, store = users_of(1, 5), Outbox(), MemoryStore()
        one = await task(outbox, store, scored=True)
        await apply(one, [login(user, offset, at="2026-03-09T12:00:00Z") for offset, user in enumerate(users[:4])])
        await apply(one, [login(users[4], 4)])  # today: of no closed day
        one.tick(NOW_MS)
        one.send_closed_days("w", now_ms=NOW_MS)
        await one.checkpoint()
        assert not outbox.scores
        await one.checkpoint()  # the rows are stored now: two of them are told
        assert 0 < len(outbox.scores) < 4

        # Nothing else changes, but there are users left. Whoever takes over meanwhile begins with the first.
        other = await task(outbox, store, scored=True)
        outbox.scores.clear()
        for _ in range(9):
            other.tick(NOW_MS)
            await other.checkpoint()
        assert sorted(outbox.scores) == [(user, 50.0) for user in sorted(users[:4])]

    asyncio.run(scenario())


def test_batches_are_applied_while_scores_are_sent() -> None:
    async def scenario() -> None:
        users, outbox = users_of(1, 2), Outbox()
        one = await task(outbox, scored=True)
        await apply(one, [login(users[0], 0, at="2026-03-09T12:00:00Z")])
        one.tick(NOW_MS)
        one.send_closed_days("w", now_ms=NOW_MS)
        await one.checkpoint()
        sent, applied = outbox.send_score, []

        async def send(partition: int, user: str, message: ScoreMessage | None) -> "asyncio.Future[None]":
            applied.append(await apply(one, [login(users[1], 1)]))
            return await sent(partition, user, message)

        outbox.send_score = send  # type: ignore[method-assign]
        await asyncio.wait_for(one.checkpoint(), TIMEOUT_SECONDS)
        assert applied == [1]

    asyncio.run(scenario())


def test_the_score_of_a_user_who_has_none_any_more_is_deleted() -> None:
    async def scenario() -> None:
        (user,), outbox = users_of(1, 1), Outbox()
        one = await task(outbox, scored=True)
        await apply(one, [login(user, 0, at="2026-03-09T12:00:00Z")])
        one.tick(NOW_MS)
        one.send_closed_days("w", now_ms=NOW_MS)
        for _ in range(3):
            await one.checkpoint()
        assert outbox.scores == [(user, 50.0)]

        later_ms = NOW_MS + 91 * DAY_MS
        one.tick(later_ms)
        while one.has_closing_backlog:
            one.send_closed_days("w", now_ms=later_ms)
        for _ in range(3):
            await one.checkpoint()
        assert outbox.scores == [(user, 50.0), (user, None)]

    asyncio.run(scenario())


def test_nothing_new_is_no_checkpoint() -> None:
    async def scenario() -> None:
        outbox = Outbox()
        one = await task(outbox)
        await apply(one, [login(users_of(1, 1)[0], 0)])
        await one.checkpoint()
        await one.checkpoint()

        assert len(outbox.deltas) == 2  # one is that of the takeover

    asyncio.run(scenario())


def test_a_partition_that_was_given_up_is_saved_no_more() -> None:
    async def scenario() -> None:
        outbox = Outbox()
        one = await task(outbox)
        await apply(one, [login(users_of(1, 1)[0], 0)])
        one.close()
        await one.checkpoint()

        assert len(outbox.deltas) == 1  # that of the takeover

    asyncio.run(scenario())


def test_the_refused_and_the_misplaced_are_sent_on_under_the_topic_they_were_produced_to() -> None:
    async def scenario() -> None:
        outbox = Outbox()
        one = await task(outbox)
        stranger = users_of(2, 1)[0]
        await apply(one, [Event(b"not json", 0), login(stranger, 1)])

        assert [(topic, letter.reason.value) for topic, letter in outbox.letters] == [("app-logins", "not_json")]
        assert [(topic, record.user) for topic, record in outbox.forwarded] == [("app-logins", stranger)]
        assert daily_users(one) == 0

    asyncio.run(scenario())


def test_a_topic_is_behind_until_its_end_was_reached_a_moment_ago() -> None:
    async def scenario() -> None:
        left: Remaining = dict.fromkeys(("sessions", "app-logins", "surveys"))
        one = await task(Outbox(), remaining=left)
        one.tick(NOW_MS)
        assert one.behind() == ("sessions", "logins", "surveys")

        left.update({"sessions": 0, "app-logins": 7, "surveys": 0})
        one.tick(NOW_MS)
        assert one.behind() == ("logins",)

        # A busy topic always has something on its way; a batch that reached the end says that it is read in time.
        one.mark_end_reached("app-logins")
        one.tick(NOW_MS)
        assert one.behind() == ()

    asyncio.run(scenario())


def view(user: str, offset: int, *, at: str) -> Event:
    value = msgspec.json.encode({"user_id": user, "event_time": at, "type": "page_view"})
    return Event(value, offset, key=user.encode(), timestamp=NOW_MS)


def outcomes(one: PartitionTask, topic: str) -> dict[str, int]:
    one.tick(NOW_MS)
    return one.report("w", {}, now_ms=NOW_MS).snapshot.outcomes[topic]


def test_newer_events_of_one_topic_make_no_burst_of_old_ones_in_another_late() -> None:
    async def scenario() -> None:
        ann, bob = users_of(1, 2)
        one = await task(Outbox())
        one.tick(NOW_MS)  # all is read to its end
        await apply(one, [view(ann, 0, at="2025-10-01T00:00:00Z")], "sessions")
        one.mark_end_reached("sessions")
        await apply(one, [login(bob, 0, at="2026-03-10T11:59:00Z")])
        one.tick(NOW_MS)

        await apply(one, [view(ann, 1, at="2025-10-02T00:00:00Z")], "sessions")

        assert outcomes(one, "sessions") == {"applied": 2}

    asyncio.run(scenario())


def test_a_quiet_topic_holds_the_watermark_back_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        ann, bob = users_of(1, 2)
        one = await task(Outbox())
        await apply(one, [view(ann, 0, at="2025-10-01T00:00:00Z")], "sessions")
        await apply(one, [login(bob, 0, at="2026-03-10T11:59:00Z")])
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 60)
        one.tick(NOW_MS)

        await apply(one, [view(ann, 1, at="2025-10-02T00:00:00Z")], "sessions")

        assert outcomes(one, "sessions") == {"applied": 1, "late": 1}

    asyncio.run(scenario())


def test_offsets_that_nobody_is_given_are_passed_over_and_saved() -> None:
    async def scenario() -> None:
        outbox, read_progress = Outbox(), {"app-logins": ReadProgress()}
        one = await task(outbox, read_progress=read_progress)
        await apply(one, [login(users_of(1, 1)[0], 0)])
        await one.checkpoint()

        read_progress["app-logins"] = ReadProgress(read_to=4)
        one.tick(NOW_MS)
        await one.checkpoint()
        assert (one.position("app-logins"), one.checkpointed_offsets()) == (4, {"app-logins": 4})

        read_progress["app-logins"] = ReadProgress(read_to=3)
        one.tick(NOW_MS)
        assert one.position("app-logins") == 4
        assert await apply(one, [login(users_of(1, 1)[0], 4)]) == 1

    asyncio.run(scenario())


def test_what_waits_behind_an_open_transaction_does_not_become_late(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        ann, bob = users_of(1, 2)
        read_progress = {"sessions": ReadProgress(open_transaction=OpenTransaction(seconds=60, records=1))}
        one = await task(Outbox(), read_progress=read_progress)
        await apply(one, [view(ann, 0, at="2025-10-01T00:00:00Z")], "sessions")
        await apply(one, [login(bob, 0, at="2026-03-10T11:59:00Z")])
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 60)
        one.tick(NOW_MS)

        read_progress["sessions"] = ReadProgress()
        await apply(one, [view(ann, 1, at="2025-10-02T00:00:00Z")], "sessions")

        assert outcomes(one, "sessions") == {"applied": 2}

    asyncio.run(scenario())


def test_an_open_transaction_is_told_from_its_bound_until_it_ends() -> None:
    async def scenario() -> None:
        read_progress: dict[str, ReadProgress] = {}
        one = await task(Outbox(), read_progress=read_progress)

        def told(seconds: float | None) -> dict[str, OpenTransaction]:
            found = None if seconds is None else OpenTransaction(seconds=seconds, records=3)
            read_progress["app-logins"] = ReadProgress(open_transaction=found)
            return one.report("w", one.tick(NOW_MS), now_ms=NOW_MS).open_transactions

        assert told(9.9) == {}
        assert told(10) == {"logins": OpenTransaction(seconds=10, records=3)}
        assert told(11) == {"logins": OpenTransaction(seconds=11, records=3)}
        assert told(0) == {}
        assert told(30) == {"logins": OpenTransaction(seconds=30, records=3)}
        assert told(None) == {}

    asyncio.run(scenario())


def test_the_other_partitions_are_told_once_of_a_request_wherever_it_was_read() -> None:
    async def scenario() -> None:
        (ann,), (stranger,) = users_of(1, 1), users_of(2, 1)
        outbox, store = Outbox(), MemoryStore()
        one = await task(outbox, store, erases=True)
        await apply(one, [asked(ann, 0), asked(stranger, 1)], "privacy")
        await apply(one, [login(stranger, 0)])

        assert [(topic, told.user, told.record.offset) for topic, told in outbox.requests] == [
            ("privacy", ann, 0),
            ("privacy", stranger, 1),
        ]
        assert all(isinstance(told.event, PrivacyRequested) and told.event.is_told for _, told in outbox.requests)
        assert [told.user for topic, told in outbox.forwarded if topic == "privacy"] == [stranger]

        hers = PrivacyRequested(stranger, NOW_MS, False, Request.ERASE, is_told=True)
        item = encode_misplaced(Misplaced(asked(stranger, 5), stranger, hers, None), "privacy", 3, max_bytes=10_000)
        sent: Any = batches([item], "privacy", 3, checkpointed_offset=0)
        ((value, headers),) = sent
        before = len(outbox.requests)
        await apply(one, [Event(value, 0, timestamp=NOW_MS, headers=tuple(headers))], settings().rekey_topic)
        assert len(outbox.requests) == before  # whoever is told does not tell it again

    asyncio.run(scenario())


class OutboxOfAnAbsentBroker(Outbox):
    """Waits for the broker to name a topic, as the first send to it does, and gives up."""

    async def forward(
        self, topic: str, partition: int, misplaced: Iterable[Misplaced], **_: int
    ) -> "list[asyncio.Future[None]]":
        await asyncio.sleep(0.05)
        raise KafkaError("the broker does not know the topic")


@pytest.mark.parametrize("ends", ["given up", "cancelled"])
@pytest.mark.parametrize("saves", ["meanwhile", "afterwards"])
def test_a_batch_that_was_not_sent_on_whole_is_never_saved_as_applied(saves: str, ends: str) -> None:
    async def scenario() -> None:
        (ann,), (stranger,) = users_of(1, 1), users_of(2, 1)
        outbox, store = OutboxOfAnAbsentBroker(), MemoryStore()
        one = await task(outbox, store)
        applying = asyncio.create_task(apply(one, [login(ann, 0), login(stranger, 1)]))
        await asyncio.sleep(0.01)
        saving: list[Awaitable[None]] = [asyncio.create_task(one.checkpoint())] if saves == "meanwhile" else []
        if ends == "cancelled":
            applying.cancel()
        with pytest.raises((KafkaError, asyncio.CancelledError)):
            await applying
        for checkpoint in saving or [one.checkpoint()]:
            with pytest.raises(HalfDone, match="partition 1"):
                await checkpoint

        assert (await task(outbox, store)).position("app-logins") is None

    asyncio.run(scenario())


def test_closed_days_are_sent_before_a_checkpoint_has_them_and_again_by_the_next_owner() -> None:
    async def scenario() -> None:
        (ann,) = users_of(1, 1)
        outbox, store = Outbox(), MemoryStore()
        first = await task(outbox, store)
        await apply(first, [login(ann, 0, at="2026-03-08T12:00:00Z")])
        first.tick(NOW_MS)
        report = first.report("w", {}, now_ms=NOW_MS)
        assert (report.days_since, report.snapshot.last_closed_day) == (None, None)
        outbox.unsent = asyncio.get_running_loop().create_future()
        first.send_closed_days("w", now_ms=NOW_MS)
        await asyncio.sleep(0)
        days = [NOW_MS // DAY_MS - 2, NOW_MS // DAY_MS - 1]
        assert outbox.days == [(1, day) for day in days]
        report = first.report("w", {}, now_ms=NOW_MS)
        assert (report.days_since, report.snapshot.last_closed_day) == (days[0], days[1])

        saving = asyncio.ensure_future(first.checkpoint())
        await asyncio.sleep(0.01)
        assert not saving.done(), "the days that it has sent may not have arrived"
        outbox.unsent.set_result(None)
        await saving
        assert [key for key, _ in store.scan(b"closed/")] == [b"closed/%d" % day for day in days]

        outbox.days.clear()
        second = await task(outbox, store)
        second.tick(NOW_MS)
        for _ in range(4):  # one at a time
            second.send_closed_days("w", now_ms=NOW_MS)
        await asyncio.sleep(0)
        assert outbox.days == [(1, day) for day in days]

    asyncio.run(scenario())


def test_each_closed_day_beyond_history_days_is_deleted_even_if_several_days_close_at_once() -> None:
    async def scenario() -> None:
        (ann,) = users_of(1, 1)
        outbox, store = Outbox(), MemoryStore()
        one = await task(outbox, store)
        await apply(one, [login(ann, 0, at="2025-01-20T12:00:00Z")])
        one.tick(NOW_MS)
        for _ in range(120):
            one.send_closed_days("w", now_ms=NOW_MS)
            await asyncio.sleep(0)
        await one.checkpoint()

        last = NOW_MS // DAY_MS - 1
        assert outbox.days == [(1, day) for day in range(last - 399, last + 1)]
        assert sorted(key for key, _ in store.scan(b"closed/")) == [b"closed/%d" % day for _, day in outbox.days]

    asyncio.run(scenario())


def test_closed_days_are_told_again_all_of_them_if_their_topic_was_created_again() -> None:
    async def scenario() -> None:
        (ann,) = users_of(1, 1)
        outbox, store = Outbox(), MemoryStore()
        first = await task(outbox, store)
        await apply(first, [login(ann, 0, at="2026-02-10T12:00:00Z"), login(ann, 1, at="2026-03-10T11:00:00Z")])
        await told_until(first, NOW_MS)
        last = NOW_MS // DAY_MS - 1
        everything = [(1, day) for day in range(last - 27, last + 1)]
        assert outbox.days == everything
        # A record that arrives where it should says that nothing was lost.
        outbox.days.clear()
        await told_until(first, NOW_MS + DAY_MS)
        assert outbox.days == [(1, last + 1)]

        outbox.days.clear()
        second = await task(outbox, store)
        await told_until(second, NOW_MS + DAY_MS)
        assert outbox.days == [(1, day) for day in range(last - 2, last + 2)], "only those that can still change"

        outbox.days.clear()
        outbox.days_end = 0
        third = await task(outbox, store)
        await told_until(third, NOW_MS + DAY_MS)
        assert sorted(set(outbox.days)) == [*everything, (1, last + 1)]
        outbox.days.clear()
        await told_until(await task(outbox, store), NOW_MS + DAY_MS)
        assert (1, last - 20) not in outbox.days

    asyncio.run(scenario())


async def told_until(one: PartitionTask, clock_ms: int) -> None:
    """The clock shows that time, and so many reports are sent that all days are told; then a checkpoint."""
    one.tick(clock_ms)
    for _ in range(120):
        one.report("w", {}, now_ms=NOW_MS)
        one.send_closed_days("w", now_ms=NOW_MS)
        await asyncio.sleep(0.001)
    await one.checkpoint()


def test_what_is_told_of_closed_days_says_which_owner_tells_it() -> None:
    async def scenario() -> None:
        (ann,) = users_of(1, 1)
        outbox, store = Outbox(), MemoryStore()
        first = await task(outbox, store)
        await apply(first, [login(ann, 0, at="2026-03-08T12:00:00Z")])
        await told_until(first, NOW_MS)
        second = await task(outbox, store)
        await told_until(second, NOW_MS)

        assert {report.told_by for report in outbox.day_reports} == {Owner(0, first.epoch), Owner(0, second.epoch)}
        assert first.epoch < second.epoch

    asyncio.run(scenario())
