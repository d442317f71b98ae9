"""Simulate what users do: sessions, logins, surveys, what happens to their accounts and orders, and all else they say.

First a day is planned for all users at once (who comes, how often, when), from nothing but the seed and the day. Then
the events of each hour are made, from nothing but the seed and the hour. So any span of time can be simulated without
the one before it, and two spans that meet fit together exactly.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import starmap

import numpy as np

from stream.simulate.customers import (
    CHANGE,
    Change,
    changes_of_day,
    events_of_changes,
    events_of_purchases,
    export_of,
)
from stream.simulate.feature_use import events_of_features
from stream.simulate.habits import Flags, Floats, Ints, of_habit
from stream.simulate.messages import (
    LOGIN_RETRY_MS,
    SimulatedEvent,
    Visit,
    login_events,
    step_events,
    summary_events,
)
from stream.simulate.population import DAY_MS, SUMMARIES, Population, UsersOfDay, scramble
from stream.simulate.steps import VISIT, Visits, draw_steps
from stream.simulate.subscriptions import Accounts, accounts, accounts_at
from stream.simulate.support import MAX_CONVERSATION_MS, events_of_contacts
from stream.simulate.survey_answers import CES, CSAT, CXI, NPS, answer_events
from stream.simulate.voices import events_of_audience, events_of_reviews, events_of_social

HOUR_MS = 3_600_000
# The longest time from the start of a visit to its last event: logging in, the session, a survey up to an hour later,
# and an answer retracted within another hour.
MAX_VISIT_MS = 6 * HOUR_MS
# And to the last event of what it leads to in the days after: a conversation takes longer than a review.
MAX_AFTERMATH_MS = MAX_CONVERSATION_MS + HOUR_MS

# The weight of each local hour: working days peak late in the morning and in the evening, weekend days late.
_WEEKDAY_HOURS = (2, 1, 1, 1, 1, 2, 4, 8, 12, 15, 16, 15, 12, 13, 14, 13, 12, 11, 11, 13, 14, 12, 8, 4)
_WEEKEND_HOURS = (4, 3, 2, 1, 1, 1, 2, 4, 7, 10, 12, 13, 13, 12, 12, 12, 12, 12, 13, 14, 14, 13, 10, 7)
_HOUR_CURVES = tuple(np.cumsum((0, *hours)) / sum(hours) for hours in (_WEEKDAY_HOURS, _WEEKEND_HOURS))

WEB_LOGINS_SHARE, APP_LOGINS_SHARE = 0.6, 0.3  # of the sessions; apps keep their users signed in
LOGIN_FAILS_SHARE = 0.055  # of the logins fail at first; with repeated failures, 6-7 % of the attempts fail
GIVES_UP_SHARE = 0.12  # of the users whose login failed

BAD_DAYS_SHARE = 0.08  # of the visits leave a bad impression, without a reason in the data
CSAT_SHARE, CES_SHARE, CXI_SHARE = 0.08, 0.4, 0.01  # of the longer sessions; of those about a problem; of all
SUPPORT_SHARE = 0.05  # of the sessions are about a problem, and their users are less satisfied
NPS_OPENS_SHARE = 0.85  # of the mails with a survey are opened

DROP_DISSATISFIES = 0.2  # by how much a drop lowers satisfaction, which ranges from 0 to 1


# The numbers of the rows of a seat and day: visits and questions come first.
_FIRST_CHANGE, _FIRST_OF_EXPORT = 16, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """When each change of a scenario begins; None for those that never do."""

    drop_ms: int | None = None  # existing users come far less often, and are less satisfied
    churn_ms: int | None = None  # customers cancel
    onboarding_ms: int | None = None  # a step of onboarding is broken
    checkout_ms: int | None = None  # hardly anything can be bought
    support_ms: int | None = None  # agents take much longer to reply
    adoption_ms: int | None = None  # a vital feature is used by few
    reviews_ms: int | None = None  # reviews have few stars


@dataclass(frozen=True, slots=True)
class Plan:
    """What all users do on one local calendar day. Both lists are in order of their start."""

    visits: Visits
    questions: Visits  # NPS surveys by mail
    visits_ms: Ints  # when each user comes, or would come


class Behaviour:
    """Makes the events of any hour of a population."""

    def __init__(self, population: Population, *, seed: int, changes: Changes) -> None:
        self._population = population
        self._users = population.users
        self._seed = seed
        self._changes = changes
        self._plans: dict[int, Plan] = {}
        self._last: tuple[int, Visits] | None = None  # the hour that was asked for last, and its visits
        self._changes_of_accounts: dict[int, Visits] = {}

    def hour(self, hour: int) -> list[SimulatedEvent]:
        """Return all events of the visits that start in an hour (counted from 1970), visit by visit."""
        visits = self._visits_in(hour)
        questions = _together([_starting_in(plan.questions, hour) for plan in self._plans_around(hour).values()])
        rng = np.random.Generator(np.random.PCG64([self._seed, 2, hour]))
        return _events_of_visits(visits, rng) + _events_of_mailed_surveys(questions, rng)

    def customers_hour(self, hour: int) -> list[SimulatedEvent]:
        """Return all events of accounts and orders that begin in an hour."""
        plans = self._plans_around(hour)
        known = self._changes_of_accounts
        self._changes_of_accounts = {
            day: known[day] if day in known else self._changes_of_day(day, plan) for day, plan in plans.items()
        }
        changes = [_starting_in(rows, hour) for rows in self._changes_of_accounts.values()]
        bought = events_of_purchases(self._visits_in(hour), broken_since_ms=self._changes.checkout_ms)
        return events_of_changes(_together(changes)) + bought

    def further_hour(self, hour: int) -> list[SimulatedEvent]:
        """Return all events of features, conversations, social networks and reviews that begin in an hour."""
        visits = self._visits_in(hour)
        rng = np.random.Generator(np.random.PCG64([self._seed, 5, hour]))
        changes = self._changes
        return [
            *events_of_features(visits, broken_since_ms=changes.adoption_ms),
            *events_of_contacts(visits, rng, slow_since_ms=changes.support_ms),
            *events_of_social(visits),
            *events_of_audience(hour, self._users),
            *events_of_reviews(visits, bad_since_ms=changes.reviews_ms),
        ]

    def export(self, at_ms: int) -> list[SimulatedEvent]:
        """Return the events that tell of all accounts as they are at a moment."""
        today = at_ms // DAY_MS
        return events_of_changes(np.concatenate([self._export(day, at_ms) for day in (today - 1, today, today + 1)]))

    def _export(self, day: int, at_ms: int) -> Visits:
        users = self._population.users_of_day(day)
        is_today = (users.midnight_ms <= at_ms) & (at_ms < users.midnight_ms + DAY_MS)
        state = accounts_at(at_ms, users, self._accounts(users, day, before=True), self._accounts(users, day))
        return self._rows_of(export_of(users, state, at_ms, is_today), users, day, _FIRST_OF_EXPORT)

    def _visits_in(self, hour: int) -> Visits:
        """All visits that start in an hour. Several ask for those of the same one."""
        if self._last is None or self._last[0] != hour:
            plans = self._plans_around(hour).values()
            self._last = hour, _together([_starting_in(plan.visits, hour) for plan in plans])
        return self._last[1]

    def _plans_around(self, hour: int) -> dict[int, Plan]:
        # Local days begin up to 14 h before and end up to 12 h after the UTC day.
        day = hour * HOUR_MS // DAY_MS
        known = self._plans
        self._plans = {
            near: known[near] if near in known else self._make_plan(near) for near in (day - 1, day, day + 1)
        }
        return self._plans

    def _make_plan(self, day: int) -> Plan:
        users_of_day = self._population.users_of_day(day)
        rng = np.random.Generator(np.random.PCG64([self._seed, 1, day]))
        draws = rng.random((9, len(users_of_day.number)))
        again = draws[1:3] < of_habit("second_session", users_of_day.habit)
        active = draws[0] < users_of_day.chance
        comes = (active, active & again[0], active & again[0] & again[1])
        curve = _HOUR_CURVES[(day + 3) % 7 >= 5]  # 1970-01-01 was a Thursday
        hours = (np.interp(drawn, curve, np.arange(25)) for drawn in draws[3:6])
        starts_ms = [users_of_day.midnight_ms + (hour * HOUR_MS).astype(np.int64) for hour in hours]
        visits = []
        for ordinal, (who, start_ms) in enumerate(zip(comes, starts_ms, strict=True)):
            keeps_coming = self._keeps_coming(users_of_day, start_ms, draws[6])
            visits.append(self._rows(users_of_day, day, ordinal, start_ms, who & keeps_coming))
        asked_ms = users_of_day.midnight_ms + ((9 + 10 * draws[7]) * HOUR_MS).astype(np.int64)
        opens = users_of_day.asked_nps & (draws[8] < NPS_OPENS_SHARE)
        questions = self._rows(users_of_day, day, len(comes), asked_ms, opens)
        return Plan(
            visits=_in_order(np.concatenate(visits)),
            questions=_in_order(questions),
            visits_ms=starts_ms[0],
        )

    def _accounts(self, users: UsersOfDay, day: int, *, before: bool = False) -> Accounts:
        churn_ms, broken_ms = self._changes.churn_ms, self._changes.onboarding_ms
        return accounts(
            users,
            day=day,
            before=before,
            churn_day=None if churn_ms is None else churn_ms // DAY_MS,
            broken_day=None if broken_ms is None else broken_ms // DAY_MS,
        )

    def _changes_of_day(self, day: int, plan: Plan) -> Visits:
        users = self._population.users_of_day(day)
        before, after = self._accounts(users, day, before=True), self._accounts(users, day)
        changes = changes_of_day(users, before, after, plan.visits_ms)
        return _in_order(self._rows_of(changes, users, day, _FIRST_CHANGE))

    def _rows_of(self, changes: Iterable[Change], users: UsersOfDay, day: int, first: int) -> Visits:
        """Return a row for each user and change; `first` is the number of the first change."""
        tables = []
        for ordinal, change in enumerate(changes, start=first):
            seats = np.flatnonzero(change.who)
            visits = self._rows(users, day, ordinal, change.at_ms, change.who)
            rows = np.zeros(len(seats), dtype=CHANGE)
            for column in VISIT.names or ():
                rows[column] = visits[column]
            rows["kind"], rows["until_ms"], rows["month"] = change.kind, change.until_ms[seats], change.month[seats]
            tables.append(rows)
        return np.concatenate(tables)

    def _keeps_coming(self, users_of_day: UsersOfDay, start_ms: Ints, luck: Floats) -> Flags:
        """Return which visits still happen. After a drop there are fewer, except those of new users."""
        if self._changes.drop_ms is None:
            return np.ones(len(start_ms), dtype=np.bool_)
        kept = luck < of_habit("kept_in_drop", users_of_day.habit)
        stays: Flags = (start_ms < self._changes.drop_ms) | (users_of_day.tenure_days == 0) | kept
        return stays

    def _rows(self, users_of_day: UsersOfDay, day: int, ordinal: int, start_ms: Ints, who: Flags) -> Visits:
        seats = np.flatnonzero(who)
        visits = np.zeros(len(seats), dtype=VISIT)
        # Seats take 32 bits, ordinals 8, days the rest: a unique number, which is then scrambled one to one.
        visits["ref"] = scramble((day << 40 | seats << 8 | ordinal).astype(np.uint64) ^ np.uint64(self._seed))
        visits["start_ms"] = start_ms[seats]
        visits["country"] = users_of_day.region[seats]
        visits["offset_ms"] = day * DAY_MS - users_of_day.midnight_ms[seats]
        for column in ("number", "plan", "producer", "clock", "release", "anonymous", "habit"):
            visits[column] = getattr(users_of_day, column)[seats]
        elsewhere = visits["ref"] % np.uint64(7) == 0  # one visit in seven of an app's user comes from the web
        visits["platform"] = np.where(elsewhere, 0, users_of_day.platform[seats])
        dropped = self._changes.drop_ms is not None and visits["start_ms"] >= self._changes.drop_ms
        visits["satisfaction"] = users_of_day.satisfaction[seats] - DROP_DISSATISFIES * dropped
        return visits


def _together(tables: list[Visits]) -> Visits:
    """All rows in one table. NumPy would compare what the columns hold, one by one, if it were not told."""
    return np.concatenate(tables, dtype=tables[0].dtype)


def _in_order(visits: Visits) -> Visits:
    return visits[np.argsort(visits["start_ms"], kind="stable")]


def _starting_in(visits: Visits, hour: int) -> Visits:
    low, high = np.searchsorted(visits["start_ms"], (hour * HOUR_MS, (hour + 1) * HOUR_MS))
    return visits[low:high]


def _events_of_visits(rows: Visits, rng: np.random.Generator) -> list[SimulatedEvent]:
    """Return the events of visits: log in, take the steps, and answer the survey if there is one."""
    draws = rng.random((3, len(rows)))
    failures, succeeds = _draw_logins(rows, draws[0], draws[1])
    gives_up = (failures > 0) & (draws[2] < GIVES_UP_SHARE)
    waits_ms = failures * LOGIN_RETRY_MS + 2_000 * succeeds
    steps = draw_steps(rows, rows["start_ms"] + waits_ms, rng)
    kinds = _draw_surveys(rng.random(len(rows)), np.diff(steps.bounds), rows["anonymous"])
    moods = rows["satisfaction"] - 0.12 * failures - 0.2 * (kinds == CES)
    moods = moods - 0.45 * (rng.random(len(rows)) < BAD_DAYS_SHARE) + 0.24 * (rng.random(len(rows)) - 0.5)
    luck = rng.random((len(rows), 8))
    events: list[SimulatedEvent] = []
    visits = starmap(Visit, rows.tolist())
    columns = (failures, succeeds, gives_up, kinds, moods)
    for index, (visit, failed, logs_in, gave_up, kind, mood) in enumerate(
        zip(visits, *(column.tolist() for column in columns), strict=True)
    ):
        if logs_in:
            events += login_events(visit, failed, gave_up)
        if gave_up:
            continue
        low, high = steps.bounds[index], steps.bounds[index + 1]
        write = summary_events if visit.producer == SUMMARIES else step_events
        events += write(visit, steps, low, high)
        if kind:
            events += answer_events(visit, kind, mood, steps.at_ms[high - 1], luck[index].tolist())
    return events


def _events_of_mailed_surveys(rows: Visits, rng: np.random.Generator) -> list[SimulatedEvent]:
    luck = rng.random((len(rows), 9))
    events: list[SimulatedEvent] = []
    for visit, (mood, *rest) in zip(starmap(Visit, rows.tolist()), luck.tolist(), strict=True):
        events += answer_events(visit, NPS, visit.satisfaction + 0.3 * (mood - 0.5), visit.start_ms, rest)
    return events


def _draw_logins(rows: Visits, logging_in: Floats, failing: Floats) -> tuple[Ints, Flags]:
    """Draw the number of failed attempts of each visit, and whether it logs in at all."""
    share = np.where(rows["platform"] == 0, WEB_LOGINS_SHARE, APP_LOGINS_SHARE)
    logs_in = (logging_in < share) & ~rows["anonymous"]
    # A quarter of those who failed once fail again, and so on.
    fails = np.searchsorted([LOGIN_FAILS_SHARE / 16, LOGIN_FAILS_SHARE / 4, LOGIN_FAILS_SHARE], failing, side="right")
    return np.where(logs_in, 3 - fails, 0), logs_in


def _draw_surveys(luck: Floats, lengths: Ints, anonymous: Flags) -> Ints:
    """Draw which visits get a survey, and of which kind; 0 is none."""
    support = luck < SUPPORT_SHARE
    ces = luck < SUPPORT_SHARE * CES_SHARE
    csat = ~support & (luck < SUPPORT_SHARE + CSAT_SHARE) & (lengths > 3)
    cxi = luck >= 1 - CXI_SHARE
    return np.where(anonymous, 0, CES * ces + CSAT * csat + CXI * cxi)
