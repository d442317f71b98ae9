"""The health score of one user: the weighted mean of what is known.

| part | what it says, 0 to 100 | known of |
| --- | --- | --- |
| activity | active days of the last 28 over the setting `health.target_days`, at most 100 | everybody |
| adoption | the share of the vital features, by their weights, that was used in 28 days | if settings name such |
| satisfaction | mean of the newest answer of each kind within 90 days, from its scale to 0 to 100 | who has answered |
| support | of the conversations begun in 90 days: resolved minus waiting over all, not below 0 | who has had any |
| subscription | active 100, trialing 60, paused 30, cancelled 0 | who has had one |

What is not known is left out, and the other weights are what they are to one another. A day says what was known at its
end. All parts are step functions of the day, so a score is a short list of the days on which it changes.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from stream.core.account_changes import STANDING, Status
from stream.core.families.accounts.contribution import Contributions, statuses
from stream.core.families.accounts.part import Account
from stream.core.families.activity.part import (
    NO_DAY,
    Activity,
    SummaryTimes,
    active_days,
    days_reported,
    moments,
    moments_as_of,
)
from stream.core.families.contacts.part import Messages, UserConversations, conversations, longest_pause_ms
from stream.core.families.features.part import UserFeatures
from stream.core.families.health.metrics import BANDS
from stream.core.families.health.part import UNITS, Change
from stream.core.families.health.timelines import FOREVER, DaySpan, Timeline, at_days, counts, days_of, timeline, united
from stream.core.families.surveys.part import Response, UserResponses, as_of, days_told
from stream.core.rules import Health, Rules
from stream.core.survey_scales import SCALES, Kind
from stream.core.survey_scales import Status as Answered
from stream.core.time import minutes_of
from stream.core.user_scores import ScorePart, UserScore
from stream.core.windows import CONTACTS

PARTS = ("activity", "adoption", "satisfaction", "support", "subscription")

ACTIVITY_DAYS, MEMORY_DAYS = Health.window_days, 90

_POINTS = {Status.ACTIVE: 100.0, Status.TRIALING: 60.0, Status.PAUSED: 30.0, Status.CANCELLED: 0.0}

Points = float | None  # None: not known
DayOf = Callable[[int], int]


class OfUser(NamedTuple):
    """What other families store of one user."""

    activity: Activity
    features: UserFeatures
    surveys: UserResponses
    contacts: UserConversations
    accounts: Account


class Score(NamedTuple):
    """The score of one user, with its parts."""

    score: float
    coverage: float
    parts: dict[str, Points]


class Scorer:
    """Scores users by the rules of a deployment."""

    def __init__(self, rules: Rules) -> None:
        assert rules.health is not None
        self._days, self._day_of = rules.days, rules.days.day_of
        self._health = rules.health
        self._weights = dict(zip(PARTS, rules.health.weights, strict=True))
        self._all_weights = sum(self._weights.values())
        self._vital = {name: weight for name, weight in rules.features.items() if weight}
        self._pause_ms = longest_pause_ms(map(minutes_of, rules.windows_of(CONTACTS)))
        self._accounts = Contributions(rules.days, memory_days=rules.memory_days, windows=())
        # Another number for other weights and bounds.
        self.rules_number = zlib.crc32(repr((self._health, sorted(self._vital.items()))).encode())

    def changes(self, user: OfUser, since: int) -> tuple[Change, ...]:
        """The score of a user from the end of a day on."""
        found: list[Change] = []
        for day, score in self._scores(user, since):
            change = Change(day, None, None)
            if score is not None:
                change = Change(day, round(score.score * UNITS), round(score.coverage * UNITS))
            if not found or found[-1][1:] != change[1:]:
                found.append(change)
        return tuple(found)

    def user_score(self, user: OfUser, day: int) -> UserScore | None:
        """What is told of a user at the end of a day; None for one who has no score."""
        _, score = next(self._scores(user, day))
        if score is None:
            return None
        band = BANDS[self.band(round(score.score * UNITS))]
        parts = {
            name: ScorePart(None if points is None else _rounded(points), self._weights[name])
            for name, points in score.parts.items()
        }
        return UserScore(_rounded(score.score), band, _rounded(score.coverage), parts)

    def band(self, score: int) -> int:
        """The place of a score among `metrics.BANDS`."""
        return (score >= self._health.at_risk_below * UNITS) + (score >= self._health.healthy_from * UNITS)

    def _scores(self, user: OfUser, since: int) -> Iterator[tuple[int, Score | None]]:
        known_active = _known_active(user.activity, self._day_of)
        statuses_ = self._statuses(user.accounts, since)
        is_active = counts(_spans(known_active, MEMORY_DAYS), since)
        parts: dict[str, Timeline[Points]] = {
            "activity": self._activity(known_active, since),
            "adoption": self._adoption(user.features, since),
            "satisfaction": self._satisfaction(user.surveys.by_id, since),
            "support": self._support(user.contacts.by_id.values(), since),
            "subscription": [(day, None if status is None else _POINTS[status]) for day, status in statuses_],
        }
        who: dict[str, Timeline[Points]] = {
            "is_active": [(day, float(count > 0)) for day, count in is_active],
            "is_customer": [(day, float(status in STANDING)) for day, status in statuses_],
        }
        timelines = {**who, **parts}
        for day, values in at_days(days_of(timelines.values()), timelines):
            is_scored = values.pop("is_active"), values.pop("is_customer")
            yield day, self._weighted(values) if any(is_scored) else None

    def _weighted(self, parts: Mapping[str, Points]) -> Score | None:
        weights = total = 0.0
        for name, points in parts.items():
            if points is not None:
                weights += self._weights[name]
                total += self._weights[name] * points
        return Score(total / weights, weights / self._all_weights, dict(parts)) if weights else None

    # -- the parts -------------------------------------------------------------------------------------------------

    def _activity(self, known_active: Mapping[int, list[DaySpan]], since: int) -> Timeline[Points]:
        target = self._health.target_days
        found = counts(_spans(known_active, ACTIVITY_DAYS), since)
        return [(day, min(100.0, 100 * count / target)) for day, count in found]

    def _adoption(self, features: UserFeatures, since: int) -> Timeline[Points]:
        if not self._vital:
            return [(since, None)]
        used = {
            name: united((day, day + ACTIVITY_DAYS) for day in features.by_name[name].days)
            for name in self._vital
            if name in features.by_name
        }

        def adopted(day: int) -> Points:
            weights = (
                self._vital[name] for name, spans in used.items() if any(begin <= day < end for begin, end in spans)
            )
            return 100 * sum(weights) / sum(self._vital.values())

        return timeline(since, (day for spans in used.values() for span in spans for day in span), adopted)

    def _satisfaction(self, responses: Mapping[str, Response], since: int) -> Timeline[Points]:
        told = {day for response in responses.values() for day in days_told(response, self._day_of)}

        def mean(day: int) -> Points:
            newest: dict[Kind, tuple[int, str, float]] = {}
            for name, response in responses.items():
                then = as_of(response, day, self._day_of)
                points = None if then is None else _points_of(then)
                if then is None or points is None or self._day_of(then.at_ms) <= day - MEMORY_DAYS:
                    continue
                newest[then.kind] = max(newest.get(then.kind, (-1, "", 0.0)), (then.at_ms, name, points))
            # In the order of the kinds, for a sum of numbers depends on theirs.
            found = [newest[kind][2] for kind in Kind if kind in newest]
            return sum(found) / len(found) if found else None

        return timeline(since, (day + later for day in told for later in (0, MEMORY_DAYS)), mean)

    def _support(self, of_ids: Iterable[Messages], since: int) -> Timeline[Points]:
        of_ids = list(of_ids)
        told = {self._day_of(message.at_ms) for messages in of_ids for message in messages}

        def resolved(day: int) -> Points:
            count = balance = 0
            for messages in of_ids:
                known = [message for message in messages if self._day_of(message.at_ms) <= day]
                for found, standing in conversations(known, self._pause_ms):
                    if not standing.is_deleted and self._day_of(found[0].at_ms) > day - MEMORY_DAYS:
                        count += 1
                        balance += standing.is_resolved - (standing.waits_since_ms >= 0)
            return max(0.0, 100 * balance / count) if count else None

        return timeline(since, (day + later for day in told for later in (0, MEMORY_DAYS)), resolved)

    def _statuses(self, account: Account, since: int) -> Timeline[Status | None]:
        found: dict[int, Status | None] = {since: None}
        for at_ms, status in statuses(self._accounts.lives(account)):
            found[max(since, self._day_of(at_ms))] = status  # of one day the last holds at its end
        return sorted(found.items())


def _rounded(number: float) -> float:
    """As exact as what is booked."""
    return round(number * UNITS) / UNITS


def _points_of(response: Response) -> Points:
    """The answer of a response from its scale to 0 to 100; None if it has none."""
    if response.status not in (Answered.COMPLETED, Answered.PARTIAL):
        return None
    if response.cxi_scores is not None:
        lowest, highest = SCALES[Kind.CXI]
        return 100 * (sum(response.cxi_scores) / len(response.cxi_scores) - lowest) / (highest - lowest)
    if response.score is None:
        return None
    lowest, highest = response.scale
    return 100 * (response.score - lowest) / (highest - lowest)


def _known_active(activity: Activity, day_of: DayOf) -> dict[int, list[DaySpan]]:
    """The active days, each with the days at whose ends it is known to be one."""
    found = {day: [(day, FOREVER)] for day in active_days(activity.since_day, activity.day_bits)}
    if activity.before_day != NO_DAY:
        found.setdefault(activity.before_day, [(activity.before_day, FOREVER)])
    for times in activity.summaries.values():
        for day, span in _known_by_summary(times, day_of):
            found.setdefault(day, []).append(span)
    return found


def _known_by_summary(times: SummaryTimes, day_of: DayOf) -> Iterator[tuple[int, DaySpan]]:
    """The days on which a session that was told as a whole began and ended, by what was known of it when."""
    if not times.earlier:
        for day in {day_of(at_ms) for at_ms in moments(times)}:
            yield day, (day, FOREVER)
        return
    told = sorted(days_reported(times, day_of))
    for since, until in zip(told, [*told[1:], FOREVER], strict=True):
        for day in {day_of(at_ms) for at_ms in moments_as_of(times, since, day_of)}:
            yield day, (since, until)


def _spans(known_active: Mapping[int, list[DaySpan]], length: int) -> Iterator[DaySpan]:
    """For each active day the days at whose ends a window of this length holds it, as far as it is known then."""
    for day, spans in known_active.items():
        for since, until in united(spans) if len(spans) > 1 else spans:
            yield max(day, since), min(day + length, until)
