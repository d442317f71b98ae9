"""Who was active, and how many: DAU, WAU, MAU and stickiness, who is new, and by which segments.

A user is booked in the minute of the last activity. Who returns moves to a newer minute, so a rolling distinct count
is a sum of buckets and never a walk over users. For closed days each user keeps one bit a day, and the ledger of days
counts them. The values of segments that the newest activity event told are booked with the user, as fields of their
own; so a segment's values and `unknown`, which is what is left, add up to the active users of each window.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TypeGuard

import msgspec

from stream.core import reuse, segments
from stream.core.events import Event, Login, Step, Summary
from stream.core.families.activity import samples
from stream.core.families.activity.lives import (
    NEVER,
    Lives,
    first_minutes,
    last_active,
    that_can_change,
    with_day,
)
from stream.core.families.activity.metrics import METRICS
from stream.core.families.activity.part import (
    NO_QUARTER,
    Activity,
    Booked,
    SummaryTimes,
    active_days,
    add_day,
    add_minute,
    has_day,
    latest_and_ahead,
    of_one_session,
    without_days_before,
)
from stream.core.families.activity.samples import ACTIVE_USERS
from stream.core.families.family import Family, Heard, Horizon, one_by_one
from stream.core.reuse import LONGEST_PAUSE_MS
from stream.core.ring import latest
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.segments import NOT_TOLD, SEGMENTS, Told, Values
from stream.core.snapshot import Sums
from stream.core.tally import Field, Tally
from stream.core.time import DAY_MS, MINUTE_MS, QUARTER_MS
from stream.core.windows import ACTIVITY

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
    has_closed_days = True

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._day_of = rules.days.day_of
        self._segments = rules.segments
        self._memory_days = rules.memory_days

    @classmethod
    def stored_by(cls, rules: Rules) -> dict[str, str]:
        told = {"segments": ",".join(rules.segments) or "none", "memory": f"{rules.memory_days}d"}
        return {**super().stored_by(rules), **told}

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
        has_changed = values is not NOT_TOLD and self._has_told(part, at_ms, values)
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
        if self._segments is not SEGMENTS:
            values = segments.only(values, self._segments)
        told = part.told
        if (
            told is not None
            and values is told.values
            and not (told.times or part.lives[1:] or part.summaries)  # the common case, fast
        ):
            if at_ms <= told.at_ms:
                return False
            told.at_ms = at_ms
            return True
        after = segments.told_at(told, values, at_ms)
        if after is told:
            return False
        if part.booked is None:
            self._note(part)
        part.told = after
        return True

    def hear_summary(self, part: Activity, summary: Summary, now: int) -> bool:
        """A whole session makes active when it begins and when it ends, as its highest revision says."""
        told = segments.told_at(part.told, summary.segments, summary.at_ms, counted=self._segments)
        summaries, name, first_ms = part.summaries, summary.session_id, summary.started_ms
        near = reuse.keys_near(summaries, name, summary.at_ms, LONGEST_PAUSE_MS, SummaryTimes.span)
        if summary.start_is_late:
            first_ms = min([summary.at_ms, *(summaries[key].first_ms for key in near)])
        times = SummaryTimes(summary.revision, summary.at_ms, first_ms)
        for key in near:
            times = of_one_session(summaries[key], times)
        is_new = len(near) != 1 or times != summaries[near[0]]
        if not is_new and told is part.told:
            return False
        if part.booked is None:
            self._note(part)
        part.told = told
        if is_new:
            reuse.put(summaries, name, times, near, SummaryTimes.span)
        return True

    def _note(self, part: Activity) -> None:
        """Note what is booked of a part before it changes."""
        summaries = dict(part.summaries) if part.summaries else _NO_SUMMARIES
        told, lives = part.told, part.lives
        values = NOT_TOLD if told is None else self._values(told, lives) if lives[1:] else told.values
        part.booked = Booked(part.minutes, part.since_day, part.day_bits, values, told, summaries, lives)
        self.changed.append(part)

    def _values(self, told: Told | None, lives: Lives) -> Values:
        """The values that count: those told since the life before the last active one."""
        kept = told if told is None else self._told_in(told, lives)
        return NOT_TOLD if kept is None else kept.values

    def _told_in(self, told: Told, lives: Lives) -> Told | None:
        last = last_active(lives)
        if last < 1:
            return told
        before_day, day_of = lives[last - 1].last_day, self._day_of
        return segments.told_since(told, lambda at_ms: day_of(at_ms) > before_day)

    def new(self) -> Activity:
        return Activity()

    def decode(self, stored: msgspec.Raw) -> Activity:
        return _decode(stored)

    def stored(self, part: Activity) -> object:
        if part.summaries:
            return (part.minutes, part.lives, part.since_day, part.day_bits, part.told, part.summaries)
        if part.minutes or part.lives or part.told is not None:
            return (part.minutes, part.lives, part.since_day, part.day_bits, part.told)
        return None

    def remembered(self, part: Activity) -> Activity | None:
        """Since when a user is known who was active, and what the segments were."""
        last, told = part.lives[-1:], part.told
        if not first_minutes(last):
            return None
        return Activity(lives=last, told=None if told is None else self._told_in(told, part.lives))

    def let_go(self, part: Activity, horizon: Horizon) -> None:
        before_ms = max(0, horizon.before_ms)
        if part.summaries:
            self._settle_summaries(part, horizon)
            # Those that are left can move, and what lies beside them is needed as long.
            before_ms = min([before_ms, *(min(times.first_ms, times.last_ms) for times in part.summaries.values())])
        if len(part.minutes) > 1:
            part.minutes = latest_and_ahead(part.minutes, horizon.now)
        days_kept = max(DAYS_KEPT, max(self.lengths.values()) * MINUTE_MS // DAY_MS)
        before_day = self._day_of(before_ms)
        without_days_before(part, before_day - days_kept)
        part.quarter = NO_QUARTER
        if len(part.lives) > 1:
            self._let_go_of_lives(part, before_day)

    def _let_go_of_lives(self, part: Activity, before_day: int) -> None:
        lives, told = part.lives, part.told
        part.lives = that_can_change(lives, before_day, memory_days=self._memory_days)
        if told is not None and part.lives != lives:
            last = last_active(lives)
            if last >= 1 and lives[last - 1] not in part.lives:
                part.told = self._told_in(told, lives)

    def _settle_summaries(self, part: Activity, horizon: Horizon) -> None:
        """Sessions that no revision can move any more become activity like any other; what is booked stays the same."""
        # As long as sessions keep them: what comes later than that is of another session.
        settled_before_ms = horizon.before_ms - LONGEST_PAUSE_MS - self.rules.session_timeout_ms
        for session_id, times in list(part.summaries.items()):
            if times.span()[1] < settled_before_ms:
                del part.summaries[session_id]
                for at_ms in (times.first_ms, times.last_ms):
                    minute, day = at_ms // MINUTE_MS, self._day_of(at_ms)
                    part.minutes = add_minute(part.minutes, minute, horizon.now)
                    part.since_day, part.day_bits = add_day(part.since_day, part.day_bits, day)
                    part.lives = with_day(part.lives, day, minute, memory_days=self._memory_days)

    def last_ms(self, part: Activity) -> int:
        ends = (times.span()[1] for times in part.summaries.values())
        last_day = part.lives[-1].last_day if part.lives else 0
        return max(0, max(part.minutes, default=0) * MINUTE_MS, max(ends, default=0), last_day * DAY_MS)

    def reach_ms(self) -> int:
        return max(DAYS_KEPT * DAY_MS, super().reach_ms())

    # -- totals ----------------------------------------------------------------------------------------------------

    def book(self, parts: list[Activity]) -> None:
        ledger = self.ledger
        assert ledger is not None
        # Users whose days have changed in the same way: mostly those who are new today, or here again.
        days: dict[tuple[int, bytes, int, bytes], int] = {}
        for part in parts:
            before, part.booked = part.booked, None
            assert before is not None
            if before.summaries or part.summaries:
                self._book_with_summaries(before, part)
                continue
            told, lives = part.told, part.lives
            values = NOT_TOLD if told is None else self._values(told, lives) if lives[1:] else told.values
            gone, come = _amounts(before.values), _amounts(values)
            if before.minutes != part.minutes or gone is not come:
                self._rebook(before.minutes, gone, part.minutes, come)
            if before.day_bits != part.day_bits or before.since_day != part.since_day:
                change = before.since_day, before.day_bits, part.since_day, part.day_bits
                days[change] = days.get(change, 0) + 1
            if before.lives is not lives:
                self._rebook_new(before.lives, lives)
        for (since_before, bits_before, since, bits), users in days.items():
            ledger.book(active_days(since_before, bits_before), active_days(since, bits), users=users)

    def _rebook_new(self, before: Lives, after: Lives) -> None:
        gone, come = first_minutes(before), first_minutes(after)
        if gone != come:
            for minutes, times in ((gone, -1), (come, 1)):
                for minute in minutes:
                    self.ring.count(minute, _new_on(self._day_of(minute * MINUTE_MS)), times)

    def _rebook(
        self, before: tuple[int, ...], gone: Mapping[Field, int], after: tuple[int, ...], come: Mapping[Field, int]
    ) -> None:
        if before:
            self.ring.book(latest(before, gone), times=-1)
        self.ring.book(latest(after, come))

    def _book_with_summaries(self, before: Booked, part: Activity) -> None:
        minutes_before, days_before, lives_before = self._whole(before)
        minutes, days, lives = self._whole(part)
        self._rebook_new(lives_before, lives)
        values_before = self._values(before.told, lives_before) if before.summaries else before.values
        gone, come = _amounts(values_before), _amounts(self._values(part.told, lives))
        if minutes_before != minutes or gone is not come:
            self._rebook(minutes_before, gone, minutes, come)
        assert self.ledger is not None
        if days_before != days:
            self.ledger.book(days_before, days)

    def _whole(self, part: Activity | Booked) -> tuple[tuple[int, ...], list[int], Lives]:
        """Minutes, days and lives of a part with those of sessions told as summaries."""
        minutes, since_day, day_bits, lives = part.minutes, part.since_day, part.day_bits, part.lives
        for times in part.summaries.values():
            for at_ms in (times.first_ms, times.last_ms):
                minute, day = at_ms // MINUTE_MS, self._day_of(at_ms)
                minutes = add_minute(minutes, minute, self.ring.now)
                if not has_day(since_day, day_bits, day):
                    since_day, day_bits = add_day(since_day, day_bits, day)
                lives = with_day(lives, day, minute, memory_days=self._memory_days)
        return minutes, active_days(since_day, day_bits), lives

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


# New users are a field for each local day: which days are whole is known only where all partitions are.
_NEW = "new "


@lru_cache(maxsize=4_096)
def _new_on(day: int) -> Mapping[Field, int]:
    return {f"{_NEW}{day}": 1}


def _is_new(field: Field) -> TypeGuard[str]:
    return isinstance(field, str) and field.startswith(_NEW)


@lru_cache(maxsize=16_384)
def _amounts(values: Values) -> Mapping[Field, int]:
    """What one active user adds: one user, and one of each value that is known."""
    return {**_ONE_USER, **segments.fields_of(values)}
