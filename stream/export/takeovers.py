"""Counts takeovers of partitions, and decides which of two owners of a partition is the later one.

Each takeover of a partition begins a higher epoch, which is stored with its state. Each rebalance of the group begins a
higher generation, which Kafka stores. So both are counted exactly, even if no report arrived in between. A worker may
still report a partition that it has lost, after it was frozen or Kafka could not be reached. Such a report has a lower
epoch, and must not replace the numbers of the new owner.

At a rebalance every worker gives up all its partitions and takes them over again. In a rollout each rebalance has a
reason: a worker joins or leaves. A group that rebalances for ever gives the same partitions to the same workers, as
often as these send heartbeats: every quarter of a session timeout. So the takeovers of a partition are **frequent** if
it was taken over six times within three session timeouts (30 s) and since a worker last joined or left. That is half as
often as in such a group, and twice as often as after a worker joins, leaves or dies, when one rebalance follows, or
sometimes two or three. Workers that start again and again do not count as frequent takeovers, however many rebalances
they cause. For these there is the alert `EngagementRebalancing`, which looks at a longer time and needs no reason.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stream.telemetry import AnyReport, ClockReading, Idle, Report, Standby, Unowned

_FREQUENT_TAKEOVERS = 6
_WINDOW_SESSION_TIMEOUTS = 3

# A worker that has not reported for so long counts as new when it reports again.
_REMEMBERED_MS = 600_000


class FrequentTakeovers(NamedTuple):
    """A partition with frequent takeovers."""

    partition: int
    times: int
    worker: str  # the one that took it over last


@dataclass(slots=True)
class _RisingCount:
    """A number that only rises, and that several workers report, some of them late.

    It may begin again from a low value if Kafka, or the store that has it, was emptied. Then no worker reports the high
    value any more.
    """

    highest: int = 0
    heard_ms: int = 0  # when the highest value was last reported
    total: int = 0  # the sum of all rises, which never falls

    def take(self, reported: int, *, now_ms: int, trusted_ms: float) -> int | None:
        """Take over a reported value. Returns by how much it rises.

        Returns None for a late report, which means that a higher value was reported in the last `trusted_ms`.
        """
        if reported < self.highest and now_ms - self.heard_ms <= trusted_ms:
            return None
        risen = max(0, reported - self.highest)
        self.highest, self.heard_ms = reported, now_ms
        self.total += risen
        return risen


@dataclass(slots=True)
class _Owner:
    """The newest owner of a partition that has reported its epoch."""

    worker: str = ""
    counted_since_ms: int = 0
    epoch: _RisingCount = field(default_factory=_RisingCount)
    latest: deque[tuple[int, int]] = field(default_factory=deque)  # times of reports, each with its new takeovers


class Takeovers:
    """Counts takeovers by the reports of workers.

    Times are those at which Kafka has appended reports. If Kafka does not tell them, they are of the server's clock, or
    of a worker's that is slower.
    """

    def __init__(self, *, session_timeout_seconds: float, stale_seconds: float) -> None:
        """A lower epoch is accepted again if the owner with the highest has not reported for `stale_seconds`."""
        self.seconds = _WINDOW_SESSION_TIMEOUTS * session_timeout_seconds
        self._trusted_ms = stale_seconds * 1_000
        self._owners: dict[int, _Owner] = {}  # by partition
        self._generation: _RisingCount | None = None  # None until a worker has reported it
        self._last_heard_ms: dict[tuple[str, int], int] = {}  # by worker and start of its process
        self._changed_ms = 0  # when a worker last joined or left

    def take(self, report: AnyReport, *, now_ms: int) -> bool:
        """Take over a report. Returns False if it is of an owner that has lost the partition to a later one.

        A report without an epoch is accepted. It is of a worker of an earlier version, or of one that is about to take
        the partition over.
        """
        self._note_process(report, now_ms)
        if isinstance(report, Report) and report.generation >= 0:
            self._generation = self._generation or _RisingCount()
            self._generation.take(report.generation, now_ms=now_ms, trusted_ms=self._trusted_ms)
        if isinstance(report, (Standby, Idle, ClockReading)) or not report.epoch:
            return True
        return self._take_epoch(report, now_ms)

    def _take_epoch(self, report: Report | Unowned, now_ms: int) -> bool:
        is_first = report.partition not in self._owners
        owner = self._owners.setdefault(report.partition, _Owner())
        was_reset = isinstance(report, Report) and report.counted_since_ms != owner.counted_since_ms
        risen = owner.epoch.take(report.epoch, now_ms=now_ms, trusted_ms=-1 if was_reset else self._trusted_ms)
        if risen is None:
            return False
        if isinstance(report, Report):
            owner.counted_since_ms = report.counted_since_ms
        if risen:
            owner.worker = report.worker
            if not is_first:
                owner.latest.append((min(report.reported_ms, now_ms), risen))
                self._forget_old(owner, now_ms)
        return True

    def _forget_old(self, owner: _Owner, now_ms: int) -> None:
        while owner.latest and owner.latest[0][0] <= now_ms - self.seconds * 1_000:
            owner.latest.popleft()

    def _note_process(self, report: AnyReport, now_ms: int) -> None:
        """Notice whether a worker joins or leaves."""
        who = report.worker, report.started_ms
        leaves = isinstance(report, Unowned) and report.epoch > 0
        if leaves or who not in self._last_heard_ms:
            self._changed_ms = now_ms
            self._last_heard_ms = {
                one: at_ms for one, at_ms in self._last_heard_ms.items() if now_ms - at_ms <= _REMEMBERED_MS
            }
        self._last_heard_ms[who] = now_ms

    @property
    def rebalances(self) -> int | None:
        """How often the group was rebalanced since Kafka has known it; None until a worker has reported it."""
        return None if self._generation is None else self._generation.total

    def counts(self) -> Iterator[tuple[int, int]]:
        """By partition: how often it was taken over since its state exists. It never falls while the server runs."""
        return ((partition, owner.epoch.total) for partition, owner in sorted(self._owners.items()))

    def epoch_of(self, partition: int) -> int | None:
        """The epoch of the owner that is believed; None before any has told it."""
        owner = self._owners.get(partition)
        return None if owner is None else owner.epoch.highest

    def frequent_takeovers(self, *, now_ms: int) -> list[FrequentTakeovers]:
        """The partitions with frequent takeovers."""
        since_ms = max(now_ms - self.seconds * 1_000, self._changed_ms)
        found = (
            FrequentTakeovers(partition, sum(times for at_ms, times in owner.latest if at_ms > since_ms), owner.worker)
            for partition, owner in sorted(self._owners.items())
        )
        return [frequent for frequent in found if frequent.times >= _FREQUENT_TAKEOVERS]

    def describe(self, found: Sequence[FrequentTakeovers]) -> str:
        """In words: how often some partitions were taken over, and by whom."""
        times = sorted({frequent.times for frequent in found})
        count = f"{times[0]}" if len(times) == 1 else f"{times[0]} to {times[-1]}"
        workers = ", ".join(sorted({frequent.worker for frequent in found}))
        return (
            f"taken over {count} times in the last {self.seconds:g} s, though no worker came or left; last by {workers}"
        )
