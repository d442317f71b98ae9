"""How often partitions change hands, and which of two owners of a partition is the later one.

Each takeover of a partition begins a higher epoch, which is kept with its state, and each rebalance of the group a
higher generation, which Kafka keeps. So both are counted exactly, even those that no report came from. And what a
worker still tells of a partition that it has lost, after Kafka was away or the worker was frozen, is known by its lower
epoch: it must not replace the numbers of the new owner.

At a rebalance every worker gives all its partitions up and takes them over again. In a rollout each rebalance has a
reason: a worker comes or goes. A group that rebalances without end gives the same partitions to the same workers, as
often as these ask the group for news: every quarter of a session timeout. So a partition **changes hands again and
again** when it was taken over six times within three session timeouts (30 s) and since a worker last came or left. That
is half as often as in such a group, and twice as often as after a worker that comes, leaves or dies, when one rebalance
follows, at times two or three. Workers that start again and again are not meant here, however often they take others
along: the alert `EngagementRebalancing` watches a longer time and asks for no reason.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stream.telemetry import AnyReport, Idle, Report, Standby, Unowned

_AGAIN_AND_AGAIN = 6
_SESSION_TIMEOUTS = 3

# Who was not heard of for so long is new when it is heard of again.
_REMEMBERED_MS = 600_000


class Often(NamedTuple):
    """A partition that changes hands again and again."""

    partition: int
    times: int
    worker: str  # that has taken it over last


@dataclass(slots=True)
class _Rising:
    """A number that rises, told by several workers, some of them late.

    It is told anew from a low one on when Kafka, or whoever else kept it, has lost it: then nobody tells the high one
    any more.
    """

    highest: int = 0
    heard_ms: int = 0  # of the highest
    total: int = 0  # all its rises; never falls

    def take(self, told: int, *, now_ms: int, believed_ms: float) -> int | None:
        """By how much it rises; None for one that comes late: a higher one was heard of in the last `believed_ms`."""
        if told < self.highest and now_ms - self.heard_ms <= believed_ms:
            return None
        risen = max(0, told - self.highest)
        self.highest, self.heard_ms = told, now_ms
        self.total += risen
        return risen


@dataclass(slots=True)
class _Owner:
    """The newest owner of a partition that has told its epoch."""

    worker: str = ""
    counted_since_ms: int = 0
    epoch: _Rising = field(default_factory=_Rising)
    latest: deque[tuple[int, int]] = field(default_factory=deque)  # when it was taken over, and how often till then


class Takeovers:
    """Hears all that workers tell. Times are of the server's clock, or of a worker's where that is behind."""

    def __init__(self, *, session_timeout_seconds: float, stale_seconds: float) -> None:
        """Owners of a lower epoch are believed again when the last one was not heard of for `stale_seconds`."""
        self.seconds = _SESSION_TIMEOUTS * session_timeout_seconds
        self._believed_ms = stale_seconds * 1_000
        self._owners: dict[int, _Owner] = {}  # by partition
        self._generation: _Rising | None = None  # None until somebody tells it
        self._heard_ms: dict[tuple[str, int], int] = {}  # by worker and start of its process
        self._changed_ms = 0  # when a worker last came or left

    def take(self, told: AnyReport, *, now_ms: int) -> bool:
        """Take in what a worker tells; returns False for what an owner tells after the partition has had a later one.

        Who tells no epoch is believed: a worker of an earlier version, or one that is about to take the partition over.
        """
        self._greet(told, now_ms)
        if isinstance(told, Report) and told.generation >= 0:
            self._generation = self._generation or _Rising()
            self._generation.take(told.generation, now_ms=now_ms, believed_ms=self._believed_ms)
        if isinstance(told, (Standby, Idle)) or not told.epoch:
            return True
        return self._take_epoch(told, now_ms)

    def _take_epoch(self, told: Report | Unowned, now_ms: int) -> bool:
        is_first = told.partition not in self._owners
        owner = self._owners.setdefault(told.partition, _Owner())
        was_reset = isinstance(told, Report) and told.counted_since_ms != owner.counted_since_ms
        risen = owner.epoch.take(told.epoch, now_ms=now_ms, believed_ms=-1 if was_reset else self._believed_ms)
        if risen is None:
            return False
        if isinstance(told, Report):
            owner.counted_since_ms = told.counted_since_ms
        if risen:
            owner.worker = told.worker
            if not is_first:
                owner.latest.append((min(told.reported_ms, now_ms), risen))
                self._forget_old(owner, now_ms)
        return True

    def _forget_old(self, owner: _Owner, now_ms: int) -> None:
        while owner.latest and owner.latest[0][0] <= now_ms - self.seconds * 1_000:
            owner.latest.popleft()

    def _greet(self, told: AnyReport, now_ms: int) -> None:
        """Notice who comes and who leaves."""
        who = told.worker, told.started_ms
        leaves = isinstance(told, Unowned) and told.epoch > 0
        if leaves or who not in self._heard_ms:
            self._changed_ms = now_ms
            self._heard_ms = {one: at_ms for one, at_ms in self._heard_ms.items() if now_ms - at_ms <= _REMEMBERED_MS}
        self._heard_ms[who] = now_ms

    @property
    def rebalances(self) -> int | None:
        """How often the group was rebalanced, since Kafka knows it; None while nobody has told."""
        return None if self._generation is None else self._generation.total

    def counts(self) -> Iterator[tuple[int, int]]:
        """By partition: how often it was taken over, since its state is kept. Never falls while the server runs."""
        return ((partition, owner.epoch.total) for partition, owner in sorted(self._owners.items()))

    def epoch_of(self, partition: int) -> int | None:
        """The epoch of the owner that is believed; None before any has told it."""
        owner = self._owners.get(partition)
        return None if owner is None else owner.epoch.highest

    def again_and_again(self, *, now_ms: int) -> list[Often]:
        """The partitions that change hands again and again."""
        since_ms = max(now_ms - self.seconds * 1_000, self._changed_ms)
        found = (
            Often(partition, sum(times for at_ms, times in owner.latest if at_ms > since_ms), owner.worker)
            for partition, owner in sorted(self._owners.items())
        )
        return [often for often in found if often.times >= _AGAIN_AND_AGAIN]

    def describe(self, found: Sequence[Often]) -> str:
        """In words: how often some partitions were taken over, and by whom."""
        times = sorted({often.times for often in found})
        told = f"{times[0]}" if len(times) == 1 else f"{times[0]} to {times[-1]}"
        workers = ", ".join(sorted({often.worker for often in found}))
        return (
            f"taken over {told} times in the last {self.seconds:g} s, though no worker came or left; last by {workers}"
        )
