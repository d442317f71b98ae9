"""The account of one user: what is known of it, and its status at any time.

The status at a time follows from what was told up to it: from the newest trial, subscription, renewal, pause or
resumption, and from the newest cancellation, which alone holds, from its effective time on, unless something after it
takes it back. So events may come in any order, and the past never changes when more is told of what comes after it.

An account of which nothing was told for as many days as the setting `memory` says begins anew, unless it has a trial, a
subscription or a membership: such a one is never forgotten.
"""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from stream.core.account_changes import STANDING, STATUS_AFTER, TAKES_BACK, Change, Status

DayOf = Callable[[int], int]

_RANK = {change: rank for rank, change in enumerate(Change)}
_NEWSLETTER = (Change.NEWSLETTER_JOINED, Change.NEWSLETTER_LEFT)
_LOYALTY = (Change.LOYALTY_JOINED, Change.LOYALTY_LEFT)
_CHANGES = tuple(Change)


class Told(msgspec.Struct, frozen=True, array_like=True, gc=False, order=True):
    """A change of the subscription or of a membership. They are in the order of their times, then of `Change`."""

    at_ms: int
    rank: int  # of the change
    effective_ms: int  # of a cancellation; of other changes their time

    @property
    def change(self) -> Change:
        """What changed."""
        return _CHANGES[self.rank]


class Period(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A time in which no two neighbouring events lie further apart than is remembered, and what first happened then."""

    first_ms: int
    last_ms: int
    signed_up_ms: int | None = None
    onboarded_ms: int | None = None
    steps: tuple[tuple[str, int], ...] = ()  # by name, in this order: when each was first done
    # Whether the life before it goes on in it, where what that follows from is kept no more.
    goes_on: bool = False


class Account(msgspec.Struct, gc=False):
    """What is known of one user's account."""

    periods: tuple[Period, ...] = ()
    told: tuple[Told, ...] = ()
    booked: "Account | None" = None  # what the totals hold, if it has changed; never stored


def period_of(change: Change, step: str, at_ms: int) -> Period:
    """The period of one event."""
    return Period(
        at_ms,
        at_ms,
        at_ms if change is Change.SIGNED_UP else None,
        at_ms if change is Change.ONBOARDED else None,
        ((step, at_ms),) if step else (),
    )


def with_period(periods: tuple[Period, ...], new: Period, *, memory_days: int, day_of: DayOf) -> tuple[Period, ...]:
    """The periods after one more event; `periods` itself if nothing changes."""
    first, last = day_of(new.first_ms) - memory_days, day_of(new.last_ms) + memory_days
    near = [period for period in periods if first <= day_of(period.last_ms) and day_of(period.first_ms) <= last]
    grown = _joined([*near, new], goes_on=bool(near) and near[0].goes_on)
    if near == [grown]:
        return periods
    return tuple(sorted((*(one for one in periods if one not in near), grown), key=lambda one: one.first_ms))


def _joined(periods: Iterable[Period], *, goes_on: bool = False) -> Period:
    """One period of several."""
    several = list(periods)
    steps: dict[str, int] = {}
    for period in several:
        for step, at_ms in period.steps:
            steps[step] = min(at_ms, steps.get(step, at_ms))
    return Period(
        min(period.first_ms for period in several),
        max(period.last_ms for period in several),
        _earliest(period.signed_up_ms for period in several),
        _earliest(period.onboarded_ms for period in several),
        tuple(sorted(steps.items())),
        goes_on,
    )


def _earliest(times: Iterable[int | None]) -> int | None:
    return min((at_ms for at_ms in times if at_ms is not None), default=None)


def told_of(change: Change, at_ms: int, effective_ms: int) -> Told | None:
    """What an event tells of subscription or membership; None for nothing."""
    rank = _RANK[change]
    return Told(at_ms, rank, effective_ms) if rank >= _RANK[Change.TRIAL_STARTED] else None


class Life(msgspec.Struct, frozen=True, gc=False):
    """The time in which an account is one: a period, or several over which its subscription or membership lasted."""

    period: Period
    told: tuple[Told, ...]
    periods: tuple[Period, ...]  # of which `period` is made
    forgotten: tuple[int, ...]  # for each of them: when nothing is known of the account any more, if it has ended

    @property
    def forgotten_ms(self) -> int:
        """When nothing is known of the account any more, if it has ended by then."""
        return self.forgotten[-1]

    def is_forgotten(self, at_ms: int) -> bool:
        """Whether nothing is known of an account that has ended, because nothing happened for so long until then."""
        begun = sum(period.first_ms <= at_ms for period in self.periods)
        return begun > 0 and at_ms >= self.forgotten[begun - 1]

    def status(self, at_ms: int) -> Status | None:
        """The status at a time in this life."""
        cancellation: Told | None = None
        taken_back = False
        others: Status | None = None
        for one in self.told:
            if one.at_ms > at_ms:
                break
            change = one.change
            if change is Change.CANCELLED:
                cancellation, taken_back = one, False
            elif change in STATUS_AFTER:
                others = STATUS_AFTER[change]
                taken_back = taken_back or change in TAKES_BACK
        if cancellation is None or taken_back or at_ms < cancellation.effective_ms:
            return others
        return None if self.is_forgotten(at_ms) else Status.CANCELLED

    def is_member(self, at_ms: int, of: tuple[Change, Change]) -> bool:
        """Whether somebody is a member at a time."""
        told = [one.change for one in self.told if one.at_ms <= at_ms and one.change in of]
        return bool(told) and told[-1] is of[0]

    def has_newsletter(self, at_ms: int) -> bool:
        """Whether somebody gets the newsletter at a time."""
        return self.is_member(at_ms, _NEWSLETTER)

    def is_loyal(self, at_ms: int) -> bool:
        """Whether somebody is a member of the loyalty programme at a time."""
        return self.is_member(at_ms, _LOYALTY)

    def is_standing(self, at_ms: int) -> bool:
        """Whether the account is kept, however long nothing was told of it."""
        return self.status(at_ms) in STANDING or self.has_newsletter(at_ms) or self.is_loyal(at_ms)


def lives(account: Account, *, memory_days: int, day_of: DayOf, starts_ms: Callable[[int], int]) -> list[Life]:
    """The lives of an account, in order of time."""
    found: list[Life] = []
    for period in account.periods:
        periods: tuple[Period, ...] = (period,)
        if found and (period.goes_on or found[-1].is_standing(period.first_ms - 1)):
            periods = (*found.pop().periods, period)
        found.append(_life(periods, account.told, memory_days, day_of, starts_ms))
    return found


def _life(
    periods: tuple[Period, ...],
    told: Iterable[Told],
    memory_days: int,
    day_of: DayOf,
    starts_ms: Callable[[int], int],
) -> Life:
    whole = periods[0] if len(periods) == 1 else _joined(periods)
    its = tuple(one for one in told if whole.first_ms <= one.at_ms <= whole.last_ms)
    forgotten = tuple(starts_ms(day_of(period.last_ms) + memory_days + 1) for period in periods)
    return Life(whole, its, periods, forgotten)


# -- keeping -----------------------------------------------------------------------------------------------------------


def forget(account: Account, whole: list[Life], *, before_ms: int, kept_ms: int) -> None:
    """Drop what no event since `before_ms` can change or reach. `whole` are the lives of the account."""
    kept = [
        life
        for life in whole
        if life.forgotten_ms >= kept_ms or life.is_standing(kept_ms) or life.is_standing(before_ms)
    ]
    # The old periods of a life are noted to be one, so that it stays one without the events that it follows from.
    account.periods = tuple(period for life in kept for period in _with_old_as_one(life.periods, kept_ms))
    account.told = tuple(one for life in kept for one in _without_old(life.told, kept_ms))


def _with_old_as_one(periods: tuple[Period, ...], kept_ms: int) -> Iterator[Period]:
    for place, period in enumerate(periods):
        is_noted = period.goes_on or place == 0 or period.first_ms >= kept_ms
        yield period if is_noted else msgspec.structs.replace(period, goes_on=True)


def _without_old(told: tuple[Told, ...], kept_ms: int) -> tuple[Told, ...]:
    """What was told since `kept_ms`, and of what was told before as much as the status after it follows from."""
    needed: set[Told] = set()
    for group in (
        (Change.CANCELLED,),
        tuple(TAKES_BACK),
        tuple(STATUS_AFTER),
        _NEWSLETTER,
        _LOYALTY,
    ):
        old = [one for one in told if one.at_ms < kept_ms and one.change in group]
        needed.update(old[-1:])
    return tuple(one for one in told if one.at_ms >= kept_ms or one in needed)
