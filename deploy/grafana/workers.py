"""The row of workers: which partitions each owns, and how those fare."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import units

from deploy.grafana.frame import Row, any_of
from deploy.grafana.panels import bars, trend
from deploy.grafana.queries import Query, number
from stream.core.catalogue import BY_NAME

_OWNERS = "engagement_partition_owner_info"


def workers() -> tuple[list[Row], list[dashboard.QueryVariable]]:
    """The row and its variable; neither where the catalogue doesn't tell who owns what."""
    if _OWNERS not in BY_NAME:
        return [], []
    lag = number("engagement_lag_events", by="topic, partition", where='topic=~"$topic"')
    age = number("engagement_snapshot_age_seconds", by="partition", where="")
    recovery = number("engagement_recovery_seconds", by="partition", where="")
    owned = f"count by (worker) ({_owners()})"
    row = Row(
        "Workers",
        [
            bars("Partitions owned", [Query(owned, "{{worker}}")], unit=units.Short, width=6),
            trend("Lag", [_of_worker("sum", lag)], unit=units.Short, width=6),
            trend("Oldest snapshot", [_of_worker("max", age)], unit=units.Seconds, width=6),
            trend("Longest last recovery", [_of_worker("max", recovery)], unit=units.Seconds, width=6),
        ],
    )
    return [row], [any_of("worker", "Worker", _OWNERS, "worker")]


def _owners() -> str:
    """One owner a partition: while one is taken over, two servers can name different ones."""
    told = number(_OWNERS, by="partition, worker", where='worker=~"$worker"')
    return f"topk by (partition) (1, {told})"


def _of_worker(adds: str, by_partition: str) -> Query:
    return Query(f"{adds} by (worker) ({by_partition} * on (partition) group_left (worker) {_owners()})", "{{worker}}")
