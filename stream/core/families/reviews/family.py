"""Reviews in windows of event time. A review is booked at its newest version, and moves with each edit."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from stream.core.events import Event
from stream.core.families.family import EventHandler, Family, Horizon, one_by_one
from stream.core.families.reviews import messages
from stream.core.families.reviews.messages import ReviewWritten
from stream.core.families.reviews.metrics import (
    MEAN,
    METRICS,
    NEGATIVE,
    POSITIVE,
    POSITIVE_RATIO,
    POSITIVE_TO_NEGATIVE,
    REVIEWS,
)
from stream.core.families.reviews.part import UserReviews, Version, Versions
from stream.core.ring import superseding_bookings
from stream.core.rules import Rules
from stream.core.samples import Labels, Sample, mean, share
from stream.core.time import DAY_MS, MINUTE_MS, Span
from stream.core.versions import needed, with_version
from stream.core.windows import REVIEWS as WINDOWS

# The fields of tallies are the stars. They are stored, so their meaning never changes.
STARS = (1, 2, 3, 4, 5)
_NOTHING: Mapping[int, int] = {}
_ONE_OF = {stars: {stars: 1} for stars in STARS}

_NO_REVIEWS: dict[str, Versions] = {}

_decode = msgspec.msgpack.Decoder(dict[str, Versions]).decode


class ReviewsFamily(Family[UserReviews]):
    """Stars that customers gave."""

    name = "reviews"
    number = 7
    since_format = 8
    windows = WINDOWS
    metrics = METRICS
    is_absent_when_empty = True
    message_kinds = (messages.REVIEWS,)

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._day_of = rules.days.day_of
        self._is_same_day = Span(rules.days).is_same_day

    # -- the part of a user ----------------------------------------------------------------------------------------

    def handlers(self) -> Mapping[type[Event], EventHandler]:
        return {ReviewWritten: one_by_one(self.apply_review)}

    def apply_review(self, part: UserReviews, event: ReviewWritten, now: int) -> bool:
        """Use a version of a review, unless it makes no difference."""
        known = part.by_id.get(event.review_id, ())
        after = with_version(known, event.version, self._is_same_day)
        if after is known:
            return False
        if part.booked is None:
            part.booked = part.by_id.copy() if part.by_id else _NO_REVIEWS
            self.changed.append(part)
        part.by_id[event.review_id] = after
        return True

    def new(self) -> UserReviews:
        return UserReviews({})

    def decode(self, stored: msgspec.Raw) -> UserReviews:
        return UserReviews(_decode(stored))

    def stored(self, part: UserReviews) -> object:
        return part.by_id or None

    def prune(self, part: UserReviews, horizon: Horizon) -> None:
        forgotten_ms, before_day = horizon.before_ms - self.min_retention_ms(), self._day_of(max(0, horizon.before_ms))
        for review_id, versions in list(part.by_id.items()):
            if versions[-1].at_ms < forgotten_ms:
                del part.by_id[review_id]
            else:
                part.by_id[review_id] = needed(versions, before_day, self._day_of)

    def min_retention_ms(self) -> int:
        # Local days may be longer, and begin before the moment that is asked for.
        return super().min_retention_ms() + 2 * DAY_MS

    def last_ms(self, part: UserReviews) -> int:
        return max((versions[-1].at_ms for versions in part.by_id.values()), default=0)

    # -- totals ----------------------------------------------------------------------------------------------------

    def book(self, parts: list[UserReviews]) -> None:
        for part in parts:
            before, after, part.booked = part.booked or _NO_REVIEWS, part.by_id, None
            for review_id, versions in after.items():
                booked = before.get(review_id, ())
                if versions is not booked:
                    self._book(booked, -1)
                    self._book(versions, 1)

    def take_out(self, part: UserReviews) -> None:
        for versions in part.by_id.values():
            self._book(versions, -1)

    def _book(self, versions: Versions, times: int) -> None:
        if not versions:
            return
        newest, day_of = versions[-1], self._day_of
        self.ring.count(newest.at_ms // MINUTE_MS, _amounts(newest), times)
        by_day = [(day_of(version.at_ms), _amounts(version)) for version in versions]
        self.days.book(superseding_bookings(by_day), times=times)

    # -- numbers ---------------------------------------------------------------------------------------------------

    def of_window(self, labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
        counts = {stars: tally.get(stars, 0) for stars in STARS}
        for stars, count in counts.items():
            yield Sample(REVIEWS, {**labels, "stars": str(stars)}, count)
        positive, negative = counts[4] + counts[5], counts[1] + counts[2]
        yield Sample(POSITIVE, labels, positive)
        yield Sample(NEGATIVE, labels, negative)
        reviews = sum(counts.values())
        yield from mean(MEAN, labels, sum(stars * count for stars, count in counts.items()), reviews)
        yield from share(POSITIVE_RATIO, labels, positive, reviews)
        yield from mean(POSITIVE_TO_NEGATIVE, labels, positive, negative)


def _amounts(version: Version) -> Mapping[int, int]:
    return _NOTHING if version.is_removed else _ONE_OF[version.stars]
