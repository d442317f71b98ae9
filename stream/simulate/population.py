"""Simulate who the users are: a fixed number of seats, each of which is held by one user after another.

A seat is held for a fixed number of days. Then its user is gone for good, and the next user signs up. So the calendar
alone says who holds a seat on which day: no history has to be simulated first, any date can be the first, and on every
date there are as many current users as were asked for, some of them new and some about to leave.

How often a user comes depends on the habit of the seat (from daily to lapsing), on how new the user is, on how soon the
user leaves, and on the weekday. All other properties are hashes of the user's number.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

DAY_MS = 86_400_000

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Numbers = NDArray[np.uint64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """How often users of one kind come, and for how long they stay."""

    name: str
    share: float  # of all seats
    chance: float  # of being active on an ordinary working day
    stays_days: tuple[int, int]  # from signing up to the last day, uniform between the two
    second_session: float  # the chance of another session on an active day, and of a third after that
    kept_in_drop: float  # the share of active days that remain after a stickiness drop
    fades: bool = False  # whether interest decays from the first day on


# Chosen so that DAU/MAU is between 0.2 at weekends and 0.3 on working days.
HABITS = (
    Habit(name="daily", share=0.13, chance=0.86, stays_days=(300, 1500), second_session=0.65, kept_in_drop=0.5),
    Habit(name="several", share=0.22, chance=0.42, stays_days=(200, 1200), second_session=0.5, kept_in_drop=0.5),
    Habit(name="weekly", share=0.26, chance=0.16, stays_days=(150, 1000), second_session=0.4, kept_in_drop=0.75),
    Habit(name="monthly", share=0.22, chance=0.04, stays_days=(150, 900), second_session=0.3, kept_in_drop=0.9),
    Habit(
        name="lapsing",
        share=0.17,
        chance=0.5,
        stays_days=(20, 120),
        second_session=0.4,
        kept_in_drop=0.5,
        fades=True,
    ),
)

# (IANA zone, country, share of the users)
ZONES = (
    ("America/New_York", "US", 0.18),
    ("Europe/Berlin", "DE", 0.14),
    ("America/Los_Angeles", "US", 0.12),
    ("Europe/London", "GB", 0.12),
    ("Asia/Kolkata", "IN", 0.10),
    ("America/Chicago", "US", 0.08),
    ("Europe/Paris", "FR", 0.08),
    ("America/Sao_Paulo", "BR", 0.07),
    ("Asia/Tokyo", "JP", 0.06),
    ("Australia/Sydney", "AU", 0.05),
)
COUNTRIES = tuple(country for _, country, _ in ZONES)

PLATFORMS = ("web", "ios", "android")
PLATFORM_SHARES = (0.55, 0.20, 0.25)

PLANS = ("free", "pro", "team")
PLAN_SHARES = (0.68, 0.22, 0.10)

# The kind of producer: how it reports sessions, and in which form it writes a time.
WITH_SESSION_ID, WITHOUT_SESSION_ID, SUMMARIES = 0, 1, 2
PRODUCER_SHARES = (0.76, 0.17, 0.07)
UTC_CLOCK, LOCAL_CLOCK, EPOCH_CLOCK = 0, 1, 2
CLOCK_SHARES = (0.68, 0.12, 0.20)

ANONYMOUS_SHARE = 0.03  # visitors who never sign in: they have an `anonymous_id`, no logins, and no surveys by mail
WEEKEND_PEOPLE_SHARE = 0.12  # users who come at weekends rather than on working days

# From Monday to Sunday. Products that are used at work lose a third at weekends.
WEEKDAY_FACTORS = np.array([1.02, 1.05, 1.05, 1.03, 0.95, 0.62, 0.66])
WEEKEND_PEOPLE_FACTORS = np.array([0.75, 0.7, 0.7, 0.75, 0.95, 1.4, 1.4])

NOVELTY = 0.7  # a new user comes this much more often, decaying ...
NOVELTY_DAYS = 5.0  # ... with this time constant
FAREWELL_DAYS = 20.0  # interest falls to nothing over this many last days, or over the last fifth of a short stay

RELEASE_DAYS = 14  # days between two releases of the app ...
UPDATE_LAG_DAYS = 30  # ... which reach users up to this much later
FIRST_RELEASE_DAY = 18_262  # 2020-01-01
NPS_EVERY_DAYS = 91  # how often each user is asked
NPS_GRACE_DAYS = 14  # how long a new user is not asked


@dataclass(frozen=True, slots=True)
class UsersOfDay:
    """The users of one local calendar day, with one row for each seat."""

    number: Numbers  # unique to the user, for all time
    tenure_days: Ints  # 0 on the day of signing up
    habit: Ints
    chance: Floats  # of being active on this day
    zone: Ints
    midnight_ms: Ints  # when the day begins in the user's zone
    platform: Ints
    plan: Ints
    producer: Ints
    clock: Ints
    release: Ints  # number of the app's release
    satisfaction: Floats  # around 0.78, mostly between 0.3 and 1
    anonymous: Flags
    asked_nps: Flags


class Population:
    """The seats and the users who hold them. The same seed gives the same users."""

    def __init__(self, *, seed: int, users: int) -> None:
        rng = np.random.Generator(np.random.PCG64([seed, 0]))
        draws = rng.random((3, users))
        self._key = scramble(np.array([seed], dtype=np.uint64))[0]
        self._seat = np.arange(users, dtype=np.int64)
        self._habit = _choose(draws[0], tuple(habit.share for habit in HABITS))
        low, high = np.array([habit.stays_days for habit in HABITS]).T
        stay = low[self._habit] + draws[1] * (high - low)[self._habit]
        self._stay_days = stay.astype(np.int64)
        self._phase_days = (draws[2] * self._stay_days).astype(np.int64)

    def users_of_day(self, day: int) -> UsersOfDay:
        """Return the users of a day (counted from 1970-01-01), each day beginning in the user's own zone."""
        elapsed = day + self._phase_days
        tenure = elapsed % self._stay_days
        number = scramble((self._seat << 20 | elapsed // self._stay_days).astype(np.uint64) ^ self._key)
        zone = _choose(_hash_trait(number, 1), tuple(share for _, _, share in ZONES))
        anonymous = _hash_trait(number, 2) < ANONYMOUS_SHARE
        released_days = day - FIRST_RELEASE_DAY - UPDATE_LAG_DAYS * _hash_trait(number, 3) ** 2
        nps_phase = (_hash_trait(number, 4) * NPS_EVERY_DAYS).astype(np.int64)
        return UsersOfDay(
            number=number,
            tenure_days=tenure,
            habit=self._habit,
            chance=self._chance(day, number, tenure),
            zone=zone,
            midnight_ms=day * DAY_MS - _offsets_ms(day)[zone],
            platform=np.where(anonymous, 0, _choose(_hash_trait(number, 5), PLATFORM_SHARES)),
            plan=np.where(anonymous, 0, _choose(_hash_trait(number, 6), PLAN_SHARES)),
            producer=_choose(_hash_trait(number, 7), PRODUCER_SHARES),
            clock=_choose(_hash_trait(number, 8), CLOCK_SHARES),
            release=np.maximum(released_days // RELEASE_DAYS, 0).astype(np.int64),
            satisfaction=_satisfaction(number),
            anonymous=anonymous,
            asked_nps=((day + nps_phase) % NPS_EVERY_DAYS == 0) & (tenure >= NPS_GRACE_DAYS) & ~anonymous,
        )

    def _chance(self, day: int, number: Numbers, tenure: Ints) -> Floats:
        """Return how likely each user is active: by habit, temper, novelty, farewell and weekday."""
        usual = np.array([habit.chance for habit in HABITS])[self._habit]
        temper = 0.7 + 0.6 * _hash_trait(number, 9)
        novelty = 1 + NOVELTY * np.exp(-tenure / NOVELTY_DAYS)
        farewell = np.minimum((self._stay_days - tenure) / np.minimum(FAREWELL_DAYS, self._stay_days / 5), 1)
        fades = np.array([habit.fades for habit in HABITS])[self._habit]
        interest = np.where(fades, np.exp(-3.5 * tenure / self._stay_days), 1)
        weekday = (day + 3) % 7  # 1970-01-01 was a Thursday
        likes_weekends = _hash_trait(number, 10) < WEEKEND_PEOPLE_SHARE
        week = np.where(likes_weekends, WEEKEND_PEOPLE_FACTORS[weekday], WEEKDAY_FACTORS[weekday])
        chance = np.minimum(usual * temper * novelty * farewell * interest * week, 0.98)
        return np.where(tenure == 0, 1.0, chance).astype(np.float64)


def scramble(numbers: Numbers) -> Numbers:
    """Scramble 64-bit numbers one to one, so that different numbers stay different (the finaliser of splitmix64)."""
    scrambled = numbers + np.uint64(0x9E3779B97F4A7C15)
    scrambled = (scrambled ^ (scrambled >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    scrambled = (scrambled ^ (scrambled >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    last: Numbers = scrambled ^ (scrambled >> np.uint64(31))
    return last


def _hash_trait(number: Numbers, trait: int) -> Floats:
    """Return a number from [0, 1) that is always the same for a user and trait."""
    salt = scramble(np.array([trait], dtype=np.uint64))
    drawn: Floats = (scramble(number ^ salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return drawn


def _satisfaction(number: Numbers) -> Floats:
    """Return numbers in a bell shape around 0.78: the mean of three uniform draws, stretched."""
    thirds = (_hash_trait(number, 11) + _hash_trait(number, 12) + _hash_trait(number, 13)) / 3
    return 0.78 + 0.9 * (thirds - 0.5)


def _choose(uniform: Floats, shares: tuple[float, ...]) -> Ints:
    """Turn draws from [0, 1) into choices with these shares. The last choice takes what rounding leaves."""
    return np.searchsorted(np.cumsum(shares)[:-1], uniform, side="right")


@lru_cache(maxsize=8)
def _offsets_ms(day: int) -> Ints:
    """Return how far each zone is ahead of UTC at noon of its day."""
    noon = datetime(1970, 1, 1, 12) + timedelta(days=day)  # noqa: DTZ001  noon in any zone
    offsets = [noon.replace(tzinfo=ZoneInfo(zone)).utcoffset() or timedelta() for zone, _, _ in ZONES]
    return np.array([offset // timedelta(milliseconds=1) for offset in offsets], dtype=np.int64)
