"""The row of support: how many ask for help, who waits now, how long replies take, and what is resolved."""

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models import units

from deploy.grafana.frame import Row
from deploy.grafana.panels import trend
from deploy.grafana.queries import Query, interval, number
from stream.core.histogram import QUANTILES

_WEEK, _MONTH = 'window="7d"', 'window="28d"'


def support() -> Row:
    """What conversations tell. The panels are empty where the topic is not read."""

    def times(title: str, name: str) -> timeseries.Panel:
        metric = f"engagement_{name}_seconds"
        queries = [
            Query(number(metric, where=f'{_WEEK}, quantile="{share}"'), f"p{share * 100:g}") for share in QUANTILES
        ]
        return trend(title, queries, unit=units.Seconds)

    means = [
        Query(number(f"engagement_{name}_mean_seconds", where=_WEEK), legend)
        for name, legend in (("first_reply", "first reply"), ("reply", "every reply"), ("resolution", "resolution"))
    ]
    return Row(
        "Support",
        [
            trend(
                "Waiting conversations",
                [
                    Query(number("engagement_waiting_conversations"), "now"),
                    Query(number("engagement_waiting_conversations_closed"), "at the end of the last closed day"),
                ],
                unit=units.Short,
            ),
            trend(
                "Oldest waiting",
                [
                    Query(number("engagement_oldest_waiting_seconds"), "now"),
                    Query(number("engagement_oldest_waiting_closed_seconds"), "at the end of the last closed day"),
                ],
                unit=units.Seconds,
            ),
            trend(
                "Contacts by channel over 7 days",
                [Query(number("engagement_contacts", by="channel", where=_WEEK), "{{channel}}")],
                unit=units.Short,
                stacked=True,
            ),
            times("First reply over 7 days", "first_reply"),
            times("Every reply over 7 days", "reply"),
            times("Resolution over 7 days", "resolution"),
            trend("Replies and resolutions over 7 days, means", means, unit=units.Seconds),
            trend(
                "Resolved, of contacts a week old, over 28 days",
                interval("engagement_resolved_closed_ratio", "resolved", where=_MONTH),
                unit=units.PercentUnit,
                bands=(("resolved", "blue"),),
                sample=Query(number("engagement_contacts_matured_closed", where=_MONTH), "contacts"),
                closed=True,
            ),
            trend(
                "First reply, 90 %, week over week",
                [Query(_slowest(""), "p90")],
                unit=units.Seconds,
                before=Query(_slowest("7d"), "a week before"),
                closed=True,
            ),
        ],
        folded=True,
    )


def _slowest(ago: str) -> str:
    return number("engagement_first_reply_closed_seconds", where=f'{_WEEK}, quantile="0.9"', ago=ago)
