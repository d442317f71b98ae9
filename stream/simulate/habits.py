"""Simulate how often users come: by habit, weekday, plan, region, release and campaign.

Each of these is there to be found again in the numbers:

- users of one habit come on the weekday on which they first came, so that retention has a peak on days 7, 14 and 21;
- teams work from Monday to Friday, and pay; who only tries the product has the free plan;
- in India and Brazil most users come by phone, in Japan they come more often and give lower scores;
- every fourth release of the app is a bad one on Android, until the next release mends it;
- every five weeks a campaign in Brazil brings many users at once, of whom few stay.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

PLATFORMS = ("web", "ios", "android")
WEB, IOS, ANDROID = range(3)
PLANS = ("free", "pro", "team")
FREE, PRO, TEAM = range(3)
PLAN_SATISFACTION = np.array([-0.02, 0.05, 0.03])  # added to that of the user


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """How often users of one kind come, and for how long they stay."""

    name: str
    share: float  # of all seats
    chance: float  # of being active on an ordinary working day
    stays_days: tuple[int, int]  # from signing up to the last day, uniform between the two
    second_session: float  # the chance of another session on an active day, and of a third after that
    kept_in_drop: float  # the share of active days that remain after a stickiness drop
    plans: tuple[float, float, float]  # the shares of PLANS
    converts: float  # the share of trials that become subscriptions
    onboards: float  # how much more or less of the onboarding they do
    joins_loyalty: float  # the share of users who join the loyalty programme, once they have been there for a while
    adopts: float  # how much more or less of the features they use, and how much they say on social networks
    first_weekday: float = 1.0  # how much more often they come on the weekday of their first day than on average
    fades: bool = False  # whether interest decays from the first day on


# Chosen so that DAU/MAU is between 0.2 at weekends and 0.3 on working days.
HABITS = (
    Habit(
        name="daily",
        share=0.13,
        chance=0.86,
        stays_days=(300, 1500),
        second_session=0.65,
        kept_in_drop=0.5,
        plans=(0.45, 0.33, 0.22),
        converts=0.92,
        onboards=1.05,
        joins_loyalty=0.5,
        adopts=1.3,
    ),
    Habit(
        name="several",
        share=0.21,
        chance=0.42,
        stays_days=(200, 1200),
        second_session=0.5,
        kept_in_drop=0.5,
        plans=(0.6, 0.28, 0.12),
        converts=0.8,
        onboards=1.02,
        joins_loyalty=0.3,
        adopts=1.15,
    ),
    Habit(
        name="weekly",
        share=0.24,
        chance=0.16,
        stays_days=(150, 1000),
        second_session=0.4,
        kept_in_drop=0.75,
        plans=(0.72, 0.2, 0.08),
        converts=0.65,
        onboards=0.99,
        joins_loyalty=0.15,
        adopts=0.95,
        first_weekday=4.7,
    ),
    Habit(
        name="monthly",
        share=0.2,
        chance=0.04,
        stays_days=(150, 900),
        second_session=0.3,
        kept_in_drop=0.9,
        plans=(0.8, 0.15, 0.05),
        converts=0.5,
        onboards=0.95,
        joins_loyalty=0.05,
        adopts=0.8,
    ),
    Habit(
        name="lapsing",
        share=0.16,
        chance=0.5,
        stays_days=(20, 120),
        second_session=0.4,
        kept_in_drop=0.5,
        plans=(0.9, 0.08, 0.02),
        converts=0.3,
        onboards=0.92,
        joins_loyalty=0.02,
        adopts=0.7,
        first_weekday=1.8,
        fades=True,
    ),
    Habit(
        name="campaign",
        share=0.06,
        chance=0.25,
        stays_days=(35, 35),  # until the next campaign
        second_session=0.3,
        kept_in_drop=0.5,
        plans=(1.0, 0.0, 0.0),
        converts=0.1,
        onboards=0.8,
        joins_loyalty=0.0,
        adopts=0.45,
        fades=True,
    ),
)
CAMPAIGN = len(HABITS) - 1
CAMPAIGN_EVERY_DAYS = 35  # so that any history of five weeks has one
CAMPAIGN_LASTS_DAYS = 3
CAMPAIGN_FIRST_DAY = 5  # of all, counted from 1970-01-01: a Tuesday, as all others are


@dataclass(frozen=True, slots=True)
class Region:
    """Users of one time zone: how many, and how they differ from others."""

    zone: str  # IANA
    country: str
    share: float  # of the users
    platforms: tuple[float, float, float] = (0.6, 0.22, 0.18)  # the shares of PLATFORMS
    comes: float = 1.0  # how often, compared with others
    satisfaction: float = 0.0  # added to that of the user
    bounces: float = 1.0  # how many of the sessions, compared with others


REGIONS = (
    Region("America/New_York", "US", 0.18),
    Region("Europe/Berlin", "DE", 0.14),
    Region("America/Los_Angeles", "US", 0.12),
    Region("Europe/London", "GB", 0.12),
    Region("Asia/Kolkata", "IN", 0.10, platforms=(0.2, 0.05, 0.75), comes=0.9),
    Region("America/Chicago", "US", 0.08),
    Region("Europe/Paris", "FR", 0.08),
    Region("America/Sao_Paulo", "BR", 0.07, platforms=(0.3, 0.1, 0.6), bounces=1.25, satisfaction=0.04),
    Region("Asia/Tokyo", "JP", 0.06, platforms=(0.45, 0.45, 0.1), comes=1.2, satisfaction=-0.12),
    Region("Australia/Sydney", "AU", 0.05),
)
COUNTRIES = tuple(region.country for region in REGIONS)
CAMPAIGN_REGION = COUNTRIES.index("BR")

WEEKEND_PEOPLE_SHARE = 0.12  # users who come at weekends rather than on working days

# From Monday to Sunday. Products that are used at work lose a third at weekends, and their teams nearly all.
_WEEKDAY_FACTORS = np.array([1.02, 1.05, 1.05, 1.03, 0.95, 0.66, 0.7])
_WEEKEND_PEOPLE_FACTORS = np.array([0.75, 0.7, 0.7, 0.75, 0.95, 1.4, 1.4])
_TEAM_FACTORS = np.array([1.08, 1.1, 1.1, 1.08, 1.0, 0.25, 0.25])

NOVELTY = 0.7  # a new user comes this much more often, decaying ...
NOVELTY_DAYS = 5.0  # ... with this time constant
FAREWELL_DAYS = 20.0  # interest falls to nothing over this many last days, or over the last fifth of a short stay

RELEASE_DAYS = 14  # days between two releases of the app ...
UPDATE_LAG_DAYS = 30  # ... which reach users up to this much later
FIRST_RELEASE_DAY = 18_262  # 2020-01-01
_BAD_EVERY = 4  # releases; the others are good
BAD_RELEASE_COMES = 0.85  # how often its users come, compared with others
BAD_RELEASE_SATISFACTION = -0.15  # added to that of the user
BAD_RELEASE_BOUNCES = 1.5  # how many of the sessions, compared with others


def is_bad_release(release: Ints, platform: Ints) -> Flags:
    """Return who has a release of the app that is a bad one on the user's platform."""
    bad: Flags = (platform == ANDROID) & (release % _BAD_EVERY == _BAD_EVERY - 1)
    return bad


def bounce_factors(region: Ints, release: Ints, platform: Ints) -> Floats:
    """Return how many of the sessions bounce, compared with the usual share."""
    of_region = np.array([one.bounces for one in REGIONS])[region]
    factors: Floats = of_region * np.where(is_bad_release(release, platform), BAD_RELEASE_BOUNCES, 1.0)
    return factors


def of_habit(what: str, habit: Ints) -> Floats:
    """Return a number of each user's habit."""
    numbers: Floats = np.array([getattr(one, what) for one in HABITS], dtype=np.float64)[habit]
    return numbers


def weekday_factors(day: int, plan: Ints, likes_weekends: Flags) -> Floats:
    """Return how much more or less users come on the weekday of this day."""
    weekday = (day + 3) % 7  # 1970-01-01 was a Thursday
    usual = np.where(likes_weekends, _WEEKEND_PEOPLE_FACTORS[weekday], _WEEKDAY_FACTORS[weekday])
    factors: Floats = np.where(plan == TEAM, _TEAM_FACTORS[weekday], usual)
    return factors


def interest(habit: Ints, tenure_days: Ints, stay_days: Ints) -> Floats:
    """Return how much a user's stay so far changes how often they come: by novelty, fading, farewell and habit."""
    novelty = 1 + NOVELTY * np.exp(-tenure_days / NOVELTY_DAYS)
    farewell = np.minimum((stay_days - tenure_days) / np.minimum(FAREWELL_DAYS, stay_days / 5), 1)
    faded = np.where(of_habit("fades", habit) > 0, np.exp(-3.5 * tenure_days / stay_days), 1)
    first = of_habit("first_weekday", habit)
    weekly = np.where(tenure_days % 7 == 0, first, (7 - first) / 6)  # seven days are as many as without the habit
    interested: Floats = novelty * farewell * faded * weekly
    return interested
