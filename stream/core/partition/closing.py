"""Closing days: what a partition says of each closed day, told once and again only when it changes.

A day is looked at when it has closed, and again when something is booked that its windows reach: by an event that came
late. A few days at a time, and of those that are looked at again one, so that no batch waits long for them; a day is
published when it has been looked at. What a day says is kept with the state for `history_days`.

While a worker catches up, many days close within a second. What is kept for days that wait would grow, so whoever calls
`close` then calls it again at once, as long as there is a `backlog`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from stream.core.days import OfWindows
from stream.core.families.family import Family
from stream.core.partition.progress import Progress
from stream.core.partition.rows import Delta
from stream.core.rules import Rules
from stream.core.segments import with_most_used
from stream.core.snapshot import ClosedDay

CLOSED: Final = "closed/"

# Days that late events may have changed are looked at again with each tenth call: every ten seconds, in a worker.
_CALLS_OF_A_ROUND: Final = 10

_encode = msgspec.msgpack.Encoder().encode
decode_closed: Callable[[bytes], ClosedDay] = msgspec.msgpack.Decoder(ClosedDay).decode


class Closing:
    """The closed days of one partition."""

    def __init__(self, rules: Rules, families: list[Family[Any]]) -> None:
        self._rules = rules
        self._families = families
        self._reported: dict[int, ClosedDay] = {}  # the days that may still change, as they were reported last
        self._calculated: set[int] = set()  # those of them that were calculated since the restore or `tell_again`
        self._calls = _CALLS_OF_A_ROUND  # since the last round began, or was begun again
        self._touched: set[str] = set()  # families of which something was booked since the last round began
        self._in_round: set[str] = set()  # those that are looked at in this one
        self._unsaved: dict[int, ClosedDay | None] = {}  # by day: what the store does not hold yet, None for none
        self._dropped: list[int] = []  # days that are too old to be kept, and were not returned yet
        self._first_open = 0  # the first day that was not final when changes were noted last

    def first_day(self, progress: Progress) -> int | None:
        """The first day on which anything happened; None before any event."""
        if progress.first_ms is None:
            return None
        # A summary tells when a session began: it may be of a day before the first event.
        booked = [first for family in self._families if (first := family.days.first) is not None]
        return min([self._rules.days.day_of(progress.first_ms), *booked])

    def note(self, progress: Progress, first_open: int) -> None:
        """Note which days may say something else since the totals were settled. Events may be of `first_open` or later.

        More days are touched than change: where a visitor returns, the last visit is taken out of its day and booked
        there again until the day of the return. Days that were final when this was called last say the same as then,
        and must not be looked at, for the pages that they need may be gone.
        """
        through = progress.closed_through
        for family in self._families:
            touched = family.look_again()
            if touched is not None and through is not None:
                stale = max(touched, self._first_open)
                if stale <= through:
                    self._touched.add(family.name)
                    progress.stale_from = stale if progress.stale_from is None else min(stale, progress.stale_from)
        self._first_open = first_open

    def tell_again(self, progress: Progress, late_before_ms: int) -> None:
        """Tell the days again that can still change: whoever told them last may not have got it through.

        Also those that this one has told, and that are the same.
        """
        self._calculated.clear()
        first = self.first_day(progress)
        if progress.closed_through is not None and first is not None:
            first = max(first, min(self._rules.days.day_of(max(0, late_before_ms)), progress.closed_through))
            progress.stale_from = first if progress.stale_from is None else min(first, progress.stale_from)

    def restore(
        self, pages: Callable[[bytes], Iterable[tuple[bytes, bytes]]], progress: Progress, first_open: int
    ) -> None:
        """Load the stored days that may still change, so that a day that was reported before keeps its history.

        `pages` returns the stored items whose keys begin with a prefix. By the checkpoint all days before `first_open`
        are final.
        """
        self._first_open = first_open
        if progress.closed_through is None or progress.closed_since is None:
            return
        waits_since = self.waits_since(progress)
        needed_since = first_open if waits_since is None else min(first_open, waits_since)
        for day in range(max(needed_since, progress.closed_since), progress.closed_through + 1):
            wanted = f"{CLOSED}{day}".encode()
            for key, value in pages(wanted):
                if key == wanted:
                    self._reported[day] = decode_closed(value)

    def close(self, progress: Progress, last_closed: int, *, late_before_ms: int, count: int) -> list[ClosedDay]:
        """Look at some of the days that have closed or may say something else; returns those that do.

        Days that have closed come first, then those that late events have changed.
        """
        first = self.first_day(progress)
        if first is None or progress.now_ms < 0:
            return []
        if progress.closed_through is None:
            progress.closed_since = first
            progress.closed_through = first - 1
        closed = []
        while progress.closed_through < last_closed and count > 0:
            day = progress.closed_through = progress.closed_through + 1
            closed.append(self._noted(progress, day, self._sums(progress, day)))
            count -= 1
        if count > 0:
            closed += self._correct(progress, self._rules.days.day_of(max(0, late_before_ms)))
        self._drop_old_days(progress)
        return closed

    def waits_since(self, progress: Progress) -> int | None:
        """The first closed day that is still to be looked at again; None if there is none."""
        waiting = [day for day in (progress.stale_from, progress.looking_at) if day is not None]
        return min(waiting, default=None)

    def backlog(self, progress: Progress, last_closed: int, *, late_before_ms: int) -> int:
        """How many days wait that should have been looked at: they have closed, or can't change any more."""
        if progress.closed_through is None:
            return 0
        waits_since = self.waits_since(progress)
        first_open = self._rules.days.day_of(max(0, late_before_ms))
        final = 0 if waits_since is None else first_open - waits_since
        return max(0, last_closed - progress.closed_through) + max(0, final)

    def _correct(self, progress: Progress, first_open: int) -> list[ClosedDay]:
        """Look again at one of the days that late events may have changed, in rounds from the first to the last.

        Something is always late: what comes while a round is under way waits for the next one. Days before
        `first_open` can't change any more. Those of them that still wait are looked at before all others.
        """
        assert progress.closed_through is not None
        self._calls += 1
        stale = progress.stale_from
        is_time = progress.looking_at is None and self._calls >= _CALLS_OF_A_ROUND
        if stale is not None and (stale < first_open or is_time):
            progress.looking_at = stale if progress.looking_at is None else min(stale, progress.looking_at)
            progress.stale_from, self._calls = None, 0
            self._in_round |= self._touched
            self._touched = set()
        if progress.looking_at is None:
            return []
        day = progress.looking_at
        corrected = self._looked_at_again(progress, day) if day <= progress.closed_through else []
        progress.looking_at = day + 1
        if progress.looking_at > progress.closed_through:
            progress.looking_at = None
            self._in_round = set()
        waits_since = self.waits_since(progress)
        needed_since = first_open if waits_since is None else min(first_open, waits_since)
        for gone in [gone for gone in self._reported if gone < needed_since]:
            del self._reported[gone]
            self._calculated.discard(gone)
        return corrected

    def _looked_at_again(self, progress: Progress, day: int) -> list[ClosedDay]:
        known = self._reported[day].families if day in self._calculated else None
        families = self._sums(progress, day, known=known)
        return [] if known is not None and _said(families) == _said(known) else [self._noted(progress, day, families)]

    def _sums(
        self, progress: Progress, day: int, *, known: Mapping[str, OfWindows] | None = None
    ) -> dict[str, OfWindows]:
        """What each family says of a day. Of one that is `known` those are asked of which something was booked."""
        assert progress.first_ms is not None
        first_known = self._rules.days.day_of(progress.first_ms)
        asked = (family for family in self._families if family.is_used and (not known or family.name in self._in_round))
        told = {**(known or {}), **{family.name: family.closed_sums(day, first_known) for family in asked}}
        return with_most_used(told)

    def _noted(self, progress: Progress, day: int, families: dict[str, OfWindows]) -> ClosedDay:
        """Return the report of a day, and keep it. It is the one before, if that had the same sums."""
        closed, before = ClosedDay(day, families, progress.now_ms), self._reported.get(day)
        if before is not None:
            is_same = _said(before.families) == _said(families)
            closed = before if is_same else msgspec.structs.replace(closed, corrections=before.corrections + 1)
            progress.corrections += not is_same
        self._reported[day] = closed
        self._calculated.add(day)
        self._unsaved[day] = closed
        assert progress.closed_since is not None
        progress.closed_since = min(day, progress.closed_since)
        return closed

    def _drop_old_days(self, progress: Progress) -> None:
        """Drop the days that are older than `history_days`, also those that were kept when it was longer."""
        assert progress.closed_through is not None
        assert progress.closed_since is not None
        kept_since = progress.closed_through - self._rules.history_days + 1
        if progress.closed_since < kept_since:
            old = range(progress.closed_since, kept_since)
            self._dropped += old
            self._unsaved.update(dict.fromkeys(old))
            progress.closed_since = kept_since

    def take_dropped(self) -> list[int]:
        """The days that were dropped since the last call because they are older than `history_days`."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def __len__(self) -> int:
        return len(self._unsaved)

    def collect(self) -> Delta:
        """What is to be stored of closed days since the last call."""
        delta: Delta = [
            (f"{CLOSED}{day}".encode(), None if closed is None else _encode(closed))
            for day, closed in sorted(self._unsaved.items())
        ]
        self._unsaved.clear()
        return delta


def _said(families: Mapping[str, OfWindows]) -> dict[str, OfWindows]:
    """What families say of a day: one that has counted nothing says nothing, whether or not it is used."""
    return {name: of_windows for name, of_windows in families.items() if any(of_windows.values())}
