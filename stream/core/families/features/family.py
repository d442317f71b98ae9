"""Users of features in windows of event time. A user is booked at the last use of each feature."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from stream.core.days import OfWindows
from stream.core.events import Event, FeatureUsed
from stream.core.families.family import EventHandler, Family, Horizon, one_by_one
from stream.core.families.features import messages
from stream.core.families.features.metrics import FEATURE_USERS, METRICS
from stream.core.families.features.part import Use, UserFeatures
from stream.core.repeats import PackedTimes
from stream.core.ring import add_minute, latest_and_future, latest_bookings
from stream.core.rules import Rules
from stream.core.samples import Labels, Sample
from stream.core.segments import OTHER
from stream.core.snapshot import Sums
from stream.core.time import DAY_MS, MINUTE_MS
from stream.core.windows import FEATURES

# The fields of tallies are texts: this letter and the name of the feature.
_LETTER = "f"

_NO_FEATURES: dict[str, Use] = {}
_NEVER = Use((), ())

_decode = msgspec.msgpack.Decoder(UserFeatures).decode


class FeaturesFamily(Family[UserFeatures]):
    """Who uses which feature."""

    name = "features"
    number = 8
    since_format = 8
    windows = FEATURES
    metrics = METRICS
    is_absent_when_empty = True
    message_kinds = (messages.FEATURES,)

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._day_of = rules.days.day_of
        self._names = dict.fromkeys((*rules.features, OTHER))

    # -- the part of a user ----------------------------------------------------------------------------------------

    def handlers(self) -> Mapping[type[Event], EventHandler]:
        return {FeatureUsed: one_by_one(self.apply_use)}

    def apply_use(self, part: UserFeatures, event: FeatureUsed, now: int) -> bool:
        """Record that a feature was used. A use by no person is only recognised when it is sent again."""
        if event.identity in part.times:
            return False
        part.times[event.identity] = event.at_ms
        if event.is_interactive:
            name = event.feature if event.feature in self._names else OTHER
            known = part.by_name.get(name, _NEVER)
            minutes = add_minute(known.minutes, event.at_ms // MINUTE_MS, now)
            day = self._day_of(event.at_ms)
            days = known.days if day in known.days else tuple(sorted((*known.days, day)))
            if minutes is not known.minutes or days is not known.days:
                if part.booked is None:
                    part.booked = part.by_name.copy() if part.by_name else _NO_FEATURES
                    self.changed.append(part)
                part.by_name[name] = Use(minutes, days)
        return True

    def new(self) -> UserFeatures:
        return UserFeatures({}, PackedTimes() if self.rules.packs_identities else {})

    def decode(self, stored: msgspec.Raw) -> UserFeatures:
        return _decode(stored)

    def stored(self, part: UserFeatures) -> object:
        return (part.by_name, part.times) if part.by_name or part.times else None

    def prune(self, part: UserFeatures, horizon: Horizon) -> None:
        before_ms = max(0, horizon.before_ms)
        for identity in [identity for identity, at_ms in part.times.items() if at_ms < before_ms]:
            del part.times[identity]
        before_day, forgotten_day = self._day_of(before_ms), self._day_of(max(0, before_ms - self.min_retention_ms()))
        for name, use in list(part.by_name.items()):
            if use.days[-1] < forgotten_day:
                del part.by_name[name]
                continue
            minutes = latest_and_future(use.minutes, horizon.now) if len(use.minutes) > 1 else use.minutes
            # Of the days that nothing can change any more the last is needed: how long that one counts.
            over = sum(day < before_day for day in use.days)
            part.by_name[name] = Use(minutes, use.days[max(0, over - 1) :])

    def min_retention_ms(self) -> int:
        scored_ms = 0 if self.rules.health is None else self.rules.health.window_days * DAY_MS
        # Local days may be longer, and begin before the moment that is asked for.
        return max(super().min_retention_ms(), scored_ms) + 2 * DAY_MS

    def last_ms(self, part: UserFeatures) -> int:
        uses = (use.minutes[-1] * MINUTE_MS for use in part.by_name.values())
        return max((*uses, *part.times.values()), default=0)

    # -- totals ----------------------------------------------------------------------------------------------------

    def book(self, parts: list[UserFeatures]) -> None:
        for part in parts:
            before, part.booked = part.booked or _NO_FEATURES, None
            for name, use in part.by_name.items():
                booked = before.get(name, _NEVER)
                if use is not booked:
                    self._book(name, booked, -1)
                    self._book(name, use, 1)

    def take_out(self, part: UserFeatures) -> None:
        for name, use in part.by_name.items():
            self._book(name, use, -1)

    def _book(self, name: str, use: Use, times: int) -> None:
        amounts = {field_of(name): 1}
        if use.minutes:
            self.ring.book(latest_bookings(use.minutes, amounts), times=times)
            self.days.book(latest_bookings(use.days, amounts), times=times)

    def sums(self) -> Sums:
        return Sums(live=dict(self.ring.sums()))

    def closed_sums(self, day: int, first_known: int) -> OfWindows:
        return self.days.windows(day, self.closed_lengths)

    # -- numbers ---------------------------------------------------------------------------------------------------

    def of_window(self, labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
        for name in self._names:
            yield Sample(FEATURE_USERS, {**labels, "feature": name}, tally.get(field_of(name), 0))


def field_of(name: str) -> str:
    """The field of the users of a feature."""
    return f"{_LETTER}{name}"
