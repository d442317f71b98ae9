"""One partition of the stream: its users, its totals, and how far it has read.

Inputs are partitioned by user, so a partition knows all of its users and no other partition knows any of them: totals
of partitions simply add. Events change rows at once; totals follow when they are asked for (`settle`), so a user who is
busy between two snapshots is booked once.

Between checkpoints a partition changes in memory only. `collect_delta` gives what has changed, with the offsets up to
which the input has been applied: written as one, a partition that is restored from it continues as if nothing had
happened.

The state is a set of items: `user/<user>` a row, `named/<name>` whom a name means, `ring/<family>/...` and
`days/<family>/...` pages of totals, `progress` the rest.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import msgspec

from stream.core.families.family import Family, Horizon
from stream.core.families.registry import families, stored_by
from stream.core.messages import Reader, Record
from stream.core.partition.applying import Applying
from stream.core.partition.names import NAMED, Names
from stream.core.partition.progress import PROGRESS, Progress, decode_progress
from stream.core.partition.reading import Batch, Misplaced, Reading, Refused
from stream.core.partition.rows import BYTES_OF_A_CHANGE, USER, Delta, Rows, Stored
from stream.core.rules import Rules
from stream.core.snapshot import Snapshot
from stream.core.time import DAY_MS, MINUTE_MS

# What grows with users and responses, and is looked over from time to time.
SWEPT = (USER.encode(), NAMED.encode())

# So often a full row is looked at while what it held is let go: each hour with a lateness of three days.
_LOOKS_AT_A_FULL_ROW = 72


def kept_ms(rules: Rules) -> int:
    """For how long a row is kept at most after its user was last heard of, by the watermark: late events find it."""
    return _known_ms(families(rules)) + (rules.allowed_lateness_ms or 0)


def _known_ms(of: Iterable[Family[Any]]) -> int:
    return max(family.known_ms() for family in of)


class Partition:
    """The state of one partition. Rows that are not in memory are given to it: it asks for them by key."""

    def __init__(self, rules: Rules, *, max_message_bytes: int = 1_000_000, max_user_bytes: int = 256 * 1024) -> None:
        self.rules = rules
        self.progress = Progress()
        self.families = families(rules)
        self._rows = Rows(self.families, max_bytes=max_user_bytes)
        self._names = Names(known_ms=_known_ms(self.families))
        self._reading = Reading(
            self._rows.users, self._rows.full, max_message_bytes=max_message_bytes, max_user_bytes=max_user_bytes
        )
        self._applying = Applying(rules, self.families, self._rows, self._names)

    # -- events in: read, fetch the rows that are asked for, apply -------------------------------------------------

    def read(
        self,
        source: str,
        records: Iterable[Record],
        reader: Reader,
        *,
        not_after_ms: int,
        belongs: Callable[[str], bool] | None = None,
    ) -> Batch:
        """Read records of an input and sort out what can't be applied. Changes nothing.

        Events later than `not_after_ms` are refused as `future`. `belongs` tells whether a user belongs to this
        partition.
        """
        allowed_ms = self.rules.allowed_lateness_ms
        late_before_ms = -1 if allowed_ms is None else self.progress.watermark_ms - allowed_ms
        batch = Batch(source=source, not_after_ms=not_after_ms, late_before_ms=late_before_ms)
        self._reading.read(batch, records, reader, belongs)
        return batch

    def wants(self, batch: Batch, stored: Stored) -> list[bytes]:
        """Return the keys that a batch still needs. Fetch their values and call again, until the list is empty."""
        return self._applying.wants(batch, stored)

    def apply(
        self,
        batch: Batch,
        stored: Stored,
        *,
        belongs: Callable[[str], bool] | None = None,
        moves_clock: bool = False,
        waits_for: Collection[str] = (),
    ) -> tuple[list[Refused], list[Misplaced]]:
        """Apply what was read, in order of arrival, with the values of all keys it `wants`.

        `moves_clock` says that this input is behind, so that watermark and clock follow its events: as far as the
        inputs have come that the watermark also `waits_for`, and the clock not to what is still to come.
        Returns what could not be applied: each such event is counted, and the caller sends it on.
        """
        self._applying.apply(
            self.progress, batch, stored, belongs=belongs, moves_clock=moves_clock, waits_for=waits_for
        )
        return batch.refused, batch.misplaced

    # -- time ------------------------------------------------------------------------------------------------------

    def tick(self, clock_ms: int, *, behind: Collection[str], active: Collection[str] = ()) -> None:
        """Move watermark and clock on.

        `behind` are the inputs that still have records to read, `active` those that brought some a moment ago: more may
        be on their way. The watermark is the newest event time of the least advanced of both, so reading one input
        faster than another makes nobody late. A partition that is behind shows the time of its watermark, so a backlog
        is replayed as if it were live, but none later than `clock_ms` (a client's clock may run ahead); one that has
        caught up shows `clock_ms`. Neither ever goes back.
        """
        self.progress.tick(clock_ms, behind=behind, active=active)

    def last_closed_day(self) -> int:
        """The newest closed day at the partition's clock."""
        return self.rules.days.last_closed(self.progress.now_ms, close_after_ms=self.rules.close_after_ms)

    # -- totals out ------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Bring the totals up to the rows and the clock."""
        now = self.progress.now_ms // MINUTE_MS
        for family in self.families:
            family.settle(now)

    def snapshot(self, *, closed_days: int | None = None, all_values: bool = False) -> Snapshot:
        """What this partition adds to every number now, with the last `closed_days` closed days.

        With `all_values` every value of a segment is told of: what is sent to others leaves rare ones out.
        """
        self.settle()
        progress, last_closed = self.progress, self.last_closed_day()
        return Snapshot(
            now_ms=progress.now_ms,
            first_ms=progress.first_ms,
            families={
                family.name: family.sums(last_closed_day=last_closed, days=closed_days, all_values=all_values)
                for family in self.families
            },
            # A partition without any event yet keeps no day of the others open.
            last_closed_day=last_closed if progress.now_ms >= 0 else None,
            outcomes={source: dict(counts) for source, counts in progress.outcomes.items()},
            reasons={source: dict(counts) for source, counts in progress.reasons.items()},
            newest_ms=dict(progress.newest_ms),
            rows={"user": progress.users, "page": sum(family.size() for family in self.families)},
        )

    # -- checkpoints -----------------------------------------------------------------------------------------------

    @property
    def unsaved_rows(self) -> int:
        """How many rows the next delta will hold, pages not counted."""
        return len(self._rows.unsaved)

    @property
    def unsaved_bytes(self) -> int:
        """About how large the next delta will be, pages not counted."""
        return self._rows.unsaved_bytes + BYTES_OF_A_CHANGE * len(self._names)

    def collect_delta(self) -> Delta:
        """Everything that has changed since the last call, as keys and values; None removes a key."""
        self.settle()
        progress, allowed_ms = self.progress, self.rules.allowed_lateness_ms
        watermark_ms = progress.watermark_ms
        horizon = None if allowed_ms is None else self._horizon()
        self._rows.look_at_full(watermark_ms)
        look_again_ms = watermark_ms + (allowed_ms or 0) // _LOOKS_AT_A_FULL_ROW
        delta = [*self._rows.collect(horizon, look_again_ms=look_again_ms), *self._names.collect()]
        for family in self.families:
            if allowed_ms is not None:
                family.forget_days(self.last_closed_day())
            delta.extend(family.pages())
            if family.ledger is not None and family.ledger.since is not None:
                progress.days_since[family.name] = family.ledger.since
        progress.rules = stored_by(self.rules)
        delta.append((PROGRESS, msgspec.msgpack.encode(progress)))
        return delta

    def _horizon(self) -> Horizon:
        progress = self.progress
        return Horizon(progress.watermark_ms - (self.rules.allowed_lateness_ms or 0), progress.now_ms // MINUTE_MS)

    def forget_users(self, *, keep: int) -> None:
        """Drop rows from memory, the longest unused first, until `keep` are left. Call it when a delta is stored."""
        self._names.forget()
        self._rows.forget(keep=keep)

    def sweep(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Look at stored items whether they are still needed; the next delta removes those that are not."""
        if self.rules.allowed_lateness_ms is None:
            return
        horizon = self._horizon()
        # A day more: of those who are remembered only days are known.
        forgotten_before_ms = horizon.before_ms - (self.rules.memory_days + 2) * DAY_MS
        users = [item for item in items if item[0].startswith(USER.encode())]
        names = [item for item in items if item[0].startswith(NAMED.encode())]
        self.progress.users -= self._rows.sweep(users, horizon, forgotten_before_ms=forgotten_before_ms)
        self._names.sweep(names, horizon)

    def restore(self, pages: Callable[[bytes], Iterable[tuple[bytes, bytes]]]) -> None:
        """Take over what checkpoints have written; `pages` gives the stored items whose key begins with a prefix.

        Raises StateRefused.
        """
        for _, value in pages(PROGRESS):
            self.progress = decode_progress(value, stored_by(self.rules))
        now = self.progress.now_ms // MINUTE_MS
        for family in self.families:
            family.restore(pages, now=now, since=self.progress.days_since.get(family.name))
