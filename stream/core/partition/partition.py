"""One partition of the stream: its users, its totals, and how far it has read.

Inputs are partitioned by user, so a partition knows all of its users and no other partition knows any of them: totals
of partitions simply add. Events change rows at once; totals follow when they are asked for (`settle`), so a user who is
busy between two snapshots is booked once.

Between checkpoints a partition changes in memory only. `collect_delta` gives what has changed, with the offsets up to
which the input has been applied: written as one, a partition that is restored from it continues as if nothing had
happened.

The state is a set of items: `user/<user>` a row, `named/<name>` whom a name means, `ring/<family>/...` and
`days/<family>/...` pages of totals, `closed/<day>` what a closed day says, `progress` the rest.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import msgspec
from msgspec import structs

from stream.core.days import OfWindows
from stream.core.families.family import Family, Horizon
from stream.core.families.registry import families, stored_by
from stream.core.messages import Reader, Record
from stream.core.partition.applying import Applying
from stream.core.partition.closing import CLOSED, Closing, decode_closed
from stream.core.partition.names import NAMED, Names
from stream.core.partition.progress import PROGRESS, Progress, decode_progress
from stream.core.partition.reading import Batch, Misplaced, Reading, Refused
from stream.core.partition.rows import BYTES_OF_A_CHANGE, USER, Delta, Rows, Stored
from stream.core.rules import Rules
from stream.core.segments import Apart, with_most_used
from stream.core.snapshot import ClosedDay, Snapshot, Sums
from stream.core.time import DAY_MS, MINUTE_MS

# What grows with users and responses, and is looked over from time to time.
SWEPT = (USER.encode(), NAMED.encode())

# Of so many closed days a snapshot tells.
_DAYS_TOLD = 3

# Closed days that are looked at together: some ten milliseconds, or a batch would wait for them.
_DAYS_AT_ONCE = 4

# So often a full row is looked at while what it held is let go: each hour with a lateness of three days.
_LOOKS_AT_A_FULL_ROW = 72


def kept_ms(rules: Rules) -> int:
    """For how long a row is kept after its user was last heard of, by the watermark."""
    # Windows of hours end with the hour, and sessions close after their last step: so a day more.
    reach_ms = max(family.reach_ms() for family in families(rules))
    return max(rules.retention_ms, reach_ms) + (rules.allowed_lateness_ms or 0) + DAY_MS


class Partition:
    """The state of one partition. Rows that are not in memory are given to it: it asks for them by key."""

    def __init__(self, rules: Rules, *, max_message_bytes: int = 1_000_000, max_user_bytes: int = 256 * 1024) -> None:
        self.rules = rules
        self.progress = Progress()
        self.families = families(rules)
        self._apart = Apart()
        for family in self.families:
            family.share(self._apart)
        self._apart_looked_at = -1  # the day on which it was looked at last which of them are still booked
        self._rows = Rows(self.families, max_bytes=max_user_bytes)
        self._names = Names()
        self._reading = Reading(
            self._rows.users, self._rows.full, max_message_bytes=max_message_bytes, max_user_bytes=max_user_bytes
        )
        self._applying = Applying(rules, self.families, self._rows, self._names)
        self._closing = Closing(rules, self.families)
        self._kept_ms = kept_ms(rules)

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
        caught up shows `clock_ms`. Neither ever goes back. One that has caught up and reads nothing for `idle_after`
        takes the clock for its watermark: a quiet partition holds no day open.
        """
        self.progress.tick(clock_ms, behind=behind, active=active, idle_after_ms=self.rules.idle_after_ms)

    def last_closed_day(self) -> int:
        """The newest closed day at the partition's clock."""
        return self.rules.days.last_closed(self.progress.now_ms, close_after_ms=self.rules.close_after_ms)

    # -- totals out ------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Bring the totals up to the rows and the clock."""
        now = self.progress.now_ms // MINUTE_MS
        for family in self.families:
            family.settle(now)
        self._closing.note(self.progress)

    def snapshot(self, *, closed_days: int = _DAYS_TOLD, all_values: bool = False) -> Snapshot:
        """What this partition adds to every number now, with the last `closed_days` closed days.

        With `all_values` every value of a segment is told of: what is sent to others leaves rare ones out.
        """
        live = self.live_snapshot(all_values=all_values)
        # A partition without any event yet keeps no day of the others open.
        last = self.last_closed_day() if self.progress.now_ms >= 0 else None
        families = {
            family.name: structs.replace(
                live.family(family.name), closed=self._closed_days(family, self.last_closed_day(), closed_days)
            )
            for family in self.families
        }
        return structs.replace(live, families=families, last_closed_day=last)

    def live_snapshot(self, *, all_values: bool = False) -> Snapshot:
        """The same without closed days, which are told apart (`close_days`)."""
        self.settle()
        progress = self.progress
        families = {family.name: family.sums() for family in self.families}
        return Snapshot(
            now_ms=progress.now_ms,
            first_ms=progress.first_ms,
            families=families if all_values else _with_most_used_values(families),
            last_closed_day=progress.closed_through,
            final_through=self._final_through(),
            corrections=progress.corrections,
            outcomes={source: dict(counts) for source, counts in progress.outcomes.items()},
            reasons={source: dict(counts) for source, counts in progress.reasons.items()},
            newest_ms=dict(progress.newest_ms),
            values_beyond=progress.values_beyond + self._apart.beyond,
            rows={
                "user": progress.users,
                "page": sum(family.size() for family in self.families),
                "value": len(self._apart),
            },
        )

    def _closed_days(self, family: Family[Any], last: int, count: int) -> dict[int, OfWindows]:
        """The last closed days of a family."""
        first, first_ms = self._closing.first_day(self.progress), self.progress.first_ms
        if first is None or first_ms is None:
            return {}
        first_known = self.rules.days.day_of(first_ms)
        return family.closed_days(max(first, last - count + 1), last, first_known=first_known)

    # -- closed days -------------------------------------------------------------------------------------------------

    def _late_before_ms(self) -> int:
        """No event before this moment is applied any more."""
        return self.progress.watermark_ms - (self.rules.allowed_lateness_ms or 0)

    def _final_through(self) -> int | None:
        """The last closed day that nothing can change any more; None before any event."""
        through, since = self.progress.closed_through, self.progress.closed_since
        if through is None or since is None or self.rules.allowed_lateness_ms is None:
            return None
        return min(through, max(since, self.rules.days.day_of(max(0, self._late_before_ms()))) - 1)

    def close_days(self, *, count: int = _DAYS_AT_ONCE) -> list[ClosedDay]:
        """Look at some of the days that have closed, or at one that late events have changed; returns what they say.

        Call it when the totals are settled, from time to time.
        """
        late_before_ms, last = self._late_before_ms(), self.last_closed_day()
        if self._apart.is_full and self._apart_looked_at != last:
            self._apart_looked_at = last
            self._keep_apart_what_is_booked()
        return self._closing.close(self.progress, last, late_before_ms=late_before_ms, count=count)

    def _keep_apart_what_is_booked(self) -> None:
        """Make room for values that are new: once a day, for all that is booked is looked at."""
        self._apart.keep(field for family in self.families for field in family.value_fields())

    def over_day(self, closed_day: int) -> int | None:
        """The day that is kept no more when another has closed; None where all are."""
        return self._closing.over(self.progress, closed_day)

    def tell_days_again(self) -> None:
        """Have `close_days` tell again what can still change."""
        self._closing.tell_again(self.progress, self._late_before_ms())

    def unchanging(self, stored: Iterable[tuple[bytes, bytes]]) -> Iterator[ClosedDay]:
        """Of the stored items of closed days those that nothing changes any more, as they were told."""
        first = self.rules.days.day_of(max(0, self._late_before_ms()))
        for key, value in stored:
            if int(key.removeprefix(CLOSED.encode())) < first:
                yield decode_closed(value)

    # -- checkpoints -----------------------------------------------------------------------------------------------

    @property
    def unsaved_rows(self) -> int:
        """How many rows the next delta will hold, pages not counted."""
        return len(self._rows.unsaved)

    @property
    def unsaved_days(self) -> int:
        """How many closed days the next delta will hold."""
        return len(self._closing)

    @property
    def unsaved_bytes(self) -> int:
        """About how large the next delta will be, pages not counted."""
        return self._rows.unsaved_bytes + BYTES_OF_A_CHANGE * len(self._names)

    def collect_delta(self) -> Delta:
        """Everything that has changed since the last call, as keys and values; None removes a key."""
        self.settle()
        progress, allowed_ms = self.progress, self.rules.allowed_lateness_ms
        watermark_ms = progress.watermark_ms
        horizon = None
        if allowed_ms is not None:
            horizon = Horizon(watermark_ms - allowed_ms, watermark_ms, progress.now_ms // MINUTE_MS)
        self._rows.look_at_full(watermark_ms)
        look_again_ms = watermark_ms + (allowed_ms or 0) // _LOOKS_AT_A_FULL_ROW
        delta = [*self._rows.collect(horizon, look_again_ms=look_again_ms), *self._names.collect()]
        delta.extend(self._closing.collect())
        for family in self.families:
            if allowed_ms is not None:
                self._forget_days(family)
            delta.extend(family.pages())
            for book in family.books():
                if book.since is not None:
                    progress.days_since[book.name] = book.since
        progress.rules = stored_by(self.rules)
        progress.values_beyond += self._apart.beyond
        self._apart.beyond = 0
        delta.append((PROGRESS, msgspec.msgpack.encode(progress)))
        return delta

    def _forget_days(self, family: Family[Any]) -> None:
        """Let go of the days that no closed day reaches which has still to be looked at, or can still change."""
        progress = self.progress
        if progress.closed_through is None:
            return
        oldest = min(self.rules.days.day_of(max(0, self._late_before_ms())), progress.closed_through)
        for stale in (progress.stale_from, progress.looking_at):
            if stale is not None:
                oldest = min(oldest, stale)
        family.forget_closed(oldest - _DAYS_TOLD)
        for book in family.books():
            book.forget_before(oldest - _DAYS_TOLD - family.closed_reach())

    def forget_users(self, *, keep: int) -> None:
        """Drop rows from memory, the longest unused first, until `keep` are left. Call it when a delta is stored."""
        self._names.forget()
        self._rows.forget(keep=keep)

    def sweep(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Look at stored items whether they are still needed; the next delta removes those that are not."""
        if self.rules.allowed_lateness_ms is None:
            return
        over_before_ms = self.progress.watermark_ms - self._kept_ms
        # A day more: of those who are remembered only days are known.
        remembered_ms = (self.rules.memory_days + 2) * DAY_MS + self.rules.allowed_lateness_ms
        forgotten_before_ms = min(over_before_ms, self.progress.watermark_ms - remembered_ms)
        users = [item for item in items if item[0].startswith(USER.encode())]
        names = [item for item in items if item[0].startswith(NAMED.encode())]
        self.progress.users -= self._rows.sweep(
            users, over_before_ms=over_before_ms, forgotten_before_ms=forgotten_before_ms
        )
        self._names.sweep(names, over_before_ms=over_before_ms)

    def restore(self, pages: Callable[[bytes], Iterable[tuple[bytes, bytes]]]) -> None:
        """Take over what checkpoints have written; `pages` gives the stored items whose key begins with a prefix.

        Raises StateRefused.
        """
        for _, value in pages(PROGRESS):
            self.progress = decode_progress(value, stored_by(self.rules))
        now = self.progress.now_ms // MINUTE_MS
        for family in self.families:
            family.restore(pages, now=now, days_since=self.progress.days_since)
        self._closing.restore(pages(CLOSED.encode()), self.progress, self._late_before_ms())
        self._keep_apart_what_is_booked()


def _with_most_used_values(families: dict[str, Sums]) -> dict[str, Sums]:
    """The same sums with the values of segments that the most users have; the others of them are `other`."""
    told = with_most_used({name: sums.segments for name, sums in families.items()})
    return {name: structs.replace(sums, segments=told[name]) for name, sums in families.items()}
