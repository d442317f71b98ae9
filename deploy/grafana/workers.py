"""The row of workers: which partitions each owns, and how those fare."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import units

from deploy.grafana.frame import Row, any_of
from deploy.grafana.panels import Panel, Steps, bars, trend
from deploy.grafana.queries import Query, growth, number

_OWNERS = "engagement_partition_owner_info"

# Where the alert begins, if it stays so.
_OFTEN: Steps = ((None, "green"), (15, "red"))


def worker_variable() -> dashboard.QueryVariable:
    """Which workers the row shows."""
    return any_of("worker", "Worker", _OWNERS, "worker")


def workers() -> Row:
    """What each worker owns, how far it is behind, what it recovered, and how often all of that changes hands."""
    lag = number("engagement_lag_events", by="topic, partition", where='topic=~"$topic"')
    age = number("engagement_snapshot_age_seconds", by="partition")
    recovery = number("engagement_recovery_seconds", by="partition")
    owned = Query(f"count by (worker) ({_owners()})", "{{worker}}")
    return Row(
        "Workers",
        [
            bars("Partitions owned", [owned], unit=units.Short, width=6),
            trend(
                "Lag by worker", [_of_worker("sum", lag)], unit=units.Short, width=6, alerts=["EngagementStreamBehind"]
            ),
            trend("Oldest snapshot by worker", [_of_worker("max", age)], unit=units.Seconds, width=6),
            trend("Longest last recovery by worker", [_of_worker("max", recovery)], unit=units.Seconds, width=6),
            trend(
                "Clock ahead of the brokers' time",
                [Query(number("engagement_clock_skew_seconds", by="worker", where='worker=~"$worker"'), "{{worker}}")],
                unit=units.Seconds,
                width=24,
                alerts=["EngagementClockWrong"],
            ),
            *_changes(),
        ],
    )


def _changes() -> list[Panel]:
    """How often partitions change hands: a hill in a rollout, and a plateau where the group has no rest."""
    takeovers = growth("engagement_takeovers_total", over="5m", by="partition")
    told = [Query(f"max({takeovers})", "worst partition"), Query(f"min({takeovers})", "calmest partition")]
    rebalances = [Query(growth("engagement_rebalances_total", over="5m"), "of the group")]
    alerts = ["EngagementRebalancing"]
    return [
        trend("Takeovers in 5 minutes", told, unit=units.Short, width=12, steps=_OFTEN, alerts=alerts),
        trend("Rebalances in 5 minutes", rebalances, unit=units.Short, width=12, steps=_OFTEN, alerts=alerts),
    ]


def _owners() -> str:
    """One owner a partition: while one is taken over, two servers can name different ones."""
    told = number(_OWNERS, by="partition, worker", where='worker=~"$worker"')
    return f"topk by (partition) (1, {told})"


def _of_worker(adds: str, by_partition: str) -> Query:
    return Query(f"{adds} by (worker) ({by_partition} * on (partition) group_left (worker) {_owners()})", "{{worker}}")
