"""What a worker tells of partitions that it gives up, and that it stops when it was silent for too long."""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord

from stream.agents.task_manager import BatchMissing, Fenced, TaskManager
from stream.agents.task_state import ChangelogState, State
from stream.agents.transport import ReadingPeriod, Records
from stream.core.partition.rows import Delta
from stream.core.store import PartitionTakenOver, StoreUnavailable
from stream.kafka.outbox import PartitionChangelog
from stream.kafka.state_mismatch import PartitionOffsets
from stream.settings import load
from stream.state.memory import MemoryStore
from stream.telemetry import AnyReport, ClockReading, Report, Unowned
from tests.agents import test_partition_task

SESSION_SECONDS = 10


class Outbox(test_partition_task.Outbox):
    """Keeps what the servers are told too."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[AnyReport] = []
        self._ends: Counter[int] = Counter()

    async def write_delta(self, partition: int, delta: Delta) -> int:
        self._ends[partition] += len(delta)
        return self._ends[partition] - 1

    async def start(self) -> None:
        """It has nothing to connect to."""

    async def stop(self) -> None:
        """It has nothing to disconnect from."""

    async def ask_the_time(self, reading: ClockReading) -> None:
        self.told.append(reading)

    async def report(self, told: AnyReport) -> None:
        self.told.append(told)

    def unowned(self) -> dict[int, str]:
        """Why each partition has no numbers now."""
        return {told.partition: told.why for told in self.told if isinstance(told, Unowned)}


async def opened(
    outbox: Outbox, *, away: str = "", only_worker: bool = False, is_held_back: bool = False
) -> TaskManager:
    """The tasks of a worker with two partitions, all open unless the outbox holds the openings back.

    `away` is why their stores can't be reached.
    """

    async def open_state(number: int, _: Any) -> State:
        if away:
            raise StoreUnavailable(away)
        held: Any = outbox
        return ChangelogState(stores[number], PartitionChangelog(held, number))

    stores = {number: MemoryStore() for number in (0, 2)}
    settings = load(None, {}, {"kafka.session_timeout": f"{SESSION_SECONDS}s"})
    tasks = TaskManager(settings, open_state=open_state, only_worker=only_worker)
    tasks.worker = "ada"
    tasks._outbox = outbox  # type: ignore[assignment]
    opening = asyncio.ensure_future(tasks.open([0, 2], recovery_seconds=0.0))
    if not away:
        await asyncio.wait({opening}, timeout=0.1 if is_held_back else None)
    while away and outbox.unowned().keys() != stores.keys():
        await asyncio.wait({opening}, timeout=0.01)
    return tasks


def test_who_leaves_says_so_of_each_of_its_partitions() -> None:
    async def scenario() -> dict[int, str]:
        outbox = Outbox()
        tasks = await opened(outbox)
        await tasks.close(save=True, leaving=True)
        return outbox.unowned()

    assert asyncio.run(scenario()) == {0: "worker ada has stopped", 2: "worker ada has stopped"}


def test_who_leaves_says_so_too_of_partitions_that_it_could_not_open_yet() -> None:
    async def scenario() -> tuple[dict[int, str], dict[int, str]]:
        outbox = Outbox()
        tasks = await opened(outbox, away="redis at r: refused")
        before = outbox.unowned()
        await tasks.close(save=True, leaving=True)
        return before, outbox.unowned()

    before, after = asyncio.run(scenario())
    assert before == {0: "redis at r: refused", 2: "redis at r: refused"}
    assert after == {0: "worker ada has stopped", 2: "worker ada has stopped"}


def test_what_is_told_has_the_epoch_of_the_takeover_and_none_where_there_was_none() -> None:
    async def scenario() -> tuple[list[Unowned], list[Report]]:
        outbox, waiting = Outbox(), Outbox()
        tasks = await opened(outbox)
        await tasks.close(save=True)
        await tasks.open([0], recovery_seconds=0.0)
        tasks.generation = 8
        await tasks.start(lambda topic, partition: 0)
        for _ in range(10):
            await asyncio.sleep(0)
        for loop in tasks._loops:
            loop.cancel()
        await tasks.close(save=True, leaving=True)
        tasks = await opened(waiting, away="redis at r: refused")
        await tasks.close(save=True, leaving=True)
        everything = [*outbox.told, *waiting.told]
        return (
            [told for told in everything if isinstance(told, Unowned)],
            [told for told in everything if isinstance(told, Report)],
        )

    unowned, reports = asyncio.run(scenario())
    assert {(report.epoch, report.generation) for report in reports} == {(2, 8)}
    assert [(told.why.split()[0], told.epoch) for told in unowned if told.partition == 0] == [
        ("worker", 2),
        ("redis", 0),
        ("worker", 0),
    ]
    assert all(0 < told.started_ms <= told.reported_ms for told in unowned)
    assert all(0 < report.started_ms <= report.reported_ms for report in reports)


def test_a_rebalance_is_no_reason_to_say_so() -> None:
    async def scenario() -> dict[int, str]:
        outbox = Outbox()
        tasks = await opened(outbox)
        await tasks.close(save=True)
        return outbox.unowned()

    assert asyncio.run(scenario()) == {}


@pytest.mark.parametrize("failure", [Fenced("nothing ran"), PartitionTakenOver("another has taken it over")])
def test_who_was_replaced_says_nothing_of_what_is_another_s_now(failure: Exception) -> None:
    async def scenario() -> dict[int, str]:
        outbox = Outbox()
        tasks = await opened(outbox)
        tasks.fail(failure)
        await tasks.close(save=False, leaving=True)
        return outbox.unowned()

    assert asyncio.run(scenario()) == {}


@pytest.mark.parametrize(
    ("silent_seconds", "only_worker", "is_fenced"),
    [(SESSION_SECONDS, False, False), (SESSION_SECONDS + 0.1, False, True), (SESSION_SECONDS + 0.1, True, False)],
)
def test_after_a_silence_nothing_more_is_reported_or_saved(
    monkeypatch: pytest.MonkeyPatch, silent_seconds: float, only_worker: bool, is_fenced: bool
) -> None:
    async def scenario() -> tuple[BaseException | None, int]:
        outbox = Outbox()
        tasks = await opened(outbox, only_worker=only_worker)
        now = [time.monotonic()]
        monkeypatch.setattr("time.monotonic", lambda: now[0])
        await tasks.start(lambda topic, partition: 0)
        now[0] += silent_seconds  # before either loop has run: whichever is first
        for _ in range(10):
            await asyncio.sleep(0)
        told = sum(isinstance(report, Report) for report in outbox.told)
        for loop in tasks._loops:
            loop.cancel()
        return tasks.failure, told

    failure, told = asyncio.run(scenario())
    assert isinstance(failure, Fenced) == is_fenced
    assert (told == 0) == is_fenced
    if is_fenced:
        problem = f"nothing ran for {silent_seconds:.1f} s: the process was frozen or had no CPU"
        assert str(failure) == f"{problem}; kafka.session_timeout is {SESSION_SECONDS}s"


def test_a_worker_that_waits_for_kafka_at_its_start_was_not_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> tuple[BaseException | None, int]:
        now = [time.monotonic()]
        monkeypatch.setattr("time.monotonic", lambda: now[0])
        monkeypatch.setattr("stream.agents.task_manager._ALIVE_SECONDS", 0.0)

        class SlowOutbox(Outbox):
            async def start(self) -> None:
                for _ in range(3 * SESSION_SECONDS):
                    now[0] += 1.0
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)

        outbox = SlowOutbox()
        tasks = await opened(outbox)
        await tasks.start(lambda topic, partition: 0)
        for _ in range(10):
            await asyncio.sleep(0)
        for loop in tasks._loops:
            loop.cancel()
        return tasks.failure, sum(isinstance(report, Report) for report in outbox.told)

    failure, told = asyncio.run(scenario())
    assert failure is None
    assert told > 0


def login_at(offset: int) -> Records:
    """A batch of one login of a user of partition 0."""
    value = b'{"user_id":"ada","event_time":"2026-03-10T11:59:00Z"}'
    return Records([ConsumerRecord("logins", 0, offset, 1_773_143_940_000, 0, b"ada", value, None, 3, 53, ())])


def test_a_topic_that_was_created_again_is_not_read_any_more_and_the_others_are() -> None:
    async def scenario() -> None:
        tasks = await opened(Outbox())
        tasks.topic_ids = {"logins": "old", "surveys": "its"}
        for topic in ("logins", "surveys"):
            tasks.start_reading(topic, 0, 0)
        assert await tasks.apply("logins", login_at(0)) == 1

        tasks.take_topic_ids({"logins": "old", "surveys": "its"})
        assert tasks.unread() == []
        tasks.take_topic_ids({"logins": "new", "surveys": "its"})
        told = (
            "'logins' was deleted and created again since the state read it; "
            "to keep the numbers and read the new topic from its beginning: engagement state accept --partition 0; "
            "to count again all that the topics hold: engagement state reset --partition 0"
        )
        assert tasks.unread() == [f"partition 0: {told}"]  # of partition 2 nothing was read
        assert await tasks.apply("logins", login_at(1)) == 0
        surveys = await tasks.apply("surveys", login_at(0))  # whatever it has: it is a message of another topic
        assert surveys == 1
        assert tasks.position("logins", 0) == 1
        report = tasks._tasks[0].report("ada", tasks._tasks[0].tick(0), now_ms=0)
        assert report.unread == {"logins": told}
        assert report.lag["logins"] == -1
        assert "logins" not in report.behind
        assert tasks.failure is None

    asyncio.run(scenario())


def test_a_later_assignment_finds_a_topic_that_does_not_fit_and_the_first_one_stops_the_worker() -> None:
    async def scenario() -> None:
        too_short = PartitionOffsets("logins", 0, 9, first=0, end=3, committed=None)
        first = await opened(Outbox())
        assert first.refuse_on_mismatch(too_short)
        assert "it ends at 3" in str(first.failure)

        later = await opened(Outbox())
        later.start_reading("logins", 0, 9)
        assert later.refuse_on_mismatch(too_short)
        assert later.failure is None
        assert len(later.unread()) == 1
        assert not later.refuse_on_mismatch(PartitionOffsets("surveys", 0, 3, first=0, end=3, committed=None))

        # What was committed has nothing to do with the topic: the state was lost or set back.
        assert later.refuse_on_mismatch(PartitionOffsets("surveys", 0, 3, first=0, end=9, committed=7))
        assert "was lost or set back" in str(later.failure)

    asyncio.run(scenario())


def test_a_changelog_that_was_created_again_stops_the_worker_with_the_commands() -> None:
    async def scenario() -> None:
        tasks = await opened(Outbox())
        tasks.topic_ids = {"engagement-state-changelog": "old"}
        tasks.take_topic_ids({"engagement-state-changelog": "old", "logins": None})
        assert tasks.failure is None
        assert tasks.missing_topics == ["logins"]

        tasks.take_topic_ids({"engagement-state-changelog": "new", "logins": "its"})
        assert "engagement state reset --partition 0 --partition 2" in str(tasks.failure)
        assert tasks.missing_topics == []

    asyncio.run(scenario())


def batch_of(*, previous_end: int, is_over: bool) -> Records:
    """A batch for partition 0 that comes after records which were never applied."""
    value = b'{"user_id":"ada","event_time":"2026-03-10T11:59:00Z"}'
    records = Records([ConsumerRecord("logins", 0, previous_end, 1_773_143_940_000, 0, b"ada", value, None, 3, 53, ())])
    records.previous_end, records.reading = previous_end, ReadingPeriod()
    records.reading.is_over = is_over
    return records


def test_a_batch_that_a_rebalance_has_overtaken_is_dropped_and_the_worker_goes_on() -> None:
    async def scenario() -> None:
        tasks = await opened(Outbox())

        assert await tasks.apply("logins", batch_of(previous_end=7, is_over=True)) == 0
        assert tasks.failure is None
        assert tasks.position("logins", 0) is None

    asyncio.run(scenario())


def test_a_batch_that_leaves_out_what_comes_before_it_stops_the_worker() -> None:
    async def scenario() -> None:
        tasks = await opened(Outbox())

        assert await tasks.apply("logins", batch_of(previous_end=7, is_over=False)) == 0
        assert isinstance(tasks.failure, BatchMissing)
        assert str(tasks.failure) == "logins/0: 0 is next, but a batch follows 7"

    asyncio.run(scenario())


class Costly:
    """A task of which each record costs so many seconds of CPU."""

    number, unsaved_bytes, unread = 0, 0, ()

    def __init__(self, seconds: float) -> None:
        self._seconds, self.cpu_seconds = seconds, 0.0
        self.parts: list[int] = []

    async def apply(self, topic: str, records: list[int], **_: int) -> int:
        self.parts.append(len(records))
        self.cpu_seconds += self._seconds * len(records)
        return len(records)

    def mark_end_reached(self, topic: str) -> None:
        """Nothing comes after it."""


class SavesLater(Outbox):
    """Its changelog answers when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked = asyncio.Event()
        self.refuses: Exception | None = None

    async def write_delta(self, partition: int, delta: Delta) -> int:
        self.asked.set()
        await self.may_answer.wait()
        if self.refuses is not None:
            raise self.refuses
        return await super().write_delta(partition, delta)


async def with_a_checkpoint_under_way(outbox: SavesLater) -> TaskManager:
    """A worker that has applied a login and waits for the changelog, with a long interval before it."""
    tasks = await opened(outbox)
    await tasks.apply("logins", login_at(0))
    outbox.may_answer.clear()
    outbox.asked.clear()
    await tasks.start(lambda topic, partition: 0)
    await outbox.asked.wait()
    return tasks


def test_a_checkpoint_that_fails_stops_the_worker_at_once_and_not_after_the_interval() -> None:
    async def scenario() -> None:
        outbox = SavesLater()
        tasks = await with_a_checkpoint_under_way(outbox)
        outbox.refuses = OSError("refused")
        outbox.may_answer.set()
        for _ in range(10):
            await asyncio.sleep(0)

        assert tasks.failed.is_set()
        assert str(tasks.failure) == "refused"
        await tasks.stop()
        assert tasks.checkpointed_offsets() == {}

    asyncio.run(scenario())


def test_who_stops_waits_for_a_checkpoint_that_is_under_way() -> None:
    async def scenario() -> None:
        outbox = SavesLater()
        tasks = await with_a_checkpoint_under_way(outbox)
        await tasks.apply("logins", login_at(1))
        stopping = asyncio.create_task(tasks.stop())
        await asyncio.sleep(0.01)
        assert not stopping.done()
        outbox.may_answer.set()
        await stopping

        assert tasks.checkpointed_offsets()["logins", 0] == 2

    asyncio.run(scenario())


def test_a_batch_of_costly_records_is_applied_in_smaller_parts_and_cheap_ones_in_large_parts_again() -> None:
    async def scenario() -> None:
        tasks = await opened(Outbox())
        costly, cheap = Costly(0.0002), Costly(0.00001)
        for task in (costly, cheap):
            one: Any = task
            tasks._tasks[0] = one
            batch: Any = Records(range(10_000))
            assert await tasks._apply_in_parts(one, "logins", batch) == 10_000

        assert costly.parts[0] == 2_000
        assert max(costly.parts[4:]) * 0.0002 <= 0.1  # twice as long at most, and then shorter again
        assert cheap.parts[-2] == 2_000

    asyncio.run(scenario())


def test_whoever_has_given_partitions_up_ends_no_takeover_of_them_afterwards() -> None:
    async def scenario() -> tuple[list[str], bool]:
        order: list[str] = []
        lets_go = asyncio.Event()

        class Slow(Outbox):
            async def write_delta(self, partition: int, delta: Delta) -> int:
                await lets_go.wait()
                order.append("written")
                return await super().write_delta(partition, delta)

        tasks = await opened(Slow(), is_held_back=True)
        closing = asyncio.ensure_future(tasks.close(save=True))
        closing.add_done_callback(lambda _: order.append("given up"))
        await asyncio.wait({closing}, timeout=0.05)
        lets_go.set()
        await closing
        await asyncio.sleep(0)
        return order, tasks.owns(0) or tasks.owns(2)

    assert asyncio.run(scenario()) == (["written", "written", "given up"], False)


def test_whoever_gives_partitions_up_does_not_wait_for_ever_for_a_takeover(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.agents.task_manager._LAST_CHECKPOINT_SECONDS", 0.05)

    class Stalled(Outbox):
        async def write_delta(self, partition: int, delta: Delta) -> int:
            await asyncio.sleep(3_600)
            raise AssertionError

    async def scenario() -> bool:
        tasks = await opened(Stalled(), is_held_back=True)
        await asyncio.wait_for(tasks.close(save=True), 10.0)
        return tasks.failure is None

    assert asyncio.run(scenario())


def test_whoever_waits_for_a_takeover_that_is_given_up_is_not_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.agents.task_manager._LAST_CHECKPOINT_SECONDS", 0.05)

    async def scenario() -> bool:
        tasks = await opened(Outbox(), away="redis is away")  # it is asked again for as long as it is wanted
        waiting = asyncio.ensure_future(tasks.open([0, 2], recovery_seconds=0.0))
        await asyncio.sleep(0.05)
        await tasks.close(save=True)
        await asyncio.wait({waiting}, timeout=10.0)
        return waiting.done() and not waiting.cancelled()

    assert asyncio.run(scenario())
