"""Assign partitions to workers so that all topics of a partition go to the same worker.

The state of a partition, its changelog and its share of each input belong together. Faust's own assignor groups topics
by what it knows of them at the moment. It would leave out a topic that a broker does not know for a moment. It would
also assign topics separately that only some members read, for example members of another version during a rolling
update.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from faust.assignor.partition_assignor import PartitionAssignor

log = structlog.get_logger(__name__)


class WholePartitionAssignor(PartitionAssignor):
    """Assigns whole partitions, as many as the setting `topics.partitions` says.

    A topic that some members do not read is not read by anybody, until an update is complete and all members read it.
    Its records wait in Kafka, and the servers report that the partitions are behind.
    """

    def _get_copartitioned_groups(  # type: ignore[override]  # a class method there, which knows no settings
        self, topics: set[str], cluster: Any, subscriptions: Mapping[str, Sequence[str]]
    ) -> Mapping[int, Iterable[set[str]]]:
        read_by_all = set.intersection(*(set(subscription) for subscription in subscriptions.values()))
        left = sorted(topics - read_by_all)
        if left:
            log.warning("some topics are left unread: not every worker of the group knows them", topics=left)
        return {self.app.conf.topic_partitions: [read_by_all]} if read_by_all else {}
