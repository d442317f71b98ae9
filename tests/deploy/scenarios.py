"""What happens to apps, and which alerts that must raise: the test matrix of `deploy/prometheus/rules/business.yml`.

Each scenario is the life of one app over nine weeks (`worlds.py`). What is not said to fire must never fire, at any
time of the nine weeks.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tests.deploy.rules import alerts
from tests.deploy.worlds import MONDAY, App, Change, Trouble

END = 63.0


@dataclass(frozen=True, kw_only=True)
class Fires:
    """An alert that must fire: not yet on the day `not_at`, but on the day `at`, and no more on the day `gone_at`."""

    alert: str
    not_at: float
    at: float
    gone_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """An app and all the alerts it may raise. The name of its job is that of the test."""

    says: str
    app: App
    fires: tuple[Fires, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Text:
    """What the reader of an alert gets on a day on which it fires for these jobs and for no other."""

    alert: str
    day: int
    says: dict[str, str]

    def check(self, jobs: Collection[str]) -> dict[str, Any]:
        """As promtool wants it, where these jobs are."""
        rule = next(rule for rule in alerts() if rule.name == self.alert)
        expected = [
            {
                "exp_labels": {**rule.labels, **_LABELS_KEPT[self.alert], "job": job},
                "exp_annotations": {**rule.annotations, "description": description},
            }
            for job, description in self.says.items()
            if job in jobs
        ]
        return {"alertname": self.alert, "eval_time": f"{self.day}d", "exp_alerts": expected}


def fewer_come(to: float, *, since: float = MONDAY, until: float = END, ramp_days: float = 0.0) -> Change:
    """Users come so much less often."""
    return Change(what="activity", to=to, since=since, until=until, ramp_days=ramp_days)


def everything_worse(by: float, *, since: float = MONDAY) -> tuple[Change, ...]:
    """All numbers get worse by the same share."""
    return (
        fewer_come(1 - by, since=since),
        Change(what="bounce", to=1 + by, since=since),
        Change(what="session_seconds", to=1 - by, since=since),
        Change(what="csat", to=1 - by, since=since),
        Change(what="promoters", to=1 - by, since=since),
        Change(what="users", to=1 - by / 4, since=since),
        Change(what="churn", to=1 + by, since=since),
        Change(what="retention", to=1 - by, since=since),
        Change(what="customer-churn", to=1 + 3 * by, since=since),
        Change(what="onboarded", to=1 - by, since=since),
        Change(what="revenue", to=1 - by, since=since),
        Change(what="first_reply", to=1 + 3 * by, since=since),
        Change(what="oldest_waiting", to=1 + 30 * by, since=since),
        Change(what="adoption", to=1 - by, since=since),
        Change(what="reviews", to=1 - by, since=since),
        Change(what="at_risk", to=1 + by, since=since),
    )


def worse_weekends() -> tuple[Change, ...]:
    """Those who come at weekends bounce more and stay shorter, and few of them have Android, each week alike."""
    saturdays = [MONDAY - 2 + 7 * week for week in range(-10, 3)]
    return tuple(
        Change(what=what, to=to, since=saturday, until=saturday + 2)
        for saturday in saturdays
        for what, to in (("bounce", 1.5), ("session_seconds", 0.5), ("android activity", 0.3))
    )


SCENARIOS = (
    # -- what must be told -----------------------------------------------------------------------------------------
    Scenario(
        says="a week in which a third fewer come",
        app=App(job="drop", changes=(fewer_come(0.67, until=MONDAY + 7),)),
        fires=(
            # The day of a rolling window fades in: 15 % are missing after eleven hours, and an hour later it is told.
            Fires(alert="EngagementStickinessDrop", not_at=MONDAY + 0.25, at=MONDAY + 0.75, gone_at=MONDAY + 8),
        ),
    ),
    Scenario(
        says="a third fewer come, and it stays so",
        app=App(job="drop_that_stays", ends=END, servers=2, changes=(fewer_come(0.67),)),
        fires=(
            # After two weeks low is usual. By then the slow alert has taken over.
            Fires(alert="EngagementStickinessDrop", not_at=MONDAY + 0.25, at=MONDAY + 13, gone_at=MONDAY + 15),
            Fires(alert="EngagementStickinessErosion", not_at=MONDAY + 7, at=MONDAY + 11),
        ),
    ),
    Scenario(
        says="three per cent fewer come each week",
        app=App(job="erosion", ends=END, changes=(fewer_come(0.75, since=21, ramp_days=42),)),
        fires=(Fires(alert="EngagementStickinessErosion", not_at=43, at=60),),
    ),
    Scenario(
        says="a campaign brings half as many users again, who do not come daily, and hardly pay",
        app=App(
            job="campaign",
            ends=END,
            changes=(
                Change(what="users", to=1.5, ramp_days=3),
                Change(what="revenue", to=1.05),
                Change(what="adoption", to=0.67, ramp_days=3),
            ),
        ),
        fires=(Fires(alert="EngagementStickinessDiluted", not_at=MONDAY + 0.5, at=MONDAY + 4, gone_at=MONDAY + 16),),
    ),
    Scenario(
        says="more sessions bounce for a week",
        app=App(job="bounce", changes=(Change(what="bounce", to=1.3, until=MONDAY + 7),)),
        fires=(Fires(alert="EngagementBounceRise", not_at=MONDAY + 0.4, at=MONDAY + 1, gone_at=MONDAY + 8),),
    ),
    Scenario(
        says="sessions are shorter for a week",
        app=App(job="session_time", changes=(Change(what="session_seconds", to=0.6, until=MONDAY + 7),)),
        fires=(Fires(alert="EngagementSessionTimeDrop", not_at=MONDAY + 0.4, at=MONDAY + 1, gone_at=MONDAY + 8),),
    ),
    Scenario(
        says="fewer are satisfied for a week",
        app=App(job="csat", ends=END, changes=(Change(what="csat", to=0.75, until=MONDAY + 7),)),
        fires=(Fires(alert="EngagementCsatDrop", not_at=MONDAY + 1, at=MONDAY + 6.5, gone_at=MONDAY + 13),),
    ),
    Scenario(
        says="promoters turn away",
        app=App(job="nps", ends=END, changes=(Change(what="promoters", to=0.5),)),
        fires=(Fires(alert="EngagementNpsDrop", not_at=MONDAY + 7, at=END - 0.1),),
    ),
    Scenario(
        says="promoters turn away for two weeks and come back",
        app=App(job="nps_back", ends=END, changes=(Change(what="promoters", to=0.3, since=30, until=44),)),
        fires=(Fires(alert="EngagementNpsDrop", not_at=34, at=50, gone_at=62.9),),
    ),
    Scenario(
        # The fast alert has six weeks of history from the 42nd day on, the slow one eight weeks from the 56th.
        says="users come less often for a week before any alert is awake, and come back",
        app=App(job="erosion_back", ends=END, changes=(fewer_come(0.45, since=29, until=37),)),
        fires=(Fires(alert="EngagementStickinessErosion", not_at=55, at=57, gone_at=61.5),),
    ),
    Scenario(
        says="two in five of the users of Android stay away for a week, and the whole hardly moves",
        app=App(job="android", servers=2, changes=(Change(what="android activity", to=0.6, until=MONDAY + 7),)),
        fires=(
            Fires(
                alert="EngagementSegmentStickinessDrop", not_at=MONDAY + 0.25, at=MONDAY + 0.75, gone_at=MONDAY + 8.25
            ),
        ),
    ),
    Scenario(
        # Both are measured against four weeks before, so that they end when these have it too.
        says=(
            "hardly any new user of a week gets through the onboarding or is active on the seventh day, and a week"
            " later many others leave, customers among them, and hardly anything is bought"
        ),
        app=App(
            job="leaving",
            ends=END,
            changes=(
                Change(what="retention", to=0.1, since=22, until=29),
                Change(what="onboarded", to=0.2, since=22, until=29),
                Change(what="churn", to=2.5, since=30, until=37),
                Change(what="customer-churn", to=4, since=30, until=37),
                Change(what="revenue", to=0.1, since=30, until=37),
            ),
        ),
        fires=(
            Fires(alert="EngagementOnboardingDrop", not_at=45.5, at=50, gone_at=61.5),
            Fires(alert="EngagementCustomerChurnRise", not_at=45.5, at=50, gone_at=62.5),
            Fires(alert="EngagementRevenuePerUserDrop", not_at=45.5, at=50, gone_at=62.5),
            Fires(alert="EngagementRetentionDrop", not_at=45.5, at=50, gone_at=61.5),
            Fires(alert="EngagementChurnRise", not_at=45.5, at=50, gone_at=62.5),
        ),
    ),
    Scenario(
        says="a seventh of the users goes, and nobody comes for them",
        app=App(job="shrinking", ends=END, changes=(Change(what="users", to=0.85, since=32),)),
        fires=(Fires(alert="EngagementQuickRatioLow", not_at=45.5, at=48, gone_at=61.5),),
    ),
    Scenario(
        says="agents take three times as long for a week, and some customers are overlooked for three days",
        app=App(
            job="support",
            servers=2,
            changes=(
                Change(what="first_reply", to=3, until=MONDAY + 7),
                Change(what="oldest_waiting", to=12, until=MONDAY + 3),
            ),
        ),
        fires=(
            Fires(alert="EngagementFirstReplySlow", not_at=MONDAY + 0.9, at=MONDAY + 1.5, gone_at=MONDAY + 8.5),
            Fires(alert="EngagementWaitingLong", not_at=MONDAY - 0.1, at=MONDAY + 1, gone_at=MONDAY + 3.5),
        ),
    ),
    Scenario(
        says="a release with which two in five stop using the vital features, and the next one a week later",
        app=App(job="release", ends=END, changes=(Change(what="adoption", to=0.6, until=MONDAY + 7),)),
        fires=(Fires(alert="EngagementAdoptionDrop", not_at=MONDAY + 1.5, at=MONDAY + 6.5, gone_at=MONDAY + 13.5),),
    ),
    Scenario(
        says="for two weeks half of the reviews that would have been good are not",
        app=App(job="reviews", ends=END, changes=(Change(what="reviews", to=0.5, since=30, until=44),)),
        fires=(Fires(alert="EngagementReviewsTurning", not_at=34, at=50, gone_at=62.9),),
    ),
    Scenario(
        says="scores fall for a week, so that two in five users are at risk and not three in ten",
        app=App(job="at_risk", ends=END, changes=(Change(what="at_risk", to=1.34, until=MONDAY + 7),)),
        fires=(Fires(alert="EngagementHealthAtRisk", not_at=MONDAY + 0.9, at=MONDAY + 1.5, gone_at=MONDAY + 8.5),),
    ),
    # -- what must not be told -------------------------------------------------------------------------------------
    Scenario(
        # The job that the alerts on the target itself are about: it is there, so they are silent too.
        says="weeks like any other, with hardly anybody at weekends",
        app=App(job="engagement", begins=0, ends=END, weekend=0.2),
    ),
    Scenario(
        says="weekends on which sessions bounce and are short, each week alike, and a week with fewer users in a month",
        app=App(
            job="weekends",
            ends=END,
            weekend=0.3,
            changes=(*worse_weekends(), Change(what="users", to=0.9, until=MONDAY + 7)),
        ),
    ),
    Scenario(
        says="a small app that hardly anybody uses any more",
        app=App(
            job="small",
            ends=END,
            users=300,
            sign_ups=300,
            customers=150,
            changes=(
                Change(what="adoption", to=0.3),
                Change(what="at_risk", to=3),
                fewer_come(0.2),
                Change(what="churn", to=3.0),
                Change(what="retention", to=0.05, since=25),
                Change(what="customer-churn", to=12, since=33),
                Change(what="onboarded", to=0.05, since=25),
                Change(what="revenue", to=0.4, since=33),
            ),
        ),
    ),
    Scenario(
        says="a small app that a third of its users have left",
        app=App(job="small_shrinking", ends=END, users=300, changes=(Change(what="users", to=0.67, since=44),)),
    ),
    Scenario(
        says="an app with few sessions, which bounce and are short",
        app=App(
            job="few_sessions",
            users=1_000,
            changes=(Change(what="bounce", to=1.8), Change(what="session_seconds", to=0.3)),
        ),
    ),
    Scenario(
        says="an app with few users, of whom some more are at risk, which may be chance",
        app=App(job="few_scores", ends=END, users=1_000, at_risk=0.1, changes=(Change(what="at_risk", to=1.33),)),
    ),
    Scenario(
        says="an app with few answers, which are bad",
        app=App(
            job="few_answers",
            ends=END,
            csat_answers=90,
            nps_answers=90,
            first_replies=90,
            waiting=3,
            reviews=45,
            changes=(
                Change(what="csat", to=0.3),
                Change(what="promoters", to=0.0, since=33),
                Change(what="first_reply", to=12),
                Change(what="oldest_waiting", to=20),
                Change(what="reviews", to=0.2, since=33),
            ),
        ),
    ),
    Scenario(
        says="a topic is read that was not: more is known of users, and more of them are at risk",
        app=App(
            job="more_known",
            ends=END,
            changes=(Change(what="at_risk", to=1.5), Change(what="coverage", to=1.3)),
        ),
    ),
    Scenario(
        says="a small app after a campaign",
        app=App(job="small_campaign", users=100, stickiness=0.3, changes=(Change(what="users", to=3.0, ramp_days=3),)),
    ),
    Scenario(
        says="a large app: of one platform few users stay away, of another too few to be more than chance",
        app=App(
            job="few_users",
            users=8_000,
            platforms={"web": 0.87, "android": 0.05, "ios": 0.08},
            changes=(Change(what="android activity", to=0.1), Change(what="ios activity", to=0.7)),
        ),
    ),
    Scenario(
        says=(
            "a campaign on Android, users of iOS who are led to the web, the first weeks of a platform whose launch"
            " fades, a release of the app, and half as many new users again who do not stay"
        ),
        app=App(
            job="platforms",
            ends=END,
            releases=True,
            platforms={"web": 0.5, "android": 0.2, "ios": 0.2, "watch": 0.1},
            platforms_since={"watch": 20},
            changes=(
                Change(what="android users", to=1.5, ramp_days=3),
                Change(what="ios activity", to=0.4),
                Change(what="ios users", to=0.6, ramp_days=2),
                Change(what="web activity", to=1.24),
                Change(what="web users", to=1.16, ramp_days=2),
                Change(what="watch activity", to=0.4, since=20, ramp_days=25),
                Change(what="sign-ups", to=1.5, since=25),
                Change(what="retention", to=0.7, since=25),
                Change(what="onboarded", to=0.7, since=25),
            ),
        ),
    ),
    Scenario(
        says="a loss of users, of which is known only lately",
        app=App(job="lately_known", ends=END, comes_known=50, changes=(Change(what="users", to=0.85, since=44),)),
    ),
    Scenario(
        says="changes that may be chance in an app of 600 users",
        app=App(
            job="chance",
            ends=END,
            users=600,
            stickiness=0.6,
            csat_answers=120,
            nps_answers=120,
            first_replies=120,
            reviews=60,
            changes=(
                Change(what="first_reply", to=2),
                Change(what="adoption", to=0.8),
                Change(what="at_risk", to=1.05),
                Change(what="reviews", to=0.85, since=33),
                fewer_come(0.88),
                Change(what="bounce", to=1.17),
                Change(what="session_seconds", to=0.78),
                Change(what="csat", to=0.91),
                Change(what="promoters", to=0.7),
            ),
        ),
    ),
    Scenario(
        says="a fall of the ratio that may be chance in an app of 600 users",
        app=App(job="chance_ratio", users=600, changes=(fewer_come(0.83),)),
    ),
    Scenario(
        says="an erosion that may be chance in an app of 600 users",
        app=App(
            job="chance_erosion",
            ends=END,
            users=600,
            sign_ups=600,
            customers=300,
            orders=600,
            changes=(
                fewer_come(0.84, since=33),
                Change(what="users", to=0.96, since=44),
                Change(what="churn", to=1.25, since=33),
                Change(what="retention", to=0.8, since=25),
                Change(what="customer-churn", to=1.7, since=33),
                Change(what="onboarded", to=0.83, since=25),
                Change(what="revenue", to=0.75, since=33),
            ),
        ),
    ),
    Scenario(
        says="a dilution that may be chance in an app of 600 users",
        app=App(job="chance_dilution", users=600, changes=(Change(what="users", to=1.25, ramp_days=3),)),
    ),
    Scenario(
        says="changes too small to matter in a large app",
        app=App(
            job="large",
            users=5_000_000,
            csat_answers=50_000,
            nps_answers=50_000,
            first_replies=100_000,
            changes=(
                Change(what="first_reply", to=1.3),
                Change(what="oldest_waiting", to=8),
                Change(what="adoption", to=0.88),
                Change(what="at_risk", to=1.2),
                fewer_come(0.88, until=MONDAY + 7),
                Change(what="bounce", to=1.1),
                Change(what="session_seconds", to=0.85),
                Change(what="csat", to=0.95),
                Change(what="promoters", to=0.85),
            ),
        ),
    ),
    Scenario(
        says="an erosion too small to matter in a large app",
        app=App(
            job="large_erosion",
            ends=END,
            users=5_000_000,
            sign_ups=500_000,
            customers=500_000,
            orders=5_000_000,
            reviews=50_000,
            changes=(
                Change(what="reviews", to=0.95, since=32),
                fewer_come(0.92, since=32),
                Change(what="android activity", to=0.86, until=MONDAY + 3),
                Change(what="users", to=0.99, since=44),
                Change(what="churn", to=1.13, since=32),
                Change(what="retention", to=0.87, since=25),
                Change(what="customer-churn", to=1.23, since=32),
                Change(what="onboarded", to=0.87, since=25),
                Change(what="revenue", to=0.88, since=32),
            ),
        ),
    ),
    Scenario(
        says="a small campaign of a large app",
        app=App(job="large_campaign", users=5_000_000, changes=(Change(what="users", to=1.12, ramp_days=3),)),
    ),
    Scenario(
        says="tiny ratios of a large app that change by less than a point, or by less than three",
        app=App(
            job="tiny",
            users=5_000_000,
            stickiness=0.02,
            bounce=0.1,
            adoption=8,
            at_risk=0.05,
            changes=(
                Change(what="at_risk", to=1.4),
                fewer_come(0.8, until=MONDAY + 7),
                Change(what="bounce", to=1.25),
                Change(what="adoption", to=0.8),
            ),
        ),
    ),
    Scenario(
        says="tiny ratios of a large app: of one platform, of those who stay away and of those who stay",
        app=App(
            job="tiny_changes",
            ends=END,
            users=5_000_000,
            sign_ups=500_000,
            stickiness=0.02,
            churn=0.08,
            retention=0.05,
            customers=500_000,
            customer_churn=0.01,
            onboarded=0.05,
            changes=(
                Change(what="android activity", to=0.6),
                Change(what="churn", to=1.22, since=32),
                Change(what="retention", to=0.7, since=25),
                Change(what="customer-churn", to=1.6, since=32),
                Change(what="onboarded", to=0.7, since=25),
            ),
        ),
    ),
    Scenario(
        says="a campaign of a large app that few use daily",
        app=App(
            job="tiny_campaign",
            users=5_000_000,
            stickiness=0.02,
            changes=(Change(what="users", to=1.4, ramp_days=3),),
        ),
    ),
    Scenario(
        says="the first weeks of an app: stickiness falls from 1 as the month of MAU fills",
        app=App(job="first_weeks", ends=END, begins=14, launch=True),
    ),
    Scenario(
        says="the first weeks of an app whose launch fades",
        app=App(job="launch", ends=END, begins=14, launch=True, changes=(fewer_come(0.4, since=14, ramp_days=25),)),
    ),
    Scenario(
        says="Prometheus knows only four weeks of an app in which everything gets worse",
        app=App(job="young", ends=END, begins=22, changes=everything_worse(0.6)),
    ),
    Scenario(
        says="Prometheus knows only four weeks of an app that has a campaign",
        app=App(job="young_campaign", begins=22, changes=(Change(what="users", to=1.5, ramp_days=3),)),
    ),
    # -- numbers that can't be trusted: those of Sunday stand still until Wednesday --------------------------------
    Scenario(
        says="a worker dies on Sunday",
        app=App(job="dead", changes=worse_weekends(), troubles=(Trouble(what="dead"),)),
        fires=(Fires(alert="EngagementPartitionsUnowned", not_at=45.9, at=46.2, gone_at=49.1),),
    ),
    Scenario(
        says="a worker dies while users come less and less often",
        app=App(
            job="dead_in_erosion",
            ends=END,
            changes=(fewer_come(0.67, since=25),),
            troubles=(Trouble(what="dead", since=55, until=END),),
        ),
        fires=(Fires(alert="EngagementPartitionsUnowned", not_at=54.9, at=55.2),),
    ),
    Scenario(
        says="a partition lags since Sunday",
        app=App(job="behind", changes=worse_weekends(), troubles=(Trouble(what="behind"),)),
        fires=(Fires(alert="EngagementStreamBehind", not_at=45.9, at=46.2, gone_at=49.1),),
    ),
    Scenario(
        says="the clock of a worker is an hour slow since Sunday",
        app=App(job="old_clock", changes=worse_weekends(), troubles=(Trouble(what="old clock"),)),
        fires=(Fires(alert="EngagementStreamBehind", not_at=45.9, at=46.2, gone_at=49.1),),
    ),
    Scenario(
        says="state is being recovered since Sunday",
        app=App(job="recovering", changes=worse_weekends(), troubles=(Trouble(what="recovering"),)),
        fires=(Fires(alert="EngagementRecoverySlow", not_at=45.9, at=46.2, gone_at=49.1),),
    ),
    Scenario(
        says="the state store is away since Sunday",
        app=App(job="no_store", changes=worse_weekends(), troubles=(Trouble(what="no store"),)),
        fires=(Fires(alert="EngagementStoreUnavailable", not_at=45.9, at=46.2, gone_at=49.1),),
    ),
    Scenario(
        says="a producer's transaction has been open since Sunday",
        app=App(job="open_transaction", changes=worse_weekends(), troubles=(Trouble(what="open transaction"),)),
        fires=(Fires(alert="EngagementTransactionOpen", not_at=45.9, at=46.2, gone_at=49.1),),
    ),
    Scenario(
        says="the clock of a worker's machine has been an hour ahead since Sunday, which changes no number",
        app=App(job="wrong_clock", changes=worse_weekends(), troubles=(Trouble(what="wrong clock"),)),
        fires=(Fires(alert="EngagementClockWrong", not_at=45.9, at=46.2, gone_at=49.1),),
    ),
    Scenario(
        says="a topic was created again on Sunday, and nobody decides what becomes of it",
        app=App(job="unread", changes=worse_weekends(), troubles=(Trouble(what="unread"),)),
        fires=(Fires(alert="EngagementTopicUnread", not_at=45.9, at=46.2, gone_at=49.1),),
    ),
    Scenario(
        says="the producers stop for six hours: DAU is low for a day, in which nobody is to be called",
        app=App(job="silent", troubles=(Trouble(what="silent", since=MONDAY + 0.3, until=MONDAY + 0.55),)),
        fires=(
            Fires(alert="EngagementNoEvents", not_at=MONDAY + 0.29, at=MONDAY + 0.5, gone_at=MONDAY + 0.7),
            Fires(alert="EngagementEventTimeStale", not_at=MONDAY + 0.29, at=MONDAY + 0.5, gone_at=MONDAY + 0.7),
        ),
    ),
    Scenario(
        says="the producers of sessions stop for twelve hours",
        app=App(
            job="silent_sessions", troubles=(Trouble(what="silent sessions", since=MONDAY + 0.3, until=MONDAY + 0.8),)
        ),
        fires=(Fires(alert="EngagementEventTimeStale", not_at=MONDAY + 0.29, at=MONDAY + 0.5, gone_at=MONDAY + 1),),
    ),
    Scenario(
        says="half of the messages are broken for a day",
        app=App(job="broken", troubles=(Trouble(what="broken", since=MONDAY, until=MONDAY + 1),)),
        fires=(Fires(alert="EngagementDeadLettersRising", not_at=MONDAY - 0.1, at=MONDAY + 0.2, gone_at=MONDAY + 1.2),),
    ),
)

_LABELS_KEPT = {
    "EngagementSegmentStickinessDrop": {"window": "30d", "segment": "platform", "value": "android"},
    "EngagementChurnRise": {"window": "28d"},
    "EngagementRetentionDrop": {"day": "7", "mode": "exact"},
    "EngagementQuickRatioLow": {"window": "28d"},
    "EngagementStickinessDrop": {"window": "30d"},
    "EngagementStickinessDiluted": {"window": "30d"},
    "EngagementStickinessErosion": {"window": "28d"},
    "EngagementBounceRise": {"window": "1d", "rule": "ga4"},
    "EngagementSessionTimeDrop": {"window": "1d"},
    "EngagementCsatDrop": {"window": "7d"},
    "EngagementNpsDrop": {"window": "28d"},
    "EngagementCustomerChurnRise": {"window": "28d"},
    "EngagementOnboardingDrop": {},
    "EngagementRevenuePerUserDrop": {"window": "28d", "currency": "EUR"},
    "EngagementFirstReplySlow": {"window": "1d"},
    "EngagementWaitingLong": {},
    "EngagementAdoptionDrop": {"window": "7d"},
    "EngagementReviewsTurning": {"window": "28d"},
    "EngagementHealthAtRisk": {},
}

TEXTS = (
    Text(
        alert="EngagementStickinessDrop",
        day=59,
        says={
            "drop_that_stays": "DAU/MAU was 10.57% in the last hour; 15.78% is usual for this hour of the week."
            " 2114 users were active in a day, usually 3156."
        },
    ),
    Text(
        alert="EngagementStickinessDiluted",
        day=52,
        says={
            "campaign": "DAU/MAU was 10.52% in the last hour, and as many users as usual were active in a day: 3156."
            " MAU is 30000, usually 20000."
        },
    ),
    Text(
        alert="EngagementStickinessErosion",
        day=62,
        says={
            "drop_that_stays": "In the 28 closed days up to yesterday an active user came on 20.52% of the days,"
            " in the 28 days before on 25%.",
            "erosion": "In the 28 closed days up to yesterday an active user came on 21.16% of the days, in the 28 days"
            " before on 24.63%.",
        },
    ),
    Text(
        alert="EngagementSegmentStickinessDrop",
        day=48,
        says={
            "android": "DAU/MAU of platform android was 17.21% in the last hour; 28.69% is usual for this hour of the"
            " week. 861 of them were active in a day, usually 1434."
        },
    ),
    Text(
        alert="EngagementChurnRise",
        day=55,
        says={
            "leaving": "27.5% of the users of the 28 days before did not come in the 28 closed days up to yesterday;"
            " four weeks ago it was 20%."
        },
    ),
    Text(
        alert="EngagementRetentionDrop",
        day=50,
        says={
            "leaving": "Of the new users of 28 days 19.38% were active on the seventh day after their first; of those"
            " of the 28 days before it were 25%."
        },
    ),
    Text(
        alert="EngagementCustomerChurnRise",
        day=50,
        says={
            "leaving": "8.75% of 3000 customers left in the 28 closed days up to yesterday; in the 28 days before it"
            " was 5%."
        },
    ),
    Text(
        alert="EngagementOnboardingDrop",
        day=50,
        says={
            "leaving": "Of the users who signed up on 28 days 32% were onboarded within their first week; of those of"
            " the 28 days before it were 40%."
        },
    ),
    Text(
        alert="EngagementRevenuePerUserDrop",
        day=50,
        says={
            "leaving": "In 28 closed days EUR 6.20 were paid for each active user, net of refunds; in the 28 days"
            " before it was 8.00."
        },
    ),
    Text(
        alert="EngagementQuickRatioLow",
        day=50,
        says={
            "shrinking": "For two weeks the quick ratio of 28 closed days has been under 1, at most 0.25. 17000 users"
            " were active in the 28 closed days up to yesterday, in the 28 days before 20000."
        },
    ),
    Text(
        alert="EngagementBounceRise",
        day=50,
        says={"bounce": "46.8% of the sessions of a day bounced (GA4's rule); 36% is usual for this hour of the week."},
    ),
    Text(
        alert="EngagementSessionTimeDrop",
        day=50,
        says={
            "session_time": "Half of the sessions of a day lasted less than 1m 6s;"
            " 1m 50s is usual for this hour of the week."
        },
    ),
    Text(
        alert="EngagementCsatDrop",
        day=52,
        says={"csat": "62.74% of the CSAT answers of seven days were satisfied; 80% is usual."},
    ),
    Text(
        alert="EngagementNpsDrop",
        day=62,
        says={"nps": "NPS of 28 days is 16; in the 28 days before it was 30."},
    ),
    Text(
        alert="EngagementFirstReplySlow",
        day=48,
        says={
            "support": "On the last closed day one in ten of 1000 first replies took 9h 0m 0s or longer; 3h 0m 0s is"
            " usual for this weekday."
        },
    ),
    Text(
        alert="EngagementWaitingLong",
        day=47,
        says={"support": "The customer who has waited longest has waited for 4d 0h 0m 0s; 20 wait."},
    ),
    Text(
        alert="EngagementAdoptionDrop",
        day=52,
        says={
            "release": "The product adoption score of the seven closed days up to yesterday is 24.9; 35.0 is usual."
            " 18000 users were active."
        },
    ),
    Text(
        alert="EngagementReviewsTurning",
        day=50,
        says={"reviews": "60% of 200 reviews of 28 closed days had 4 or 5 stars; in the 28 days before it was 80%."},
    ),
    Text(
        alert="EngagementHealthAtRisk",
        day=50,
        says={
            "at_risk": "At the end of the last closed day 40.2% of 24000 users with a health score were at risk; four"
            " weeks before it was 30%."
        },
    ),
)
