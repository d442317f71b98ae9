"""The row of dimensions: five sides of engagement, each against the closed day 28 days before.

They are those of `/api/v1/dimensions`, in its order.
"""

from collections.abc import Callable

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models import units

from deploy.grafana.frame import Row
from deploy.grafana.panels import trend
from deploy.grafana.queries import Query, number

_MONTH, _AGO = 'window="28d"', "28d"


def dimensions() -> Row:
    """Each number beside that of a month before. What is of contacts is empty where their topic is not read."""

    def of(title: str, name: str, unit: str, where: str = _MONTH) -> timeseries.Panel:
        return compared(title, lambda ago: number(name, where=where, ago=ago), unit)

    def compared(title: str, expression: Callable[[str], str], unit: str) -> timeseries.Panel:
        now, before = Query(expression(""), "closed day"), Query(expression(_AGO), "a month before")
        return trend(title, [now], unit=unit, width=6, before=before, closed=True)

    by_value = [
        Query(_share_of_segment(""), "{{value}}"),
        Query(_share_of_segment(_AGO), "{{value}}, a month before"),
    ]
    tenure = 'window="28d", tenure="established"'
    return Row(
        "Dimensions: longevity, frequency, volume, context, proactiveness",
        [
            of(
                "Longevity: time since the first day, median",
                "engagement_user_tenure_closed_seconds",
                units.Seconds,
                f'{_MONTH}, quantile="0.5"',
            ),
            of("Longevity: established users", "engagement_tenure_active_users_closed", units.Short, tenure),
            compared("Frequency: active days of 28, mean", _active_days, units.Short),
            of("Volume: steps, an active user", "engagement_steps_per_active_user_closed", units.Short),
            of("Volume: orders, a buyer", "engagement_orders_per_buyer_closed", units.Short),
            of("Volume: contacts, an active user", "engagement_contacts_per_active_user_closed", units.Short),
            of("Proactiveness: unprompted sessions", "engagement_unprompted_session_closed_ratio", units.PercentUnit),
            of(
                "Proactiveness: contacts that customers began",
                "engagement_contacts_of_customers_closed_ratio",
                units.PercentUnit,
            ),
            trend("Context: share of users by $segment", by_value, unit=units.PercentUnit, width=24, closed=True),
        ],
        folded=True,
    )


def _active_days(ago: str) -> str:
    """The days on which users were active, a user: the mean of what L28 counts them by."""
    days, users = (
        number(f"engagement_{name}_closed", where=_MONTH, ago=ago)
        for name in ("daily_active_users_summed", "active_users")
    )
    return f"{days} / ({users} > 0)"


def _share_of_segment(ago: str) -> str:
    window = 'window="30d"'
    by_value = number(
        "engagement_segment_active_users_closed", by="value", where=f'{window}, segment="$segment"', ago=ago
    )
    users = number("engagement_active_users_closed", where=window, ago=ago)
    return f"{by_value} / scalar({users})"
