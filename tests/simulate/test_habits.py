"""What the population is like by habit, plan, region, release and campaign: how likely each user comes on a day."""

from collections.abc import Iterator
from statistics import mean, median

import numpy as np
import pytest

from stream.simulate.habits import (
    ANDROID,
    CAMPAIGN,
    CAMPAIGN_EVERY_DAYS,
    COUNTRIES,
    FREE,
    HABITS,
    PRO,
    REGIONS,
    TEAM,
    Flags,
    bounce_factors,
    interest,
    is_bad_release,
)
from stream.simulate.population import Population, UsersOfDay, hash_trait, hash_traits

MONDAY = 20_773  # 2026-11-16
WEEK = range(MONDAY, MONDAY + 7)
SIX_WEEKS = range(MONDAY, MONDAY + 42)


@pytest.fixture(scope="module")
def population() -> Population:
    return Population(seed=1, users=10_000)


def days(population: Population, of: range) -> Iterator[UsersOfDay]:
    return (population.users_of_day(day) for day in of)


def in_country(users: UsersOfDay, country: str) -> Flags:
    return np.array([name == country for name in COUNTRIES])[users.region]


def test_the_shares_of_each_choice_are_one() -> None:
    assert sum(habit.share for habit in HABITS) == pytest.approx(1)
    assert sum(region.share for region in REGIONS) == pytest.approx(1)
    assert all(sum(habit.plans) == pytest.approx(1) for habit in HABITS)
    assert all(sum(region.platforms) == pytest.approx(1) for region in REGIONS)


def test_new_users_come_again_a_week_later_more_than_on_the_days_around_it(population: Population) -> None:
    chances: dict[int, list[float]] = {tenure: [] for tenure in (6, 7, 8, 13, 14, 15)}
    for users in days(population, SIX_WEEKS):
        for tenure, told in chances.items():
            told += users.chance[users.tenure_days == tenure].tolist()
    retained = {tenure: mean(told) for tenure, told in chances.items()}

    assert retained[7] > 1.3 * max(retained[6], retained[8])
    assert retained[14] > 1.3 * max(retained[13], retained[15])


def test_a_habit_of_one_weekday_moves_visits_and_adds_none() -> None:
    weekly = next(place for place, habit in enumerate(HABITS) if habit.name == "weekly")
    usual = next(place for place, habit in enumerate(HABITS) if habit.name == "monthly")
    week = np.arange(70, 77)

    of_week = {habit: interest(np.full(7, habit), week, np.full(7, 500)) for habit in (weekly, usual)}
    assert of_week[weekly].sum() == pytest.approx(of_week[usual].sum())
    assert of_week[weekly].max() > 10 * of_week[weekly].min()


def test_teams_hardly_come_at_weekends_and_who_pays_comes_more_often(population: Population) -> None:
    by_weekday = [
        [users.chance[users.plan == plan].mean() for plan in (FREE, PRO, TEAM)] for users in days(population, WEEK)
    ]
    working, weekend = np.mean(by_weekday[:5], axis=0), np.mean(by_weekday[5:], axis=0)

    assert weekend[TEAM] < 0.3 * working[TEAM]
    assert weekend[PRO] > 0.6 * working[PRO]
    assert working[FREE] < 0.7 * min(working[PRO], working[TEAM])


def test_users_of_one_country_have_other_phones_and_of_another_other_scores(population: Population) -> None:
    users = population.users_of_day(MONDAY)
    india, japan = in_country(users, "IN"), in_country(users, "JP")

    assert np.mean(users.platform[india] == ANDROID) > 0.7
    assert np.mean(users.platform[~india] == ANDROID) < 0.3
    assert users.satisfaction[japan].mean() < users.satisfaction[~japan].mean() - 0.08
    assert users.chance[japan].mean() > 1.1 * users.chance[~japan].mean()


def test_every_fourth_release_is_a_bad_one_on_android_alone(population: Population) -> None:
    users = population.users_of_day(20_777)  # the ninth day of release 179
    on_android = users.platform == ANDROID
    suffers = is_bad_release(users.release, users.platform)

    assert set(users.release[suffers]) == {179}
    assert 0.3 < np.mean(suffers[on_android]) < 0.7
    assert not suffers[~on_android].any()
    assert users.satisfaction[suffers].mean() < users.satisfaction[on_android & ~suffers].mean() - 0.1
    factors = bounce_factors(users.region, users.release, users.platform)
    assert factors[suffers].mean() > 1.4 * factors[on_android & ~suffers].mean()
    # The next release mends it, for those who have it.
    mended = population.users_of_day(20_777 + 45)
    assert not is_bad_release(mended.release, mended.platform).any()


def test_every_five_weeks_a_campaign_brings_many_to_one_country_and_few_stay(population: Population) -> None:
    span = range(MONDAY, MONDAY + 2 * CAMPAIGN_EVERY_DAYS)
    new = [int(np.sum(users.tenure_days == 0)) for users in days(population, span)]
    busy = [place for place, count in enumerate(new) if count > 3 * median(new)]

    assert len(busy) == 6
    assert busy[3:] == [place + CAMPAIGN_EVERY_DAYS for place in busy[:3]]
    first = population.users_of_day(span[busy[0]])
    came = (first.habit == CAMPAIGN) & (first.tenure_days == 0)
    assert in_country(first, "BR")[came].all()
    later = population.users_of_day(span[busy[0]] + 14)
    others = later.chance[later.habit != CAMPAIGN].mean()
    assert (later.number[came] == first.number[came]).all()
    assert later.chance[came].mean() < 0.4 * others


def test_a_campaign_brings_other_users_each_time(population: Population) -> None:
    once, again = (population.users_of_day(MONDAY + past) for past in (10, 10 + CAMPAIGN_EVERY_DAYS))
    of_campaign = once.habit == CAMPAIGN

    assert not set(once.number[of_campaign]) & set(again.number[of_campaign])


def test_a_trait_is_the_same_whether_it_is_asked_for_alone_or_with_others() -> None:
    numbers = np.arange(5, dtype=np.uint64) ** np.uint64(9)
    together = hash_traits(numbers, [3, 80, 2**40])

    assert together.tolist() == [hash_trait(numbers, trait).tolist() for trait in (3, 80, 2**40)]
    assert len({*together.ravel().tolist()}) == 15
    assert together.min() >= 0
    assert together.max() < 1
