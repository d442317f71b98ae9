"""Active users: DAU, WAU, MAU and stickiness, new users, and active users by segment.

A user is booked in the minute of the last activity, and moves to a newer minute with the next one. So a rolling
distinct count is a sum of buckets, and no loop over users is needed. For closed days each user has one bit for each
day, and the ledger of days counts the users. The attributes of a user are booked with the user, in fields of their own.
So the values of a segment and `unknown`, which is the rest, add up to the active users of each window.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TypeGuard

import msgspec

from stream.core import segments
from stream.core.events import Event, Login, Step, Summary
from stream.core.families.activity import samples
from stream.core.families.activity.known_periods import NEVER, KnownPeriods, changeable_periods, first_minutes, with_day
from stream.core.families.activity.metrics import METRICS
from stream.core.families.activity.part import (
    NO_QUARTER_HOUR,
    Activity,
    Booked,
    SummaryTimes,
    active_days,
    add_day,
    add_minute,
    has_day,
    latest_and_future,
    without_days_before,
)
from stream.core.families.activity.samples import ACTIVE_USERS
from stream.core.families.family import EventHandler, Family, Horizon, one_by_one
from stream.core.ring import latest_bookings
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.segments import NO_ATTRIBUTES, SEGMENTS, AttributeValues
from stream.core.snapshot import Sums
from stream.core.tally import Field, Tally
from stream.core.time import DAY_MS, MINUTE_MS, QUARTER_HOUR_MS
from stream.core.windows import ACTIVITY

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
    has_closed_days = True

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._day_of = rules.days.day_of
        self._segments = rules.segments
        self._memory_days = rules.memory_days

    @classmethod
    def state_settings(cls, rules: Rules) -> dict[str, str]:
        own = {"segments": ",".join(rules.segments) or "none", "memory": f"{rules.memory_days}d"}
        return {**super().state_settings(rules), **own}

    # -- the part of a user ----------------------------------------------------------------------------------------

    def handlers(self) -> Mapping[type[Event], EventHandler]:
        return {
            Step: self.apply_steps,
            Login: one_by_one(self.apply_login),
            Summary: one_by_one(self.apply_summary),
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

    def apply_other(self, part: Activity, event: Event, now: int) -> bool:
        """Any other event does not make its user active, but shows that the user still exists."""
        known_periods = with_day(part.known_periods, self._day_of(event.at_ms), NEVER, memory_days=self._memory_days)
        if known_periods is part.known_periods:
            return False
        if part.booked is None:
            self._record_booked(part)
        part.known_periods, part.quarter_hour = known_periods, NO_QUARTER_HOUR
        return True

    def _apply_activity(self, part: Activity, at_ms: int, values: AttributeValues, now: int) -> bool:
        """Record that the user was active at this time: the minute, the day, the known period and the attributes."""
        has_changed = values is not NO_ATTRIBUTES and self._update_attributes(part, at_ms, values)
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
        if self._segments is not SEGMENTS:
            values = segments.only(values, self._segments)
        attributes = part.attributes
        if attributes is not None and values is attributes.values and not attributes.times:  # the common case, fast
            if at_ms <= attributes.at_ms:
                return False
            attributes.at_ms = at_ms
            return True
        after = segments.newest_attributes(attributes, values, at_ms)
        if after is attributes:
            return False
        if part.booked is None:
            self._record_booked(part)
        part.attributes = after
        return True

    def apply_summary(self, part: Activity, summary: Summary, now: int) -> bool:
        """A whole session makes its user active at its start and at its end, according to its highest revision."""
        attributes = segments.newest_attributes(
            part.attributes, summary.segments, summary.at_ms, counted=self._segments
        )
        known = part.summaries.get(summary.session_id)
        first_ms = summary.started_ms
        if summary.start_is_late:
            first_ms = summary.at_ms if known is None else min(known.first_ms, summary.at_ms)
        times = SummaryTimes(summary.revision, summary.at_ms, first_ms)
        is_newer = known is None or _rank(times) > _rank(known)
        if not is_newer and attributes is part.attributes:
            return False
        if part.booked is None:
            self._record_booked(part)
        part.attributes = attributes
        if is_newer:
            part.summaries[summary.session_id] = times
        return True

    def _record_booked(self, part: Activity) -> None:
        """Record what is booked of a part before it changes."""
        summaries = dict(part.summaries) if part.summaries else _NO_SUMMARIES
        values = NO_ATTRIBUTES if part.attributes is None else part.attributes.values
        part.booked = Booked(part.minutes, part.since_day, part.day_bits, values, summaries, part.known_periods)
        self.changed.append(part)

    def new(self) -> Activity:
        return Activity()

    def decode(self, stored: msgspec.Raw) -> Activity:
        return _decode(stored)

    def stored(self, part: Activity) -> object:
        if part.summaries:
            return (part.minutes, part.known_periods, part.since_day, part.day_bits, part.attributes, part.summaries)
        if part.minutes or part.known_periods or part.attributes is not None:
            return (part.minutes, part.known_periods, part.since_day, part.day_bits, part.attributes)
        return None

    def long_term_part(self, part: Activity) -> Activity | None:
        """The last known period of a user who was active, and the attributes."""
        last = part.known_periods[-1:]
        return Activity(known_periods=last, attributes=part.attributes) if first_minutes(last) else None

    def prune(self, part: Activity, horizon: Horizon) -> None:
        if part.summaries:
            self._merge_final_summaries(part, horizon)
        if len(part.minutes) > 1:
            part.minutes = latest_and_future(part.minutes, horizon.now)
        days_kept = max(DAYS_KEPT, max(self.lengths.values()) * MINUTE_MS // DAY_MS)
        before_day = self._day_of(max(0, horizon.before_ms))
        without_days_before(part, before_day - days_kept)
        part.quarter_hour = NO_QUARTER_HOUR
        if len(part.known_periods) > 1:
            part.known_periods = changeable_periods(part.known_periods, before_day, memory_days=self._memory_days)

    def _merge_final_summaries(self, part: Activity, horizon: Horizon) -> None:
        """Treat sessions that no revision can change any more like other activity. What is booked stays the same."""
        # The family of sessions keeps them for as long. A later event belongs to another session.
        final_before_ms = horizon.before_ms - DAY_MS - self.rules.session_timeout_ms
        for session_id, times in list(part.summaries.items()):
            if times.last_ms < final_before_ms:
                del part.summaries[session_id]
                for at_ms in (times.first_ms, times.last_ms):
                    minute, day = at_ms // MINUTE_MS, self._day_of(at_ms)
                    part.minutes = add_minute(part.minutes, minute, horizon.now)
                    part.since_day, part.day_bits = add_day(part.since_day, part.day_bits, day)
                    part.known_periods = with_day(part.known_periods, day, minute, memory_days=self._memory_days)

    def last_ms(self, part: Activity) -> int:
        ends = (times.last_ms for times in part.summaries.values())
        last_day = part.known_periods[-1].last_day if part.known_periods else 0
        return max(0, max(part.minutes, default=0) * MINUTE_MS, max(ends, default=0), last_day * DAY_MS)

    def min_retention_ms(self) -> int:
        return max(DAYS_KEPT * DAY_MS, super().min_retention_ms())

    # -- totals ----------------------------------------------------------------------------------------------------

    def book(self, parts: list[Activity]) -> None:
        ledger = self.ledger
        assert ledger is not None
        # By change of the days: how many users have it. Many users are new today, or active again after the same pause.
        days: dict[tuple[int, bytes, int, bytes], int] = {}
        for part in parts:
            before, part.booked = part.booked, None
            assert before is not None
            if before.summaries or part.summaries:
                self._rebook_with_summaries(before, part)
                continue
            removed = _amounts(before.values)
            added = _amounts(NO_ATTRIBUTES if part.attributes is None else part.attributes.values)
            if before.minutes != part.minutes or removed is not added:
                self._rebook(before.minutes, removed, part.minutes, added)
            if before.day_bits != part.day_bits or before.since_day != part.since_day:
                change = before.since_day, before.day_bits, part.since_day, part.day_bits
                days[change] = days.get(change, 0) + 1
            if before.known_periods is not part.known_periods:
                self._rebook_new_users(before.known_periods, part.known_periods)
        for (since_before, bits_before, since, bits), users in days.items():
            ledger.book(active_days(since_before, bits_before), active_days(since, bits), users=users)

    def _rebook_new_users(self, before: KnownPeriods, after: KnownPeriods) -> None:
        removed, added = first_minutes(before), first_minutes(after)
        if removed != added:
            for minutes, times in ((removed, -1), (added, 1)):
                for minute in minutes:
                    self.ring.count(minute, _new_on(self._day_of(minute * MINUTE_MS)), times)

    def _rebook(
        self, before: tuple[int, ...], removed: Mapping[Field, int], after: tuple[int, ...], added: Mapping[Field, int]
    ) -> None:
        if before:
            self.ring.book(latest_bookings(before, removed), times=-1)
        self.ring.book(latest_bookings(after, added))

    def _rebook_with_summaries(self, before: Booked, part: Activity) -> None:
        minutes_before, days_before, periods_before = self._with_summaries(before)
        minutes, days, known_periods = self._with_summaries(part)
        self._rebook_new_users(periods_before, known_periods)
        removed = _amounts(before.values)
        added = _amounts(NO_ATTRIBUTES if part.attributes is None else part.attributes.values)
        if minutes_before != minutes or removed is not added:
            self._rebook(minutes_before, removed, minutes, added)
        assert self.ledger is not None
        if days_before != days:
            self.ledger.book(days_before, days)

    def _with_summaries(self, part: Activity | Booked) -> tuple[tuple[int, ...], list[int], KnownPeriods]:
        """The minutes, days and known periods of a part, including those of sessions that were sent as summaries."""
        minutes, since_day, day_bits, known_periods = part.minutes, part.since_day, part.day_bits, part.known_periods
        for times in part.summaries.values():
            for at_ms in (times.first_ms, times.last_ms):
                minute, day = at_ms // MINUTE_MS, self._day_of(at_ms)
                minutes = add_minute(minutes, minute, self.ring.now)
                if not has_day(since_day, day_bits, day):
                    since_day, day_bits = add_day(since_day, day_bits, day)
                known_periods = with_day(known_periods, day, minute, memory_days=self._memory_days)
        return minutes, active_days(since_day, day_bits), known_periods

    def by_day_of(self, live: Mapping[int, Mapping[Field, int]]) -> dict[int, Tally]:
        """New users by the local day of their first activity."""
        return {
            window: {int(field.removeprefix(_NEW)): users for field, users in tally.items() if _is_new(field)}
            for window, tally in live.items()
        }

    def segments_of(self, live: Mapping[int, Mapping[Field, int]], *, all_values: bool) -> dict[str, dict[str, Tally]]:
        return segments.users_of(live, self.lengths.values(), self.rules.segments, all_values=all_values)

    # -- numbers ---------------------------------------------------------------------------------------------------

    def live(self, sums: Sums) -> Iterator[Sample]:
        return samples.live(sums, self.lengths, self.rules.segments)

    def closed(self, sums: Sums, day: int) -> Iterator[Sample]:
        assert self.ledger is not None
        return samples.closed(sums, day, self.ledger.lengths)


# New users have a field for each local day, because only the server knows the first event of all partitions, and so the
# first whole day.
_NEW = "new "


@lru_cache(maxsize=4_096)
def _new_on(day: int) -> Mapping[Field, int]:
    return {f"{_NEW}{day}": 1}


def _is_new(field: Field) -> TypeGuard[str]:
    return isinstance(field, str) and field.startswith(_NEW)


def _rank(times: SummaryTimes) -> tuple[int, int, int]:
    # The same order as in the family of sessions, without the fields that do not change the times.
    return times.revision, times.last_ms, -times.first_ms


@lru_cache(maxsize=16_384)
def _amounts(values: AttributeValues) -> Mapping[Field, int]:
    """What one active user contributes: one user, and one for each value of a segment."""
    return {**_ONE_USER, **segments.fields_of(values)}
