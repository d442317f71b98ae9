"""The dashboard for who runs the pipeline: can the numbers be trusted now, and if not, where does it stand?"""

from grafana_foundation_sdk.builders import dashboard, stat
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.frame import PIPELINE_UID, Row, any_of, page
from deploy.grafana.panels import Steps, bars, figure, trend
from deploy.grafana.queries import Query, growth, latest, mean, number, quantile, rate
from deploy.grafana.workers import worker_variable, workers
from stream.core.partition.progress import APPLIED
from stream.core.time import seconds_of
from stream.settings import Settings

# Of many partitions so many are shown.
_WORST = 10
# Of what happens to the messages of topics the most frequent are told apart. Nobody tells more lines apart.
_MOST_FREQUENT = 15
_REST = f"others: what is less frequent than the {_MOST_FREQUENT} told apart."

_TOPIC = 'topic=~"$topic"'
_PARTITION = 'partition=~"$partition"'
_PLACES = f"{_TOPIC}, {_PARTITION}"

_SETTINGS = Settings()
_STALE_SECONDS = seconds_of(_SETTINGS.server.stale_after)
_CHECKPOINT_SECONDS = seconds_of(_SETTINGS.state.checkpoint_interval)

# An event should be in a gauge within a second or two; a minute late is of no use to who looks at a live number.
_LATENCY: Steps = ((None, "green"), (2, "orange"), (5, "red"))
_BEHIND: Steps = ((None, "green"), (10, "orange"), (60, "red"))
_SNAPSHOT_AGE: Steps = ((None, "green"), (_STALE_SECONDS / 3, "orange"), (_STALE_SECONDS, "red"))
# A checkpoint that takes longer than the time between two.
_CHECKPOINT: Steps = ((None, "green"), (_CHECKPOINT_SECONDS / 2, "orange"), (_CHECKPOINT_SECONDS, "red"))
# One worker applies some 50,000 events a second.
_LAG: Steps = ((None, "green"), (50_000, "orange"), (1_000_000, "red"))
# How often events come is the product's own.
_ANY: Steps = ((None, "text"),)
_NONE_EXPECTED: Steps = ((None, "green"), (1, "red"))


def pipeline() -> Dashboard:
    """The dashboard, as Grafana's classic model."""
    board = dashboard.Dashboard("Engagement: pipeline").uid(PIPELINE_UID).time("now-3h", "now")
    board.description("Whether the numbers can be trusted: rates, lag, latency, checkpoints, recovery, dead letters.")
    variables = [
        any_of("topic", "Topic", "engagement_events_total", "topic"),
        any_of("partition", "Partition", "engagement_snapshot_age_seconds", "partition"),
        worker_variable(),
    ]
    rows = [_trust(), _events(), _lag(), _latency(), workers(), _state(), _dead_letters()]
    return page(board, rows, variables)


def _trust() -> Row:
    missing = f"{number('engagement_partitions')} - {number('engagement_partitions_owned')}"
    away = f"sum(1 - {number('engagement_store_available', by='partition', where=_PARTITION)})"
    lag = f"sum({number('engagement_lag_events', by='topic, partition', where=_PLACES)})"
    age = f"max({number('engagement_snapshot_age_seconds', by='partition', where=_PARTITION)})"
    behind = f"time() - {number('engagement_clock_seconds')}"
    newest = f"time() - max({number('engagement_event_time_seconds', by='topic', where=_TOPIC)})"
    dead = f"sum({growth('engagement_dead_letters_total', over='1h', by='topic, reason', where=_TOPIC)})"
    unread = f"sum(1 - {number('engagement_topic_readable', by='topic, partition', where=_PLACES)})"
    version = Query(number("engagement_build_info", by="version"), "{{version}}")

    def told(title: str, expression: str, unit: str, steps: Steps, *alerts: str) -> stat.Panel:
        decimals = 0 if unit == units.Short else None
        asked = [Query(expression, "now")]
        return figure(title, asked, unit=unit, width=3, steps=steps, decimals=decimals, alerts=alerts)

    unowned, late = "EngagementPartitionsUnowned", "EngagementStreamBehind"
    return Row(
        "Can the numbers be trusted?",
        [
            told("Partitions without owner", missing, units.Short, _NONE_EXPECTED, unowned),
            told("Stores out of reach", away, units.Short, _NONE_EXPECTED, "EngagementStoreUnavailable"),
            told("Lag, events", lag, units.Short, _LAG, late),
            told("Oldest snapshot", age, units.Seconds, _SNAPSHOT_AGE, unowned),
            told("Clock behind", behind, units.Seconds, _BEHIND, late),
            told("Since the newest event", newest, units.Seconds, _ANY, "EngagementNoEvents"),
            told("Dead letters, last hour", dead, units.Short, _NONE_EXPECTED, "EngagementDeadLettersRising"),
            told("Topics not read", unread, units.Short, _NONE_EXPECTED, "EngagementTopicUnread"),
            figure("Version", [version], unit=units.Short, width=3, names=True, alerts=["EngagementTargetMissing"]),
        ],
    )


def _events() -> Row:
    applied = rate("engagement_events_total", by="topic", where=f'{_TOPIC}, outcome="{APPLIED}"')
    not_applied = f'{_TOPIC}, outcome!="{APPLIED}"'
    others = rate("engagement_events_total", by="topic, outcome", where=not_applied)
    seen = _seen("engagement_events_total", "outcome", others, where=not_applied)
    return Row(
        "Events",
        [
            trend(
                "Events applied",
                [Query(applied, "{{topic}}")],
                unit=units.EventsPerSecond,
                width=8,
                stacked=True,
                alerts=["EngagementNoEvents"],
            ),
            trend(
                "Events not applied, and why",
                [Query(seen, "{{topic}}: {{outcome}}")],
                unit=units.EventsPerSecond,
                width=8,
                note=f"none: all events of the topic were applied. {_REST}",
            ),
            trend(
                "Corrections of closed days",
                [Query(number("engagement_closed_corrections_total"), "since the state began")],
                unit=units.Short,
                width=8,
                note="Each step is a closed day that late events changed.",
            ),
            trend(
                "Closed days that wait to be computed",
                [Query(number("engagement_closing_backlog"), "of the partition that has the most")],
                unit=units.Short,
                width=8,
                note="More than a few: a worker catches up, or has too little CPU.",
            ),
            trend(
                "Values of segments without room",
                [Query(number("engagement_segment_values_beyond_total"), "since the state began")],
                unit=units.Short,
                width=8,
                note="They count as other. Look which label has ids as values.",
            ),
        ],
    )


def _lag() -> Row:
    lag = number("engagement_lag_events", by="topic, partition", where=_PLACES)
    by_topic, by_partition = f"sum by (topic) ({lag})", f"topk({_WORST}, sum by (partition) ({lag}))"
    silence = f"time() - {number('engagement_event_time_seconds', by='topic', where=_TOPIC)}"
    age = number("engagement_snapshot_age_seconds", by="partition", where=_PARTITION)
    ages = [Query(f"max({age})", "oldest"), Query(f"quantile(0.5, {age})", "median")]
    held = number("engagement_open_transaction_seconds", by="topic, partition", where=_PLACES)
    held_back = [Query(f"topk({_WORST}, {held})", "{{topic}}, partition {{partition}}")]
    behind = ["EngagementStreamBehind"]
    return Row(
        "Lag and freshness",
        [
            trend("Lag by topic", [Query(by_topic, "{{topic}}")], unit=units.Short, width=8, alerts=behind),
            bars(
                "Lag, worst partitions",
                [Query(by_partition, "partition {{partition}}")],
                unit=units.Short,
                width=8,
                alerts=behind,
            ),
            trend(
                "Held back by open transactions",
                held_back,
                unit=units.Seconds,
                width=8,
                alerts=["EngagementTransactionOpen"],
            ),
            trend(
                "Since the newest event, by topic",
                [Query(silence, "{{topic}}")],
                unit=units.Seconds,
                width=12,
                alerts=["EngagementEventTimeStale"],
            ),
            trend(
                "Age of snapshots",
                ages,
                unit=units.Seconds,
                width=12,
                steps=_SNAPSHOT_AGE,
                alerts=["EngagementPartitionsUnowned"],
            ),
        ],
    )


def _latency() -> Row:
    def timings(name: str) -> list[Query]:
        shares = [Query(quantile(share, name), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)]
        return [*shares, Query(mean(name), "mean")]

    latency, checkpoints = timings("engagement_event_latency_seconds"), timings("engagement_checkpoint_seconds")
    return Row(
        "Latency and checkpoints",
        [
            trend("From event to gauge", latency, unit=units.Seconds, width=12, steps=_LATENCY),
            trend("Checkpoints", checkpoints, unit=units.Seconds, width=12, steps=_CHECKPOINT),
        ],
    )


def _state() -> Row:
    rows = number("engagement_state_rows", by="kind")
    by_partition = number("engagement_recovery_seconds", by="partition", where=_PARTITION)
    remaining = number("engagement_recovery_remaining_seconds", by="partition", where=_PARTITION)
    records = number("engagement_recovery_rows_remaining", by="partition", where=_PARTITION)
    standby = number("engagement_standby_lag_rows", by="partition, worker", where=_PARTITION)
    slow = ["EngagementRecoverySlow"]
    return Row(
        "State and recovery",
        [
            trend(
                "State rows",
                [
                    Query(rows, "{{kind}}"),
                    Query(f"sum by (worker) ({standby})", "not yet at {{worker}}, which stands by"),
                ],
                unit=units.Short,
            ),
            trend(
                "Recovery",
                [Query(f"max({by_partition})", "the longest took"), Query(f"max({remaining})", "still to go")],
                unit=units.Seconds,
                sample=Query(f"sum({records})", "records still to read"),
                note="What is still to go is absent while nothing is recovered.",
                alerts=slow,
            ),
            bars(
                "Last recovery, longest",
                [Query(f"topk({_WORST}, {by_partition})", "partition {{partition}}")],
                unit=units.Seconds,
                alerts=slow,
            ),
        ],
    )


def _dead_letters() -> Row:
    by_reason = rate("engagement_dead_letters_total", by="topic, reason", where=_TOPIC)
    letters, left_out = "engagement_dead_letters_total", "engagement_left_out_total"
    total = number(letters, by="topic, reason", where=_TOPIC)
    not_counted = number(left_out, by="topic, what", where=_TOPIC)
    legend = "{{topic}}: {{reason}}"
    note = f"none: no message of the topic was sent there. {_REST}"
    return Row(
        "Dead letters",
        [
            trend(
                "Dead letters, rate",
                [Query(_seen(letters, "reason", by_reason), legend)],
                unit=units.MessagesPerSecond,
                width=12,
                note=note,
                alerts=["EngagementDeadLettersRising"],
            ),
            bars(
                "Dead letters so far",
                [Query(_seen(letters, "reason", total), legend)],
                unit=units.Short,
                width=12,
                note=note,
            ),
            bars(
                "Told and not counted, so far",
                [Query(_seen(left_out, "what", not_counted), "{{topic}}: {{what}}")],
                unit=units.Short,
                width=12,
                note=f"none: all that messages of the topic told is counted. {_REST}",
            ),
            bars(
                "Requests of people fulfilled, so far",
                [Query(number("engagement_privacy_requests_total", by="type"), "{{type}}")],
                unit=units.Short,
                width=12,
                note="Of people who asked to be erased or made anonymous. 0 too where topics.privacy is not set.",
            ),
        ],
    )


def _seen(name: str, label: str, expression: str, *, where: str = _TOPIC) -> str:
    """Of a counter by topic and this label, those that ever counted something; 0 for a topic that has none of them.

    All that can be counted is exported from the start, and most of it never happens. The most frequent have a series
    each, and all others one together, so that none is left out.
    """
    counted = f"({latest(name, by=f'topic, {label}', where=where)} > 0)"
    frequent = f"topk({_MOST_FREQUENT}, {counted})"
    rest = f"sum({expression} and on (topic, {label}) {counted} unless on (topic, {label}) {frequent})"
    others = f'label_replace(label_replace({rest}, "topic", "others", "", ""), "{label}", "together", "", "")'
    applied = number("engagement_events_total", by="topic", where=f'{_TOPIC}, outcome="{APPLIED}"')
    none = f'label_replace(0 * {applied}, "{label}", "none", "", "") unless on (topic) {counted}'
    return f"({expression} and on (topic, {label}) {frequent}) or {others} or ({none})"
