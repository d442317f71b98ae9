"""Small worlds for the alert rules: nine weeks of an app's life, as the series that Prometheus would have scraped.

An app is described by its usual level (how many users, how often they come, what they answer) and by what happens to
it. Its gauges follow as the real ones do: rolling windows are rolling means, so a change fades in over the length of
the window, and intervals are made by the code that makes the real ones. Each app is a scrape job of its own, so that
one run of promtool tests them all.

Time is in days since the start. Day 0 is a Thursday (promtool's clock starts in 1970), day 46 a Monday.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.core.intervals import Interval, net_score, wilson

Curve = NDArray[np.float64]

WEEKS = 9
HOURS = WEEKS * 7 * 24
SAMPLES_AN_HOUR = 4  # rules look back a quarter of an hour, which must meet a sample

# Windows were full before the first day, of the same weeks.
_BEFORE = 35 * 24
_days = np.arange(-_BEFORE, HOURS) / 24

MONDAY = 46.0
SUNDAY_NIGHT = 45.96  # when the last 24 hours were a Sunday: what stands still now is low for Monday

_ROLLOUT = MONDAY - 3

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
    begins: float | None = None  # the day of the first scrape, where it is not long ago
    ends: float = MONDAY + 10  # the day of the last scrape that matters
    launch: bool = False  # the first scrape is also the first day of the app
    servers: int = 1  # several are on nodes of their own, and were rolled out anew three days before the Monday
    changes: tuple[Change, ...] = ()
    troubles: tuple[Trouble, ...] = ()

    def series(self) -> Iterator[tuple[str, Curve]]:
        """All series of the job, an hourly value each; NaN where there is no sample."""
        # To save time: a few hours a week, for the warm-up, and all hours from four weeks before the Monday on.
        begun = _days >= self.begins if self.begins is not None else (_days % 7 < 0.25) | (_days >= MONDAY - 28)
        shown = begun & (self.ends > _days)
        as_of = self._as_of()
        for name, curve in self._numbers():
            yield from self._served(name, np.where(shown, curve[as_of], np.nan)[_BEFORE:])
        for name, curve in self._health():
            yield from self._served(name, np.where(shown, curve, np.nan)[_BEFORE:])

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
        return np.maximum.accumulate(np.where(still, 0, hours))

    # -- business numbers ------------------------------------------------------------------------------------------

    def _activity(self) -> Curve:
        """Users active, as a daily rate, hour by hour."""
        weekday = np.floor(_days + 3) % 7  # Monday is 0
        week = np.where(weekday >= 5, self.weekend, 1.0) / ((5 + 2 * self.weekend) / 7)
        rate = self.users * self.stickiness * week * self._changed("activity", 1.0)
        if self.launch and self.begins is not None:
            rate = np.where(self.begins > _days, 0, rate)
        rate = np.where(self._in("silent"), 0, rate)
        return np.where(self._in("broken", "silent sessions"), rate / 2, rate)

    def _numbers(self) -> Iterator[tuple[str, Curve]]:
        dau = _rolling(self._activity(), days=1)
        mau = self.users * self._changed("users", 1.0)
        if self.launch and self.begins is not None:
            days = np.clip(_days - self.begins, 0, 30)
            mau = mau * np.maximum(sum(share * (1 - (1 - often) ** days) for share, often in _HABITS), 1e-3)
        mau = np.maximum(mau, dau)
        yield 'engagement_active_users{window="1d"}', dau
        yield 'engagement_active_users{window="30d"}', mau
        yield from _share('engagement_stickiness_ratio{window="30d"}', dau / mau, mau)
        closed = _of_closed_days(dau)
        user_days = _rolling(closed, days=28) * 28
        yield 'engagement_active_users_closed{window="28d"}', mau
        yield 'engagement_daily_active_users_summed_closed{window="28d"}', user_days
        yield from _share('engagement_stickiness_smoothed_closed_ratio{window="28d"}', user_days / 28 / mau, mau)
        yield from self._sessions(1.5 * dau)
        yield from self._surveys()

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
            _interval(net_score(round(up), round(down), round(self.nps_answers)))
            for up, down in zip(groups["promoter"], groups["detractor"], strict=True)
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
        for topic, events_a_user in (("sessions", 6.0), ("logins", 1.0), ("surveys", 0.1)):
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


def _share(name: str, share: Curve, whole: Curve) -> Iterator[tuple[str, Curve]]:
    """A ratio and the ends of its interval, as in stream/core/report.py."""
    metric, _, labels = name.partition("{")
    # Users are whole: a share of all of them is one of their rounded number.
    ends = [_interval(wilson(min(part * of, round(of)), round(of))) for part, of in zip(share, whole, strict=True)]
    yield name, share
    yield f"{metric}_lower{{{labels}", np.array([end.lower for end in ends])
    yield f"{metric}_upper{{{labels}", np.array([end.upper for end in ends])


def _interval(interval: Interval | None) -> Interval:
    return Interval(float("nan"), float("nan")) if interval is None else interval
