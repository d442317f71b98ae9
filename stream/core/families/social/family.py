"""Interactions on social networks in windows of event time, and the audience of pages as it is now."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from stream.core.contribution import Contribution
from stream.core.days import DayBook, OfWindows
from stream.core.events import Event
from stream.core.families.family import EventHandler, Family, Horizon, one_by_one
from stream.core.families.social import messages, samples
from stream.core.families.social.messages import AudienceCounted, Interacted
from stream.core.families.social.metrics import METRICS
from stream.core.families.social.part import Counts, Interactions, People, UserInteractions
from stream.core.families.social.samples import ALL_LETTERS, FOLLOWERS, NOW, REACH, amounts_of
from stream.core.label_texts import LabelTexts
from stream.core.ledger import Ledger
from stream.core.ring import superseding_bookings
from stream.core.rules import Rules
from stream.core.samples import Labels, Sample
from stream.core.snapshot import Sums
from stream.core.tally import Field
from stream.core.time import DAY_MS, MINUTE_MS, Span
from stream.core.versions import needed, newest_by_day, with_version
from stream.core.windows import SOCIAL

_NO_INTERACTIONS: dict[str, Interactions] = {}

_decode = msgspec.msgpack.Decoder(UserInteractions).decode


class SocialFamily(Family[UserInteractions]):
    """Interactions, mentions and audiences."""

    name = "social"
    number = 9
    since_format = 8
    windows = SOCIAL
    metrics = METRICS
    is_absent_when_empty = True
    message_kinds = (messages.SOCIAL,)

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._day_of = rules.days.day_of
        self._is_same_day = Span(rules.days).is_same_day
        self._networks = LabelTexts(ALL_LETTERS)
        self.ledger = Ledger(f"{self.name}-audience")

    # -- the part of a user ----------------------------------------------------------------------------------------

    def handlers(self) -> Mapping[type[Event], EventHandler]:
        return {Interacted: one_by_one(self.apply_interaction), AudienceCounted: one_by_one(self.apply_audience)}

    def apply_interaction(self, part: UserInteractions, event: Interacted, now: int) -> bool:
        """Use a version of an interaction, unless it makes no difference."""
        version = event.version._replace(network=self._networks.of(event.version.network))
        known = part.by_thing.get(event.thing, ())
        after = with_version(known, version, self._is_same_day)
        if after is known:
            return False
        self._record_booked(part)
        part.by_thing[event.thing] = after
        return True

    def apply_audience(self, part: UserInteractions, event: AudienceCounted, now: int) -> bool:
        """Use what is told of the audience of a page, unless it makes no difference."""
        network, is_new = self._networks.of(event.network), False
        for letter, count in ((FOLLOWERS, event.followers), (REACH, event.reach)):
            if count is not None:
                field, told = f"{letter}{network}", People(event.at_ms, count)
                known = part.audience.get(field, ())
                if told not in known and not self._is_superseded(told, known, now):
                    self._record_booked(part)
                    part.audience[field] = tuple(sorted((*known, told)))
                    is_new = True
        return is_new

    def _is_superseded(self, told: People, known: Counts, now: int) -> bool:
        """Whether another number of the same day holds already, so that this one makes no difference."""
        return any(
            told < other and other.at_ms // MINUTE_MS <= now and self._is_same_day(told.at_ms, other.at_ms)
            for other in known
        )

    def _record_booked(self, part: UserInteractions) -> None:
        if part.booked is None:
            part.booked = part.by_thing.copy() if part.by_thing else _NO_INTERACTIONS
            part.booked_audience = part.audience.copy()
            self.changed.append(part)

    def new(self) -> UserInteractions:
        return UserInteractions({}, {})

    def decode(self, stored: msgspec.Raw) -> UserInteractions:
        return _decode(stored)

    def stored(self, part: UserInteractions) -> object:
        return (part.by_thing, part.audience) if part.by_thing or part.audience else None

    def prune(self, part: UserInteractions, horizon: Horizon) -> None:
        before_ms = max(0, horizon.before_ms)
        forgotten_ms, before_day = before_ms - self.min_retention_ms(), self._day_of(before_ms)
        for thing, versions in list(part.by_thing.items()):
            if versions[-1].at_ms < forgotten_ms:
                del part.by_thing[thing]
            else:
                part.by_thing[thing] = needed(versions, before_day, self._day_of)
        for field, counts in list(part.audience.items()):
            if self._expires(self._day_of(counts[-1].at_ms)) < before_day:
                del part.audience[field]
            elif len(counts) > 1:
                come = [one for one in counts if one.at_ms // MINUTE_MS <= horizon.now]
                kept = (*newest_by_day(come, self._is_same_day), *counts[len(come) :])
                part.audience[field] = needed(kept, before_day, self._day_of)

    def long_term_part(self, part: UserInteractions) -> UserInteractions | None:
        return UserInteractions({}, part.audience) if part.audience else None

    def min_retention_ms(self) -> int:
        # Local days may be longer, and begin before the moment that is asked for.
        return super().min_retention_ms() + 2 * DAY_MS

    def last_ms(self, part: UserInteractions) -> int:
        interactions = (versions[-1].at_ms for versions in part.by_thing.values())
        return max((*interactions, *(counts[-1].at_ms for counts in part.audience.values())), default=0)

    # -- totals ----------------------------------------------------------------------------------------------------

    def update_totals(self, now: int) -> None:
        self.ledger.advance(now)
        super().update_totals(now)

    def book(self, parts: list[UserInteractions]) -> None:
        for part in parts:
            before, part.booked = part.booked or _NO_INTERACTIONS, None
            for thing, versions in part.by_thing.items():
                booked = before.get(thing, ())
                if versions is not booked:
                    self._book(booked, -1)
                    self._book(versions, 1)
            difference = Contribution()
            for field, counts in part.audience.items():
                booked_counts = part.booked_audience.get(field, ())
                if counts is not booked_counts:
                    self._add_audience(difference, field, booked_counts, -1)
                    self._add_audience(difference, field, counts, 1)
            part.booked_audience = {}
            difference.put(self.ring, self.days, self.ledger)

    def take_out(self, part: UserInteractions) -> None:
        for versions in part.by_thing.values():
            self._book(versions, -1)
        difference = Contribution()
        for field, counts in part.audience.items():
            self._add_audience(difference, field, counts, -1)
        difference.put(self.ring, self.days, self.ledger)

    def _book(self, versions: Interactions, times: int) -> None:
        if not versions:
            return
        newest, day_of = versions[-1], self._day_of
        self.ring.count(newest.at_ms // MINUTE_MS, amounts_of(newest), times)
        by_day = [(day_of(version.at_ms), amounts_of(version)) for version in versions]
        self.days.book(superseding_bookings(by_day), times=times)

    def _add_audience(self, difference: Contribution, field: str, counts: Counts, times: int) -> None:
        """Add how the audience of a page changes, and when."""
        held = expires = 0
        for told in counts:
            day = self._day_of(told.at_ms)
            if held and expires <= day:
                self._add_change(difference, field, expires, self._starts_minute(expires), -held * times)
                held = 0
            self._add_change(difference, field, day, told.at_ms // MINUTE_MS, (told.number - held) * times)
            held, expires = told.number, self._expires(day)
        if held:
            self._add_change(difference, field, expires, self._starts_minute(expires), -held * times)

    def _add_change(self, difference: Contribution, field: str, day: int, minute: int, amount: int) -> None:
        for places, place in ((difference.changes, day), (difference.ahead, minute)):
            held = places[place]
            held[field] = held.get(field, 0) + amount
            if not held[field]:
                del held[field]

    def _expires(self, day: int) -> int:
        """The day on which a number no longer holds that was told on a day."""
        return day + self.rules.memory_days + 1

    def _starts_minute(self, day: int) -> int:
        return self.rules.days.starts_ms(day) // MINUTE_MS

    def sums(self) -> Sums:
        self._networks.make_room(self.ring.now * MINUTE_MS // DAY_MS, self._tallies)
        live: dict[int, dict[Field, int]] = dict(self.ring.sums())
        live[NOW] = self.ledger.now()
        return Sums(live=live)

    def closed_sums(self, day: int, first_known: int) -> OfWindows:
        told = self.days.windows(day, self.closed_lengths)
        told[NOW] = self.ledger.as_of(day)
        return told

    def books(self) -> tuple[DayBook | Ledger, ...]:
        return (self.days, self.ledger)

    def restore(self, stored: Any, *, now: int, days_since: Mapping[str, int]) -> None:
        super().restore(stored, now=now, days_since=days_since)
        self._networks.keep(self._tallies())

    def _tallies(self) -> Iterable[Mapping[Field, int]]:
        yield from (*self.ring.tallies(), *self.days.tallies(), *self.ledger.tallies())

    # -- numbers ---------------------------------------------------------------------------------------------------

    def live(self, sums: Sums) -> Iterator[Sample]:
        of_windows = {window: sums.live.get(length, {}) for window, length in self.lengths.items()}
        return samples.live(of_windows, sums.live.get(max(self.lengths.values()), {}), sums.live.get(NOW, {}))

    def closed(self, of_windows: OfWindows, day: int, *, whole_since: int) -> Iterator[Sample]:
        held = {f"{length}d": of_windows.get(length, {}) for length in self.closed_lengths}
        return samples.closed(held, of_windows.get(max(self.closed_lengths), {}), of_windows.get(NOW, {}))

    def of_window(self, labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
        """The names of networks come from the longest window: all are told together."""
        yield from ()
