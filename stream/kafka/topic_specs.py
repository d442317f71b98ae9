"""The topics that a deployment needs: their names, partition counts and the Kafka settings that matter."""

from stream.kafka.topics import TopicSpec
from stream.redis_url import is_redis_url
from stream.settings import Settings

# A local state that is younger than this has missed no deletion in the changelog (`agents.changelog_recovery`).
_DELETE_RETENTION_MS = 7 * 86_400_000
_MIN_COMPACTION_LAG_MS = 600_000
# Each score is told once a day. What is not told any more, such as that of a user whose partition is another since
# partitions were added, or whom a state that was reset does not know, is deleted after this time.
_SCORE_RETENTION_MS = 7 * 86_400_000
_MIB = 1024 * 1024
_HEADERS = 64 * 1024  # room for the headers of a dead letter, beside a message of the largest size

# The broker gives each record its own time. So it tells workers what time it is (`stream.clock`), refuses no record for
# the clock of the worker that writes it, and keeps records for as long as it should.
_APPENDED = {"message.timestamp.type": "LogAppendTime"}


def max_forwarded_message_bytes(settings: Settings) -> int:
    """Return how many bytes a message may have that the dead-letter topics and the re-key topic must accept."""
    return max(_MIB, settings.max_message_bytes + _HEADERS)


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """Return every topic of the deployment, the input topics first.

    All have the same number of partitions, because a user's events must lie in the same partition of each topic. Only
    the topic that records replays has one partition.
    """
    partitions = settings.topics.partitions
    letters = {**_APPENDED, "max.message.bytes": str(max_forwarded_message_bytes(settings))}
    letters["cleanup.policy"] = "delete"
    changelog = {
        **_APPENDED,
        "cleanup.policy": "compact",
        "max.message.bytes": str(settings.state.max_delta_bytes + 2 * _HEADERS),
        "delete.retention.ms": str(_DELETE_RETENTION_MS),
        # A worker that has lost its partition may still write. The new owner overwrites those records within this
        # time, before compaction can delete the good ones.
        "min.compaction.lag.ms": str(_MIN_COMPACTION_LAG_MS),
    }
    reports = {
        **_APPENDED,
        "cleanup.policy": "compact",
        "segment.bytes": str(16 * _MIB),
        "max.message.bytes": str(8 * _MIB),
    }
    scores = {**_APPENDED, "cleanup.policy": "compact,delete", "retention.ms": str(_SCORE_RETENTION_MS)}
    audit = {**_APPENDED, "cleanup.policy": "delete", "retention.ms": "-1"}  # kept until somebody decides otherwise
    inputs = list(settings.input_topics.values())
    return [
        *(TopicSpec(name, partitions, {}) for name in inputs),
        *(TopicSpec(settings.dead_letter_topic(name), partitions, letters) for name in inputs),
        TopicSpec(settings.rekey_topic, partitions, letters),
        replayed_topic_spec(settings),
        *([] if is_redis_url(settings.state.url) else [TopicSpec(settings.changelog_topic, partitions, changelog)]),
        TopicSpec(settings.snapshots_topic, partitions, reports),
        TopicSpec(settings.days_topic, partitions, reports),
        *([TopicSpec(settings.health_topic, partitions, scores)] if settings.health.enabled else []),
        *([TopicSpec(settings.privacy_audit_topic, partitions, audit)] if settings.erases else []),
    ]


def replayed_topic_spec(settings: Settings) -> TopicSpec:
    """Return the topic that records which dead letters were replayed. It has one partition, read as a whole."""
    return TopicSpec(settings.replayed_topic, 1, {"cleanup.policy": "compact"})
