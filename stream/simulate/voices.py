"""Simulate what users say in public: on social networks, and in reviews.

Some users follow the brand on a network. On the days of their visits they like, share or comment its post of the day
there, take a few of these back, and now and then mention the brand, gladly or not. A review is written on a visit, by
the dissatisfied more often than by others; some are edited or removed in the days after. The brand's pages tell four
times a day how many people they have.
"""

from collections.abc import Iterator
from itertools import starmap
from typing import NamedTuple

import numpy as np

from stream.simulate.habits import Floats, of_habit
from stream.simulate.messages import SimulatedEvent, Visit, time_text
from stream.simulate.population import DAY_MS, hash_trait, hash_traits
from stream.simulate.steps import Visits

SOCIAL_TOPIC, REVIEWS_TOPIC = "social", "reviews"

_MINUTE_MS, _HOUR_MS = 60_000, 3_600_000

NETWORKS = ("instagram", "linkedin", "mastodon")
_ON_NETWORK_SHARES = np.array([[0.22], [0.14], [0.08]])  # of the users of an ordinary habit
_NETWORK_TRAITS = range(110, 110 + len(NETWORKS))


class _Interaction(NamedTuple):
    """What a user may do on a network on a visit: how often, and how often it is taken back."""

    type: str
    chance: float
    taken_back: float


_INTERACTIONS = (
    _Interaction("like", 0.3, 0.05),
    _Interaction("comment", 0.06, 0.04),
    _Interaction("share", 0.05, 0.03),
    _Interaction("save", 0.04, 0.1),
    _Interaction("mention", 0.05, 0.03),
    _Interaction("follow", 0.03, 0.06),
)
_CHANCES = np.array([[does.chance] for does in _INTERACTIONS])
_TAKEN_BACK_AFTER_MS = 20 * _HOUR_MS
_WITH_ID = ("comment", "mention")
GLAD, SOUR = 0.75, 0.5  # moods from which a mention is positive, and below which it is negative


class _Page(NamedTuple):
    """A page of the brand: followers for each user of the product, and how many people it reaches for each follower."""

    name: str
    network: str
    followers: float
    reaches: float | None  # None: the network does not tell


PAGES = (
    _Page("brand", "instagram", 4.0, 0.7),
    _Page("brand.support", "instagram", 0.5, 0.4),
    _Page("brand", "linkedin", 2.2, 0.5),
    _Page("brand", "mastodon", 0.8, None),
)
_TOLD_EVERY_HOURS = 6
_GROWS_A_DAY = 0.0008  # from day to day, of the followers that a page had when the calendar of the population began ...
_FIRST_DAY, _GROWS_DAYS = 20_000, 4_000  # ... here, and for so long

REVIEWS_SHARE, REVIEWS_MORE, CONTENT = 0.008, 0.03, 0.8  # as conversations: see `support`
ANGRY_SHARE = 0.08  # of the reviews are written in anger, for half of a point of satisfaction less
BAD_REVIEWS = 0.5  # in the scenario 'reviews', by so much the mood in which one is written is worse
EDITED_SHARE, REMOVED_SHARE = 0.12, 0.05
MAX_REVIEW_MS = 8 * DAY_MS  # from being written to its last change


def events_of_social(rows: Visits) -> Iterator[SimulatedEvent]:
    """Yield what users do on social networks on their visits."""
    keen = of_habit("adopts", rows["habit"]) * ~rows["anonymous"]
    on_networks = hash_traits(rows["number"], _NETWORK_TRAITS) < _ON_NETWORK_SHARES * keen
    for place, network in enumerate(NETWORKS):
        if not on_networks[place].any():
            continue
        traits = range(120 + 10 * place, 120 + 10 * place + len(_INTERACTIONS))
        of_kinds = on_networks[place] & (hash_traits(rows["ref"], traits) < _CHANCES)
        for kind in np.flatnonzero(of_kinds.any(axis=1)).tolist():
            doing = rows[of_kinds[kind]]
            columns = (_moods(doing, traits[kind]).tolist(), hash_trait(doing["ref"], 150 + traits[kind]).tolist())
            for visit, mood, back in zip(starmap(Visit, doing.tolist()), *columns, strict=True):
                yield from _interaction(visit, network, _INTERACTIONS[kind], kind, mood, back)


def _interaction(
    visit: Visit, network: str, does: _Interaction, kind: int, mood: float, back: float
) -> Iterator[SimulatedEvent]:
    at_ms = visit.start_ms + (2 + 3 * kind) * _MINUTE_MS
    told = f'"network":"{network}",'
    if does.type not in ("mention", "follow"):
        told += f'"post_id":"{network}-{at_ms // DAY_MS}",'
    if does.type in _WITH_ID:
        told += f'"interaction_id":"{visit.session_id}-{network}-{does.type}",'
    feeling = "positive" if mood >= GLAD else "negative" if mood < SOUR else "neutral"
    # One mention in five is in a language that nobody judges.
    sentiment = f'"sentiment":"{feeling}",' if does.type == "mention" and visit.ref % 5 else ""
    yield _event(visit, at_ms, SOCIAL_TOPIC, f'"type":"{does.type}",{told}{sentiment}', f"{network}-{does.type}")
    if back < does.taken_back:
        after_ms = _MINUTE_MS + int(_TAKEN_BACK_AFTER_MS * back / does.taken_back)
        of = f"{network}-un{does.type}"
        yield _event(visit, at_ms + after_ms, SOCIAL_TOPIC, f'"type":"un{does.type}",{told}', of)


def events_of_audience(hour: int, users: int) -> Iterator[SimulatedEvent]:
    """Yield what the pages of the brand tell of their audience in an hour, for a product with so many users."""
    if hour % _TOLD_EVERY_HOURS:
        return
    at_ms = hour * _HOUR_MS + 7 * _MINUTE_MS
    day = hour * _HOUR_MS / DAY_MS
    grown = 1 + _GROWS_A_DAY * min(max(day - _FIRST_DAY, 0), _GROWS_DAYS)
    for place, page in enumerate(PAGES):
        followers = int(users * page.followers * grown)
        # More people see what is posted on working days.
        reach = None if page.reaches is None else int(followers * page.reaches * (1 if (int(day) + 3) % 7 < 5 else 0.7))
        key = f"{page.name}@{page.network}"
        told = f'"reach":{reach},' if reach is not None else ""
        value = (
            f'{{"type":"audience","network":"{page.network}","followers":{followers},{told}"user_id":"{key}",'
            f'"event_time":{at_ms},"event_id":"audience-{hour}-{place}"}}'
        )
        yield SimulatedEvent(at_ms, at_ms + 400, SOCIAL_TOPIC, key, value.encode(), "")


def events_of_reviews(rows: Visits, *, bad_since_ms: int | None) -> Iterator[SimulatedEvent]:
    """Yield the reviews that are written on visits, with their edits and removals up to `MAX_REVIEW_MS` later."""
    chance = REVIEWS_SHARE + REVIEWS_MORE * np.maximum(CONTENT - rows["satisfaction"], 0)
    written = rows[~rows["anonymous"] & (hash_trait(rows["ref"], 101) < chance)]
    moods = _moods(written, 102) - 0.5 * (hash_trait(written["ref"], 105) < ANGRY_SHARE)
    if bad_since_ms is not None:
        moods = moods - BAD_REVIEWS * (written["start_ms"] >= bad_since_ms)
    columns = (moods, *(hash_trait(written["ref"], trait) for trait in (103, 104)))
    for visit, mood, change, when in zip(
        starmap(Visit, written.tolist()), *(column.tolist() for column in columns), strict=True
    ):
        review, at_ms = f'"review_id":"{visit.session_id}",', visit.start_ms + 5 * _MINUTE_MS
        yield _event(visit, at_ms, REVIEWS_TOPIC, f'{review}"stars":{_stars(mood)},', "review")
        later_ms = at_ms + _HOUR_MS + int(when * (MAX_REVIEW_MS - 2 * _HOUR_MS))
        if change < EDITED_SHARE:
            # Half of those who come back to it have been helped since.
            stars = _stars(mood + (0.3 if visit.ref % 2 else -0.2))
            told = f'{review}"stars":{stars},"status":"published",'
            yield _event(visit, later_ms, REVIEWS_TOPIC, told, "review-edit")
        elif change < EDITED_SHARE + REMOVED_SHARE:
            yield _event(visit, later_ms, REVIEWS_TOPIC, f'{review}"status":"removed",', "review-removal")


def _moods(rows: Visits, trait: int) -> Floats:
    """How users feel on a visit, around their satisfaction."""
    moods: Floats = rows["satisfaction"] + 0.5 * (hash_trait(rows["ref"], 300 + trait) - 0.5)
    return moods


def _stars(mood: float) -> int:
    return 1 + int(5 * min(max(mood, 0.0), 0.999))


def _event(visit: Visit, at_ms: int, topic: str, told: str, of: str) -> SimulatedEvent:
    value = (
        f'{{{told}"user_id":"{visit.key}","event_time":{time_text(visit, at_ms)},"event_id":"{visit.session_id}-{of}"}}'
    )
    return SimulatedEvent(at_ms, at_ms + visit.delay_ms, topic, visit.key, value.encode(), "")
