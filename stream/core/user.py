"""The row of one user: all that the user now contributes to the totals.

An event replaces the row; the old contribution is taken out and the new one booked. Everything of one user lies in one
row, so an event costs one read and a checkpoint one write, and a user can be erased by taking the row out.
"""

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from stream.core import activity, logins, segments, sessions, surveys
from stream.core.activity import Activity, DayLedger
from stream.core.events import Answer, Event, Login, Step, Summary
from stream.core.ring import Ring
from stream.core.rules import Rules
from stream.core.segments import NOT_TOLD, Told
from stream.core.sessions import Visits
from stream.core.surveys import Response
from stream.core.time import DAY_MS, MINUTE_MS, minutes_of

# What follows from closed days looks back a month or two; two months of bits are kept, or the longest closed window.
_DAYS_KEPT = 64


# Of a stored row; ids of usual length are counted in.
_BYTES_OF_A_ROW, _BYTES_OF_A_LOGIN, _BYTES_OF_A_SESSION, _BYTES_OF_A_STEP, _BYTES_OF_A_RESPONSE = 60, 18, 60, 9, 70


class User(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One user's row."""

    activity: Activity = activity.NEVER
    logins: dict[int, int] = {}
    visits: Visits = sessions.NO_VISITS
    responses: dict[str, Response] = {}
    told: Told | None = None  # of segments


NOBODY = User()

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(User).decode


def weight(user: User) -> int:
    """About how many bytes the row takes, told much faster than by encoding it."""
    size = _BYTES_OF_A_ROW + _BYTES_OF_A_LOGIN * len(user.logins)
    for session in user.visits.all():
        size += _BYTES_OF_A_SESSION + _BYTES_OF_A_STEP * len(session.steps)
    return size + _BYTES_OF_A_RESPONSE * len(user.responses)


def advanced(user: User, event: Event, rules: Rules, *, now: int) -> User:
    """The row after an event, or the very same when the event changes nothing. The clock shows the minute `now`."""
    if isinstance(event, Step):  # the common case first: this runs for each event
        visits = sessions.with_step(user.visits, event, timeout_ms=rules.session_timeout_ms)
        active, told = user.activity, user.told
        if event.is_interactive:
            active = _active(active, event.at_ms, rules, now)
            if event.segments is not NOT_TOLD:
                told = segments.told_at(told, event.segments, event.at_ms, counted=rules.segments)
        if visits is user.visits and active is user.activity and told is user.told:
            return user
        return User(active, user.logins, visits, user.responses, told)
    if isinstance(event, Answer):
        responses = surveys.with_answer(user.responses, event)
        if responses is user.responses:
            return user
        return User(user.activity, user.logins, user.visits, responses, user.told)
    return _advanced(user, event, rules, now)


def _advanced(user: User, event: Login | Summary, rules: Rules, now: int) -> User:
    active, known, visits, told = user.activity, user.logins, user.visits, user.told
    if isinstance(event, Login):
        known = logins.with_login(known, event)
        if event.success:
            active = _active(active, event.at_ms, rules, now)
            told = segments.told_at(told, event.segments, event.at_ms, counted=rules.segments)
    else:
        visits = sessions.with_summary(visits, event)
        told = segments.told_at(told, event.segments, event.at_ms, counted=rules.segments)
    if active is user.activity and known is user.logins and visits is user.visits and told is user.told:
        return user
    return User(active, known, visits, user.responses, told)


def _active(active: Activity, at_ms: int, rules: Rules, now: int) -> Activity:
    minute = at_ms // MINUTE_MS
    if active.minutes == (minute,):  # a minute lies in one day
        return active
    return activity.active_at(active, minute=minute, day=rules.days.day_of(at_ms), now=now)


def _whole_activity(user: User, rules: Rules, now: int) -> Activity:
    """The user's activity with that of sessions told as summaries, which a revision can still move."""
    whole = user.activity
    for session in user.visits.by_id.values():
        if session.revision is not None:
            for at_ms in (session.first_ms, session.last_ms):
                whole = _active(whole, at_ms, rules, now)
    return whole


def book(old: User, new: User, rules: Rules, *, traffic: Ring, opinions: Ring, ledger: DayLedger) -> None:
    """Take what a row contributed out of the totals and book what it contributes now."""
    timeout_ms = rules.session_timeout_ms
    if old.activity is not new.activity or old.visits is not new.visits or old.told is not new.told:
        _book_activity(old, new, rules, traffic, ledger)
    if old.logins is not new.logins:
        traffic.book(logins.bookings(_missing_in(new.logins, old.logins)), times=-1)
        traffic.book(logins.bookings(_missing_in(old.logins, new.logins)))
    if old.visits is not new.visits:
        gone, come = sessions.changed(old.visits, new.visits)
        cap_ms = rules.session_cap_ms
        traffic.book(sessions.bookings(gone, timeout_ms=timeout_ms, cap_ms=cap_ms), times=-1)
        traffic.book(sessions.bookings(come, timeout_ms=timeout_ms, cap_ms=cap_ms))
        before = sessions.visitor_bookings(old.visits, timeout_ms=timeout_ms)
        after = sessions.visitor_bookings(new.visits, timeout_ms=timeout_ms)
        if before != after:
            traffic.book(before, times=-1)
            traffic.book(after)
    if old.responses is not new.responses:
        if old.responses:
            opinions.book(surveys.bookings(old.responses), times=-1)
        opinions.book(surveys.bookings(new.responses))


def _book_activity(old: User, new: User, rules: Rules, traffic: Ring, ledger: DayLedger) -> None:
    before, after = _whole_activity(old, rules, traffic.now), _whole_activity(new, rules, traffic.now)
    gone, come = segments.amounts(old.told), segments.amounts(new.told)
    if before.minutes != after.minutes or gone is not come:
        traffic.book(activity.bookings(before.minutes, gone), times=-1)
        traffic.book(activity.bookings(after.minutes, come))
    if before.day_bits != after.day_bits or before.since_day != after.since_day:
        ledger.book(activity.active_days(before), activity.active_days(after))


def _missing_in(there: Mapping[int, int], here: Mapping[int, int]) -> dict[int, int]:
    return {identity: at_ms for identity, at_ms in here.items() if identity not in there}


@lru_cache(maxsize=16)
def _longest_ms(windows: tuple[str, ...]) -> int:
    return max(minutes_of(window) for window in windows) * MINUTE_MS


def settled(user: User, rules: Rules, *, watermark_ms: int, now: int) -> User:
    """The row without what no event that is not late can change. What it contributed stays booked."""
    if rules.allowed_lateness_ms is None:
        return user
    before_ms = watermark_ms - rules.allowed_lateness_ms
    visits = sessions.settled(user.visits, before_ms=before_ms, timeout_ms=rules.session_timeout_ms)
    active = user.activity
    if visits is not user.visits:
        told = [s for name, s in user.visits.by_id.items() if s.revision is not None and name not in visits.by_id]
        for at_ms in (at_ms for session in told for at_ms in (session.first_ms, session.last_ms)):
            active = _active(active, at_ms, rules, now)
    if len(active.minutes) > 1:
        active = msgspec.structs.replace(active, minutes=activity.latest_and_ahead(active.minutes, now))
    days_kept = max(_DAYS_KEPT, _longest_ms(rules.activity_windows) // DAY_MS)
    active = activity.without_days_before(active, rules.days.day_of(max(0, before_ms)) - days_kept)
    longest_ms = _longest_ms(rules.survey_windows)
    return User(
        active,
        logins.settled(user.logins, before_ms=before_ms),
        visits,
        surveys.settled(user.responses, before_ms=min(before_ms, watermark_ms - longest_ms - DAY_MS)),
        user.told,
    )


def is_over(user: User, rules: Rules, *, watermark_ms: int) -> bool:
    """Whether a user was last heard of so long ago that nothing in the row counts or can be changed any more."""
    return is_past(_last_ms(user, timeout_ms=rules.session_timeout_ms), rules, watermark_ms=watermark_ms)


def is_past(at_ms: int, rules: Rules, *, watermark_ms: int) -> bool:
    """Whether a moment lies before all windows, of events that come late too, and before the retention."""
    if rules.allowed_lateness_ms is None:
        return False
    windows = (*rules.activity_windows, *rules.session_windows, *rules.survey_windows)
    kept_ms = max(_DAYS_KEPT * DAY_MS, _longest_ms(windows), rules.retention_ms) + rules.allowed_lateness_ms
    # A day more: windows of hours end with the hour, sessions close after their last step.
    return at_ms < watermark_ms - kept_ms - DAY_MS


def _last_ms(user: User, *, timeout_ms: int) -> int:
    """The last moment that anything in a row is of."""
    moments = [minute * MINUTE_MS for minute in user.activity.minutes]
    moments += [abs(at_ms) for at_ms in user.logins.values()]
    moments += [session.closes_ms(timeout_ms) for session in user.visits.all()]
    moments += [(user.visits.settled_minute or 0) * MINUTE_MS]
    moments += [response.at_ms for response in user.responses.values()]
    return max(moments)
