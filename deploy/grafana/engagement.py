"""The dashboard for who looks after the product: how many come, how often, for how long, and what they think.

It tells the last closed day first, because only complete days compare, then what is true at this moment.
"""

from grafana_foundation_sdk.builders import dashboard, stat
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard, VariableOption

from deploy.grafana.adoption import adoption
from deploy.grafana.comeback import comeback
from deploy.grafana.customers import currency_variable, customers
from deploy.grafana.dimensions import dimensions
from deploy.grafana.frame import ENGAGEMENT_UID, Row, chosen, chosen_number, page
from deploy.grafana.health import health
from deploy.grafana.panels import closed_figure, figure, listing, trend
from deploy.grafana.queries import DEPLOYMENT, Query, interval, number
from deploy.grafana.segments import segment_variables, segments
from deploy.grafana.sessions import SESSIONS_WINDOW, sessions
from deploy.grafana.support import support
from deploy.grafana.surveys import SURVEYS_WINDOW, surveys
from deploy.grafana.voice import voice
from stream.core.catalogue import BUSINESS

_STICKINESS_WINDOW = 'window="$stickiness_window"'

# The numbers are exact, and shown so: 1,234 and not 1.2 K.
_EXACT = units.LocaleFormat

# As the product world calls them.
_NAMED = (("DAU", "1d"), ("WAU", "7d"), ("MAU", "30d"))

# The labels that tell the series of a number apart, besides its window. What is told by segment has a row of its own.
_PARTS = sorted({label for metric in BUSINESS for label in metric.labels} - {"window"})
_CLOSED_NUMBER = f'{{__name__="$closed_number", window="$closed_window", segment="", {DEPLOYMENT}}}'

# NPS below 0: more speak against the product than for it.
_NPS_STEPS = ((None, "red"), (0, "text"))


def engagement() -> Dashboard:
    """The dashboard, as Grafana's classic model."""
    board = dashboard.Dashboard("Engagement").uid(ENGAGEMENT_UID).time("now-24h", "now")
    board.description("Active users, stickiness, sessions and surveys. Closed days compare; live numbers move.")
    windows = [
        chosen("window", "Sessions over", "engagement_sessions", "window", default="1d"),
        chosen("survey_window", "Surveys over", "engagement_csat_answers", "window", default="30d"),
        chosen("stickiness_window", "Stickiness over", "engagement_stickiness_closed_ratio", "window", default="30d"),
        chosen_number(
            "closed_number", "Closed number", "engagement_.+_closed(_.+)?", default="engagement_active_users_closed"
        ),
        chosen("closed_window", "Closed number over", "engagement_active_users_closed", "window", default="1d"),
    ]
    rows = [
        _closed(),
        _now(),
        _stickiness(),
        _active_users(),
        comeback(),
        sessions(),
        surveys(),
        customers(),
        support(),
        adoption(),
        voice(),
        health(),
        dimensions(),
        segments(),
        _closed_days(),
        _every_number(),
    ]
    return page(board, rows, [*windows, currency_variable(), *segment_variables(), _least_sample()])


def _least_sample() -> dashboard.CustomVariable:
    variable = dashboard.CustomVariable("least_sample").label("Compare from a sample of")
    variable.values("30,100,300,1000,10000").description("Smaller samples are not compared with last week.")
    return variable.current(VariableOption(text="100", value="100", selected=True))


def _closed() -> Row:
    users = "engagement_active_users_closed"
    daily, weekly = (closed_figure(name, users, window=window, unit=_EXACT) for name, window in _NAMED[:2])
    monthly = closed_figure("MAU", users, window="30d", unit=_EXACT, alerts=["EngagementStickinessDiluted"])
    stickiness = closed_figure(
        "Stickiness, DAU/MAU",
        "engagement_stickiness_closed_ratio",
        window="30d",
        unit=units.PercentUnit,
        alerts=["EngagementStickinessDrop"],
    )
    smoothed = closed_figure(
        "Stickiness, mean of 28 days",
        "engagement_stickiness_smoothed_closed_ratio",
        window="28d",
        unit=units.PercentUnit,
        alerts=["EngagementStickinessErosion"],
    )
    # Its noon, so that it is the same date where the reader's clock is some hours off that of the deployment.
    noon = f"({number('engagement_closed_day_timestamp_seconds')} + 43200) * 1000"
    day = figure("Last closed day", [Query(noon, "day")], unit="time:ddd, D MMM YYYY", width=4, height=5)
    return Row("Last closed day, against last week", [daily, weekly, monthly, stickiness, smoothed, day])


def _now() -> Row:
    live = "engagement_stickiness_ratio"
    return Row(
        "Now",
        [
            _figure("Active, 5 minutes", number("engagement_active_users", where='window="5m"'), _EXACT),
            _figure("Open sessions", number("engagement_open_sessions"), _EXACT),
            _figure("DAU, last 24 hours", number("engagement_active_users", where='window="1d"'), _EXACT),
            _figure("Stickiness, 24 hours", number(live, where='window="30d"'), units.PercentUnit),
            _figure(
                "Session time, median, $window",
                number("engagement_session_duration_seconds", where=f'{SESSIONS_WINDOW}, quantile="0.5"'),
                units.Seconds,
            ),
            _figure(
                "Bounce, GA4 rule, $window",
                number("engagement_bounce_ratio", where=f'{SESSIONS_WINDOW}, rule="ga4"'),
                units.PercentUnit,
            ),
            _figure("CSAT, $survey_window", number("engagement_csat_ratio", where=SURVEYS_WINDOW), units.PercentUnit),
            figure(
                "NPS, $survey_window",
                [Query(number("engagement_nps", where=SURVEYS_WINDOW), "NPS")],
                unit=units.NoUnit,
                width=3,
                decimals=0,
                steps=_NPS_STEPS,
            ),
        ],
    )


def _figure(title: str, expression: str, unit: str) -> stat.Panel:
    decimals = {units.PercentUnit: 1, units.Seconds: 1}.get(unit)
    return figure(title, [Query(expression, "now")], unit=unit, width=3, decimals=decimals)


def _stickiness() -> Row:
    closed = [
        *interval("engagement_stickiness_closed_ratio", "last closed day", where=_STICKINESS_WINDOW),
        *interval("engagement_stickiness_smoothed_closed_ratio", "mean of the days", where=_STICKINESS_WINDOW),
    ]
    bands = (("last closed day", "blue"), ("mean of the days", "orange"))
    live = interval("engagement_stickiness_ratio", "last 24 hours", where=_STICKINESS_WINDOW)
    return Row(
        "Stickiness over $stickiness_window",
        [
            trend(
                "Stickiness, closed days",
                closed,
                unit=units.PercentUnit,
                width=12,
                bands=bands,
                closed=True,
                alerts=["EngagementStickinessErosion"],
            ),
            trend(
                "Stickiness, live",
                live,
                unit=units.PercentUnit,
                width=12,
                bands=(("last 24 hours", "blue"),),
                alerts=["EngagementStickinessDrop"],
            ),
        ],
    )


def _active_users() -> Row:
    def named(metric: str) -> list[Query]:
        return [Query(number(metric, where=f'window="{window}"'), name) for name, window in _NAMED]

    daily = 'window="1d"'
    compared = Query(number("engagement_active_users_closed", where=daily), "DAU")
    before = Query(number("engagement_active_users_closed", where=daily, ago="7d"), "a week before")
    at_once = [
        Query(number("engagement_active_users", where=f'window="{window}"'), name)
        for name, window in (("5 minutes", "5m"), ("1 hour", "1h"))
    ]
    new = [
        Query(number("engagement_new_users", where=f'window="{window}"'), name)
        for name, window in (("1 day", "1d"), ("7 days", "7d"), ("30 days", "30d"))
    ]
    return Row(
        "Active users",
        [
            trend(
                "DAU, WAU and MAU, closed days",
                named("engagement_active_users_closed"),
                unit=units.Short,
                width=8,
                closed=True,
            ),
            trend("DAU, week over week", [compared], unit=units.Short, width=8, before=before, closed=True),
            trend("DAU, WAU and MAU, live", named("engagement_active_users"), unit=units.Short, width=8),
            trend("Active at the moment", at_once, unit=units.Short, width=12),
            trend("New users, live", new, unit=units.Short, width=12),
        ],
    )


def _closed_days() -> Row:
    now, before = (f"max by (of) ({_with_parts(f'{_CLOSED_NUMBER}{ago}')})" for ago in ("", " offset 7d"))
    shown = trend(
        "$closed_number over $closed_window",
        [Query(now, "closed day {{of}}"), Query(before, "a week before {{of}}")],
        unit=units.NoUnit,
        width=24,
        closed=True,
        note="Any number of closed days, against the same weekday of the week before.",
    )
    return Row("Any number of closed days", [shown])


def _with_parts(selected: str) -> str:
    """The selected series, each with the label `of`: the values of all its labels that tell it apart."""
    labels = ", ".join(f'"{label}"' for label in _PARTS)
    return f'label_join({selected}, "of", " ", {labels})'


def _every_number() -> Row:
    listed = _with_parts(f'{{__name__=~"engagement_.+", {SESSIONS_WINDOW}, {DEPLOYMENT}}}')
    table = listing(
        "Every number over $window",
        f"max by (__name__, of) ({listed})",
        columns=[("__name__", "metric"), ("of", ", ".join(_PARTS))],
        width=24,
        note="Also what the ratios are made of, and the ends of their intervals.",
    )
    return Row("Every number", [table], folded=True)
