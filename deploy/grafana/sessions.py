"""The row of sessions: how long, how many, how many bounce, and who logs in."""

from grafana_foundation_sdk.models import units

from deploy.grafana.frame import Row
from deploy.grafana.panels import trend
from deploy.grafana.queries import Query, interval, number
from stream.core.histogram import QUANTILES

SESSIONS_WINDOW = 'window="$window"'


def sessions() -> Row:
    """Sessions that closed in the chosen window."""

    def each(*named: tuple[str, str]) -> list[Query]:
        return [Query(number(metric, where=SESSIONS_WINDOW), name) for name, metric in named]

    durations = [Query(_duration(share), f"p{share * 100:g}") for share in QUANTILES]
    rules = (("GA4 rule", "ga4", "blue"), ("single page", "single_page", "orange"))
    bounces = [
        query
        for name, rule, _ in rules
        for query in interval("engagement_bounce_ratio", name, where=f'{SESSIONS_WINDOW}, rule="{rule}"')
    ]
    with_views = Query(number("engagement_sessions_with_views", where=SESSIONS_WINDOW), "sessions with a view")
    counts = each(("sessions", "engagement_sessions"), ("visitors", "engagement_visitors"))
    means = each(
        ("session", "engagement_session_duration_mean_seconds"),
        ("engaged time of a session", "engagement_session_engaged_mean_seconds"),
        ("time on site of a visitor", "engagement_time_on_site_seconds"),
    )
    views = each(("views a session", "engagement_page_views_per_session"))
    shares = [
        *interval("engagement_engaged_session_ratio", "engaged sessions", where=SESSIONS_WINDOW),
        *interval("engagement_repeat_visit_ratio", "visitors who came again", where=SESSIONS_WINDOW),
        *interval("engagement_unprompted_session_ratio", "unprompted sessions", where=SESSIONS_WINDOW),
    ]
    steps = each(("steps", "engagement_steps_per_active_user"))
    logins = each(("logins", "engagement_logins"), ("failed", "engagement_login_failures"))
    return Row(
        "Sessions of the last $window",
        [
            trend("Session time, quantiles", durations, unit=units.Seconds, alerts=["EngagementSessionTimeDrop"]),
            trend(
                "Bounce, both rules",
                bounces,
                unit=units.PercentUnit,
                bands=[(name, color) for name, _, color in rules],
                sample=with_views,
                alerts=["EngagementBounceRise"],
            ),
            trend("Session time, means", means, unit=units.Seconds),
            trend("Sessions and visitors", counts, unit=units.Short),
            trend("Page views per session", views, unit=units.Short, sample=with_views),
            trend(
                "Engaged, come again, unprompted",
                shares,
                unit=units.PercentUnit,
                bands=[
                    ("engaged sessions", "blue"),
                    ("visitors who came again", "orange"),
                    ("unprompted sessions", "green"),
                ],
            ),
            trend("Steps per active user", steps, unit=units.Short),
            trend("Logins", logins, unit=units.Short),
        ],
    )


def _duration(share: float) -> str:
    return number("engagement_session_duration_seconds", where=f'{SESSIONS_WINDOW}, quantile="{share}"')
