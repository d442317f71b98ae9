"""What users do on a day: sessions, logins, surveys.

A day is planned for everybody at once (who comes, how often, when), from the seed and the day alone. Hours
are then acted out one by one, from the seed and the hour alone. So any span can be had without the one before
it, and two spans that meet join without a seam.
"""

from dataclasses import dataclass
from itertools import starmap

import numpy as np

from stream.simulate.answers import CES, CSAT, CXI, NPS, answer_events
from stream.simulate.messages import (
    LOGIN_RETRY_MS,
    SimulatedEvent,
    Visit,
    login_events,
    step_events,
    summary_events,
)
from stream.simulate.population import (
    DAY_MS,
    HABITS,
    SUMMARIES,
    Flags,
    Floats,
    Ints,
    Population,
    Residents,
    mixed,
)
from stream.simulate.steps import VISIT, Visits, steps_of

HOUR_MS = 3_600_000
# From the start of a visit to its last event: logging in, the session, a survey an hour later at most, taken
# back within another hour. Whoever starts earlier than this is silent.
VISIT_AT_MOST_MS = 6 * HOUR_MS

# Weight of each local hour: a working day peaks late in the morning and in the evening, a weekend day late.
_WEEKDAY_HOURS = (2, 1, 1, 1, 1, 2, 4, 8, 12, 15, 16, 15, 12, 13, 14, 13, 12, 11, 11, 13, 14, 12, 8, 4)
_WEEKEND_HOURS = (4, 3, 2, 1, 1, 1, 2, 4, 7, 10, 12, 13, 13, 12, 12, 12, 12, 12, 13, 14, 14, 13, 10, 7)
_HOUR_CURVES = tuple(np.cumsum((0, *hours)) / sum(hours) for hours in (_WEEKDAY_HOURS, _WEEKEND_HOURS))

WEB_LOGINS_SHARE, APP_LOGINS_SHARE = 0.6, 0.3  # of sessions; apps keep their users signed in
LOGIN_FAILS_SHARE = 0.055  # of logins fail at first; with repeated failures 6-7 % of the tries
GIVES_UP_SHARE = 0.12  # of those who failed

BAD_DAYS_SHARE = 0.08  # of visits leave a bad impression, for no reason we know
CSAT_SHARE, CES_SHARE, CXI_SHARE = 0.08, 0.4, 0.01  # of longer sessions; of support-like ones; of sessions
SUPPORT_SHARE = 0.05  # of sessions are about a problem, and satisfy less
NPS_OPENS_SHARE = 0.85  # of the mails asking are opened

DROP_DISSATISFIES = 0.2  # of the whole scale


@dataclass(frozen=True, slots=True)
class Plan:
    """One local calendar day of everybody, both in order of start."""

    visits: Visits
    questions: Visits  # NPS by mail


class Behaviour:
    """Acts out any hour of a population's life."""

    def __init__(self, population: Population, *, seed: int, drop_at_ms: int | None) -> None:
        self._population = population
        self._seed = seed
        self._drop_at_ms = drop_at_ms
        self._plans: dict[int, Plan] = {}

    def hour(self, hour: int) -> list[SimulatedEvent]:
        """Return all events of the visits that start in an hour (counted from 1970), visit by visit."""
        start_ms, end_ms = hour * HOUR_MS, (hour + 1) * HOUR_MS
        # Local days begin up to 14 h before and end up to 12 h after the UTC day.
        day = start_ms // DAY_MS
        plans = [self._plan(near) for near in (day - 1, day, day + 1)]
        self._plans = {near: plan for near, plan in self._plans.items() if abs(near - day) <= 1}
        visits = np.concatenate([_starting_in(plan.visits, start_ms, end_ms) for plan in plans])
        questions = np.concatenate([_starting_in(plan.questions, start_ms, end_ms) for plan in plans])
        rng = np.random.Generator(np.random.PCG64([self._seed, 2, hour]))
        return _act_out(visits, rng) + _ask_by_mail(questions, rng)

    def _plan(self, day: int) -> Plan:
        if day not in self._plans:
            self._plans[day] = self._planned(day)
        return self._plans[day]

    def _planned(self, day: int) -> Plan:
        residents = self._population.residents(day)
        rng = np.random.Generator(np.random.PCG64([self._seed, 1, day]))
        draws = rng.random((9, len(residents.number)))
        again = draws[1:3] < np.array([habit.second_session for habit in HABITS])[residents.habit]
        active = draws[0] < residents.chance
        comes = (active, active & again[0], active & again[0] & again[1])
        curve = _HOUR_CURVES[(day + 3) % 7 >= 5]  # 1970-01-01 was a Thursday
        visits = []
        for ordinal, who in enumerate(comes):
            hours = np.interp(draws[3 + ordinal], curve, np.arange(25))
            start_ms = residents.midnight_ms + (hours * HOUR_MS).astype(np.int64)
            keeps_coming = self._keeps_coming(residents, start_ms, draws[6])
            visits.append(self._rows(residents, day, ordinal, start_ms, who & keeps_coming))
        asked_ms = residents.midnight_ms + ((9 + 10 * draws[7]) * HOUR_MS).astype(np.int64)
        opens = residents.asked_nps & (draws[8] < NPS_OPENS_SHARE)
        questions = self._rows(residents, day, len(comes), asked_ms, opens)
        return Plan(visits=_in_order(np.concatenate(visits)), questions=_in_order(questions))

    def _keeps_coming(self, residents: Residents, start_ms: Ints, luck: Floats) -> Flags:
        """Thin out the visits after the drop; nothing before it changes, and new users still come."""
        if self._drop_at_ms is None:
            return np.ones(len(start_ms), dtype=np.bool_)
        kept = np.array([habit.kept_in_drop for habit in HABITS])[residents.habit]
        stays: Flags = (start_ms < self._drop_at_ms) | (residents.tenure_days == 0) | (luck < kept)
        return stays

    def _rows(self, residents: Residents, day: int, ordinal: int, start_ms: Ints, who: Flags) -> Visits:
        seats = np.flatnonzero(who)
        visits = np.zeros(len(seats), dtype=VISIT)
        # Seats take 32 bits, ordinals 8, days the rest: unique, and scrambled one to one.
        visits["ref"] = mixed((day << 40 | seats << 8 | ordinal).astype(np.uint64) ^ np.uint64(self._seed))
        visits["start_ms"] = start_ms[seats]
        visits["country"] = residents.zone[seats]
        visits["offset_ms"] = day * DAY_MS - residents.midnight_ms[seats]
        for column in ("number", "plan", "producer", "clock", "release", "anonymous"):
            visits[column] = getattr(residents, column)[seats]
        elsewhere = visits["ref"] % np.uint64(7) == 0  # the phone's owner at a desk
        visits["platform"] = np.where(elsewhere, 0, residents.platform[seats])
        dropped = self._drop_at_ms is not None and visits["start_ms"] >= self._drop_at_ms
        visits["satisfaction"] = residents.satisfaction[seats] - DROP_DISSATISFIES * dropped
        return visits


def _in_order(visits: Visits) -> Visits:
    return visits[np.argsort(visits["start_ms"], kind="stable")]


def _starting_in(visits: Visits, start_ms: int, end_ms: int) -> Visits:
    low, high = np.searchsorted(visits["start_ms"], (start_ms, end_ms))
    return visits[low:high]


def _act_out(rows: Visits, rng: np.random.Generator) -> list[SimulatedEvent]:
    """Let each visit log in, walk its steps and answer what it is asked."""
    draws = rng.random((3, len(rows)))
    failures, succeeds = _logins(rows, draws[0], draws[1])
    gives_up = (failures > 0) & (draws[2] < GIVES_UP_SHARE)
    waits_ms = failures * LOGIN_RETRY_MS + 2_000 * succeeds
    steps = steps_of(rows, rows["start_ms"] + waits_ms, rng)
    kinds = _asked(rng.random(len(rows)), np.diff(steps.bounds), rows["anonymous"])
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


def _ask_by_mail(rows: Visits, rng: np.random.Generator) -> list[SimulatedEvent]:
    luck = rng.random((len(rows), 9))
    events: list[SimulatedEvent] = []
    for visit, (mood, *rest) in zip(starmap(Visit, rows.tolist()), luck.tolist(), strict=True):
        events += answer_events(visit, NPS, visit.satisfaction + 0.3 * (mood - 0.5), visit.start_ms, rest)
    return events


def _logins(rows: Visits, logging_in: Floats, failing: Floats) -> tuple[Ints, Flags]:
    """Draw the number of failed tries, and whether a visit logs in at all."""
    share = np.where(rows["platform"] == 0, WEB_LOGINS_SHARE, APP_LOGINS_SHARE)
    logs_in = (logging_in < share) & ~rows["anonymous"]
    # a quarter of those who failed once fail again, and so on
    fails = np.searchsorted([LOGIN_FAILS_SHARE / 16, LOGIN_FAILS_SHARE / 4, LOGIN_FAILS_SHARE], failing, side="right")
    return np.where(logs_in, 3 - fails, 0), logs_in


def _asked(luck: Floats, lengths: Ints, anonymous: Flags) -> Ints:
    """Choose which visits meet a survey, and which kind; 0 is none."""
    support = luck < SUPPORT_SHARE
    ces = luck < SUPPORT_SHARE * CES_SHARE
    csat = ~support & (luck < SUPPORT_SHARE + CSAT_SHARE) & (lengths > 3)
    cxi = luck >= 1 - CXI_SHARE
    return np.where(anonymous, 0, CES * ces + CSAT * csat + CXI * cxi)
