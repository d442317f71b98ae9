"""Active users: DAU, WAU, MAU and stickiness, new users, and active users by segment.

A user is booked in the minute of the last activity, and moves to a newer minute with the next one. So a rolling
distinct count is a sum of buckets, and no loop over users is needed. For closed days each user has one bit for each
day. What an active day adds to closed days is booked on that day (`calendar`), and all their numbers follow from it
(`closing`). The attributes of a user are booked with the user, in fields of their own. So the values of a segment and
`unknown`, which is the rest, add up to the active users of each window.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from operator import is_, itemgetter
from typing import Any, TypeGuard

import msgspec

from stream.core import reuse, segments
from stream.core.days import Amounts, DayBook, OfWindows, Version
from stream.core.events import AccountChange, Event, FeatureUsed, Login, SignUps, Step, Summary
from stream.core.families.activity import calendar, closing, samples
from stream.core.families.activity.calendar import ACTIVE_USERS, ActiveDays, amounts_of
from stream.core.families.activity.known_periods import (
    NEVER,
    KnownPeriods,
    attribute_days,
    first_minutes,
    last_active,
    needed_periods,
    with_day,
)
from stream.core.families.activity.metrics import METRICS, NAMES_BY_SEGMENT
from stream.core.families.activity.part import (
    NO_QUARTER_HOUR,
    Activity,
    Booked,
    SummaryTimes,
    active_days,
    add_day,
    attributes_by_day,
    days_reported,
    has_day,
    last_day,
    moments,
    moments_as_of,
    with_times,
    without_days_before,
)
from stream.core.families.activity.standings import (
    NO_DAY,
    Counted,
    DayBits,
    KnownAttributes,
    Standing,
    count_changes,
    day_at_or_before,
    days_since,
    first_day_of_difference,
    only_new_day,
)
from stream.core.families.family import BySegment, EventHandler, Family, Horizon, one_by_one
from stream.core.first_week import (
    NEVER_AGAIN,
    POOLED_DAYS,
    WEEK_DAYS,
    Bookings,
    add_weeks,
    add_weeks_between,
    last_cohort,
)
from stream.core.readable import readable
from stream.core.reuse import LONGEST_PAUSE_MS
from stream.core.ring import Booking, add_minute, latest_and_future, latest_bookings
from stream.core.rules import Rules
from stream.core.samples import Labels, Sample
from stream.core.segments import NO_ATTRIBUTES, SEGMENTS, USERS, AttributeValues, values_of
from stream.core.snapshot import Sums
from stream.core.tally import Field, Tally, add
from stream.core.time import DAY_MS, MINUTE_MS, QUARTER_HOUR_MS, Span, date_of
from stream.core.windows import ACTIVITY, SEGMENTS_ACTIVITY

# Two months of days are stored, so that a month can be compared with the one before; more if a window is longer.
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
        self._days_kept = self._calculated_days_kept()
        self._span, self._attributes_span = Span(rules.days), Span(rules.days)
        self._segmented = bool(self.segments)
        # Users by value: a book of its own, for in this one what is booked is superseded with each active day.
        self._values_by_day = DayBook(f"{self.name}-segments")
        # Active days of first weeks, on the days of signing up.
        self._first_weeks = DayBook(f"{self.name}-first-weeks")
        self._days_sorted: dict[int, tuple[int, calendar.Day]] = {}

    @classmethod
    def state_settings(cls, rules: Rules) -> dict[str, str]:
        whole_since = (
            "the day after the first event" if rules.cohorts_from is None else str(date_of(rules.cohorts_from))
        )
        own = {"memory": f"{rules.memory_days}d"}
        return {**super().state_settings(rules), **own, "cohorts_from": whole_since}

    # -- the part of a user ----------------------------------------------------------------------------------------

    def handlers(self) -> Mapping[type[Event], EventHandler]:
        return {
            Step: self.apply_steps,
            Login: one_by_one(self.apply_login),
            Summary: one_by_one(self.apply_summary),
            AccountChange: one_by_one(self.apply_account),
            FeatureUsed: one_by_one(self.apply_feature),
            SignUps: one_by_one(self.apply_sign_ups),
            Event: one_by_one(self.apply_other),
        }

    def apply_steps(self, part: Activity, steps: Sequence[Step], changed: bytearray, now: int) -> None:
        """A step makes its user active, unless it is not interactive or is the end of a session."""
        for index, step in enumerate(steps):
            if step.is_end or not step.is_interactive:
                if self.apply_other(part, step, now):
                    changed[index] = True
            elif self._apply_activity(part, step.at_ms, step.segments, now):
                changed[index] = True

    def apply_login(self, part: Activity, login: Login, now: int) -> bool:
        """A successful login makes its user active."""
        if not login.success:
            return self.apply_other(part, login, now)
        return self._apply_activity(part, login.at_ms, login.segments, now)

    def apply_feature(self, part: Activity, event: FeatureUsed, now: int) -> bool:
        """The use of a feature makes its user active, unless no person did it."""
        if not event.is_interactive:
            return self.apply_other(part, event, now)
        return self._apply_activity(part, event.at_ms, event.segments, now)

    def apply_other(self, part: Activity, event: Event, now: int) -> bool:
        """Any other event does not make its user active, but shows that the user still exists."""
        known_periods = with_day(part.known_periods, self._day_of(event.at_ms), NEVER, memory_days=self._memory_days)
        if known_periods is part.known_periods:
            return False
        if part.booked is None:
            self._record_booked(part)
        part.known_periods, part.quarter_hour = known_periods, NO_QUARTER_HOUR
        return True

    def apply_account(self, part: Activity, event: AccountChange, now: int) -> bool:
        """What happens to an account makes nobody active, but it may tell the values of segments, as of the plan."""
        values = event.segments
        has_told = (
            values is not NO_ATTRIBUTES and self._segmented and self._update_attributes(part, event.at_ms, values)
        )
        return self.apply_other(part, event, now) or has_told

    def apply_sign_ups(self, part: Activity, event: SignUps, now: int) -> bool:
        """The first week of a user begins with the day of signing up."""
        before = tuple(at_ms for at_ms in part.signed_up_ms if at_ms < event.at_ms)
        signed_up_ms = (*before, *(at_ms for at_ms in event.signed_up_ms if at_ms >= event.at_ms))
        if signed_up_ms == part.signed_up_ms:
            return False
        if part.booked is None:
            self._record_booked(part)
        part.signed_up_ms = signed_up_ms
        return True

    def _apply_activity(self, part: Activity, at_ms: int, values: AttributeValues, now: int) -> bool:
        """Record that the user was active at this time: the minute, the day, the known period and the attributes."""
        has_changed = values is not NO_ATTRIBUTES and self._segmented and self._update_attributes(part, at_ms, values)
        minute, minutes = at_ms // MINUTE_MS, part.minutes
        if minute in minutes:  # a minute lies in one day
            return has_changed
        # The common case, fast.
        if at_ms // QUARTER_HOUR_MS == part.quarter_hour and minute > minutes[-1] and minute <= now:
            if part.booked is None:
                self._record_booked(part)
            part.minutes = (minute,)
            return True
        after = add_minute(minutes, minute, now)
        day = self._day_of(at_ms)
        is_known_day, known_periods = has_day(part.since_day, part.day_bits, day), part.known_periods
        periods_after = with_day(known_periods, day, minute, memory_days=self._memory_days)
        if not is_known_day or after is not minutes or periods_after is not known_periods:
            if part.booked is None:
                self._record_booked(part)
            part.minutes, part.known_periods, has_changed = after, periods_after, True
            if not is_known_day:
                part.since_day, part.day_bits = add_day(part.since_day, part.day_bits, day)
        # All later minutes of this quarter of an hour lie in the same day and the same known period.
        part.quarter_hour = at_ms // QUARTER_HOUR_MS
        return has_changed

    def _update_attributes(self, part: Activity, at_ms: int, values: AttributeValues) -> bool:
        """Take over the attributes of an event. Returns whether anything has changed."""
        if self.segments is not SEGMENTS:
            values = segments.only(values, self.segments)
        attributes = part.attributes
        if attributes is not None and values is attributes.values and not attributes.times:  # the common case, fast
            if attributes.at_ms < at_ms < part.attributes_until_ms:
                attributes.at_ms = at_ms
                return True
            if part.attributes_since_ms <= at_ms <= attributes.at_ms:
                return False
        return self._add_attributes(part, at_ms, values)

    def _add_attributes(self, part: Activity, at_ms: int, values: AttributeValues) -> bool:
        """The same where values may change, or are of a day on which none was told yet."""
        values, known = self.apart.of(values), attributes_by_day(part)
        after = known if values is NO_ATTRIBUTES else segments.newest_by_day(known, values, at_ms, self._day_of)
        if after is known:
            return False
        if part.booked is None:
            self._record_booked(part)
        *earlier, part.attributes = after
        part.earlier_attributes = tuple(earlier)
        self._attributes_span.end_of_day(part.attributes.at_ms)
        part.attributes_since_ms, part.attributes_until_ms = (
            self._attributes_span.starts_ms,
            self._attributes_span.ends_ms,
        )
        return True

    def apply_summary(self, part: Activity, summary: Summary, now: int) -> bool:
        """A whole session makes its user active at its start and at its end, according to its highest revision."""
        values = summary.segments
        has_told = (
            values is not NO_ATTRIBUTES and self._segmented and self._update_attributes(part, summary.at_ms, values)
        )
        summaries, name, ended_ms = part.summaries, summary.session_id, summary.at_ms
        span = ended_ms if summary.start_is_late else summary.started_ms, ended_ms
        near = reuse.keys_near(summaries, name, span, LONGEST_PAUSE_MS, SummaryTimes.span)
        known, told = [summaries[key] for key in near], None
        first_ms = summary.started_ms
        if summary.start_is_late:
            first_ms = min((ended_ms, *(one.first_ms for one in known)))
            told = None if first_ms == ended_ms else span
        times = with_times(known, SummaryTimes(summary.revision, ended_ms, first_ms, (), told), self._span)
        if times is None:
            return has_told
        if part.booked is None:
            self._record_booked(part)
        reuse.put(summaries, name, times, near, SummaryTimes.span)
        return True

    def _record_booked(self, part: Activity) -> None:
        """Record what is booked of a part before it changes."""
        summaries = dict(part.summaries) if part.summaries else _NO_SUMMARIES
        days = part.minutes, part.since_day, part.day_bits, part.before_day
        part.booked = Booked(
            *days, part.attributes, part.earlier_attributes, summaries, part.known_periods, part.signed_up_ms
        )
        self.changed.append(part)

    def new(self) -> Activity:
        return Activity()

    def decode(self, stored: msgspec.Raw) -> Activity:
        return _decode(stored)

    def stored(self, part: Activity) -> object:
        if part.summaries or part.signed_up_ms:
            days = part.since_day, part.day_bits, part.before_day
            attributes = part.attributes, part.earlier_attributes
            return (part.minutes, part.known_periods, *days, *attributes, part.summaries, part.signed_up_ms)
        if part.earlier_attributes:
            days = part.since_day, part.day_bits, part.before_day
            return (part.minutes, part.known_periods, *days, part.attributes, part.earlier_attributes)
        if part.minutes or part.known_periods or part.attributes is not None:
            return (part.minutes, part.known_periods, part.since_day, part.day_bits, part.before_day, part.attributes)
        return None

    def long_term_part(self, part: Activity) -> Activity | None:
        """The last known period, if the user was active in it or it has attributes, and these attributes."""
        if not part.known_periods:
            return None
        *earlier, last = part.known_periods
        if earlier:
            self._drop_attributes(part, until_day=earlier[-1].last_day)
        if last.first_minute != NEVER:
            return Activity(known_periods=(last,), before_day=last_day(part), attributes=part.attributes)
        # An event of this period may still make the user active, who has these attributes then.
        return None if part.attributes is None else Activity(known_periods=(last,), attributes=part.attributes)

    def prune(self, part: Activity, horizon: Horizon) -> None:
        before_ms = max(0, horizon.before_ms)
        if part.summaries:
            self._merge_final_summaries(part, horizon)
            # A revision can still move the others, and what adjoins them is needed for that.
            before_ms = min([before_ms, *(_first_ms(times) for times in part.summaries.values())])
        if len(part.minutes) > 1:
            part.minutes = latest_and_future(part.minutes, horizon.now)
        days_kept = self._days_kept
        before_day = self._day_of(before_ms)
        without_days_before(part, before_day - days_kept)
        part.quarter_hour = NO_QUARTER_HOUR
        if part.signed_up_ms:
            # Who is erased is taken out of all cohorts that a closed day looks back to.
            needed_since = before_day - (2 * WEEK_DAYS + POOLED_DAYS if self.rules.erases else WEEK_DAYS)
            part.signed_up_ms = tuple(at_ms for at_ms in part.signed_up_ms if self._day_of(at_ms) >= needed_since)
        if part.earlier_attributes:
            # Of the days that nothing can change any more the last is needed: what was known when the others began.
            attributes = attributes_by_day(part)
            over = sum(self._day_of(one.at_ms) < before_day for one in attributes)
            part.earlier_attributes = attributes[max(0, over - 1) : -1]
        if len(part.known_periods) > 1:
            self._prune_periods(part, before_day, kept_days=max(self._memory_days, days_kept))

    def _calculated_days_kept(self) -> int:
        """How many active days are kept, counted back from the first that an event may be of."""
        kept = max(DAYS_KEPT, max(self.lengths.values()) * MINUTE_MS // DAY_MS)
        # Who is erased is taken out of all days that a closed one looks back to, each of which tells the 27 before it.
        return max(kept, self.closed_reach() + calendar.WEEKS_DAYS) if self.rules.erases else kept

    def _prune_periods(self, part: Activity, before_day: int, *, kept_days: int) -> None:
        """Drop the periods that no event can join with another one, and that no window reaches."""
        periods = part.known_periods
        kept = needed_periods(periods, before_day, kept_days=kept_days)
        if len(kept) < len(periods):
            part.known_periods = kept
            dropped = [period.last_day for period in periods[: last_active(periods)] if period not in kept]
            self._drop_attributes(part, until_day=max(dropped, default=-1))

    def _drop_attributes(self, part: Activity, *, until_day: int) -> None:
        """Drop the attributes of events up to a day."""
        if until_day < 0 or part.attributes is None:
            return
        known = (segments.attributes_since(one, lambda at_ms: self._day_of(at_ms) > until_day)
                 for one in attributes_by_day(part))  # fmt: skip
        kept = tuple(one for one in known if one is not None)
        part.attributes, part.earlier_attributes = (kept[-1], kept[:-1]) if kept else (None, ())
        part.attributes_since_ms = part.attributes_until_ms = 0

    def _forgotten_until(self, periods: KnownPeriods) -> int:
        """The day up to which attributes don't count any more; -1 if all count."""
        last = last_active(periods)
        return periods[last - 1].last_day if last > 0 else -1

    def _values(self, part: Activity | Booked, periods: KnownPeriods) -> AttributeValues:
        """The attributes that count now, for a user with these known periods."""
        attributes = part.attributes
        if attributes is not None and len(periods) > 1:
            until_day = self._forgotten_until(periods)
            attributes = segments.attributes_since(attributes, lambda at_ms: self._day_of(at_ms) > until_day)
        return values_of(attributes)

    def _merge_final_summaries(self, part: Activity, horizon: Horizon) -> None:
        """Treat sessions that no revision can change any more like other activity. What is booked stays the same."""
        # The family of sessions keeps them for as long. A later event belongs to another session.
        final_before_ms = horizon.before_ms - LONGEST_PAUSE_MS - self.rules.session_timeout_ms
        for session_id, times in list(part.summaries.items()):
            if times.span()[1] < final_before_ms:
                del part.summaries[session_id]
                for at_ms in moments(times):
                    minute, day = at_ms // MINUTE_MS, self._day_of(at_ms)
                    part.minutes = add_minute(part.minutes, minute, horizon.now)
                    part.since_day, part.day_bits = add_day(part.since_day, part.day_bits, day)
                    part.known_periods = with_day(part.known_periods, day, minute, memory_days=self._memory_days)

    def last_ms(self, part: Activity) -> int:
        ends = (times.span()[1] for times in part.summaries.values())
        last_day = part.known_periods[-1].last_day if part.known_periods else 0
        return max(0, max(part.minutes, default=0) * MINUTE_MS, max(ends, default=0), last_day * DAY_MS)

    def min_retention_ms(self) -> int:
        least_ms = max(DAYS_KEPT * DAY_MS, super().min_retention_ms())
        return max(least_ms, (self._days_kept + 2) * DAY_MS) if self.rules.erases else least_ms

    # -- totals ----------------------------------------------------------------------------------------------------

    def book(self, parts: list[Activity]) -> None:
        # Active days that add the same: of users who are new, or here again after the same days.
        counted: dict[tuple[int, int, int, int], int] = {}
        by_value: Counted = {}
        for part in parts:
            before, part.booked = part.booked, None
            assert before is not None
            if before.signed_up_ms or part.signed_up_ms:
                self._rebook_first_weeks(before, part)
            if before.summaries or part.summaries:
                self._rebook_with_summaries(before, part, by_value)
                continue
            known_periods = part.known_periods
            values_before, values = self._values(before, before.known_periods), self._values(part, known_periods)
            self._rebook(before.minutes, values_before, part.minutes, values)
            if self.segments:
                self._rebook_values(before, values_before, part, values, by_value)
            if (
                before.known_periods is not known_periods
                or before.day_bits != part.day_bits
                or before.since_day != part.since_day
            ):
                if before.known_periods is not known_periods:
                    self._rebook_new_users(before.known_periods, known_periods)
                self._rebook_days(self._active_days(before), self._active_days(part), counted)
        self._book_counted(counted)
        self._book_values(by_value)

    def readable(self, part: Activity) -> Any:
        told = readable(part)
        for internal in ("since_day", "day_bits", "quarter_hour", "attributes_since_at", "attributes_until_at"):
            del told[internal]
        days = [str(date_of(day)) for day in active_days(part.since_day, part.day_bits)] if part.day_bits else []
        return {"active_days": days, **told}

    def take_out(self, part: Activity) -> None:
        self._record_booked(part)
        before = self.changed.pop().booked
        assert before is not None
        gone = self.new()
        by_value: Counted = {}
        if before.signed_up_ms:
            self._rebook_first_weeks(before, gone)
        first = _first_exact_day(before)
        if before.summaries:
            self._rebook_with_summaries(before, gone, by_value, first_exact=first)
        else:
            values = self._values(before, before.known_periods)
            if before.minutes:
                self.ring.book(latest_bookings(before.minutes, _amounts(values)), times=-1)
            self._rebook_new_users(before.known_periods, ())
            self.days.book(_bookings(self._active_days(before), first, self._whole_since()), times=-1)
            if self.segments:
                known = self._known_attributes(before, before.known_periods)
                count_changes(by_value, self._standings(_day_bits(before), known, before.since_day), -1)
        self._book_values(by_value)

    def _book_values(self, by_value: Counted) -> None:
        for (since, day, values), users in by_value.items():
            if users and values is not NO_ATTRIBUTES:
                self._values_by_day.count_since(since, day, segments.fields_of(values, USERS), users)

    def _book_counted(self, counted: Mapping[tuple[int, int, int, int], int]) -> None:
        """Book the active days of users, each day by its own facts."""
        changed = [one for one in counted.items() if one[1]]
        if any(users < 0 for _, users in changed):
            changed.sort(key=_users_of, reverse=True)  # what is taken out is there then
        for (day, age, gap, window), users in changed:
            calendar.count(self.days.on(day), day, age, gap, window, users, self._whole_since())

    def _whole_since(self) -> int:
        """The first day of which all is known as far as this partition can tell."""
        return self.first_known + 1 if self.rules.cohorts_from is None else self.rules.cohorts_from

    def _active_days(self, part: Activity | Booked) -> ActiveDays:
        bits = int.from_bytes(part.day_bits, "little")
        return ActiveDays(part.since_day, bits, part.before_day, self._first_days(part.known_periods))

    def _first_days(self, known_periods: KnownPeriods) -> list[int]:
        return [self.day_of_minute(minute) for minute in first_minutes(known_periods)]

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

    def _rebook_new_users(self, before: KnownPeriods, after: KnownPeriods) -> None:
        removed, added = first_minutes(before), first_minutes(after)
        if removed != added:
            for minutes, times in ((removed, -1), (added, 1)):
                for minute in minutes:
                    self.ring.count(minute, _new_on(self.day_of_minute(minute)), times)

    def _rebook(
        self, before: tuple[int, ...], values_before: AttributeValues, after: tuple[int, ...], values: AttributeValues
    ) -> None:
        """Book the minute of the last activity, under the values that are known now."""
        removed, added = _amounts(values_before), _amounts(values)
        if before == after and removed is added:
            return
        if before:
            self.ring.book(latest_bookings(before, removed), times=-1)
        self.ring.book(latest_bookings(after, added))

    # -- the first week of those who signed up ---------------------------------------------------------------------

    def _rebook_first_weeks(self, before: Booked, part: Activity) -> None:
        """Book on the days of signing up on which days of the first week the user was active, if that has changed."""
        difference: Bookings = Counter()
        self._add_first_weeks(difference, before, -1)
        self._add_first_weeks(difference, part, 1)
        for (signed_up, since, until, field), times in difference.items():
            if times:
                ends = None if until == NEVER_AGAIN else until
                self._first_weeks.book([Booking(signed_up, {field: times}, ends, since)])

    def _add_first_weeks(self, to: Bookings, part: Activity | Booked, times: int) -> None:
        if not part.signed_up_ms:
            return
        signed_up_on = [self._day_of(at_ms) for at_ms in part.signed_up_ms]

        def active(as_of: int | None = None) -> Iterable[int]:
            days = self._with_summaries(part, as_of=as_of)[1]
            return active_days(days.since_day, days.bits.to_bytes(days.bits.bit_length() + 7 >> 3, "little"))

        known = list(active())
        add_weeks(to, signed_up_on, known, times)
        # Until some days another session was known.
        for since, until in pairwise(sorted(self._reported_days(part)) if part.summaries else ()):
            add_weeks_between(to, signed_up_on, active(as_of=until - 1), since, until, times)
            add_weeks_between(to, signed_up_on, known, since, until, -times)

    # -- users by the values of segments, on closed days -------------------------------------------------------------

    def _rebook_values(
        self,
        before: Booked,
        values_before: AttributeValues,
        part: Activity,
        values: AttributeValues,
        by_value: Counted,
    ) -> None:
        """Note under which value a user counts on closed days now: mostly as before, but for a day that is new."""
        has_told = before.attributes is not part.attributes or before.earlier_attributes is not part.earlier_attributes
        has_days = before.day_bits != part.day_bits or before.since_day != part.since_day
        has_periods = len(before.known_periods) > 1 or len(part.known_periods) > 1
        if not (has_told or has_days or has_periods):
            return
        removed, added = _day_bits(before), _day_bits(part)
        day = only_new_day(removed, added) if has_days and not has_periods else None
        told_on = NO_DAY if part.attributes is None else self._day_of(part.attributes.at_ms)
        # What was told on a later day, as of an account, does not count on this one; and what was told on an earlier
        # day counts on that too.
        is_told_on_it = not has_told or (told_on == day and _has_only_later_attributes(before, part))
        if day is not None and told_on <= day and is_told_on_it:
            # The common case, fast.
            last_day = day_at_or_before(removed, day)
            standings = [Standing(-1, last_day, values_before), Standing(day, day, values)]
            count_changes(by_value, standings, 1)
            return
        known_before = self._known_attributes(before, before.known_periods)
        known = self._known_attributes(part, part.known_periods)
        days = (first_day_of_difference(removed, added), known.first_difference(known_before))
        first = min((day for day in days if day is not None), default=None)
        if first is not None:
            for day_bits, its_attributes, times in ((removed, known_before, -1), (added, known, 1)):
                count_changes(by_value, self._standings(day_bits, its_attributes, first), times)

    def _known_attributes(self, part: Activity | Booked, periods: KnownPeriods) -> KnownAttributes:
        return KnownAttributes(attributes_by_day(part), attribute_days(periods, self.day_of_minute), self._day_of)

    def _standings(self, day_bits: DayBits, attributes: KnownAttributes, first: int) -> list[Standing]:
        """Where a user counts at the end of the day before `first`, and then wherever that changes."""
        days = {*days_since(day_bits, first), *(day for day in attributes.days if day >= first)}
        return [attributes.standing(day, day_bits) for day in (first - 1, *sorted(days))]

    # -- users some of whose sessions are told as summaries ----------------------------------------------------------

    def _rebook_with_summaries(
        self, before: Booked, part: Activity, by_value: Counted, *, first_exact: int = 0
    ) -> None:
        """The same as `book` for one user; days before `first_exact` are left as they are."""
        minutes_before, days_before, periods_before = self._with_summaries(before)
        minutes, days, known_periods = self._with_summaries(part)
        self._rebook_new_users(periods_before, known_periods)
        values_before, values = self._values(before, periods_before), self._values(part, known_periods)
        self._rebook(minutes_before, values_before, minutes, values)
        reported_before, reported = self._reported_days(before), self._reported_days(part)
        both = (
            (before, days_before, periods_before, reported_before, -1),
            (part, days, known_periods, reported, 1),
        )
        if self.segments:
            for one, its_days, periods, reported_on, times in both:
                standings = self._standings_with_summaries(one, its_days, periods, reported_on)
                count_changes(by_value, standings, times)
        first = days_before.first_difference(days)
        if reported_before or reported:
            first = min(reported_before | reported) if first is None else min(first, *reported_before, *reported)
        if first is not None:
            whole_since, first = self._whole_since(), max(first, first_exact)
            for one, its_days, _, reported_on, times in both:
                final = _bookings(its_days, first, whole_since)
                self.days.book(final, times=times)
                versions = [
                    Version(since, until, _bookings(self._with_summaries(one, as_of=until - 1)[1], first, whole_since))
                    for since, until in pairwise(sorted(reported_on))
                ]
                self.days.book_versions(final, versions, times=times)

    def _reported_days(self, part: Activity | Booked) -> set[int]:
        """The days on which something was told of sessions that were told otherwise before."""
        found: set[int] = set()
        for times in part.summaries.values():
            if times.earlier:
                found |= days_reported(times, self._day_of)
        return found

    def _with_summaries(
        self, part: Activity | Booked, *, as_of: int | None = None
    ) -> tuple[tuple[int, ...], ActiveDays, KnownPeriods]:
        """Minutes, days and lives of a part and of its sessions told as summaries; as of the end of a day, or now."""
        minutes, since_day, day_bits, known_periods = part.minutes, part.since_day, part.day_bits, part.known_periods
        for times in part.summaries.values():
            for at_ms in moments(times) if as_of is None else moments_as_of(times, as_of, self._day_of):
                minute, day = at_ms // MINUTE_MS, self._day_of(at_ms)
                minutes = add_minute(minutes, minute, self.ring.now)
                if not has_day(since_day, day_bits, day):
                    since_day, day_bits = add_day(since_day, day_bits, day)
                known_periods = with_day(known_periods, day, minute, memory_days=self._memory_days)
        bits = int.from_bytes(day_bits, "little")
        return minutes, ActiveDays(since_day, bits, part.before_day, self._first_days(known_periods)), known_periods

    def _standings_with_summaries(
        self, part: Activity | Booked, days: ActiveDays, periods: KnownPeriods, reported_on: Iterable[int]
    ) -> list[Standing]:
        """Where a user counts, some of whose sessions may have been told otherwise until the days of `reported_on`."""
        final_attributes = self._known_attributes(part, periods)
        final = days.since_day, days.bits
        changes = sorted({*days_since(final, days.since_day), *final_attributes.days, *reported_on})
        otherwise_until = max(reported_on, default=-1)
        found = [Standing(-1, NO_DAY, NO_ATTRIBUTES)]
        for day in changes:
            as_known, attributes = final, final_attributes
            if day < otherwise_until:
                _, then, periods_then = self._with_summaries(part, as_of=day)
                as_known, attributes = (then.since_day, then.bits), self._known_attributes(part, periods_then)
            found.append(attributes.standing(day, as_known))
        return found

    def by_day_of(self, live: Mapping[int, Mapping[Field, int]]) -> dict[int, Tally]:
        """New users by the local day of their first activity."""
        return {
            window: {int(field.removeprefix(_NEW)): users for field, users in tally.items() if _is_new(field)}
            for window, tally in live.items()
        }

    def sums(self) -> Sums:
        sums = super().sums()
        longest = max(self.lengths.values())
        if self.segments and longest not in sums.segments:  # by its users values get their names
            by_segment = {**sums.segments, longest: segments.of_values(self.ring.sums()[longest])}
            return msgspec.structs.replace(sums, segments=by_segment)
        return sums

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
        sums = closing.closed_sums(held, day, self.closed_lengths, first_known=first_known, cohorts_from=cohorts_from)
        if self.segments:
            lengths = {*self.closed_segment_lengths().values(), max(self.closed_lengths)}
            for length, tally in self._values_by_day.windows(day, [*lengths]).items():
                sums[length].update(tally)
        last = last_cohort(day, self.rules.days.starts_ms)
        of_first_weeks: Amounts = {}
        for _, amounts in self._first_weeks.as_of(day, last - POOLED_DAYS + 1, last):
            add(of_first_weeks, amounts)
        if of_first_weeks:
            sums[samples.FIRST_WEEKS] = of_first_weeks
        return sums

    def books(self) -> tuple[DayBook, ...]:
        return (self.days, self._values_by_day, self._first_weeks)

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


# New users have a field for each local day, because only the server knows the first event of all partitions, and so the
# first whole day.
_NEW = "new "


@lru_cache(maxsize=4_096)
def _new_on(day: int) -> Mapping[Field, int]:
    return {f"{_NEW}{day}": 1}


def _is_new(field: Field) -> TypeGuard[str]:
    return isinstance(field, str) and field.startswith(_NEW)


_users_of = itemgetter(1)


def _bookings(days: ActiveDays, first: int, whole_since: int) -> list[Booking]:
    """What active days from one on add, each on its own day."""
    return [Booking(facts[0], amounts_of(*facts, whole_since=whole_since)) for facts in days.facts(first)]


@lru_cache(maxsize=16_384)
def _amounts(values: AttributeValues) -> Mapping[Field, int]:
    """What one active user contributes: one user, and one for each value of a segment."""
    return {**_ONE_USER, **segments.fields_of(values, USERS)}


def _first_exact_day(before: Booked) -> int:
    """The first day of which it is known what it adds: which of the 27 days before it were active."""
    return before.before_day + calendar.WEEKS_DAYS if before.before_day != NO_DAY else 0


def _first_ms(times: SummaryTimes) -> int:
    """The earliest beginning of a session according to any summary that makes a difference."""
    return min(one.first_ms for one in (times, *times.earlier))


def _day_bits(part: Activity | Booked) -> DayBits:
    return part.since_day, int.from_bytes(part.day_bits, "little")


def _has_only_later_attributes(before: Booked, part: Activity) -> bool:
    """Whether all that is new of what was told is of a later day."""
    known = attributes_by_day(before)
    return len(part.earlier_attributes) == len(known) and all(map(is_, part.earlier_attributes, known))
