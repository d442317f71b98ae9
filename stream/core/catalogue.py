"""The list of all metrics: those of the families, and those about the health of the pipeline.

/metrics, its help texts, /api/v1/definitions and METRICS.md are made from this list. A test checks that they and the
dashboards agree with it.
"""

from stream.core.families import cross_family
from stream.core.families.registry import FAMILIES
from stream.core.metrics import Metric

_HEALTH = (
    Metric(
        "engagement_events_total",
        "Events read, by what became of them.",
        ("topic", "outcome"),
        "counter",
        "events",
    ),
    Metric(
        "engagement_dead_letters_total",
        "Messages sent to the dead-letter topic, by reason.",
        ("topic", "reason"),
        "counter",
        "messages",
    ),
    Metric(
        "engagement_closed_corrections_total",
        "How often a closed day was changed by events that came late: once for each partition, day and time that it was"
        " told again. No day changes once it is final: allowed_lateness after its end, by the events' own time.",
        (),
        "counter",
        "corrections",
    ),
    Metric(
        "engagement_closing_backlog",
        "Closed days that wait to be computed, or to be computed for the last time because no event can change them any"
        " more, in the partition that has the most. Above 0 for seconds, and while a worker catches up over many days.",
        unit="days",
    ),
    Metric(
        "engagement_segment_values_beyond_total",
        "Values of segments that a partition counts as other, because it keeps a thousand of each segment apart: how"
        " often one was met. It grows where producers send an id as a value.",
        (),
        "counter",
        "values",
    ),
    Metric(
        "engagement_privacy_requests_total",
        "Requests of people that were fulfilled, by type: erase or anonymise. One that comes twice counts once.",
        ("type",),
        "counter",
        "requests",
    ),
    Metric(
        "engagement_left_out_total",
        "What messages told and no metric counts, by what it is: joins of identities, orders, accounts and the like.",
        ("topic", "what"),
        "counter",
        "events",
    ),
    Metric("engagement_event_time_seconds", "Newest event time applied.", ("topic",), unit="seconds"),
    Metric("engagement_clock_seconds", "The moment the live windows end with.", unit="seconds"),
    Metric(
        "engagement_clock_skew_seconds",
        "How far the clock of a worker's machine is ahead of the brokers' time, by which numbers go; below 0: behind."
        " Absent where the brokers do not tell their time.",
        ("worker",),
        unit="seconds",
    ),
    Metric(
        "engagement_lag_events",
        "Records that can be read from Kafka and are not yet applied.",
        ("topic", "partition"),
        unit="events",
    ),
    Metric(
        "engagement_open_transaction_seconds",
        "How long an open transaction of a producer has held its partition back. 0 below kafka.open_transaction_after.",
        ("topic", "partition"),
        unit="seconds",
    ),
    Metric(
        "engagement_topic_readable",
        "1 while the topic of an input is read, 0 while it is not, because it was deleted, or was created again and is"
        " not read before that is decided, or because its messages wait for the schema registry.",
        ("topic", "partition"),
    ),
    Metric(
        "engagement_event_latency_seconds",
        "From an event's arrival in Kafka to the snapshot that holds it.",
        (),
        "histogram",
        "seconds",
    ),
    Metric(
        "engagement_checkpoint_seconds",
        "Time a checkpoint takes, from the first row encoded to the last store written.",
        (),
        "histogram",
        "seconds",
    ),
    Metric(
        "engagement_takeovers_total",
        "How often a partition was taken over by a worker, which happens to all of them at each rebalance. Counted with"
        " the partition's state, so it goes on over restarts of workers and servers.",
        ("partition",),
        "counter",
        "takeovers",
    ),
    Metric(
        "engagement_rebalances_total",
        "How often Kafka has dealt the partitions out among the workers anew, which it does when one comes or goes: the"
        " generation of their consumer group.",
        (),
        "counter",
        "rebalances",
    ),
    Metric("engagement_partitions_owned", "Partitions with a live snapshot of the worker that owns them."),
    Metric("engagement_partitions", "Partitions of the input topics."),
    Metric(
        "engagement_snapshot_age_seconds",
        "Age of the newest snapshot of each partition.",
        ("partition",),
        unit="seconds",
    ),
    Metric(
        "engagement_recovery_seconds",
        "How long the last recovery of a partition's state took.",
        ("partition",),
        unit="seconds",
    ),
    Metric(
        "engagement_recovery_remaining_seconds",
        "How long the recovery that is under way will take, judged by its pace. Absent when none is.",
        ("partition",),
        unit="seconds",
    ),
    Metric(
        "engagement_recovery_rows_remaining",
        "Records of the changelog that the recovery under way has still to read. Absent when none is.",
        ("partition",),
        unit="rows",
    ),
    Metric(
        "engagement_standby_lag_rows",
        "Records of the changelog of a partition that a worker, standing by to take it over, has not in its store yet.",
        ("partition", "worker"),
        unit="rows",
    ),
    Metric(
        "engagement_store_available",
        "1 while the owner of a partition can reach its state store, 0 while it waits for it and consumes nothing.",
        ("partition",),
    ),
    Metric(
        "engagement_partition_owner_info",
        "Which worker owns a partition; always 1, absent where nobody does.",
        ("partition", "worker"),
    ),
    Metric("engagement_state_rows", "Rows of state, by kind.", ("kind",), unit="rows"),
    Metric("engagement_build_info", "The version that runs; always 1.", ("version",)),
)

# Metrics that are calculated from events; the others are about the pipeline.
BUSINESS: tuple[Metric, ...] = (*(metric for family in FAMILIES for metric in family.metrics), *cross_family.METRICS)

CATALOGUE: tuple[Metric, ...] = (*BUSINESS, *_HEALTH)

BY_NAME: dict[str, Metric] = {name: metric for metric in CATALOGUE for name in metric.names}
