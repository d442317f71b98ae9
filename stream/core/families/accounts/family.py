"""Accounts: sign-ups and onboarding in windows and by cohort, subscribers and members, churn of customers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from stream.core.contribution import Contribution
from stream.core.days import Amounts, DayBook, OfWindows
from stream.core.events import AccountChange, Event, SignUps
from stream.core.families.accounts import messages, samples
from stream.core.families.accounts.contribution import NOW, STANDING_NOW, Contributions
from stream.core.families.accounts.metrics import METRICS
from stream.core.families.accounts.part import Account, Period, Told, forget, period_of, told_of, with_period
from stream.core.families.family import EventHandler, Family, Horizon
from stream.core.first_week import POOLED_DAYS, last_cohort
from stream.core.ledger import Ledger
from stream.core.readable import readable
from stream.core.rules import Rules
from stream.core.samples import Labels, Sample
from stream.core.segments import OTHER
from stream.core.snapshot import Sums
from stream.core.time import DAY_MS, LATEST_MS, iso
from stream.core.windows import ACCOUNTS


class _Stored(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The form in which an account is stored."""

    periods: tuple[Period, ...]
    told: tuple[Told, ...]


_decode = msgspec.msgpack.Decoder(_Stored).decode


class AccountsFamily(Family[Account]):
    """Sign-ups, onboarding, subscribers, members and customers."""

    name = "accounts"
    number = 5
    since_format = 7
    windows = ACCOUNTS
    metrics = METRICS
    is_absent_when_empty = True
    message_kinds = (messages.ACCOUNTS,)

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._day_of = rules.days.day_of
        self._memory_days = rules.memory_days
        self._steps = frozenset(rules.onboarding_steps)
        self._contributions = Contributions(rules.days, memory_days=rules.memory_days, windows=self.closed_lengths)
        # Windows look back from the end of a local day, which may be longer, and cohorts a week more.
        longest = max(max(self.lengths.values()) // 1_440, max(self.closed_lengths))
        if rules.erases:  # who is erased is taken out of all that a closed day looks back to
            longest = max(longest, self.closed_reach())
        self._kept_ms = (longest + 9) * DAY_MS
        self.ledger = Ledger(f"{self.name}-status")
        self._concluded: SignUps | None = None  # from the events that were applied last

    # -- the part of a user ----------------------------------------------------------------------------------------

    def handlers(self) -> Mapping[type[Event], EventHandler]:
        return {AccountChange: self.apply_changes}

    def conclusions(self) -> Mapping[type[Event], tuple[type[Event], Callable[[], Event | None]]]:
        return {AccountChange: (SignUps, lambda: self._concluded)}

    def apply_changes(self, part: Account, events: Sequence[AccountChange], changed: bytearray, now: int) -> None:
        """Use what events say of one account, and note when its user signed up."""
        since_ms = []
        for index, event in enumerate(events):
            if self.apply_change(part, event):
                changed[index] = True
                since_ms.append(event.at_ms)
        self._concluded = None
        if since_ms:
            signed_up = (life.period.signed_up_ms for life in self._contributions.lives(part))
            known = tuple(at_ms for at_ms in signed_up if at_ms is not None)
            self._concluded = SignUps(events[0].user, min(since_ms), False, known)

    def apply_change(self, part: Account, event: AccountChange) -> bool:
        """Use what an event says of an account, unless it is known."""
        step = event.step if not event.step or event.step in self._steps else OTHER
        new = period_of(event.change, step, event.at_ms)
        periods = with_period(part.periods, new, memory_days=self._memory_days, day_of=self._day_of)
        told = told_of(event.change, event.at_ms, event.effective_ms)
        is_new = told is not None and told not in part.told
        if periods is part.periods and not is_new:
            return False
        if part.booked is None:
            part.booked = Account(part.periods, part.told)
            self.changed.append(part)
        part.periods = periods
        if is_new and told is not None:
            part.told = tuple(sorted((*part.told, told)))
        return True

    def new(self) -> Account:
        return Account()

    def decode(self, stored: msgspec.Raw) -> Account:
        kept = _decode(stored)
        return Account(kept.periods, kept.told)

    def stored(self, part: Account) -> object:
        return (part.periods, part.told) if part.periods else None

    def prune(self, part: Account, horizon: Horizon) -> None:
        before_ms = horizon.before_ms
        whole = self._contributions.lives(part)
        forget(part, whole, before_ms=before_ms, kept_ms=before_ms - self._kept_ms)

    def long_term_part(self, part: Account) -> Account | None:
        return part if part.periods else None

    def last_ms(self, part: Account) -> int:
        whole = self._contributions.lives(part)
        if not whole:
            return 0
        if whole[-1].is_standing(LATEST_MS):
            return LATEST_MS  # it is never forgotten
        return max(whole[-1].period.last_ms, *(one.effective_ms for one in part.told), 0)

    def min_retention_ms(self) -> int:
        return self._kept_ms

    # -- totals ----------------------------------------------------------------------------------------------------

    def update_totals(self, now: int) -> None:
        self.ledger.advance(now)
        super().update_totals(now)

    def book(self, parts: list[Account]) -> None:
        for part in parts:
            difference = Contribution()
            if part.booked is not None:
                self._contributions.add(difference, part.booked, -1)
            self._contributions.add(difference, part, 1)
            part.booked = None
            difference.put(self.ring, self.days, self.ledger)

    def readable(self, part: Account) -> Any:
        told = [{"at": iso(one.at_ms), "change": one.change.value, "effective_at": iso(one.effective_ms)}
                for one in part.told]  # fmt: skip
        return {"periods": readable(part.periods), "told": told}

    def take_out(self, part: Account) -> None:
        difference = Contribution()
        self._contributions.add(difference, part, -1)
        difference.put(self.ring, self.days, self.ledger)

    def sums(self) -> Sums:
        live = super().sums().live
        live[NOW] = {field: count for field, count in self.ledger.now().items() if field in STANDING_NOW}
        return Sums(live=live)

    def closed_sums(self, day: int, first_known: int) -> OfWindows:
        told = super().closed_sums(day, first_known)
        told[NOW] = self.ledger.as_of(day)
        last = last_cohort(day, self.rules.days.starts_ms)
        cohorts: Amounts = {}
        told[samples.COHORTS] = cohorts
        for _, amounts in self.days.as_of(day, last - POOLED_DAYS + 1, last):
            samples.add_cohort(cohorts, amounts)
        return told

    def closed_reach(self) -> int:
        return max(super().closed_reach(), POOLED_DAYS + 9)

    def books(self) -> tuple[DayBook | Ledger, ...]:
        return (self.days, self.ledger)

    # -- numbers ---------------------------------------------------------------------------------------------------

    def live(self, sums: Sums) -> Iterator[Sample]:
        return samples.live(sums.live, self.lengths)

    def closed(self, of_windows: OfWindows, day: int, *, whole_since: int) -> Iterator[Sample]:
        return samples.closed(of_windows, self.closed_lengths, self.rules.onboarding_steps)

    def of_window(self, labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
        return samples.of_window(labels, tally)
