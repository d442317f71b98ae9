"""Simulate the accounts of users: what each has subscribed to on each day of the stay, and the steps of onboarding.

All follows from the user's number, habit and plan and from the days since signing up, so the state of an account on any
day is known without the days before it. What happens on a day is the difference between two states. Who is more engaged
does more: habits differ in how often a trial becomes a subscription, in how much of the onboarding is done, and in who
joins the loyalty programme; and a subscription is cancelled when a user has begun to stay away.
"""

from dataclasses import dataclass, fields, replace

import numpy as np

from stream.simulate.habits import FREE, Flags, Floats, Ints, of_habit
from stream.simulate.population import Numbers, UsersOfDay, hash_trait, scramble

# The statuses of a subscription. After GONE nothing is told of it any more.
NONE, TRIAL, ACTIVE, PAUSED, GONE = range(5)

TRIES_SHARE = 0.7  # of those with a paid plan try it first ...
TRIAL_DAYS = 14
GIVES_UP_ON_DAY = 10  # ... and on this day of the trial tell that they won't go on
BILLED_UNTIL_MS = 12 * 3_600_000  # in the first half of the day; what users do themselves comes after it
BILLED_EVERY_DAYS = 30  # counted from the first payment; here called a month
_BLOCK_MONTHS = 12  # what happens within a subscription is drawn for so many months at once
PAUSES_SHARE, CHANGES_MIND_SHARE, LEAVES_SHARE = 0.35, 0.3, 0.12  # of the subscriptions, in these months
PENDING_SINCE_DAY = 18  # of the month, after which a subscriber leaves; the cancellation counts from its end on
CHANGES_MIND_DAYS = (10, 20)  # of the month: a cancellation is told, and taken back
NOTICE_DAYS = 10  # up to so many days before users are gone for good, they cancel

STEPS = ("confirm_email", "create_project", "connect_data", "invite_team")
STEP_SHARES = (0.95, 0.85, 0.72, 0.9)  # of those who did the step before
BROKEN_STEP, BROKEN_STEP_SHARE = 2, 0.35  # in the scenario 'onboarding', this step is done by so few of the others

NEWSLETTER_SHARE, LEAVES_NEWSLETTER_SHARE = 0.4, 0.3
CANCELS_SHARE, CANCELS_WITHIN_DAYS = 0.18, 14  # in the scenario 'churn': of the customers, at once


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts of all users of a day, with one row for each seat."""

    status: Ints
    month: Ints  # of the subscription, from 0
    is_pending: Flags  # whether a cancellation has been told that does not count yet
    ends_in_days: Ints  # in so many days the month, or the trial, ends
    has_newsletter: Flags
    is_member: Flags  # of the loyalty programme
    steps: Ints  # how many steps of onboarding are done


def accounts(
    users: UsersOfDay, *, day: int, before: bool = False, churn_day: int | None, broken_day: int | None
) -> Accounts:
    """The state of all accounts at the end of a day, or at the end of the day before.

    `churn_day` and `broken_day` are the days on which the scenarios 'churn' and 'onboarding' begin.
    """
    tenure = users.tenure_days - before
    here = (tenure >= 0) & ~users.anonymous
    status, month, pending, ends_in = _subscriptions(users, tenure, day - before, churn_day)
    number = users.number
    joins = hash_trait(number, 60) < NEWSLETTER_SHARE
    stays_on = (hash_trait(number, 61) >= LEAVES_NEWSLETTER_SHARE) | (tenure < 5 + 200 * hash_trait(number, 62))
    is_member = (hash_trait(number, 63) < of_habit("joins_loyalty", users.habit)) & (
        tenure >= 20 + (40 * hash_trait(number, 64)).astype(np.int64)
    )
    return Accounts(
        status=np.where(here, status, NONE),
        month=month,
        is_pending=here & pending,
        ends_in_days=ends_in,
        has_newsletter=here & joins & stays_on,
        is_member=here & is_member & (tenure < users.stay_days - 3),
        steps=np.where(here, _steps(users, tenure, day - before, broken_day), 0),
    )


def _subscriptions(users: UsersOfDay, tenure: Ints, day: int, churn_day: int | None) -> tuple[Ints, Ints, Flags, Ints]:
    """Status, month, whether a cancellation is pending, and in how many days the month or the trial ends."""
    number, last = users.number, users.stay_days - 1
    trial_day = (5 * hash_trait(number, 40)).astype(np.int64)
    tries = hash_trait(number, 41) < TRIES_SHARE
    goes_on = ~tries | (hash_trait(number, 42) < of_habit("converts", users.habit))
    first_day = trial_day + TRIAL_DAYS * tries
    month, day_of_month = np.divmod(tenure - first_day, BILLED_EVERY_DAYS)

    status, leaves_next, changes_mind = _months(number, month)
    # The last cancellation: it counts from the end of its month on, a paused subscription ends at once.
    cancel_day = np.maximum(last - (NOTICE_DAYS * hash_trait(number, 43)).astype(np.int64), first_day + 1)
    last_month = (cancel_day - first_day) // BILLED_EVERY_DAYS
    has_cancelled = tenure >= cancel_day
    wavers = (day_of_month >= CHANGES_MIND_DAYS[0]) & (day_of_month < CHANGES_MIND_DAYS[1]) & changes_mind
    pending = (month < last_month) & (wavers | ((day_of_month >= PENDING_SINCE_DAY) & leaves_next))
    pending |= (month == last_month) & has_cancelled
    status = np.where(has_cancelled & ((month > last_month) | (status == PAUSED)), GONE, status)
    if churn_day is not None:
        signed_up = day - tenure
        quits = (hash_trait(number, 44) < CANCELS_SHARE) & (signed_up + first_day < churn_day)
        quits &= day >= churn_day + (CANCELS_WITHIN_DAYS * hash_trait(number, 45)).astype(np.int64)
        status = np.where(quits, GONE, status)
    # The account of who is gone for good before the month is over is closed then.
    ends_in = BILLED_EVERY_DAYS - day_of_month
    ends_in = np.where(has_cancelled, np.minimum(ends_in, users.stay_days - tenure), ends_in)

    in_trial = (tenure >= trial_day) & (tenure < first_day)
    is_over = ~goes_on & (tenure >= first_day)
    status = np.select([users.plan == FREE, in_trial, is_over, tenure >= first_day], [NONE, TRIAL, GONE, status], NONE)
    pending = np.where(in_trial, ~goes_on & (tenure >= trial_day + GIVES_UP_ON_DAY), pending & (status == ACTIVE))
    return status, month, pending & (users.plan != FREE), np.where(in_trial, first_day - tenure, ends_in)


def _months(number: Numbers, month: Ints) -> tuple[Ints, Flags, Flags]:
    """The status in a month of the subscription, whether it leaves with its end, and whether it nearly does.

    Of twelve months the first is always paid: a subscription that begins anew, or goes on, does so for a while.
    """
    block, place = np.divmod(month, _BLOCK_MONTHS)
    of_block = number ^ scramble(block.astype(np.uint64))
    later = _BLOCK_MONTHS - 1

    def drawn(trait: int, share: float) -> Ints:
        return 1 + (hash_trait(of_block, trait) * later / share).astype(np.int64)

    leaves = drawn(46, LEAVES_SHARE)
    is_gone = (place == leaves) | (place == leaves + 1)
    leaves_next = (place + 1 == leaves) & (leaves < _BLOCK_MONTHS)
    is_paused = (place == drawn(47, PAUSES_SHARE)) & ~is_gone & ~leaves_next
    changes_mind = (place == drawn(48, CHANGES_MIND_SHARE)) & ~leaves_next
    return np.select([is_gone, is_paused], [GONE, PAUSED], ACTIVE), leaves_next, changes_mind


def _steps(users: UsersOfDay, tenure: Ints, day: int, broken_day: int | None) -> Ints:
    """How many steps of onboarding are done. Most do them on the first day, some over a week and more."""
    number, keen = users.number, of_habit("onboards", users.habit)
    signed_up = day - tenure
    done = np.zeros(len(number), dtype=np.int64)
    on_day = np.zeros(len(number), dtype=np.int64)
    goes_on = np.ones(len(number), dtype=np.bool_)
    for step, usual in enumerate(STEP_SHARES):
        chance: Floats = usual * keen
        if step == BROKEN_STEP and broken_day is not None:
            chance = np.where(signed_up >= broken_day, BROKEN_STEP_SHARE * chance, chance)
        goes_on &= hash_trait(number, 50 + step) < chance
        on_day += (8 * hash_trait(number, 55 + step) ** 4).astype(np.int64)
        done += goes_on & (tenure >= on_day)
    return done


def accounts_at(at_ms: int, users: UsersOfDay, morning: Accounts, evening: Accounts) -> Accounts:
    """The state of all accounts at a moment of a day: where its bills were paid by then, that of the evening."""
    is_billed = billing_ms(users) <= at_ms
    morning = replace(morning, ends_in_days=morning.ends_in_days - 1)
    states = ((getattr(evening, field.name), getattr(morning, field.name)) for field in fields(Accounts))
    return Accounts(*(np.where(is_billed, *either) for either in states))


def billing_ms(users: UsersOfDay) -> Ints:
    """When on a day each subscription is paid, if it is paid on that day."""
    billed: Ints = users.midnight_ms + (BILLED_UNTIL_MS * hash_trait(users.number, 49)).astype(np.int64)
    return billed
