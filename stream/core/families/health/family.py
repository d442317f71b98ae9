"""Customer health on closed days.

Its part of a row has no events of its own: it follows from what other families store of the same user (`derive`). What
is booked of each user is a list of the days on which the score changes, those to come included, so no day needs a pass
over all users when it closes. Only what events and time change is booked again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from stream.core.days import Amounts, OfWindows
from stream.core.events import AccountChange, Answer, Event, FeatureUsed, Login, Step, Summary
from stream.core.families.contacts.messages import ConversationChanged
from stream.core.families.family import EventHandler, Family, Horizon
from stream.core.families.health.metrics import BANDS, COVERAGE, METRICS, SCORE, USERS
from stream.core.families.health.part import UNITS, Change, UserHealth, replaced, since
from stream.core.families.health.scorer import MEMORY_DAYS, OfUser, Scorer
from stream.core.ledger import Ledger
from stream.core.rules import Rules
from stream.core.samples import Sample, mean
from stream.core.tally import add
from stream.core.time import DAY_MS, date_of
from stream.core.user_scores import UserScore
from stream.core.windows import ACTIVITY

# Fields of tallies. They are stored, so a new one gets a new number, and none is used again.
_BANDS = (1, 2, 3)
_SCORES, _COVERAGES = 4, 5
# Among the windows: what holds at the end of a day.
NOW = 0

# Events that change nothing but, on some of them, the active days.
_OF_ACTIVITY = (Step, Login, Summary)
_OTHERS = (FeatureUsed, Answer, ConversationChanged, AccountChange)

_decode = msgspec.msgpack.Decoder(UserHealth).decode


class HealthFamily(Family[UserHealth]):
    """Users by their health."""

    name = "health"
    number = 11
    since_format = 8
    windows = ACTIVITY
    metrics = METRICS
    is_absent_when_empty = True
    derives_from = ("activity", "features", "surveys", "contacts", "accounts")

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._day_of = rules.days.day_of
        self._scorer = None if rules.health is None else Scorer(rules)
        self.ledger = Ledger(self.name)
        # Of whom something has changed: whether it may be more than the active days.
        self._touched: dict[str, bool] = {}

    # -- the part of a user ----------------------------------------------------------------------------------------

    def handlers(self) -> Mapping[type[Event], EventHandler]:
        if self._scorer is None:
            return {}
        of_activity: dict[type[Event], EventHandler] = dict.fromkeys(_OF_ACTIVITY, self._note_activity)
        return {**of_activity, **dict.fromkeys(_OTHERS, self._note)}

    def _note_activity(self, part: UserHealth, events: Sequence[Event], changed: bytearray, now: int) -> None:
        self._touched.setdefault(events[0].user, False)

    def _note(self, part: UserHealth, events: Sequence[Event], changed: bytearray, now: int) -> None:
        self._touched[events[0].user] = True

    def new(self) -> UserHealth:
        return UserHealth()

    def decode(self, stored: msgspec.Raw) -> UserHealth:
        return _decode(stored)

    def stored(self, part: UserHealth) -> object:
        return (part.changes,) if part.changes else None

    def prune(self, part: UserHealth, horizon: Horizon) -> None:
        if part.changes:
            part.changes = since(part.changes, self._day_of(max(0, horizon.before_ms)))

    def long_term_part(self, part: UserHealth) -> UserHealth | None:
        """Whoever is scored is booked, and must be taken out when something changes."""
        return part if part.changes and part.changes[-1].score is not None else None

    def last_ms(self, part: UserHealth) -> int:
        if not part.changes:
            return 0
        last = part.changes[-1]
        heard = last.day if last.score is not None else last.day - MEMORY_DAYS
        return self.rules.days.starts_ms(max(0, heard))

    def min_retention_ms(self) -> int:
        longest = super().min_retention_ms()
        # Local days may be longer than 24 hours, and begin before the moment that is asked for.
        return longest if self._scorer is None else max(longest, (MEMORY_DAYS + 2) * DAY_MS)

    # -- what follows from other parts -----------------------------------------------------------------------------

    def derive(self, parts_of: Callable[[str], Sequence[Any]], first_open: int) -> list[str]:
        changed = []
        for user, has_more in self._touched.items():
            part, *others = parts_of(user)
            activity = OfUser(*others).activity
            days = activity.since_day, activity.day_bits, activity.before_day, *activity.summaries.values()
            if has_more or days != part.activity:
                part.activity = days
                if self.look_at(part, others, first_open):
                    changed.append(user)
        self._touched.clear()
        return changed

    def look_at(self, part: UserHealth, others: Sequence[Any], first_open: int) -> bool:
        if self._scorer is None:
            return False
        before = part.changes
        part.changes = replaced(before, first_open, self._scorer.changes(OfUser(*others), first_open))
        if part.changes == before:
            return False
        self._is_used = True
        self._book(before, part.changes)
        return True

    def readable(self, part: UserHealth) -> Any:
        return [
            {
                "since": str(date_of(change.day)),
                "score": None if change.score is None else change.score / UNITS,
                "coverage": None if change.coverage is None else change.coverage / UNITS,
            }
            for change in part.changes
        ]

    def take_out(self, part: UserHealth) -> None:
        self._book(part.changes, ())

    def _book(self, before: tuple[Change, ...], after: tuple[Change, ...]) -> None:
        """Book what holds after some changes in the place of what held after others."""
        difference: dict[int, Amounts] = {}
        for changes, times in ((before, -1), (after, 1)):
            holds: Amounts = {}
            for change in changes:
                on = difference.setdefault(change.day, {})
                add(on, holds, -times)
                holds = self._amounts(change)
                add(on, holds, times)
        for day, amounts in sorted(difference.items()):
            if amounts:
                self.ledger.change(day, amounts)

    @property
    def rules_number(self) -> int | None:
        return None if self._scorer is None else self._scorer.rules_number

    def scores(self, part: UserHealth, others: Sequence[Any], day: int) -> Iterator[UserScore | None]:
        if self._scorer is not None and part.changes and part.changes[0].day <= day:
            yield self._scorer.user_score(OfUser(*others), day)

    def _amounts(self, change: Change) -> Amounts:
        if self._scorer is None or change.score is None or change.coverage is None:
            return {}
        amounts: Amounts = {_BANDS[self._scorer.band(change.score)]: 1}
        add(amounts, {_SCORES: change.score, _COVERAGES: change.coverage})
        return amounts

    # -- totals ----------------------------------------------------------------------------------------------------

    @property
    def is_used(self) -> bool:
        return self._scorer is not None and super().is_used

    def closed_sums(self, day: int, first_known: int) -> OfWindows:
        return {NOW: self.ledger.as_of(day)}

    def books(self) -> tuple[Ledger, ...]:
        return (self.ledger,)

    # -- numbers ---------------------------------------------------------------------------------------------------

    def closed(self, of_windows: OfWindows, day: int, *, whole_since: int) -> Iterator[Sample]:
        tally = of_windows.get(NOW)
        if not tally:
            return
        users = sum(tally.get(field, 0) for field in _BANDS)
        for band, field in zip(BANDS, _BANDS, strict=True):
            yield Sample(USERS, {"band": band}, tally.get(field, 0))
        yield from mean(SCORE, {}, tally.get(_SCORES, 0) / UNITS, users)
        yield from mean(COVERAGE, {}, tally.get(_COVERAGES, 0) / UNITS, users)
