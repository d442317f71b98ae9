"""The naive recount of accounts, live and of closed days: stream/METRICS.md, from the raw events."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from fractions import Fraction
from math import ceil
from statistics import fmean
from typing import NamedTuple

from stream.core.rules import Rules
from tests.core.oracle_events import EventFields, Person, id_of, of_topic, who
from tests.core.oracle_numbers import AnyWindow, Samples, day_of, key, share

WEEK = 7 * 86_400_000
ORDER = (
    *("trial_started", "subscribed", "renewed", "paused", "resumed", "cancelled"),
    *("newsletter_joined", "newsletter_left", "loyalty_joined", "loyalty_left"),
)
STATUS = {
    "trial_started": "trialing",
    "subscribed": "active",
    "renewed": "active",
    "resumed": "active",
    "paused": "paused",
}
STATUSES = ("trialing", "active", "paused", "cancelled")


class Life(NamedTuple):
    """The events of one account as long as it does not begin anew."""

    events: list[EventFields]
    rules: Rules

    def first(self, kind: str, step: str | None = None) -> int | None:
        return min(
            (
                event["event_time"]
                for event in self.events
                if event["type"] == kind and (step is None or event["step"] == step)
            ),
            default=None,
        )

    def status(self, at: int) -> str | None:
        """What was told later makes no difference, also for how long a cancellation is known."""
        days, zone = self.rules.days, self.rules.days.zone
        last = max(event["event_time"] for event in self.events if event["event_time"] <= at)
        forgotten = days.starts_ms(day_of(last, zone) + self.rules.memory_days + 1)
        return _status(self.events, at, forgotten)


def _told(events: Iterable[EventFields], at: int) -> list[EventFields]:
    """What was told of subscription and memberships up to a time, in its order."""
    told = [event for event in events if event["event_time"] <= at and event["type"] in ORDER]
    return sorted(told, key=lambda event: (event["event_time"], ORDER.index(event["type"]), _effective(event)))


def _effective(event: EventFields) -> int:
    said = event.get("effective_at") if event["type"] == "cancelled" else None
    return int(event["event_time"] if said is None else max(event["event_time"], said))


def _status(events: Iterable[EventFields], at: int, forgotten: int) -> str | None:
    told = _told(events, at)
    others = [STATUS[event["type"]] for event in told if event["type"] in STATUS]
    other = others[-1] if others else None
    places = [place for place, event in enumerate(told) if event["type"] == "cancelled"]
    if not places:
        return other
    newest = places[-1]
    back = any(event["type"] in STATUS and event["type"] != "paused" for event in told[newest + 1 :])
    if back or at < _effective(told[newest]):
        return other
    return "cancelled" if at < forgotten else None


def _is_member(events: Iterable[EventFields], of: str, at: int) -> bool:
    told = [event["type"] for event in _told(events, at) if event["type"].startswith(of)]
    return bool(told) and told[-1].endswith("joined")


def lives_of(events: Iterable[EventFields], rules: Rules) -> dict[Person, list[Life]]:
    """The lives of all accounts."""
    mine: dict[Person, list[EventFields]] = defaultdict(list)
    for event in of_topic(events, "accounts"):
        mine[who(event)].append(event)
    zone = rules.days.zone
    found: dict[Person, list[Life]] = {}
    for person, told in mine.items():
        lives: list[list[EventFields]] = []
        for event in sorted(told, key=lambda event: event["event_time"]):
            at = event["event_time"]
            gap = day_of(at, zone) - day_of(lives[-1][-1]["event_time"], zone) if lives else 10**9
            stands = bool(lives) and (
                _status(lives[-1], at - 1, -1) in ("trialing", "active", "paused")
                or _is_member(lives[-1], "newsletter", at - 1)
                or _is_member(lives[-1], "loyalty", at - 1)
            )
            if gap <= rules.memory_days or stands:
                lives[-1].append(event)
            else:
                lives.append([event])
        found[person] = [Life(life, rules) for life in lives]
    return found


def status_at(lives: list[Life], at: int) -> str | None:
    """The status of an account at a time."""
    begun = [life for life in lives if life.events[0]["event_time"] <= at]
    return begun[-1].status(at) if begun else None


def count_accounts(
    samples: Samples,
    events: list[EventFields],
    windows: list[AnyWindow],
    has_come: Callable[[int], bool],
    at: int,
    rules: Rules,
) -> None:
    """The numbers that are told live and of closed days. `at` is the last moment that has come."""
    accounts = lives_of(events, rules)
    if not any(has_come(lives[0].events[0]["event_time"]) for lives in accounts.values()):
        return
    for window in windows:
        _count_window(samples, [life for lives in accounts.values() for life in lives], window, has_come)
    statuses = Counter(status_at(lives, at) for lives in accounts.values())
    for status in STATUSES:
        samples[key("engagement_subscribers", status=status)] = statuses[status]
    for name, of in (("engagement_newsletter_subscribers", "newsletter"), ("engagement_loyalty_members", "loyalty")):
        begun = [[life for life in lives if life.events[0]["event_time"] <= at] for lives in accounts.values()]
        samples[key(name)] = sum(bool(lives) and _is_member(lives[-1].events, of, at) for lives in begun)


def _count_window(samples: Samples, lives: list[Life], window: AnyWindow, has_come: Callable[[int], bool]) -> None:
    signed_up = [at for life in lives if (at := life.first("signed_up")) is not None]
    onboarded = [life for life in lives if (at := life.first("onboarded")) is not None and at in window]
    known = []
    for life in onboarded:
        began, ended = life.first("signed_up"), life.first("onboarded")
        if began is not None and ended is not None and has_come(began):
            known.append(max(0, ended - began) // 1_000)
    labels = {"window": window.name}
    samples[key("engagement_signups", **labels)] = sum(at in window for at in signed_up)
    samples[key("engagement_onboarded_users", **labels)] = len(onboarded)
    samples[key("engagement_onboarded_users_with_signup", **labels)] = len(known)
    unknown = len(onboarded) - len(known)
    samples[key("engagement_onboarded_users_without_signup", **labels)] = unknown
    share(samples, "engagement_onboarded_without_signup_ratio", unknown, len(onboarded), **labels)
    if known:
        samples[key("engagement_time_to_onboard_mean_seconds", **labels)] = fmean(known)
    for quantile in ("0.5", "0.75", "0.9", "0.95", "0.99"):
        if known:
            nearest = sorted(known)[ceil(Fraction(quantile) * len(known)) - 1]
            samples[key("engagement_time_to_onboard_seconds", quantile=quantile, **labels)] = nearest


def count_closed_accounts(  # noqa: C901  one naive count after the other
    samples: Samples, known: list[EventFields], day: int, lengths: Iterable[int], rules: Rules
) -> None:
    """The numbers of closed days alone."""
    accounts = lives_of(known, rules)
    if not accounts:
        return
    starts = rules.days.starts_ms

    def is_customer(lives: list[Life], at: int) -> bool:
        return status_at(lives, at) in ("active", "paused")

    for length in lengths:
        first, last = starts(day - length + 1) - 1, starts(day + 1) - 1
        at_start = [lives for lives in accounts.values() if is_customer(lives, first)]
        lost = [lives for lives in at_start if not is_customer(lives, last)]
        short = 0
        for lives in accounts.values():
            moments = {at for life in lives for event in life.events for at in (event["event_time"], _effective(event))}
            was = any(first < at <= last and is_customer(lives, at) for at in moments)
            short += was and not is_customer(lives, first) and not is_customer(lives, last)
        labels = {"window": f"{length}d"}
        samples[key("engagement_customers_at_start_closed", **labels)] = len(at_start)
        samples[key("engagement_customers_lost_closed", **labels)] = len(lost)
        samples[key("engagement_customers_retained_closed", **labels)] = len(at_start) - len(lost)
        samples[key("engagement_customers_short_lived_closed", **labels)] = short
        share(samples, "engagement_customer_churn_closed_ratio", len(lost), len(at_start), **labels)
        share(samples, "engagement_customer_retention_closed_ratio", len(at_start) - len(lost), len(at_start), **labels)
    cohorts = [(life, at) for _, life, at in _first_week_cohorts(accounts, day, rules)]

    def in_week(at: int | None, signed_up: int) -> bool:
        return at is not None and at <= signed_up + WEEK

    onboarded = sum(in_week(life.first("onboarded"), at) for life, at in cohorts)
    samples[key("engagement_first_week_signups_closed")] = len(cohorts)
    samples[key("engagement_first_week_onboarded_users_closed")] = onboarded
    share(samples, "engagement_first_week_onboarded_closed_ratio", onboarded, len(cohorts))
    done: Counter[str] = Counter()
    for life, at in cohorts:
        names = {_step(event, rules) for event in life.events if event["type"] == "onboarding_step"}
        for name in names:
            first = min(
                event["event_time"]
                for event in life.events
                if event["type"] == "onboarding_step" and _step(event, rules) == name
            )
            done[name] += in_week(first, at)
    for name in {*rules.onboarding_steps, "other"}:
        samples[key("engagement_onboarding_step_users_closed", step=name)] = done[name]


def _first_week_cohorts(accounts: dict[Person, list[Life]], day: int, rules: Rules) -> list[tuple[Person, Life, int]]:
    starts = rules.days.starts_ms
    last = starts(day + 1) - WEEK
    ended = [cohort for cohort in range(day - 45, day) if starts(cohort + 1) <= last][-28:]
    return [
        (person, life, at)
        for person, lives in accounts.items()
        for life in lives
        if (at := life.first("signed_up")) is not None and day_of(at, rules.days.zone) in ended
    ]


def count_first_weeks(
    samples: Samples, known: list[EventFields], active: dict[Person, list[int]], day: int, rules: Rules
) -> None:
    """How active those were in the first week who signed up. `active` are everybody's active days up to `day`."""
    accounts = lives_of(known, rules)
    if not accounts:
        return
    weeks = []
    for person, _, at in _first_week_cohorts(accounts, day, rules):
        first = day_of(at, rules.days.zone)
        weeks.append([one - first for one in set(active.get(person, ())) if first <= one < first + 7])
    came_back = sum(any(after > 0 for after in week) for week in weeks)
    samples[key("engagement_first_week_active_users_closed")] = came_back
    samples[key("engagement_first_week_user_days_closed")] = sum(map(len, weeks))
    share(samples, "engagement_first_week_active_closed_ratio", came_back, len(weeks))
    if weeks:
        samples[key("engagement_first_week_active_days_mean_closed")] = fmean(map(len, weeks))


def _step(event: EventFields, rules: Rules) -> str:
    name = id_of(event, "step") or ""
    return name if name in rules.onboarding_steps else "other"
