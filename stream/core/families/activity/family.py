"""Who was active, and how many: DAU, WAU, MAU and stickiness, who is new, and by which segments.

A user is booked in the minute of the last activity. Who returns moves to a newer minute, so a rolling distinct count
is a sum of buckets and never a walk over users. Each user keeps one bit a day; what an active day adds to closed days
is booked on it (`calendar`), and all their numbers follow from that (`closing`). The values of segments that the newest
activity event told are booked with the user, as fields of their own; so a segment's values and `unknown`, which is what
is left, add up to the active users of each window.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from operator import is_, itemgetter
from typing import Any, TypeGuard

import msgspec

from stream.core import segments
from stream.core.days import DayBook, OfWindows, Version
from stream.core.events import Event, Login, Step, Summary
from stream.core.families.activity import calendar, closing, samples
from stream.core.families.activity.calendar import ACTIVE_USERS, ActiveDays, amounts_of
from stream.core.families.activity.lives import NEVER, Lives, first_minutes, that_can_change, with_day
from stream.core.families.activity.metrics import METRICS, NAMES_BY_SEGMENT
from stream.core.families.activity.part import (
    NO_QUARTER,
    Activity,
    Booked,
    SummaryTimes,
    add_day,
    add_minute,
    days_told,
    has_day,
    last_day,
    latest_and_ahead,
    moments,
    moments_as_of,
    told_of,
    with_times,
    without_days_before,
)
from stream.core.families.activity.standings import (
    NO_DAY,
    Counted,
    DayBits,
    Standing,
    count_changes,
    day_at_or_before,
    days_since,
    first_day_of_difference,
    first_told_otherwise,
    only_new_day,
    standing,
)
from stream.core.families.family import BySegment, Family, Heard, Horizon, one_by_one
from stream.core.ring import Booking, latest
from stream.core.rules import Rules
from stream.core.samples import Labels, Sample
from stream.core.segments import NOT_TOLD, SEGMENTS, USERS, Told, Values
from stream.core.snapshot import Sums
from stream.core.tally import Field, Tally
from stream.core.time import DAY_MS, MINUTE_MS, QUARTER_MS, Span, date_of
from stream.core.windows import ACTIVITY, SEGMENTS_ACTIVITY

# Two months of days are kept, so that a month can be compared with the one before; more where a window is longer.
DAYS_KEPT = 64

_ONE_USER: dict[Field, int] = {ACTIVE_USERS: 1}
_NO_SUMMARIES: dict[str, SummaryTimes] = {}

_decode = msgspec.msgpack.Decoder(Activity).decode


class ActivityFamily(Family[Activity]):
    """Active users, live and on closed days."""

    name = "activity"
    number = 1
    windows = ACTIVITY
    metrics = METRICS
    by_segment = BySegment(NAMES_BY_SEGMENT, SEGMENTS_ACTIVITY, {USERS: (ACTIVE_USERS,)})

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._day_of = rules.days.day_of
        self._memory_days = rules.memory_days
        self._span, self._span_told = Span(rules.days), Span(rules.days)
        self._tells = bool(self.segments)
        # Users by value: a book of its own, for in this one what is booked is superseded with each active day.
        self._values_by_day = DayBook(f"{self.name}-segments")
        self._days_sorted: dict[int, tuple[int, calendar.Day]] = {}

    @classmethod
    def stored_by(cls, rules: Rules) -> dict[str, str]:
        whole_since = (
            "the day after the first event" if rules.cohorts_from is None else str(date_of(rules.cohorts_from))
        )
        told = {"memory": f"{rules.memory_days}d"}
        return {**super().stored_by(rules), **told, "cohorts_from": whole_since}

    # -- the part of a user ----------------------------------------------------------------------------------------

    def hears(self) -> Mapping[type[Event], Heard]:
        return {
            Step: self.hear_steps,
            Login: one_by_one(self.hear_login),
            Summary: one_by_one(self.hear_summary),
            Event: one_by_one(self.hear_other),
        }

    def hear_steps(self, part: Activity, steps: Sequence[Step], changed: bytearray, now: int) -> None:
        """A step makes active, unless it says that nobody did it, or is the end of a session."""
        for place, step in enumerate(steps):
            if step.is_end or not step.is_interactive:
                if self.hear_other(part, step, now):
                    changed[place] = True
            elif self._was_active(part, step.at_ms, step.segments, now):
                changed[place] = True

    def hear_login(self, part: Activity, login: Login, now: int) -> bool:
        """A login makes active when it succeeds."""
        if not login.success:
            return self.hear_other(part, login, now)
        return self._was_active(part, login.at_ms, login.segments, now)

    def hear_other(self, part: Activity, event: Event, now: int) -> bool:
        """What makes nobody active says that the user is still there."""
        lives = with_day(part.lives, self._day_of(event.at_ms), NEVER, memory_days=self._memory_days)
        if lives is part.lives:
            return False
        if part.booked is None:
            self._note(part)
        part.lives, part.quarter = lives, NO_QUARTER
        return True

    def _was_active(self, part: Activity, at_ms: int, values: Values, now: int) -> bool:
        """An event at this time makes active: the minute, the day, the life and the segments of it."""
        has_changed = values is not NOT_TOLD and self._tells and self._has_told(part, at_ms, values)
        minute, minutes = at_ms // MINUTE_MS, part.minutes
        if minute in minutes:  # a minute lies in one day
            return has_changed
        if at_ms // QUARTER_MS == part.quarter and minute > minutes[-1] and minute <= now:  # the common case, fast
            if part.booked is None:
                self._note(part)
            part.minutes = (minute,)
            return True
        after = add_minute(minutes, minute, now)
        day = self._day_of(at_ms)
        is_known_day, lives = has_day(part.since_day, part.day_bits, day), part.lives
        after_lives = with_day(lives, day, minute, memory_days=self._memory_days)
        if not is_known_day or after is not minutes or after_lives is not lives:
            if part.booked is None:
                self._note(part)
            part.minutes, part.lives, has_changed = after, after_lives, True
            if not is_known_day:
                part.since_day, part.day_bits = add_day(part.since_day, part.day_bits, day)
        # All later minutes of this quarter of an hour are of a day and of a life that are known.
        part.quarter = at_ms // QUARTER_MS
        return has_changed

    def _has_told(self, part: Activity, at_ms: int, values: Values) -> bool:
        """An event tells values of segments: whether anything is known now that was not."""
        if self.segments is not SEGMENTS:
            values = segments.only(values, self.segments)
        told = part.told
        if told is not None and values is told.values and not told.times:  # the common case, fast
            if told.at_ms < at_ms < part.told_until_ms:
                told.at_ms = at_ms
                return True
            if part.told_since_ms <= at_ms <= told.at_ms:
                return False
        return self._has_told_anew(part, at_ms, values)

    def _has_told_anew(self, part: Activity, at_ms: int, values: Values) -> bool:
        """The same where values may change, or are of a day on which none was told yet."""
        values, known = self.apart.of(values), told_of(part)
        after = known if values is NOT_TOLD else segments.told_by_day(known, values, at_ms, self._day_of)
        if after is known:
            return False
        if part.booked is None:
            self._note(part)
        *earlier, part.told = after
        part.told_earlier = tuple(earlier)
        self._span_told.end_of_day(part.told.at_ms)
        part.told_since_ms, part.told_until_ms = self._span_told.starts_ms, self._span_told.ends_ms
        return True

    def hear_summary(self, part: Activity, summary: Summary, now: int) -> bool:
        """A whole session makes active when it begins and when it ends, as its highest revision says."""
        values = summary.segments
        has_told = values is not NOT_TOLD and self._tells and self._has_told(part, summary.at_ms, values)
        known = part.summaries.get(summary.session_id)
        first_ms = summary.started_ms
        if summary.start_is_late:
            first_ms = summary.at_ms if known is None else min(known.first_ms, summary.at_ms)
        times = with_times(known, SummaryTimes(summary.revision, summary.at_ms, first_ms), self._span)
        if times is None:
            return has_told
        if part.booked is None:
            self._note(part)
        part.summaries[summary.session_id] = times
        return True

    def _note(self, part: Activity) -> None:
        """Note what is booked of a part before it changes."""
        summaries = dict(part.summaries) if part.summaries else _NO_SUMMARIES
        days = part.minutes, part.since_day, part.day_bits, part.before_day
        part.booked = Booked(*days, part.told, part.told_earlier, summaries, part.lives)
        self.changed.append(part)

    def new(self) -> Activity:
        return Activity()

    def decode(self, stored: msgspec.Raw) -> Activity:
        return _decode(stored)

    def stored(self, part: Activity) -> object:
        if part.summaries:
            days = part.since_day, part.day_bits, part.before_day
            return (part.minutes, part.lives, *days, part.told, part.told_earlier, part.summaries)
        if part.told_earlier:
            days = part.since_day, part.day_bits, part.before_day
            return (part.minutes, part.lives, *days, part.told, part.told_earlier)
        if part.minutes or part.lives or part.told is not None:
            return (part.minutes, part.lives, part.since_day, part.day_bits, part.before_day, part.told)
        return None

    def remembered(self, part: Activity) -> Activity | None:
        """Since when a user is known who was active, and what the segments were."""
        last = part.lives[-1:]
        return Activity(lives=last, before_day=last_day(part), told=part.told) if first_minutes(last) else None

    def let_go(self, part: Activity, horizon: Horizon) -> None:
        if part.summaries:
            self._settle_summaries(part, horizon)
        if len(part.minutes) > 1:
            part.minutes = latest_and_ahead(part.minutes, horizon.now)
        days_kept = max(DAYS_KEPT, max(self.lengths.values()) * MINUTE_MS // DAY_MS)
        before_day = self._day_of(max(0, horizon.before_ms))
        without_days_before(part, before_day - days_kept)
        part.quarter = NO_QUARTER
        if part.told_earlier:
            # Of the days that nothing can change any more the last is needed: what was known when the others began.
            told = told_of(part)
            over = sum(self._day_of(one.at_ms) < before_day for one in told)
            part.told_earlier = told[max(0, over - 1) : -1]
        if len(part.lives) > 1:
            part.lives = that_can_change(part.lives, before_day, memory_days=self._memory_days)

    def _settle_summaries(self, part: Activity, horizon: Horizon) -> None:
        """Sessions that no revision can move any more become activity like any other; what is booked stays the same."""
        # As long as sessions keep them: what comes later than that is of another session.
        settled_before_ms = horizon.before_ms - DAY_MS - self.rules.session_timeout_ms
        for session_id, times in list(part.summaries.items()):
            if times.last_ms < settled_before_ms:
                del part.summaries[session_id]
                for at_ms in moments(times):
                    minute, day = at_ms // MINUTE_MS, self._day_of(at_ms)
                    part.minutes = add_minute(part.minutes, minute, horizon.now)
                    part.since_day, part.day_bits = add_day(part.since_day, part.day_bits, day)
                    part.lives = with_day(part.lives, day, minute, memory_days=self._memory_days)

    def last_ms(self, part: Activity) -> int:
        ends = (times.last_ms for times in part.summaries.values())
        last_day = part.lives[-1].last_day if part.lives else 0
        return max(0, max(part.minutes, default=0) * MINUTE_MS, max(ends, default=0), last_day * DAY_MS)

    def reach_ms(self) -> int:
        return max(DAYS_KEPT * DAY_MS, super().reach_ms())

    # -- totals ----------------------------------------------------------------------------------------------------

    def book(self, parts: list[Activity]) -> None:
        # Active days that add the same: of users who are new, or here again after the same days.
        counted: dict[tuple[int, int, int, int], int] = {}
        by_value: Counted = {}
        for part in parts:
            before, part.booked = part.booked, None
            assert before is not None
            if before.summaries or part.summaries:
                self._book_with_summaries(before, part, by_value)
                continue
            self._rebook(before.minutes, before.values, part.minutes, part.values)
            if self.segments:
                self._rebook_values(before, part, by_value)
            lives = part.lives
            if before.lives is not lives or before.day_bits != part.day_bits or before.since_day != part.since_day:
                if before.lives is not lives:
                    self._rebook_new(before.lives, lives)
                self._rebook_days(self._active_days(before), self._active_days(part), counted)
        self._book_counted(counted)
        for (since, day, values), users in by_value.items():
            if users and values is not NOT_TOLD:
                self._values_by_day.count_since(since, day, segments.fields_of(values, USERS), users)

    def _book_counted(self, counted: Mapping[tuple[int, int, int, int], int]) -> None:
        """Book the active days of users, each day by its own facts."""
        changed = [one for one in counted.items() if one[1]]
        if any(users < 0 for _, users in changed):
            changed.sort(key=_users_of, reverse=True)  # what is taken out is there then
        for (day, age, gap, window), users in changed:
            calendar.count(self.days.on(day), age, gap, window, users)

    def _active_days(self, part: Activity | Booked) -> ActiveDays:
        bits = int.from_bytes(part.day_bits, "little")
        return ActiveDays(part.since_day, bits, part.before_day, self._first_days(part.lives))

    def _first_days(self, lives: Lives) -> list[int]:
        return [self.day_of_minute(minute) for minute in first_minutes(lives)]

    def _rebook_days(
        self, before: ActiveDays, after: ActiveDays, counted: dict[tuple[int, int, int, int], int]
    ) -> None:
        """Note which active days add something else now: mostly none but the last, which is new."""
        fact = after.only_new_day(before)
        if fact is not None:  # the common case, fast
            counted[fact] = counted.get(fact, 0) + 1
            return
        first = before.first_difference(after)
        if first is not None:
            for facts in before.facts(first):
                counted[facts] = counted.get(facts, 0) - 1
            for facts in after.facts(first):
                counted[facts] = counted.get(facts, 0) + 1

    def _rebook_new(self, before: Lives, after: Lives) -> None:
        gone, come = first_minutes(before), first_minutes(after)
        if gone != come:
            for minutes, times in ((gone, -1), (come, 1)):
                for minute in minutes:
                    self.ring.count(minute, _new_on(self.day_of_minute(minute)), times)

    def _rebook(self, before: tuple[int, ...], values_before: Values, after: tuple[int, ...], values: Values) -> None:
        """Book the minute of the last activity, under the values that are known now."""
        gone, come = _amounts(values_before), _amounts(values)
        if before == after and gone is come:
            return
        if before:
            self.ring.book(latest(before, gone), times=-1)
        self.ring.book(latest(after, come))

    # -- users by the values of segments, on closed days -------------------------------------------------------------

    def _rebook_values(self, before: Booked, part: Activity, by_value: Counted) -> None:
        """Note under which value a user counts on closed days now: mostly as before, but for a day that is new."""
        has_told = before.told is not part.told or before.told_earlier is not part.told_earlier
        has_days = before.day_bits != part.day_bits or before.since_day != part.since_day
        if not (has_told or has_days):
            return
        gone, come = _day_bits(before), _day_bits(part)
        day = only_new_day(gone, come) if has_days else None
        if day is not None and (not has_told or _is_only_told_later(before, part)):  # the common case, fast
            last_day = day_at_or_before(gone, day)
            standings = [Standing(-1, last_day, before.values), Standing(day, day, part.values)]
            count_changes(by_value, standings, 1)
            return
        told_before, told = told_of(before), told_of(part)
        days = (first_day_of_difference(gone, come), first_told_otherwise(told_before, told, self._day_of))
        first = min((day for day in days if day is not None), default=None)
        if first is not None:
            for day_bits, known, times in ((gone, told_before, -1), (come, told, 1)):
                count_changes(by_value, self._standings(day_bits, known, first), times)

    def _standings(self, day_bits: DayBits, told: Sequence[Told], first: int) -> list[Standing]:
        """Where a user counts at the end of the day before `first`, and then wherever that changes."""
        told_days = [self._day_of(one.at_ms) for one in told]
        days = {*days_since(day_bits, first), *(day for day in told_days if day >= first)}
        return [standing(day, day_bits, told_days, told) for day in (first - 1, *sorted(days))]

    # -- users some of whose sessions are told as summaries ----------------------------------------------------------

    def _book_with_summaries(self, before: Booked, part: Activity, by_value: Counted) -> None:
        minutes_before, days_before, lives_before = self._whole(before)
        minutes, days, lives = self._whole(part)
        self._rebook_new(lives_before, lives)
        self._rebook(minutes_before, before.values, minutes, part.values)
        told_before, told = self._days_told(before), self._days_told(part)
        if self.segments:
            for one, its_days, told_on, times in ((before, days_before, told_before, -1), (part, days, told, 1)):
                count_changes(by_value, self._standings_with_summaries(one, its_days, told_on), times)
        first = days_before.first_difference(days)
        if told_before or told:
            first = min(told_before | told) if first is None else min(first, *told_before, *told)
        if first is not None:
            for one, its_days, told_on, times in ((before, days_before, told_before, -1), (part, days, told, 1)):
                final = _bookings(its_days, first)
                self.days.book(final, times=times)
                versions = [
                    Version(since, until, _bookings(self._whole(one, as_of=until - 1)[1], first))
                    for since, until in pairwise(sorted(told_on))
                ]
                self.days.book_versions(final, versions, times=times)

    def _days_told(self, part: Activity | Booked) -> set[int]:
        """The days on which something was told of sessions that were told otherwise before."""
        found: set[int] = set()
        for times in part.summaries.values():
            if times.earlier:
                found |= days_told(times, self._day_of)
        return found

    def _whole(self, part: Activity | Booked, *, as_of: int | None = None) -> tuple[tuple[int, ...], ActiveDays, Lives]:
        """Minutes, days and lives of a part and of its sessions told as summaries; as of the end of a day, or now."""
        minutes, since_day, day_bits, lives = part.minutes, part.since_day, part.day_bits, part.lives
        for times in part.summaries.values():
            for at_ms in moments(times) if as_of is None else moments_as_of(times, as_of, self._day_of):
                minute, day = at_ms // MINUTE_MS, self._day_of(at_ms)
                minutes = add_minute(minutes, minute, self.ring.now)
                if not has_day(since_day, day_bits, day):
                    since_day, day_bits = add_day(since_day, day_bits, day)
                lives = with_day(lives, day, minute, memory_days=self._memory_days)
        bits = int.from_bytes(day_bits, "little")
        return minutes, ActiveDays(since_day, bits, part.before_day, self._first_days(lives)), lives

    def _standings_with_summaries(
        self, part: Activity | Booked, days: ActiveDays, told_on: Iterable[int]
    ) -> list[Standing]:
        """Where a user counts, some of whose sessions may have been told otherwise until the days of `told_on`."""
        told = told_of(part)
        told_days = [self._day_of(one.at_ms) for one in told]
        final = days.since_day, days.bits
        changes = sorted({*days_since(final, days.since_day), *told_days, *told_on})
        otherwise_until = max(told_on, default=-1)
        found = [Standing(-1, NO_DAY, NOT_TOLD)]
        for day in changes:
            as_known = final
            if day < otherwise_until:
                then = self._whole(part, as_of=day)[1]
                as_known = then.since_day, then.bits
            found.append(standing(day, as_known, told_days, told))
        return found

    def by_day_of(self, live: Mapping[int, Mapping[Field, int]]) -> dict[int, Tally]:
        """New users by the local day of their first activity."""
        return {
            window: {int(field.removeprefix(_NEW)): users for field, users in tally.items() if _is_new(field)}
            for window, tally in live.items()
        }

    def sums(self) -> Sums:
        told = super().sums()
        longest = max(self.lengths.values())
        if self.segments and longest not in told.segments:  # by its users values get their names
            by_segment = {**told.segments, longest: segments.of_values(self.ring.sums()[longest])}
            return msgspec.structs.replace(told, segments=by_segment)
        return told

    # -- numbers ---------------------------------------------------------------------------------------------------

    def live(self, sums: Sums) -> Iterator[Sample]:
        return samples.live(sums, self.lengths)

    def of_window(self, labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
        """Stickiness takes several windows: all are told together."""
        yield from ()

    def of_value(self, of_windows: Mapping[int, Mapping[int, int]], lengths: Mapping[str, int]) -> Iterator[Sample]:
        return samples.of_value(of_windows, lengths)

    def closed_sums(self, day: int, first_known: int) -> OfWindows:
        days = self.days.as_of(day, day - self.closed_reach() + 1)
        held = ((number, self._sorted(number, amounts)) for number, amounts in days)
        cohorts_from = self.rules.cohorts_from
        told = closing.closed_sums(held, day, self.closed_lengths, first_known=first_known, cohorts_from=cohorts_from)
        if self.segments:
            lengths = {*self.closed_segment_lengths().values(), max(self.closed_lengths)}
            for length, tally in self._values_by_day.windows(day, [*lengths]).items():
                told[length].update(tally)
        return told

    def books(self) -> tuple[DayBook, ...]:
        return (self.days, self._values_by_day)

    def _sorted(self, number: int, amounts: Mapping[Field, int]) -> calendar.Day:
        """What a day holds, sorted once for all days that reach it as long as it does not change."""
        if not self.days.holds(number, amounts):
            return calendar.day_of(amounts)  # something of it counts otherwise since a later day
        version, known = self.days.versions.get(number, 0), self._days_sorted.get(number)
        if known is None or known[0] != version:
            if len(self._days_sorted) >= 2 * self.closed_reach():
                self._days_sorted.clear()
            known = self._days_sorted[number] = version, calendar.day_of(amounts)
        return known[1]

    def closed_reach(self) -> int:
        return closing.reach(self.closed_lengths)

    def closed(self, of_windows: OfWindows, day: int, *, whole_since: int) -> Iterator[Sample]:
        return samples.closed(
            of_windows, day, self.closed_lengths, whole_since=whole_since, memory_days=self._memory_days
        )


# New users are a field for each local day: which days are whole is known only where all partitions are.
_NEW = "new "


@lru_cache(maxsize=4_096)
def _new_on(day: int) -> Mapping[Field, int]:
    return {f"{_NEW}{day}": 1}


def _is_new(field: Field) -> TypeGuard[str]:
    return isinstance(field, str) and field.startswith(_NEW)


_users_of = itemgetter(1)


def _bookings(days: ActiveDays, first: int) -> list[Booking]:
    """What active days from one on add, each on its own day."""
    return [Booking(day, amounts_of(age, gap, window)) for day, age, gap, window in days.facts(first)]


@lru_cache(maxsize=16_384)
def _amounts(values: Values) -> Mapping[Field, int]:
    """What one active user adds: one user, and one of each value that is known."""
    return {**_ONE_USER, **segments.fields_of(values, USERS)}


def _day_bits(part: Activity | Booked) -> DayBits:
    return part.since_day, int.from_bytes(part.day_bits, "little")


def _is_only_told_later(before: Booked, part: Activity) -> bool:
    """Whether all that is new of what was told is of a later day."""
    known = told_of(before)
    return len(part.told_earlier) == len(known) and all(map(is_, part.told_earlier, known))
