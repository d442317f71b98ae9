"""The naive recount of closed days: stream/METRICS.md, out of the events before the end of a day.

Nothing here knows of differences, versions or corrections: of each day all is counted anew from the events that had
happened by then.
"""

import re
from fractions import Fraction
from functools import cache
from itertools import pairwise
from math import ceil

from stream.core.rules import Rules
from stream.core.windows import (
    ACCOUNTS,
    ACTIVITY,
    CONTACTS,
    FEATURES,
    ORDERS,
    REVIEWS,
    SESSIONS,
    SOCIAL,
    SURVEYS,
    Windows,
)
from tests.core.oracle import count_sessions_and_logins, count_surveys, that_count
from tests.core.oracle_accounts import count_accounts, count_closed_accounts, count_first_weeks
from tests.core.oracle_contacts import count_contacts, count_matured
from tests.core.oracle_events import (
    SCALES,
    EventFields,
    Person,
    Reply,
    Visit,
    forgotten_until,
    is_interactive,
    is_step,
    lives,
    moment,
    of_topic,
    rank,
    responses,
    steps_and_summaries,
    summarised_sessions,
    visits,
    who,
    without_uncounted_segments,
)
from tests.core.oracle_features import count_features
from tests.core.oracle_health import count_health
from tests.core.oracle_numbers import AnyWindow, DaysWindow, Samples, day_of, key, share
from tests.core.oracle_orders import count_orders, count_revenue_per_customer, count_revenue_per_user
from tests.core.oracle_reviews import count_reviews
from tests.core.oracle_segments import answers_by_segment, sessions_by_segment, users_by_segment
from tests.core.oracle_social import count_social

DAY_SECONDS = 86_400
# Days of one person that lie further apart than is remembered are of two people; these numbers look back so far.
LOOKS_BACK = 90

Days = dict[Person, list[int]]


def last_closed(at_ms: int, rules: Rules) -> int:
    """The newest day whose midnight is `close_after` ago."""
    zone, day = rules.days.zone, day_of(at_ms, rules.days.zone)
    while day_of(at_ms - rules.close_after_ms, zone) <= day:
        day -= 1
    return day


def closed(events: list[EventFields], day: int, rules: Rules) -> Samples:
    """Every sample of one closed day; none for a day before the first event."""
    zone = rules.days.zone
    begins = (day_of(told.get("started_at", moment(told)), zone) for told in events)
    if day < min(begins, default=day + 1):
        return {}
    events = without_uncounted_segments(events, rules)
    known = [told for told in events if day_of(moment(told), zone) <= day]
    samples: Samples = {}
    active = active_days(events, day, zone)
    users = _active_users(samples, active, day, rules)
    all_visits = visits(known, rules)
    end = max((moment(told) for told in known), default=0)
    for length in _lengths(rules.windows_of(SESSIONS)):
        window = DaysWindow(f"{length}d", day, zone, end)
        count_sessions_and_logins(samples, known, all_visits, window, users.get(length))
    replies = responses(known, rules)
    for length in _lengths(rules.windows_of(SURVEYS)):
        count_surveys(samples, replies, DaysWindow(f"{length}d", day, zone, end))
    _by_segment(samples, known, active, all_visits, replies, DaysWindow("", day, zone, end), rules)
    of_orders: list[AnyWindow] = [
        DaysWindow(f"{length}d", day, zone, end) for length in _lengths(rules.windows_of(ORDERS))
    ]
    count_orders(samples, known, of_orders, lambda at: day_of(at, zone) <= day, rules)
    accounts_lengths = _lengths(rules.windows_of(ACCOUNTS))
    of_accounts: list[AnyWindow] = [DaysWindow(f"{length}d", day, zone, end) for length in accounts_lengths]
    last_ms = rules.days.starts_ms(day + 1) - 1
    count_accounts(samples, known, of_accounts, lambda at: day_of(at, zone) <= day, last_ms, rules)
    _third_ring(samples, known, day, users, rules)
    samples = _renamed(samples)
    if key("engagement_waiting_conversations_closed") in samples:
        lengths = _lengths(rules.windows_of(CONTACTS))
        count_matured(samples, known, [DaysWindow(f"{length}d", day - 7, zone, 0) for length in lengths], rules)
    count_closed_accounts(samples, known, day, accounts_lengths, rules)
    count_first_weeks(samples, known, active, day, rules)
    count_health(samples, known, active, day, rules)
    count_revenue_per_user(
        samples, "engagement_revenue_closed", {f"{length}d": count for length, count in users.items()}
    )
    count_revenue_per_customer(samples, known, DaysWindow("30d", day, zone, end), rules)
    for length in _lengths(rules.windows_of(SURVEYS)):
        _matured(samples, replies, DaysWindow(f"{length}d", day - 7, zone, end))
    whole_since = rules.cohorts_from
    if whole_since is None:
        whole_since = min(day_of(moment(told), zone) for told in events) + 1
    samples |= second_ring(active, day, whole_since, rules)
    return samples


def _by_segment(
    samples: Samples,
    known: list[EventFields],
    active: Days,
    all_visits: list[Visit],
    replies: list[Reply],
    ends: DaysWindow,
    rules: Rules,
) -> None:
    """What is told by segment, of those live windows that are whole days."""

    def windows(family: Windows) -> list[DaysWindow]:
        lengths = (int(name[:-1]) * {"m": 1, "h": 60, "d": 1_440}[name[-1]] for name in rules.windows_of(family))
        days = zip(rules.windows_of(family), lengths, strict=True)
        return [ends._replace(name=name) for name, minutes in days if name[-1] == "d" and minutes % 1_440 == 0]

    people = {
        window.name: {person for person, days in active.items() if _in(days, ends.last, int(window.name[:-1]))}
        for window in windows(ACTIVITY)
    }
    forgotten = forgotten_until(lives([(who_, day) for who_, days in active.items() for day in days], known, rules))
    users_by_segment(samples, known, people, forgotten, rules)
    sessions_by_segment(samples, all_visits, windows(SESSIONS), rules)
    answers_by_segment(samples, lambda window, kind: that_count(replies, window, kind), windows(SURVEYS), rules)


def _third_ring(samples: Samples, known: list[EventFields], day: int, users: dict[int, int], rules: Rules) -> None:
    def windows(family: Windows) -> list[AnyWindow]:
        return [DaysWindow(f"{length}d", day, rules.days.zone, 0) for length in _lengths(rules.windows_of(family))]

    count_reviews(samples, known, windows(REVIEWS))
    of_activity = {f"{length}d": count for length, count in users.items()}
    count_features(samples, known, windows(FEATURES), of_activity, rules)
    before = [DaysWindow(window.name, day - 7, rules.days.zone, 0) for window in windows(CONTACTS)]
    end_ms = rules.days.starts_ms(day + 1)
    count_contacts(samples, known, windows(CONTACTS), end_ms, of_activity, rules, matured=[*before])
    count_social(samples, known, windows(SOCIAL), lambda at: True, day, rules)


# What closed days tell of those days alone that ended a week before.
_OTHERWISE = ("survey_response_ratio", "survey_shown_completed", "resolved_ratio", "contacts_resolved")


def _renamed(samples: Samples) -> Samples:
    return {(twin, labels): value for (name, labels), value in samples.items() if (twin := _twin_of(name)) is not None}


@cache
def _twin_of(name: str) -> str | None:
    """The name that a live number has of closed days; None for one that they tell otherwise."""
    if any(of in name for of in _OTHERWISE):
        return None
    return re.sub(r"(_ratio|_seconds|)(_lower|_upper|)$", r"_closed\1\2", name, count=1)


def _matured(samples: Samples, replies: list, window: DaysWindow) -> None:  # type: ignore[type-arg]
    for kind in SCALES:
        shown = [r for r in replies if r.event["kind"] == kind and r.shown is not None and r.shown in window]
        completed = sum(reply.status == "completed" for reply in shown)
        labels = {"window": window.name, "kind": kind}
        samples[key("engagement_survey_shown_completed_closed", **labels)] = completed
        samples[key("engagement_survey_shown_matured_closed", **labels)] = len(shown)
        share(samples, "engagement_survey_response_closed_ratio", completed, len(shown), **labels)


@cache
def _lengths(windows: tuple[str, ...]) -> tuple[int, ...]:
    hours = {"m": Fraction(1, 60), "h": Fraction(1), "d": Fraction(24)}
    lengths = {Fraction(int(name[:-1])) * hours[name[-1]] / 24 for name in windows} | {1}
    return tuple(sorted(int(length) for length in lengths if length == int(length)))


def active_days(events: list[EventFields], day: int, zone: str) -> Days:
    """On which local days up to `day` each person was active, as the events before its end say.

    A summary tells two things: at its start that a session began, at its end that it ended. The highest revision of
    those told so far counts.
    """
    happened = [(who(told), told["event_time"]) for told in steps_and_summaries(events)[0] if is_step(told)]
    happened += [(who(told), told["event_time"]) for told in of_topic(events, "logins") if told.get("success", True)]
    happened += [(who(told), told["event_time"]) for told in of_topic(events, "features") if is_interactive(told)]
    begun = [told for told in steps_and_summaries(events)[1] if day_of(told["started_at"], zone) <= day]
    for person, _, of_session in summarised_sessions(begun):
        for field in ("started_at", "ended_at"):
            known = [told for told in of_session if day_of(told[field], zone) <= day]
            happened += [(person, max(known, key=rank)[field])] if known else []
    days: dict[Person, set[int]] = {}
    for person, at in happened:
        if day_of(at, zone) <= day:
            days.setdefault(person, set()).add(day_of(at, zone))
    return {person: sorted(of_person) for person, of_person in days.items()}


def _in(days: list[int], last: int, length: int) -> bool:
    return any(last - length < one <= last for one in days)


def _active_users(samples: Samples, active: Days, day: int, rules: Rules) -> dict[int, int]:
    users = {}
    daily = sum(_in(days, day, 1) for days in active.values())
    for length in _lengths(rules.windows_of(ACTIVITY)):
        labels = {"window": f"{length}d"}
        users[length] = sum(_in(days, day, length) for days in active.values())
        samples[key("engagement_active_users", **labels)] = users[length]
        if length > 1:
            share(samples, "engagement_stickiness_ratio", daily, users[length], **labels)
            total = sum(day - length < one <= day for days in active.values() for one in days)
            samples[key("engagement_daily_active_users_summed", **labels)] = total
            share(samples, "engagement_stickiness_smoothed_ratio", Fraction(total, length), users[length], **labels)
    return users


def second_ring(active: Days, day: int, whole_since: int, rules: Rules) -> Samples:
    """L28, lifecycle, tenure and retention, user by user."""
    samples: Samples = {}
    for count in range(1, 29):
        users = sum(sum(day - 28 < one <= day for one in days) == count for days in active.values())
        samples[key("engagement_l28_users_closed", days=str(count))] = users
    if rules.memory_days < max(LOOKS_BACK, *_lengths(rules.windows_of(ACTIVITY))):
        return samples
    assert all(b - a <= rules.memory_days for days in active.values() for a, b in pairwise(days))
    for length in (1, 7, 28, 30):
        if day - 2 * length + 1 >= whole_since:
            _lifecycle(samples, active, day, length)
    if day >= whole_since:
        _tenure(samples, active, day, whole_since)
        _retention(samples, active, day, whole_since)
    return samples


def _lifecycle(samples: Samples, active: Days, day: int, length: int) -> None:
    states = {"new": 0, "returning": 0, "resurrected": 0, "dormant": 0}
    for days in active.values():
        now, before = _in(days, day, length), _in(days, day - length, length)
        if now and min(days) > day - length:
            states["new"] += 1
        elif now:
            states["returning" if before else "resurrected"] += 1
        elif before:
            states["dormant"] += 1
    window = f"{length}d"
    for state, users in states.items():
        samples[key("engagement_lifecycle_users_closed", window=window, state=state)] = users
    before_users = sum(_in(days, day - length, length) for days in active.values())
    samples[key("engagement_previous_active_users_closed", window=window)] = before_users
    if states["dormant"]:
        quick = (states["new"] + states["resurrected"]) / states["dormant"]
        samples[key("engagement_quick_closed_ratio", window=window)] = quick
    share(samples, "engagement_return_closed_ratio", states["returning"], before_users, window=window)
    share(samples, "engagement_inactivity_churn_closed_ratio", states["dormant"], before_users, window=window)


def _tenure(samples: Samples, active: Days, day: int, whole_since: int) -> None:
    for tenure in ("new", "established"):
        of_tenure = [
            days for days in active.values() if (min(days) >= whole_since and min(days) > day - 28) is (tenure == "new")
        ]
        counts = {length: sum(_in(days, day, length) for days in of_tenure) for length in (1, 7, 28, 30)}
        for length, users in counts.items():
            labels = {"window": f"{length}d", "tenure": tenure}
            samples[key("engagement_tenure_active_users_closed", **labels)] = users
            if length > 1:
                share(samples, "engagement_tenure_stickiness_closed_ratio", counts[1], users, **labels)
    for length in (1, 7, 28, 30):
        known = sorted(
            day - min(days) for days in active.values() if _in(days, day, length) and min(days) >= whole_since
        )
        samples[key("engagement_user_tenure_users_closed", window=f"{length}d")] = len(known)
        for quantile in ("0.5", "0.75", "0.9", "0.95", "0.99"):
            if known:
                nearest = known[ceil(Fraction(quantile) * len(known)) - 1] * DAY_SECONDS
                labels = {"window": f"{length}d", "quantile": quantile}
                samples[key("engagement_user_tenure_closed_seconds", **labels)] = nearest


def _retention(samples: Samples, active: Days, day: int, whole_since: int) -> None:
    def cohorts(needed: int) -> list[list[int]]:
        """The people whose first day lies at least so many days back, in the newest 28 such cohorts."""
        newest = day - needed
        return [days for days in active.values() if max(whole_since, newest - 27) <= min(days) <= newest]

    for number in (1, 3, 7, 14, 30):
        if day - number < whole_since:
            continue
        people = cohorts(number)
        samples[key("engagement_retention_cohort_users_closed", day=str(number))] = len(people)
        for mode in ("exact", "on_or_after"):
            retained = sum(
                min(days) + number in days if mode == "exact" else max(days) >= min(days) + number for days in people
            )
            samples[key("engagement_retention_retained_users_closed", day=str(number), mode=mode)] = retained
            share(samples, "engagement_retention_closed_ratio", retained, len(people), day=str(number), mode=mode)
    for week in range(1, 9):
        if day - 7 * week - 6 < whole_since:
            continue
        people = cohorts(7 * week + 6)
        retained = sum(any(0 <= one - min(days) - 7 * week <= 6 for one in days) for days in people)
        samples[key("engagement_weekly_retention_cohort_users_closed", week=str(week))] = len(people)
        samples[key("engagement_weekly_retention_retained_users_closed", week=str(week))] = retained
        share(samples, "engagement_weekly_retention_closed_ratio", retained, len(people), week=str(week))
