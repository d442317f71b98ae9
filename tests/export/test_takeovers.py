"""Which owner of a partition counts, how takeovers are counted, and which partitions have frequent takeovers."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from stream.export.board import Board
from stream.telemetry import Idle, Report, Standby, Unowned
from tests.export.boards import NOW, moment, report, settings

AT_MS = moment(NOW)
HEARTBEAT_MS = 2_500  # a quarter of the session timeout of 10 s


_EMPTY = [report(partition, []) for partition in range(2)]


def owned(partition: int, epoch: int, worker: str = "ada", **more: object) -> Report:
    return replace(_EMPTY[partition], epoch=epoch, worker=worker, **more)


def left(partition: int, epoch: int, worker: str = "ada", started_ms: int = 0) -> Unowned:
    return Unowned(partition, worker, AT_MS, why=f"worker {worker} has stopped", epoch=epoch, started_ms=started_ms)


def new_board() -> Board:
    return Board(settings(), now_ms=lambda: AT_MS)


def owner_of(shown: Board, partition: int = 0) -> str | None:
    return shown.partitions()[partition].worker


def counts(shown: Board, name: str = "engagement_takeovers_total") -> list[float]:
    return [sample.value for sample in shown.health() if sample.name == name]


# -- which owner counts ------------------------------------------------------------------------------------------------


def test_what_an_owner_tells_after_the_partition_has_had_a_later_one_is_left_out() -> None:
    shown = new_board()
    for told in (owned(0, 7, "ada"), owned(0, 8, "bob"), owned(0, 7, "ada"), left(0, 7, "ada")):
        shown.put(told)

    assert owner_of(shown) == "bob"
    assert shown.stale() == [1]

    shown.put(left(0, 8, "bob"))
    assert shown.stale() == [0, 1]


def test_who_tells_no_epoch_is_believed_and_forgets_none() -> None:
    shown = new_board()
    shown.put(owned(0, 7, "ada"))
    shown.put(owned(0, 0, "of an earlier version"))

    assert owner_of(shown) == "of an earlier version"

    shown.put(Unowned(0, "bob", AT_MS, why="worker bob is reading its state"))
    assert owner_of(shown) == "bob"
    shown.put(owned(0, 6, "late"))
    assert owner_of(shown) == "bob"


def test_a_state_that_was_reset_may_begin_with_a_low_epoch() -> None:
    shown = new_board()
    shown.put(owned(0, 7, "ada"))
    shown.put(owned(0, 1, "bob", counted_since_ms=5))

    assert owner_of(shown) == "bob"
    shown.put(owned(0, 2, "cyd", counted_since_ms=5))
    assert owner_of(shown) == "cyd"


def test_a_state_that_was_lost_with_its_epochs_is_believed_when_the_last_owner_is_silent_for_long() -> None:
    now_ms = [AT_MS]
    shown = Board(settings(), now_ms=lambda: now_ms[0])
    shown.put(owned(0, 7, "ada"))
    now_ms[0] += 15_000
    shown.put(owned(0, 1, "bob", reported_ms=now_ms[0]))
    assert owner_of(shown) == "ada"

    now_ms[0] += 1
    shown.put(owned(0, 1, "bob", reported_ms=now_ms[0]))
    assert owner_of(shown) == "bob"
    assert shown.stale() == [1]


# -- what is counted ---------------------------------------------------------------------------------------------------


def test_takeovers_are_counted_exactly_and_go_on_where_another_server_has_heard_of_them() -> None:
    shown, later = new_board(), new_board()
    assert counts(shown) == []
    told = []
    for epoch in (5, 5, 6, 9, 8, 9, 0, 10):
        shown.put(owned(0, epoch))
        told += counts(shown)
    later.put(owned(0, 10))

    assert told == [5, 5, 6, 9, 9, 9, 9, 10]
    assert counts(later) == [10]


def test_takeovers_of_an_owner_that_left_before_it_reported_are_counted() -> None:
    shown = new_board()
    shown.put(owned(0, 5))
    shown.put(left(0, 6, "bob"))

    assert counts(shown) == [6]


def test_the_count_never_falls_when_a_state_begins_anew() -> None:
    shown = new_board()
    told = []
    for epoch, since_ms in ((5, 0), (1, 3), (2, 3), (4, 3)):
        shown.put(owned(0, epoch, counted_since_ms=since_ms))
        told += counts(shown)

    assert told == [5, 5, 6, 8]


def test_rebalances_are_counted_once_though_workers_hear_of_them_one_after_the_other() -> None:
    shown = new_board()
    told = []
    for worker, generation in (("ada", -1), ("ada", 7), ("bob", 8), ("ada", 7), ("ada", 8), ("bob", 10)):
        shown.put(owned(0, 0, worker, generation=generation))
        told.append(counts(shown, "engagement_rebalances_total"))

    assert told == [[], [7], [8], [8], [8], [10]]


def test_a_group_that_kafka_has_forgotten_counts_on() -> None:
    now_ms = [AT_MS]
    shown = Board(settings(), now_ms=lambda: now_ms[0])
    shown.put(owned(0, 0, generation=7))
    now_ms[0] += 15_001
    shown.put(owned(0, 0, generation=1))
    assert counts(shown, "engagement_rebalances_total") == [7]

    shown.put(owned(0, 0, generation=2))
    assert counts(shown, "engagement_rebalances_total") == [8]


# -- frequent takeovers ------------------------------------------------------------------------------------------------


@dataclass
class Group:
    """Workers that share two partitions, and the server that hears of them.

    Each rebalance takes both partitions over. Members report each second what they own, or that they own nothing.
    """

    members: list[tuple[str, int]]  # name, start of the process
    now_ms: int = AT_MS
    epoch: int = 100
    named_at_ms: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shown = Board(settings(), now_ms=lambda: self.now_ms)
        self.owners = self._dealt()

    def _dealt(self) -> list[tuple[str, int]]:
        return [self.members[partition % len(self.members)] for partition in range(2)] if self.members else []

    def rebalance(self) -> None:
        self.epoch += 1
        self.owners = self._dealt()

    def leave(self, name: str, *, killed: bool = False) -> None:
        """A worker leaves, with a goodbye unless it was killed, and the others take over."""
        for partition, (owner, started_ms) in enumerate(self.owners):
            if owner == name and not killed:
                self.shown.put(replace(left(partition, self.epoch, name, started_ms), reported_ms=self.now_ms))
        self.members = [member for member in self.members if member[0] != name]
        self.rebalance()

    def join(self, name: str) -> None:
        self.members = sorted([*self.members, (name, self.now_ms)])
        self.rebalance()

    def last(self, seconds: float) -> None:
        """Let time pass."""
        end_ms = self.now_ms + int(seconds * 1_000)
        while self.now_ms < end_ms:
            for partition, (worker, started_ms) in enumerate(self.owners):
                self.shown.put(owned(partition, self.epoch, worker, started_ms=started_ms, reported_ms=self.now_ms))
                if self.shown.frequent_takeovers():
                    self.named_at_ms.append(self.now_ms)
            for worker, started_ms in set(self.members) - set(self.owners):
                self.shown.put(Idle(worker, self.now_ms, started_ms))
            self.now_ms = min(end_ms, self.now_ms + 1_000)

    def rebalance_for_ever(self, *, rounds: int, every_ms: int = HEARTBEAT_MS) -> Iterator[None]:
        for _ in range(rounds):
            self.rebalance()
            self.last(every_ms / 1_000)
            yield


def of(count: int) -> Group:
    group = Group([(f"worker-{number}", 0) for number in range(count)])
    group.last(60)
    return group


def test_a_group_that_rebalances_without_end_is_named_within_half_a_minute_and_no_more_when_it_has_ended() -> None:
    group = of(2)
    began_ms = group.now_ms
    for _ in group.rebalance_for_ever(rounds=40):
        if group.now_ms - began_ms > 30_000:
            (reason,) = group.shown.unready()
            assert reason.startswith("partitions 0, 1 change hands again and again: taken over 1")
            assert reason.endswith(" times in the last 30 s, though no worker came or left; last by worker-0, worker-1")

    assert group.named_at_ms[0] - began_ms <= 30_000
    group.last(30)
    assert group.shown.unready() == []
    assert group.named_at_ms[-1] < group.now_ms - 5_000


def test_it_is_named_too_when_it_began_with_a_worker_that_was_killed_and_started_again_under_its_name() -> None:
    group = of(2)
    group.members = [("worker-0", 0), ("worker-1", group.now_ms)]
    began_ms = group.now_ms
    for _ in group.rebalance_for_ever(rounds=20):
        pass

    assert group.named_at_ms[0] - began_ms <= 30_000


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("gone_seconds", [0, 10])
@pytest.mark.parametrize("pause_seconds", [2, 20])
@pytest.mark.parametrize("workers", [2, 3, 8])
def test_a_rolling_restart_is_never_named(
    workers: int, pause_seconds: float, gone_seconds: float, *, killed: bool
) -> None:
    """Processes come back under their names, as in containers. Of eight workers six own nothing."""
    group = of(workers)
    for number in range(workers):
        group.leave(f"worker-{number}", killed=killed)
        group.last(gone_seconds)
        group.join(f"worker-{number}")
        group.rebalance()  # a leader that has learnt of the new one at times asks for another round
        group.last(pause_seconds)

    assert group.named_at_ms == []
    assert counts(group.shown) == [100 + 3 * workers] * 2


def test_a_group_that_shrinks_or_grows_at_once_is_not_named() -> None:
    group = Group([(f"worker-{number}", 0) for number in range(2)])
    group.last(60)
    for number in range(2, 8):
        group.join(f"a-{number}")  # which becomes the first owner
        group.last(2)
    for number in range(2, 8):
        group.leave(f"a-{number}")
        group.last(2)

    assert group.named_at_ms == []


def test_a_worker_that_starts_again_and_again_is_left_to_the_alert() -> None:
    group = of(2)
    for _ in range(30):
        group.leave("worker-0")
        group.last(2)
        group.join("worker-0")
        group.last(2)

    assert group.named_at_ms == []
    assert counts(group.shown) == [160, 160]


def test_a_server_that_starts_and_reads_of_a_rollout_names_nobody() -> None:
    """It reads the last forty reports of each partition at once, those of one partition after those of another."""
    shown = Board(settings(), now_ms=lambda: AT_MS)
    for partition in range(2):
        for back in range(40, 0, -1):
            told = owned(partition, 140 - back // 4, f"worker-{back // 10}", reported_ms=AT_MS - 1_000 * back)
            shown.put(told)

    assert shown.unready() == []


@pytest.mark.parametrize("times", [5, 6])
def test_six_times_are_again_and_again(times: int) -> None:
    now_ms = [AT_MS]
    shown = Board(settings(), now_ms=lambda: now_ms[0])
    shown.put(owned(0, 1))
    shown.put(owned(1, 1))
    now_ms[0] += 1
    shown.put(owned(0, 1 + times, reported_ms=now_ms[0]))

    told = f"taken over {times} times in the last 30 s, though no worker came or left; last by ada"
    named = [f"partition 0 changes hands again and again: {told}"]
    assert shown.unready() == (named if times == 6 else [])
    assert shown.partitions()[0].reason == (f"changes hands again and again: {told}" if times == 6 else "")
    assert shown.partitions()[1].reason == ""


def test_who_stands_by_and_is_new_is_a_worker_that_came() -> None:
    now_ms = [AT_MS]
    shown = Board(settings(), now_ms=lambda: now_ms[0])
    for partition in range(2):
        shown.put(owned(partition, 1))
    now_ms[0] += 1
    shown.put(owned(0, 7, reported_ms=now_ms[0]))
    shown.put(Standby(partition=0, worker="bob", reported_ms=now_ms[0], lag=0, started_ms=9))

    assert shown.unready() == []
