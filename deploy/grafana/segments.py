"""The row of segments: the same numbers by platform, plan, country or version of the app."""

from grafana_foundation_sdk.builders import dashboard, timeseries
from grafana_foundation_sdk.models import units

from deploy.grafana.frame import Row, chosen
from deploy.grafana.panels import trend
from deploy.grafana.queries import Query, number

_USERS = "engagement_segment_active_users"
# Those of now that users, sessions and surveys all are told of by segment where nothing else is set.
_WINDOW, _MONTH = 'window="$segment_window"', 'window="30d"'


def segments() -> Row:
    """A panel for each number that is counted by segment, a line for each value."""
    return Row(
        "By $segment",
        [
            _panel("Active users over $segment_window", _USERS, _WINDOW, units.Short, stacked=True),
            _panel("Sessions over $segment_window", "engagement_segment_sessions", _WINDOW, units.Short, stacked=True),
            _panel(
                "Stickiness over 30d",
                "engagement_segment_stickiness_ratio",
                _MONTH,
                units.PercentUnit,
                "EngagementSegmentStickinessDrop",
            ),
            _panel(
                "Session time, mean, over $segment_window",
                "engagement_segment_session_duration_mean_seconds",
                _WINDOW,
                units.Seconds,
            ),
            _panel(
                "Bounce, GA4 rule, over $segment_window",
                "engagement_segment_bounce_ratio",
                f'{_WINDOW}, rule="ga4"',
                units.PercentUnit,
            ),
            _panel("CSAT over 30d", "engagement_segment_csat_ratio", _MONTH, units.PercentUnit),
            _panel("NPS over 30d", "engagement_segment_nps", _MONTH, units.NoUnit),
            _panel(
                "Stickiness over 30 closed days",
                "engagement_segment_stickiness_closed_ratio",
                _MONTH,
                units.PercentUnit,
                closed=True,
            ),
            _panel(
                "Active users of 30 closed days",
                "engagement_segment_active_users_closed",
                _MONTH,
                units.Short,
                closed=True,
                stacked=True,
            ),
        ],
    )


def segment_variables() -> list[dashboard.QueryVariable]:
    """Which segment the row shows, and over which window."""
    return [
        chosen("segment", "Segment", _USERS, "segment", default="platform"),
        chosen("segment_window", "Segments over", "engagement_segment_sessions", "window", default="1d"),
    ]


def _panel(
    title: str, metric: str, where: str, unit: str, *alerts: str, stacked: bool = False, closed: bool = False
) -> timeseries.Panel:
    query = Query(number(metric, by="value", where=f'{where}, segment="$segment"'), "{{value}}")
    return trend(title, [query], unit=unit, width=12 if stacked else 8, stacked=stacked, closed=closed, alerts=alerts)
