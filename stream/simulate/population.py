"""Simulate who the users are: a fixed number of seats, each of which is held by one user after another.

A seat is held for a fixed number of days. Then its user is gone for good, and the next user signs up. So the calendar
alone says who holds a seat on which day: no history has to be simulated first, any date can be the first, and on every
date there are as many current users as were asked for, some of them new and some about to leave.

How often a user comes depends on the habit of the seat (from daily to lapsing), on how new the user is, on how soon the
user leaves, on the weekday, and on what `habits` tells of plans, regions, releases and campaigns. All other properties
are hashes of the user's number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from stream.core import zones
from stream.simulate.habits import (
    BAD_RELEASE_COMES,
    BAD_RELEASE_SATISFACTION,
    CAMPAIGN,
    CAMPAIGN_EVERY_DAYS,
    CAMPAIGN_FIRST_DAY,
    CAMPAIGN_LASTS_DAYS,
    CAMPAIGN_REGION,
    FIRST_RELEASE_DAY,
    HABITS,
    PLAN_SATISFACTION,
    REGIONS,
    RELEASE_DAYS,
    UPDATE_LAG_DAYS,
    WEEKEND_PEOPLE_SHARE,
    Flags,
    Floats,
    Ints,
    interest,
    is_bad_release,
    of_habit,
    weekday_factors,
)

DAY_MS = 86_400_000

Numbers = NDArray[np.uint64]


# The kind of producer: how it reports sessions, and in which form it writes a time.
WITH_SESSION_ID, WITHOUT_SESSION_ID, SUMMARIES = 0, 1, 2
PRODUCER_SHARES = (0.76, 0.17, 0.07)
UTC_CLOCK, LOCAL_CLOCK, EPOCH_CLOCK = 0, 1, 2
CLOCK_SHARES = (0.68, 0.12, 0.20)

_REGION_SHARES = tuple(region.share for region in REGIONS)
_PLATFORMS_BY_REGION = tuple(region.platforms for region in REGIONS)
_PLANS_BY_HABIT = tuple(habit.plans for habit in HABITS)

ANONYMOUS_SHARE = 0.03  # visitors who never sign in: they have an `anonymous_id`, no logins, and no surveys by mail
NPS_EVERY_DAYS = 91  # how often each user is asked
NPS_GRACE_DAYS = 14  # how long a new user is not asked


@dataclass(frozen=True, slots=True)
class UsersOfDay:
    """The users of one local calendar day, with one row for each seat."""

    number: Numbers  # unique to the user, for all time
    tenure_days: Ints  # 0 on the day of signing up
    stay_days: Ints  # for how many days users come, from signing up on
    habit: Ints
    chance: Floats  # of being active on this day
    region: Ints
    midnight_ms: Ints  # when the day begins in the user's region
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
        self.users = users
        rng = np.random.Generator(np.random.PCG64([seed, 0]))
        draws = rng.random((3, users))
        self._key = scramble(np.array([seed], dtype=np.uint64))[0]
        self._seat = np.arange(users, dtype=np.int64)
        self._habit = _choose(draws[0], tuple(habit.share for habit in HABITS))
        low, high = np.array([habit.stays_days for habit in HABITS]).T
        stay = low[self._habit] + draws[1] * (high - low)[self._habit]
        self._stay_days = stay.astype(np.int64)
        campaign = -CAMPAIGN_FIRST_DAY - (draws[2] * CAMPAIGN_LASTS_DAYS).astype(np.int64)
        usual = (draws[2] * self._stay_days).astype(np.int64)
        self._phase_days = np.where(self._habit == CAMPAIGN, campaign % CAMPAIGN_EVERY_DAYS, usual)

    def users_of_day(self, day: int) -> UsersOfDay:
        """Return the users of a day (counted from 1970-01-01), each day beginning in the user's own zone."""
        elapsed = day + self._phase_days
        tenure = elapsed % self._stay_days
        number = scramble((self._seat << 20 | elapsed // self._stay_days).astype(np.uint64) ^ self._key)
        region = np.where(self._habit == CAMPAIGN, CAMPAIGN_REGION, _choose(hash_trait(number, 1), _REGION_SHARES))
        anonymous = hash_trait(number, 2) < ANONYMOUS_SHARE
        platform = np.where(anonymous, 0, _choose_by(region, hash_trait(number, 5), _PLATFORMS_BY_REGION))
        plan = np.where(anonymous, 0, _choose_by(self._habit, hash_trait(number, 6), _PLANS_BY_HABIT))
        released_days = day - FIRST_RELEASE_DAY - UPDATE_LAG_DAYS * hash_trait(number, 3) ** 2
        release = np.maximum(released_days // RELEASE_DAYS, 0).astype(np.int64)
        suffers = is_bad_release(release, platform)
        chance = of_habit("chance", self._habit) * (0.7 + 0.6 * hash_trait(number, 9))
        chance *= interest(self._habit, tenure, self._stay_days)
        chance *= weekday_factors(day, plan, hash_trait(number, 10) < WEEKEND_PEOPLE_SHARE)
        chance *= np.array([one.comes for one in REGIONS])[region] * np.where(suffers, BAD_RELEASE_COMES, 1)
        satisfaction = _satisfaction(number) + np.array([one.satisfaction for one in REGIONS])[region]
        satisfaction += PLAN_SATISFACTION[plan] + BAD_RELEASE_SATISFACTION * suffers
        nps_phase = (hash_trait(number, 4) * NPS_EVERY_DAYS).astype(np.int64)
        return UsersOfDay(
            number=number,
            tenure_days=tenure,
            stay_days=self._stay_days,
            habit=self._habit,
            chance=np.where(tenure == 0, 1.0, np.minimum(chance, 0.98)),
            region=region,
            midnight_ms=day * DAY_MS - _offsets_ms(day)[region],
            platform=platform,
            plan=plan,
            producer=_choose(hash_trait(number, 7), PRODUCER_SHARES),
            clock=_choose(hash_trait(number, 8), CLOCK_SHARES),
            release=release,
            satisfaction=satisfaction,
            anonymous=anonymous,
            asked_nps=((day + nps_phase) % NPS_EVERY_DAYS == 0) & (tenure >= NPS_GRACE_DAYS) & ~anonymous,
        )


_ADDED, _FIRST_FACTOR, _SECOND_FACTOR = map(np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_FIRST_SHIFT, _SECOND_SHIFT, _LAST_SHIFT, _BEYOND_FLOAT = map(np.uint64, (30, 27, 31, 11))


def scramble(numbers: Numbers) -> Numbers:
    """Scramble 64-bit numbers one to one, so that different numbers stay different (the finaliser of splitmix64)."""
    scrambled: Numbers = numbers + _ADDED
    scrambled ^= scrambled >> _FIRST_SHIFT
    scrambled *= _FIRST_FACTOR
    scrambled ^= scrambled >> _SECOND_SHIFT
    scrambled *= _SECOND_FACTOR
    scrambled ^= scrambled >> _LAST_SHIFT
    return scrambled


def hash_trait(number: Numbers, trait: int) -> Floats:
    """Return a number from [0, 1) that is always the same for a user and trait."""
    return _from_0_to_1(scramble(number ^ _salt(trait)))


def hash_traits(number: Numbers, traits: Sequence[int]) -> Floats:
    """Return the same of several traits: a row for each of them."""
    return _from_0_to_1(scramble(number ^ np.array([_salt(trait) for trait in traits])))


@cache  # a few hundred are used, each of them in each hour
def _salt(trait: int) -> Numbers:
    return scramble(np.array([trait], dtype=np.uint64))


def _from_0_to_1(scrambled: Numbers) -> Floats:
    drawn: Floats = (scrambled >> _BEYOND_FLOAT).astype(np.float64) * 2.0**-53
    return drawn


def _satisfaction(number: Numbers) -> Floats:
    """Return numbers in a bell shape around 0.78: the mean of three uniform draws, stretched."""
    thirds = (hash_trait(number, 11) + hash_trait(number, 12) + hash_trait(number, 13)) / 3
    return 0.78 + 0.9 * (thirds - 0.5)


def _choose(uniform: Floats, shares: tuple[float, ...]) -> Ints:
    """Turn draws from [0, 1) into choices with these shares. The last choice takes what rounding leaves."""
    return np.searchsorted(np.cumsum(shares)[:-1], uniform, side="right")


def _choose_by(group: Ints, uniform: Floats, shares_by_group: tuple[tuple[float, ...], ...]) -> Ints:
    """Turn draws from [0, 1) into choices, each with the shares of its own group."""
    bounds = np.cumsum(shares_by_group, axis=1)[group, :-1]
    chosen: Ints = np.sum(uniform[:, np.newaxis] >= bounds, axis=1)
    return chosen


@lru_cache(maxsize=8)
def _offsets_ms(day: int) -> Ints:
    """Return how far each region is ahead of UTC at noon of its day."""
    noon = datetime(1970, 1, 1, 12) + timedelta(days=day)  # noqa: DTZ001  noon in any zone
    offsets = [noon.replace(tzinfo=zones.zone(region.zone)).utcoffset() or timedelta() for region in REGIONS]
    return np.array([offset // timedelta(milliseconds=1) for offset in offsets], dtype=np.int64)
