"""One partition of the stream: its users, its totals, and how far it has read.

Inputs are partitioned by user. So all events of a user are in one partition, and the totals of several partitions can
be added. Events change rows at once. Totals are updated when they are needed (`update_totals`), so a user with many
events between two snapshots is booked once.

Between checkpoints a partition changes in memory only. `collect_delta` returns what has changed, with the offsets up to
which the inputs have been applied. This delta is written as a whole. A partition that is restored from the store
continues as if it had never stopped.

The state is a set of items. `user/<user>` is a row, `named/<reference>` the user of a reference, `ring/<family>/...`
and `days/<family>/...` are pages of totals, `closed/<day>` has the numbers of a closed day, `erased/<hash>` says until
when somebody was erased, and `progress` is everything else.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import structs

from stream.core.days import OfWindows
from stream.core.families.family import Family, Horizon
from stream.core.families.registry import families, state_settings
from stream.core.messages import Reader, Record
from stream.core.partition.batch_applier import BatchApplier
from stream.core.partition.batch_reader import Batch, BatchReader, Misplaced, Refused
from stream.core.partition.closing import CLOSED, Closing, decode_closed
from stream.core.partition.progress import PROGRESS, Progress, decode_progress
from stream.core.partition.rows import BYTES_OF_A_CHANGE, USER_PREFIX, Delta, Rows, Stored
from stream.core.partition.user_index import INDEX_PREFIX, UserIndex
from stream.core.privacy import RECORDS_PREFIX, Done, Erased, PrivacyRequested, Request
from stream.core.rules import Rules
from stream.core.segments import Apart, with_most_used
from stream.core.snapshot import ClosedDay, Snapshot, Sums
from stream.core.time import DAY_MS, MINUTE_MS
from stream.core.user_scores import UserScore

# The keys of items whose number grows with users and responses. They are checked from time to time.
USERS = USER_PREFIX.encode()
SWEPT_PREFIXES = (USERS, INDEX_PREFIX.encode())

# The number of closed days that a snapshot has.
_DAYS_TOLD = 3

# The number of closed days that are calculated together. They take some ten milliseconds; more would hold up a batch.
_DAYS_AT_ONCE = 4

# How often a full row is checked within the allowed lateness: once an hour if that is three days.
_CHECKS_OF_A_FULL_ROW = 72


def _no_ids() -> str:
    raise RuntimeError("whoever makes people anonymous needs random ids")


def row_retention_ms(rules: Rules) -> int:
    """How long a row is kept at most after the last event of its user, in event time, so that late events find it."""
    return _known_ms(families(rules)) + (rules.allowed_lateness_ms or 0)


def _known_ms(of: Iterable[Family[Any]]) -> int:
    return max(family.known_ms() for family in of)


class Partition:
    """The state of one partition. It names the keys of rows that are not in memory, and the caller fetches them."""

    def __init__(
        self,
        rules: Rules,
        *,
        max_message_bytes: int = 1_000_000,
        max_user_bytes: int = 256 * 1024,
        salt: bytes = b"",
        random_ids: Callable[[], str] = _no_ids,
    ) -> None:
        """`salt` is the key of the hashes of erased people; `random_ids` returns ids for those made anonymous."""
        self.rules = rules
        self.progress = Progress()
        self.families = families(rules)
        self._derived = [family for family in self.families if family.derives_from]
        # The first day that may have changed since they looked at their users: the first that was open then.
        self._derived_since = 0
        self._apart = Apart()
        for family in self.families:
            family.share(self._apart)
        self._apart_looked_at = -1  # the day on which it was looked at last which of them are still booked
        self._rows = Rows(self.families, max_bytes=max_user_bytes)
        self._erased = Erased(salt=salt, allowed_lateness_ms=rules.allowed_lateness_ms)
        self._random_ids = random_ids
        self._gone: list[str] = []  # users who were erased or made anonymous since they were asked for
        self._done: list[Done] = []  # the audit records of that
        self._user_index = UserIndex(self._erased, known_ms=_known_ms(self.families))
        self._reader = BatchReader(
            self._rows.users, self._rows.full, max_message_bytes=max_message_bytes, max_user_bytes=max_user_bytes
        )
        self._applier = BatchApplier(
            rules, self.families, self._rows, self._user_index, erased=self._erased, fulfil=self._fulfil
        )
        self._closing = Closing(rules, self.families)
        self._read_at_ms: int | None = None  # the watermark when a batch was read that is still to be applied

    # -- events: read them, fetch the rows that they need, apply them ----------------------------------------------

    def read(
        self,
        source: str,
        records: Iterable[Record],
        reader: Reader,
        *,
        not_after_ms: int,
        belongs: Callable[[str], bool] | None = None,
    ) -> Batch:
        """Read records of an input and separate what can't be applied. Changes no number.

        Which events are late is decided here. While their rows are fetched the watermark may move on; what these events
        may still change is kept until they are applied.

        Events later than `not_after_ms` are refused as `future`. `belongs` returns whether a user belongs to this
        partition.
        """
        allowed_ms = self.rules.allowed_lateness_ms
        late_before_ms = -1 if allowed_ms is None else self.progress.watermark_ms - allowed_ms
        if self._read_at_ms is None:
            self._read_at_ms = self.progress.watermark_ms
        known_ms = self._erased.known_ms
        batch = Batch(
            source=source, not_after_ms=not_after_ms, late_before_ms=late_before_ms, requests_known_ms=known_ms or 0
        )
        self._reader.read(batch, records, reader, belongs)
        return batch

    def keys_to_fetch(self, batch: Batch, stored: Stored) -> list[bytes]:
        """Return the keys that a batch still needs. Fetch their values and call again, until the list is empty."""
        return self._applier.keys_to_fetch(batch, stored)

    def apply(
        self,
        batch: Batch,
        stored: Stored,
        *,
        belongs: Callable[[str], bool] | None = None,
        moves_clock: bool = False,
        waits_for: Collection[str] = (),
    ) -> tuple[list[Refused], list[Misplaced]]:
        """Apply a batch in order of arrival. `stored` has the values of all keys that `keys_to_fetch` has named.

        `moves_clock` says that this input is behind, so that watermark and clock follow its events. The watermark does
        not pass the other inputs that it `waits_for`, and the clock does not follow events of the future. Returns what
        could not be applied. These events are counted, and the caller sends them on.
        """
        self._applier.apply(self.progress, batch, stored, belongs=belongs, moves_clock=moves_clock, waits_for=waits_for)
        self._read_at_ms = None
        return batch.refused, batch.misplaced

    def parts(self, name: str) -> Iterator[tuple[str, Any]]:
        """The users whose rows are in memory, each with the part of the family of this name."""
        index = [family.name for family in self.families].index(name)
        for user, row in self._rows.users.items():
            yield user, self._rows.part(row, index)

    # -- people who asked to be erased or made anonymous -------------------------------------------------------------

    def _fulfil(self, request: PrivacyRequested) -> None:
        """Do what somebody asks for whose row is in memory, if there is one."""
        ids = [request.user]  # of one person
        self.update_totals()
        parts = size = 0
        for user in ids:
            row = self._rows.users.get(user)
            if row is None:
                continue
            size += row.size
            parts += self._anonymise(user) if request.request is Request.ANONYMISE else self._erase(user, request)
        for user in ids:
            self._user_index.erase(user)
        self._erased.put(ids, request.at_ms)
        self._gone += ids
        self._done.append(Done(request.request, request.at_ms, parts > 0, parts, size))
        counts, asked = self.progress.privacy_requests, request.request.value
        counts[asked] = counts.get(asked, 0) + 1

    def _erase(self, user: str, request: PrivacyRequested) -> int:
        """Take a user out of the totals and delete the row. Returns how many parts it had."""
        row = self._rows.users[user]
        past = self._rows.past_of(row)
        # Days that ended before keep their counts; and nothing changes a day that is final.
        day = max(self.rules.days.day_of(request.at_ms), self._first_open())
        parts = 0
        for index, family in enumerate(self.families):
            part = self._rows.part(row, index)
            if family.is_used:
                parts += family.stored(part) is not None
                family.erase(part, past.get(family.number, {}), day)
        self._rows.erase(user)
        self.progress.users -= 1
        return parts

    def _anonymise(self, user: str) -> int:
        """Let a user count on under a random id. Returns how many parts the row has."""
        row = self._rows.users[user]
        self._rows.move(user, self._random_ids())
        return sum(family.stored(part) is not None for family, part in zip(self.families, row.parts, strict=True))

    def take_gone(self) -> tuple[list[str], list[Done]]:
        """Who was erased or made anonymous since the last call, and the audit records of that, without ids."""
        gone, self._gone = self._gone, []
        done, self._done = self._done, []
        return gone, done

    # -- time ------------------------------------------------------------------------------------------------------

    def tick(self, clock_ms: int, *, behind: Collection[str], active: Collection[str] = ()) -> None:
        """Move the watermark and the clock forward. Neither ever goes back.

        `behind` are the inputs that still have records to read. `active` are those that had records a moment ago, so
        more may be on their way. The watermark is the newest event time of the least advanced of both. So no event is
        late only because one input is read faster than another. While the partition is behind, its clock shows the time
        of the watermark, so a backlog is processed as if it were live; but it does not pass `clock_ms`, because a
        client's clock may be fast. When the partition has caught up, its clock shows `clock_ms`. When it has caught up
        and has read nothing for `idle_after`, its watermark is the clock, so that a quiet partition keeps no day open.
        Neither ever goes back.
        """
        self.progress.tick(clock_ms, behind=behind, active=active, idle_after_ms=self.rules.idle_after_ms)

    def last_closed_day(self) -> int:
        """The newest closed day at the partition's clock."""
        return self.rules.days.last_closed(self.progress.now_ms, close_after_ms=self.rules.close_after_ms)

    # -- totals ----------------------------------------------------------------------------------------------------

    def update_totals(self) -> None:
        """Update the totals to the current rows and the clock."""
        now, first_ms = self.progress.now_ms // MINUTE_MS, self.progress.first_ms
        first_known = 0 if first_ms is None else self.rules.days.day_of(first_ms)
        for family in self._derived:
            for user in family.derive(partial(self._rows.parts_of, family), self._derived_since):
                self._rows.mark_changed(user, self._rows.users[user])
        if self.rules.allowed_lateness_ms is not None:
            self._derived_since = self._first_open()
        for family in self.families:
            family.first_known = first_known
            if family.is_used:
                family.update_totals(now)
        self._closing.note(self.progress, self._first_open())

    def snapshot(self, *, closed_days: int = _DAYS_TOLD, all_values: bool = False) -> Snapshot:
        """What this partition contributes to every number now, with the last `closed_days` closed days.

        With `all_values` it has every value of a segment. Otherwise rare values are left out, so that a report is
        small.
        """
        live = self.live_snapshot(all_values=all_values)
        # A partition without any event yet keeps no day of the others open.
        last = self.last_closed_day() if self.progress.now_ms >= 0 else None
        families = {
            family.name: structs.replace(
                live.family(family.name), closed=self._closed_days(family, self.last_closed_day(), closed_days)
            )
            for family in self.families
            if family.is_used
        }
        return structs.replace(live, families=families, last_closed_day=last)

    def live_snapshot(self, *, all_values: bool = False) -> Snapshot:
        """The same without closed days, which are told apart (`close_days`)."""
        self.update_totals()
        progress = self.progress
        families = {family.name: family.sums() for family in self.families if family.is_used}
        return Snapshot(
            now_ms=progress.now_ms,
            first_ms=progress.first_ms,
            families=families if all_values else _with_most_used_values(families),
            last_closed_day=progress.closed_through,
            final_through=self._final_through(),
            corrections=progress.corrections,
            closing_backlog=self.closing_backlog,
            outcomes={source: dict(counts) for source, counts in progress.outcomes.items()},
            reasons={source: dict(counts) for source, counts in progress.reasons.items()},
            left_out={source: dict(counts) for source, counts in progress.left_out.items()},
            newest_ms=dict(progress.newest_ms),
            privacy_requests=dict(progress.privacy_requests),
            values_beyond=progress.values_beyond + self._apart.beyond,
            rows={
                "user": progress.users,
                "page": sum(family.size() for family in self.families),
                "value": len(self._apart),
                **({"erased": len(self._erased)} if self._erased else {}),
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
        watermark_ms = self.progress.watermark_ms if self._read_at_ms is None else self._read_at_ms
        return watermark_ms - (self.rules.allowed_lateness_ms or 0)

    def _first_open(self) -> int:
        """The first day that an event may be of which is not late."""
        return self.rules.days.day_of(max(0, self._late_before_ms()))

    def _final_through(self) -> int | None:
        """The last closed day that nothing can change any more; None before any event."""
        through = self.progress.closed_through
        if through is None or self.rules.allowed_lateness_ms is None:
            return None
        waits_since, first_open = self._closing.waits_since(self.progress), self._first_open()
        return min(through, (first_open if waits_since is None else min(first_open, waits_since)) - 1)

    def close_days(self, *, count: int = _DAYS_AT_ONCE) -> list[ClosedDay]:
        """Look at some of the days that have closed, or at one that late events have changed; returns what they say.

        Call it when the totals are settled, from time to time, and as long as there is a `closing_backlog`.
        """
        late_before_ms, last = self._late_before_ms(), self.last_closed_day()
        if self._apart.is_full and self._apart_looked_at != last:
            self._apart_looked_at = last
            self._keep_apart_what_is_booked()
        return self._closing.close(self.progress, last, late_before_ms=late_before_ms, count=count)

    @property
    def closing_backlog(self) -> int:
        """How many days wait that should have been looked at by now. So long, more is kept than is needed."""
        return self._closing.backlog(self.progress, self.last_closed_day(), late_before_ms=self._late_before_ms())

    def _keep_apart_what_is_booked(self) -> None:
        """Make room for values that are new: once a day, for all that is booked is looked at."""
        self._apart.keep(field for family in self.families for field in family.value_fields())

    def take_dropped_days(self) -> list[int]:
        """The days that `close_days` has dropped since the last call, because they are older than `history_days`."""
        return self._closing.take_dropped()

    def tell_days_again(self) -> None:
        """Have `close_days` tell again what can still change."""
        self._closing.tell_again(self.progress, self._late_before_ms())

    def unchanging(self, stored: Iterable[tuple[bytes, bytes]]) -> Iterator[ClosedDay]:
        """Of the stored items of closed days those that nothing changes any more, as they were told."""
        first = self._first_open()
        for key, value in stored:
            if int(key.removeprefix(CLOSED.encode())) < first:
                yield decode_closed(value)

    # -- checkpoints -----------------------------------------------------------------------------------------------

    @property
    def unsaved_rows(self) -> int:
        """The number of rows in the next delta, without pages."""
        return len(self._rows.unsaved)

    @property
    def unsaved_days(self) -> int:
        """How many closed days the next delta will hold."""
        return len(self._closing)

    @property
    def unsaved_bytes(self) -> int:
        """The approximate size of the next delta, without pages."""
        return self._rows.unsaved_bytes + BYTES_OF_A_CHANGE * len(self._user_index)

    def collect_delta(self) -> Delta:
        """Everything that has changed since the last call, as keys and values. The value None deletes a key."""
        self.update_totals()
        progress, allowed_ms = self.progress, self.rules.allowed_lateness_ms
        watermark_ms = progress.watermark_ms
        horizon = None if allowed_ms is None else self._horizon()
        self._rows.recheck_full_rows(watermark_ms)
        recheck_ms = watermark_ms + (allowed_ms or 0) // _CHECKS_OF_A_FULL_ROW
        delta = [*self._rows.collect(horizon, recheck_ms=recheck_ms), *self._user_index.collect()]
        delta.extend(self._closing.collect())
        self._erased.forget(self._late_before_ms())
        delta.extend(self._erased.collect())
        for family in self.families:
            if not family.is_used:
                continue
            if allowed_ms is not None:
                self._forget_days(family)
            delta.extend(family.pages())
            for book in family.books():
                if book.since is not None:
                    progress.days_since[book.name] = book.since
        progress.rules = state_settings(self.rules)
        progress.values_beyond += self._apart.beyond
        self._apart.beyond = 0
        progress.format = max(progress.format, self._rows.format)
        delta.append((PROGRESS, msgspec.msgpack.encode(progress)))
        return delta

    def _horizon(self) -> Horizon:
        return Horizon(self._late_before_ms(), self.progress.now_ms // MINUTE_MS)

    def _forget_days(self, family: Family[Any]) -> None:
        """Let go of the days that no closed day reaches which has still to be looked at, or can still change."""
        progress = self.progress
        if progress.closed_through is None:
            return
        oldest = min(self._first_open(), progress.closed_through)
        waits_since = self._closing.waits_since(progress)
        if waits_since is not None:
            oldest = min(oldest, waits_since)
        family.forget_closed(oldest - _DAYS_TOLD)
        for book in family.books():
            book.forget_before(oldest - _DAYS_TOLD - family.closed_reach())

    def forget_users(self, *, keep: int) -> None:
        """Drop the least recently used rows from memory until `keep` are left. Call it when a delta is stored."""
        self._user_index.forget()
        self._rows.forget(keep=keep)

    def sweep(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Check whether stored items are still needed. The next delta deletes those that are not."""
        if self.rules.allowed_lateness_ms is None:
            return
        horizon = self._horizon()
        # More by some days, because only whole days are known of the users who are kept for that long.
        forgotten_before_ms = horizon.before_ms - (self.rules.memory_days + 2) * DAY_MS
        users = [item for item in items if item[0].startswith(USERS)]
        index_entries = [item for item in items if item[0].startswith(INDEX_PREFIX.encode())]
        self.progress.users -= self._rows.sweep(
            users,
            horizon,
            forgotten_before_ms=forgotten_before_ms,
            outdated=self._outdated() if users else (),
            first_open=self._derived_since,
        )
        self._user_index.sweep(index_entries, horizon)

    def note_all_users_swept(self) -> None:
        """Take note that `sweep` had all stored rows of users since the state was loaded."""
        self.progress.derived_by = {
            family.name: family.rules_number for family in self._derived if family.rules_number is not None
        }

    def _outdated(self) -> list[Family[Any]]:
        """The families of which not all that is booked follows from the settings of now."""
        derived_by = self.progress.derived_by
        return [
            family
            for family in self._derived
            if family.rules_number is not None and derived_by.get(family.name) != family.rules_number
        ]

    def day_of_scores(self) -> int | None:
        """The closed day of which the scores of users have still to be told; None if all are, or nobody is scored."""
        closed, told = self.progress.closed_through, self.progress.scores_told
        return closed if self._scores_users and closed is not None and (told is None or told < closed) else None

    @property
    def _scores_users(self) -> bool:
        return any(family.is_used for family in self._derived)

    def scores(self, items: Iterable[tuple[bytes, bytes]], day: int) -> Iterator[tuple[str, UserScore | None]]:
        """What is told of the users of some stored rows at the end of a day; None for those who have no score any more.

        Nothing of those whose rows are about to be deleted; see `forgotten`.
        """
        return self._rows.scores((item for item in items if item[0] not in self._rows.expired), day)

    def forgotten(self, items: Iterable[tuple[bytes, bytes]]) -> list[str]:
        """Of the users of some stored rows those of whom a score may have been told, and whom `sweep` has forgotten."""
        expired = self._rows.expired if self._scores_users else ()
        return [key.decode().removeprefix(USER_PREFIX) for key, _ in items if key in expired]

    def restore(self, pages: Callable[[bytes], Iterable[tuple[bytes, bytes]]]) -> None:
        """Load what checkpoints have written. `pages` returns the stored items whose keys begin with a prefix.

        Raises StateRefused.
        """
        for _, value in pages(PROGRESS):
            self.progress = decode_progress(value, state_settings(self.rules))
        for family in self._derived:
            if family.rules_number is None:  # what follows from now on from events is not booked
                self.progress.derived_by.pop(family.name, None)
        now = self.progress.now_ms // MINUTE_MS
        for family in self.families:
            family.restore(pages, now=now, days_since=self.progress.days_since)
        self._closing.restore(pages, self.progress, self._first_open())
        self._erased.restore(pages(RECORDS_PREFIX.encode()))
        if self.rules.allowed_lateness_ms is not None:
            self._derived_since = self._first_open()
        self._keep_apart_what_is_booked()


def _with_most_used_values(families: dict[str, Sums]) -> dict[str, Sums]:
    """The same sums with the values of segments that the most users have; the others of them are `other`."""
    told = with_most_used({name: sums.segments for name, sums in families.items()})
    return {name: structs.replace(sums, segments=told[name]) for name, sums in families.items()}
