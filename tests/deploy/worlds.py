"""Small worlds for the alert rules: nine weeks of an app's life, as the series that Prometheus would have scraped.

An app is described by its usual level (how many users, how often they come, what they answer) and by what happens to
it. Its gauges follow as the real ones do: rolling windows are rolling means, so a change fades in over the length of
the window, and intervals are made by the code that makes the real ones. Each app is a scrape job of its own, so that
one run of promtool tests them all.

Time is in days since the start. Day 0 is a Thursday (promtool's clock starts in 1970), day 46 a Monday.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from stream.core.intervals import Interval, net_score, wilson

Curve = NDArray[np.float64]

WEEKS = 9
HOURS = WEEKS * 7 * 24
# Rules are evaluated every three hours, as long as an alert waits at most, and scraped is what they look at then.
STEP_HOURS = 3

# Windows were full before the first day, of the same weeks.
_BEFORE = 35 * 24
_days = np.arange(-_BEFORE, HOURS) / 24
_scraped = (np.arange(len(_days)) % STEP_HOURS == 0) & (_days >= 0)

MONDAY = 46.0
SUNDAY_NIGHT = 45.96  # when the last 24 hours were a Sunday: what stands still now is low for Monday

_ROLLOUT = MONDAY - 3
_NO_INTERVAL = Interval(float("nan"), float("nan"))

# Families of numbers, by what can happen to them. Activity, by which all is measured, is in every app.
_SEGMENTS = ("activity", "users")
_SESSIONS = ("bounce", "session_seconds")
_SURVEYS = ("csat", "promoters", "detractors")
_COMES_AND_GOES = ("users", "churn", "retention", "sign-ups")
_CUSTOMERS = ("customer-churn", "onboarded", "revenue")
_CONTACTS = ("first_reply", "oldest_waiting")
_FEATURES = ("adoption",)
_REVIEWS = ("reviews",)
_HEALTH = ("at_risk", "coverage")

# How many of the users come on a day, by habit: what MAU fills with in its first month.
_HABITS = ((0.13, 0.86), (0.22, 0.42), (0.26, 0.16), (0.39, 0.04))


@dataclass(frozen=True, kw_only=True)
class Change:
    """A curve is multiplied by `to` (or has it added, for shares) from one day to another, in steps or along a ramp."""

    what: str
    to: float
    since: float = MONDAY
    until: float = WEEKS * 7.0
    ramp_days: float = 0.0

    def apply(self, curve: Curve) -> Curve:
        """The changed curve."""
        grown = np.clip((_days - self.since) / self.ramp_days, 0, 1) if self.ramp_days else (_days >= self.since)
        return np.where(_days < self.until, curve * (1 + (self.to - 1) * grown), curve)


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Something of the pipeline that is wrong from one day to another.

    `dead`, `behind`, `recovering`, `no store`, `open transaction` and `old clock` leave the numbers as they were at the
    start of it, with one of four partitions concerned; `silent` stops the producers, `silent sessions` those of one
    input, and `broken` makes half of the messages unusable. `wrong clock`, that of a worker's machine, changes nothing.
    """

    what: str
    since: float = SUNDAY_NIGHT
    until: float = SUNDAY_NIGHT + 3


@dataclass(frozen=True, kw_only=True)
class App:
    """An app: its usual level, and what happens to it."""

    job: str
    users: float = 20_000  # of 30 days
    stickiness: float = 0.25
    weekend: float = 0.55  # activity of a Saturday or Sunday, of that of a working day
    bounce: float = 0.36
    session_seconds: float = 110.0
    csat: float = 0.8
    csat_answers: float = 600  # of seven days
    promoters: float = 0.5
    detractors: float = 0.2
    nps_answers: float = 800  # of 28 days
    churn: float = 0.2  # of the users of 28 days, those who don't come in the next 28
    retention: float = 0.25  # of new users, those who are active on the seventh day
    sign_ups: float = 2_000  # of 28 days
    onboarded: float = 0.4  # of those who sign up, in their first week
    customers: float = 3_000
    customer_churn: float = 0.05  # of the customers, those who leave in 28 days
    orders: float = 8_000  # of 28 days, of 20 euros each
    first_replies: float = 1_000  # of a day, of which one in ten takes three hours or longer
    waiting: float = 20  # conversations in which a customer waits, the longest for eight hours
    adoption: float = 35  # product adoption score of seven days
    reviews: float = 200  # of 28 days
    positive: float = 0.8  # of the reviews
    at_risk: float = 0.3  # of the users with a health score
    coverage: float = 0.6  # of their weights what is known
    comes_known: float | None = None  # the first day of which it is known who came, stayed and went
    # The shares of the users.
    platforms: Mapping[str, float] = field(default_factory=lambda: {"web": 0.75, "android": 0.25})
    platforms_since: Mapping[str, float] = field(default_factory=dict)  # the first day of one that is new
    releases: bool = False  # on the Monday users begin to move from one version of the app to the next
    begins: float | None = None  # the day of the first scrape, where it is not long ago
    ends: float | None = None  # the day of the last scrape that matters, where it is not soon after the Monday
    launch: bool = False  # the first scrape is also the first day of the app
    servers: int = 1  # several are on nodes of their own, and were rolled out anew three days before the Monday
    changes: tuple[Change, ...] = ()
    troubles: tuple[Trouble, ...] = ()

    def series(self) -> Iterator[tuple[str, Curve]]:
        """All series of the job, an hourly value each; NaN where there is no sample."""
        shown = self._is_watched()
        as_of = self._as_of()
        for name, curve in self._numbers():
            yield from self._served(name, np.where(shown, curve[as_of], np.nan)[_BEFORE:])
        for name, curve in self._health():
            yield from self._served(name, np.where(shown, curve, np.nan)[_BEFORE:])

    def _is_watched(self) -> NDArray[np.bool_]:
        """At which hours numbers are scraped.

        To save time: for the warm-up a few hours a week, and all from four weeks before the Monday on, to some days
        after it. With troubles that are over in its week usual is the week before.
        """
        is_short = self.troubles and self.ends is None
        since, ends = (MONDAY - 9, MONDAY + 5) if is_short else (MONDAY - 28, self.ends or MONDAY + 10)
        begun = _days >= self.begins if self.begins is not None else (_days % 7 < 0.25) | (_days >= since)
        return begun & (ends > _days)

    def _served(self, name: str, curve: Curve) -> Iterator[tuple[str, Curve]]:
        metric, _, labels = name.rstrip("}").partition("{")
        for server in range(self.servers):
            target = f'job="{self.job}",instance="server-{server}:8600"'
            if self.servers == 1:
                yield f"{metric}{{{','.join(filter(None, (labels, target)))}}}", curve
                continue
            for rollout, shown in ((1, _days < _ROLLOUT), (2, _days >= _ROLLOUT)):
                extra = f'node="node-{server}",pod_template_hash="{rollout}"'
                told = ",".join(filter(None, (labels, target, extra)))
                yield f"{metric}{{{told}}}", np.where(shown[_BEFORE:], curve, np.nan)

    def _changed(self, what: str, usual: float) -> Curve:
        curve = np.full(len(_days), usual)
        for change in self.changes:
            if change.what == what:
                curve = change.apply(curve)
        return curve

    def _in(self, *troubles: str) -> NDArray[np.bool_]:
        found = np.zeros(len(_days), dtype=np.bool_)
        for trouble in self.troubles:
            if trouble.what in troubles:
                found |= (trouble.since <= _days) & (trouble.until > _days)
        return found

    def _as_of(self) -> NDArray[np.int64]:
        """For each hour, the hour whose numbers are served: an earlier one while the pipeline stands still."""
        hours = np.arange(len(_days))
        still = self._in("dead", "behind", "recovering", "no store", "old clock", "open transaction")
        return np.maximum.accumulate(np.where(still | ~_scraped, 0, hours))

    # -- business numbers ------------------------------------------------------------------------------------------

    def _activity(self, platform: str) -> Curve:
        """Users of a platform who are active, as a daily rate, hour by hour."""
        weekday = np.floor(_days + 3) % 7  # Monday is 0
        week = np.where(weekday >= 5, self.weekend, 1.0) / ((5 + 2 * self.weekend) / 7)
        rate = self.platforms[platform] * self.users * self.stickiness * week
        rate = rate * self._changed("activity", 1.0) * self._changed(f"{platform} activity", 1.0)
        if (since := self._since(platform)) is not None:
            rate = np.where(since > _days, 0, rate)
        rate = np.where(self._in("silent"), 0, rate)
        return np.where(self._in("broken", "silent sessions"), rate / 2, rate)

    def _month(self, platform: str) -> Curve:
        """Users of a platform in a month; the month of what is new fills."""
        share = self.platforms[platform]
        users = share * self.users * self._changed("users", 1.0) * self._changed(f"{platform} users", 1.0)
        if (since := self._since(platform)) is None:
            return users
        days = np.clip(_days - since, 0, 30)
        return users * np.maximum(sum(share * (1 - (1 - often) ** days) for share, often in _HABITS), 1e-3)

    def _since(self, platform: str) -> float | None:
        """The first day of a platform, where it or the app is new."""
        return self.platforms_since.get(platform, self.begins if self.launch else None)

    def _numbers(self) -> Iterator[tuple[str, Curve]]:
        daily = {platform: _rolling(self._activity(platform), days=1) for platform in self.platforms}
        monthly = {platform: np.maximum(self._month(platform), daily[platform]) for platform in self.platforms}
        dau, mau = sum(daily.values(), np.zeros(1)), sum(monthly.values(), np.zeros(1))
        yield 'engagement_active_users{window="1d"}', dau
        yield 'engagement_active_users{window="30d"}', mau
        yield from _share('engagement_stickiness_ratio{window="30d"}', dau / mau, mau)
        closed = _of_closed_days(dau)
        user_days = _rolling(closed, days=28) * 28
        yield 'engagement_active_users_closed{window="28d"}', mau
        yield 'engagement_daily_active_users_summed_closed{window="28d"}', user_days
        yield from _share('engagement_stickiness_smoothed_closed_ratio{window="28d"}', user_days / 28 / mau, mau)
        if self._tells(*_SEGMENTS):
            yield from self._segments(daily, monthly, dau, mau)
        if self._tells(*_COMES_AND_GOES):
            yield from self._comes_and_goes(_of_closed_days(mau))
        if self._tells(*_CUSTOMERS):
            yield from self._customers(_of_closed_days(mau))
        yield from self._further(_of_closed_days(mau))
        if self._tells(*_SESSIONS):
            yield from self._sessions(1.5 * dau)
        if self._tells(*_SURVEYS):
            yield from self._surveys()

    def _segments(
        self, daily: Mapping[str, Curve], monthly: Mapping[str, Curve], dau: Curve, mau: Curve
    ) -> Iterator[tuple[str, Curve]]:
        """Users by platform, and by version of the app where one is released."""
        for platform in self.platforms:
            there = np.where((self._since(platform) or -_BEFORE) > _days, np.nan, 1)
            yield from _of_segment("platform", platform, there * daily[platform], there * monthly[platform])
        if self.releases:
            moved = np.clip((_days - MONDAY) / 30, 0, 1)  # those who come often move first
            yield from _of_segment("app_version", "1.0", dau * (1 - moved) ** 4, mau * (1 - moved))
            moved = np.where(moved > 0, moved, np.nan)
            yield from _of_segment("app_version", "2.0", dau * (1 - (1 - moved) ** 4), mau * moved)

    def _tells(self, *family: str) -> bool:
        """Whether the app has numbers of a family: to save time, those that change, and all if nothing is to change."""
        changes = {change.what.rpartition(" ")[2] for change in self.changes}
        return not changes or not changes.isdisjoint(family)

    def _comes_and_goes(self, active: Curve) -> Iterator[tuple[str, Curve]]:
        """Who stayed, came and went, of 28 closed days and those before them; and who stayed of those who were new."""
        before = np.concatenate((np.full(28 * 24, active[0]), active))[: len(active)]
        churn = _rolling(_of_closed_days(self._changed("churn", self.churn)), days=28)
        returning = np.minimum((1 - churn) * before, 0.95 * active)  # some always come who were not there before
        came, went = active - returning, before - returning
        known = _days >= self._comes_known()

        def told(curves: Iterator[tuple[str, Curve]]) -> Iterator[tuple[str, Curve]]:
            return ((name, np.where(known, curve, np.nan)) for name, curve in curves)

        yield from told(_share('engagement_inactivity_churn_closed_ratio{window="28d"}', went / before, before))
        states = {"new": came / 2, "resurrected": came / 2, "returning": returning, "dormant": went}
        lifecycle = 'engagement_lifecycle_users_closed{window="28d",state='
        names = {f'{lifecycle}"{state}"}}': users for state, users in states.items()}
        names['engagement_previous_active_users_closed{window="28d"}'] = before
        names['engagement_quick_closed_ratio{window="28d"}'] = came / went
        # A cohort is known a week later.
        new = _rolling(_of_closed_days(_a_week_later(self._changed("sign-ups", self.sign_ups))), days=28)
        stayed = self._changed("sign-ups", self.sign_ups) * self._changed("retention", self.retention)
        stayed = _rolling(_of_closed_days(_a_week_later(stayed)), days=28)
        names['engagement_retention_cohort_users_closed{day="7"}'] = new
        names['engagement_retention_retained_users_closed{day="7",mode="exact"}'] = stayed
        yield from told(iter(names.items()))
        yield from told(_share('engagement_retention_closed_ratio{day="7",mode="exact"}', stayed / new, new))

    def _customers(self, active: Curve) -> Iterator[tuple[str, Curve]]:
        """Who of the customers left in 28 closed days, who of the new users was onboarded, and what was paid."""
        customers = np.full(len(_days), self.customers)
        churn = _rolling(_of_closed_days(self._changed("customer-churn", self.customer_churn)), days=28)
        yield from _share('engagement_customer_churn_closed_ratio{window="28d"}', churn, customers)
        yield 'engagement_customers_at_start_closed{window="28d"}', customers
        sign_ups = _a_week_later(self._changed("sign-ups", self.sign_ups))
        onboarded = sign_ups * _a_week_later(self._changed("onboarded", self.onboarded))
        of_cohorts, through = (_rolling(_of_closed_days(curve), days=28) for curve in (sign_ups, onboarded))
        yield "engagement_first_week_signups_closed", of_cohorts
        yield "engagement_first_week_onboarded_users_closed", through
        yield from _share("engagement_first_week_onboarded_closed_ratio", through / of_cohorts, of_cohorts)
        orders = _rolling(_of_closed_days(self._changed("revenue", self.orders)), days=28)
        in_euros = '{window="28d",currency="EUR"}'
        yield f"engagement_paid_orders_closed{in_euros}", orders
        yield f"engagement_revenue_closed{in_euros}", 20 * orders
        yield f"engagement_revenue_per_active_user_closed{in_euros}", 20 * orders / active

    def _further(self, active: Curve) -> Iterator[tuple[str, Curve]]:
        """Conversations, features, reviews and health."""
        if self._tells(*_CONTACTS):
            yield from self._contacts()
        if self._tells(*_FEATURES):
            yield 'engagement_active_users_closed{window="7d"}', 0.9 * active
            score = _of_closed_days(_rolling(self._changed("adoption", self.adoption), days=7))
            yield 'engagement_product_adoption_score_closed{window="7d"}', score
        if self._tells(*_REVIEWS):
            yield from self._reviews()
        if self._tells(*_HEALTH):
            yield from self._health_scores(active)

    def _health_scores(self, active: Curve) -> Iterator[tuple[str, Curve]]:
        """Users by band at the end of the last closed day, and how much is known of them."""
        at_risk = _of_closed_days(_rolling(self._changed("at_risk", self.at_risk), days=1))
        for band, share in (("at_risk", at_risk), ("neutral", (1 - at_risk) / 2), ("healthy", (1 - at_risk) / 2)):
            yield f'engagement_health_users_closed{{band="{band}"}}', 1.2 * share * active
        yield "engagement_health_coverage_mean_closed", _of_closed_days(self._changed("coverage", self.coverage))

    def _contacts(self) -> Iterator[tuple[str, Curve]]:
        """First replies of the last closed day, and who waits now."""
        replies = _of_closed_days(_rolling(self._changed("first_reply", 3 * 3_600), days=1))
        for quantile, ratio in (("0.75", 1 / 3), ("0.9", 1.0), ("0.95", 5 / 3)):
            yield f'engagement_first_reply_closed_seconds{{window="1d",quantile="{quantile}"}}', ratio * replies
        yield 'engagement_first_replies_closed{window="1d"}', np.full(len(_days), self.first_replies)
        yield "engagement_oldest_waiting_seconds", self._changed("oldest_waiting", 8 * 3_600)
        yield "engagement_waiting_conversations", np.full(len(_days), self.waiting)

    def _reviews(self) -> Iterator[tuple[str, Curve]]:
        """Reviews of 28 closed days: with five stars, or with one."""
        positive = _rolling(_of_closed_days(self._changed("reviews", self.positive)), days=28)
        written = np.full(len(_days), self.reviews)
        yield from _share('engagement_review_positive_closed_ratio{window="28d"}', positive, written)
        for stars, share in (("5", positive), ("1", 1 - positive)):
            yield f'engagement_reviews_closed{{window="28d",stars="{stars}"}}', share * written

    def _comes_known(self) -> float:
        """The first day of which it is told: of an app that began while it was watched, when two windows are full."""
        if self.comes_known is not None:
            return self.comes_known
        return self.begins + 57 if self.launch and self.begins is not None else -float(_BEFORE)

    def _sessions(self, sessions: Curve) -> Iterator[tuple[str, Curve]]:
        yield 'engagement_sessions{window="1d"}', sessions
        yield 'engagement_sessions_with_views{window="1d"}', sessions
        bounce = _rolling(self._changed("bounce", self.bounce), days=1)
        yield from _share('engagement_bounce_ratio{window="1d",rule="ga4"}', bounce, sessions)
        median = _rolling(self._changed("session_seconds", self.session_seconds), days=1)
        for quantile, ratio in (("0.5", 1.0), ("0.75", 3.0)):  # as in the simulated population
            yield f'engagement_session_duration_seconds{{window="1d",quantile="{quantile}"}}', ratio * median

    def _surveys(self) -> Iterator[tuple[str, Curve]]:
        answers = np.full(len(_days), self.csat_answers)
        yield 'engagement_csat_answers{window="7d"}', answers
        csat = _rolling(self._changed("csat", self.csat), days=7)
        yield from _share('engagement_csat_ratio{window="7d"}', csat, answers)
        groups = {
            "promoter": self.nps_answers * _rolling(self._changed("promoters", self.promoters), days=28),
            "detractor": self.nps_answers * _rolling(self._changed("detractors", self.detractors), days=28),
        }
        groups["passive"] = self.nps_answers - groups["promoter"] - groups["detractor"]
        for group, answered in groups.items():
            yield f'engagement_nps_answers{{window="28d",group="{group}"}}', answered
        nps = 100 * (groups["promoter"] - groups["detractor"]) / self.nps_answers
        yield 'engagement_nps{window="28d"}', nps
        ends = [
            _score_interval(round(up), round(down), round(self.nps_answers)) if is_scraped else _NO_INTERVAL
            for up, down, is_scraped in zip(
                groups["promoter"].tolist(), groups["detractor"].tolist(), _scraped.tolist(), strict=True
            )
        ]
        yield 'engagement_nps_lower{window="28d"}', np.array([end.lower for end in ends])
        yield 'engagement_nps_upper{window="28d"}', np.array([end.upper for end in ends])

    # -- health of the pipeline ------------------------------------------------------------------------------------

    def _health(self) -> Iterator[tuple[str, Curve]]:
        seconds = _days * 86_400
        ones = np.ones(len(_days))
        yield "up", ones
        yield "engagement_partitions", 4 * ones
        yield "engagement_partitions_owned", 4 - ones * self._in("dead")
        yield "engagement_clock_seconds", seconds - 3_600 * self._in("old clock")
        topics = {"sessions": 6.0, "logins": 1.0} | ({"surveys": 0.1} if self._tells(*_SURVEYS) else {})
        for topic, events_a_user in topics.items():
            stopped = self._in("silent", "silent sessions") if topic == "sessions" else self._in("silent")
            yield from self._topic(topic, np.where(stopped, 0.0, events_a_user), stopped)
        yield 'engagement_recovery_rows_remaining{partition="1"}', np.where(self._in("recovering"), 9e6, np.nan)
        yield 'engagement_clock_skew_seconds{worker="worker-1"}', 3_600 * ones * self._in("wrong clock")
        yield 'engagement_store_available{partition="1"}', 1 - ones * self._in("no store")
        open_seconds = 3_600 * ones * self._in("open transaction")
        yield 'engagement_open_transaction_seconds{topic="logins",partition="1"}', open_seconds

        yield 'engagement_topic_readable{topic="logins",partition="1"}', 1 - ones * self._in("unread")

    def _topic(self, topic: str, events_a_user: Curve, stopped: NDArray[np.bool_]) -> Iterator[tuple[str, Curve]]:
        rate = events_a_user * self.users * self.stickiness / 24
        broken = self._in("broken")
        read = np.cumsum(np.where(broken, rate / 2, rate))
        refused = np.cumsum(np.where(broken, rate / 2, 0))
        yield f'engagement_events_total{{topic="{topic}",outcome="applied"}}', read
        # Nothing was ever refused before: Prometheus sees this series for the first time when something is.
        yield f'engagement_events_total{{topic="{topic}",outcome="invalid"}}', np.where(refused > 0, refused, np.nan)
        newest = np.maximum.accumulate(np.where(stopped, 0, np.arange(len(_days))))
        yield f'engagement_event_time_seconds{{topic="{topic}"}}', _days[newest] * 86_400
        behind = np.where(self._in("behind"), 5 * rate, 0)  # more than an hour of the traffic of one partition
        yield f'engagement_lag_events{{topic="{topic}",partition="1"}}', behind


def _rolling(curve: Curve, *, days: int) -> Curve:
    """Mean of the `days` that end with each hour; before the first hour all was as in it."""
    hours = days * 24
    padded = np.concatenate((np.full(hours, curve[:hours].mean()), curve))
    sums: Curve = np.cumsum(padded)
    means: Curve = (sums[hours:] - sums[:-hours]) / hours
    return means


def _of_closed_days(dau: Curve) -> Curve:
    """At each hour, the DAU of the last closed day: known an hour after its midnight, the same for a day."""
    hours = np.arange(len(_days))
    midnight = (hours - 1) // 24 * 24
    return dau[np.maximum(midnight, 0)]


def _a_week_later(curve: Curve) -> Curve:
    """What was a week ago."""
    return np.concatenate((np.full(7 * 24, curve[0]), curve))[: len(curve)]


def _of_segment(segment: str, value: str, dau: Curve, mau: Curve) -> Iterator[tuple[str, Curve]]:
    """Users and stickiness of one value of a segment."""
    of = f'segment="{segment}",value="{value}"'
    yield f'engagement_segment_active_users{{window="1d",{of}}}', dau
    yield f'engagement_segment_active_users{{window="30d",{of}}}', mau
    yield from _share(f'engagement_segment_stickiness_ratio{{window="30d",{of}}}', dau / mau, mau)


def _share(name: str, share: Curve, whole: Curve) -> Iterator[tuple[str, Curve]]:
    """A ratio and the ends of its interval, as in stream/core/report.py."""
    metric, _, labels = name.partition("{")
    # Users are whole: a share of all of them is one of their rounded number.
    ends = [
        _share_interval(min(part * of, round(of)), round(of)) if is_scraped and not np.isnan(of) else _NO_INTERVAL
        for part, of, is_scraped in zip(share.tolist(), whole.tolist(), _scraped.tolist(), strict=True)
    ]
    told = f"{{{labels}" if labels else ""
    yield name, share
    yield f"{metric}_lower{told}", np.array([end.lower for end in ends])
    yield f"{metric}_upper{told}", np.array([end.upper for end in ends])


@cache
def _share_interval(part: float, of: int) -> Interval:
    """The interval of a share, or of nobody's none. Where nothing happens to an app it is that of many other hours."""
    return wilson(part, of) or _NO_INTERVAL


@cache
def _score_interval(promoters: int, detractors: int, answers: int) -> Interval:
    return net_score(promoters, detractors, answers) or _NO_INTERVAL
