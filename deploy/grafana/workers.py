"""The row of workers: which partitions each owns, and how those fare."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import units

from deploy.grafana.frame import Row, any_of
from deploy.grafana.panels import bars, trend
from deploy.grafana.queries import Query, number

_OWNERS = "engagement_partition_owner_info"


def worker_variable() -> dashboard.QueryVariable:
    """Which workers the row shows."""
    return any_of("worker", "Worker", _OWNERS, "worker")


def workers() -> Row:
    """What each worker owns, how far it is behind, and what it recovered."""
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
        ],
    )


def _owners() -> str:
    """One owner a partition: while one is taken over, two servers can name different ones."""
    told = number(_OWNERS, by="partition, worker", where='worker=~"$worker"')
    return f"topk by (partition) (1, {told})"


def _of_worker(adds: str, by_partition: str) -> Query:
    return Query(f"{adds} by (worker) ({by_partition} * on (partition) group_left (worker) {_owners()})", "{{worker}}")
