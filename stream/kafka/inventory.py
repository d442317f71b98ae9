"""The topics that a deployment needs, with the settings that matter."""

from stream.kafka.topics import TopicSpec
from stream.redis_url import is_redis_url
from stream.settings import Settings

_REMOVALS_KEPT_MS = 7 * 86_400_000  # a local state that is younger has missed none (`agents.recovery`)
_NEVER_COMPACTED_MS = 600_000
_MIB = 1024 * 1024
_HEADERS = 64 * 1024  # room for reason and origin beside a message of the largest size


def largest_message(settings: Settings) -> int:
    """The bytes of the largest message that dead-letter topics and the re-key topic must take."""
    return max(_MIB, settings.max_message_bytes + _HEADERS)


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """Every topic, the inputs first.

    All but the notes of replays have as many partitions, for users must lie in the same one everywhere.
    """
    partitions = settings.topics.partitions
    letters = {"cleanup.policy": "delete", "max.message.bytes": str(largest_message(settings))}
    changelog = {
        "cleanup.policy": "compact",
        "max.message.bytes": str(settings.state.max_delta_bytes + 2 * _HEADERS),
        "delete.retention.ms": str(_REMOVALS_KEPT_MS),
        # What a worker writes that has lost its partition is written over before it could be the only copy.
        "min.compaction.lag.ms": str(_NEVER_COMPACTED_MS),
    }
    days = {"cleanup.policy": "compact", "segment.bytes": str(16 * _MIB), "max.message.bytes": str(8 * _MIB)}
    inputs = list(settings.input_topics.values())
    return [
        *(TopicSpec(name, partitions, {}) for name in inputs),
        *(TopicSpec(settings.dead_letter_topic(name), partitions, letters) for name in inputs),
        TopicSpec(settings.rekey_topic, partitions, letters),
        replayed_topic_spec(settings),
        *([] if is_redis_url(settings.state.url) else [TopicSpec(settings.changelog_topic, partitions, changelog)]),
        TopicSpec(
            settings.snapshots_topic,
            partitions,
            {"cleanup.policy": "compact", "segment.bytes": str(16 * _MIB), "max.message.bytes": str(8 * _MIB)},
        ),
        TopicSpec(settings.days_topic, partitions, days),
    ]


def replayed_topic_spec(settings: Settings) -> TopicSpec:
    """The notes of which dead letters were replayed: one partition, for they are read as one."""
    return TopicSpec(settings.replayed_topic, 1, {"cleanup.policy": "compact"})
