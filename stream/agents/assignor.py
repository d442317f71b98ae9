"""Which worker gets which partitions: all topics of a partition go to one worker, whatever else happens.

A partition is the unit of everything: its state, its changelog and its share of each input belong together. Faust
groups topics by what it knows of them at the moment, so a topic that a broker does not know for a moment would be left
out, and topics that only some members read (of another version, during a rolling update) would be dealt out apart from
the others.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from faust.assignor.partition_assignor import PartitionAssignor

log = structlog.get_logger(__name__)


class WholePartitions(PartitionAssignor):
    """Deals out whole partitions, as many as the setting `topics.partitions` says.

    A topic that not every member reads is left unread until every member does: then an update is complete. Its
    records wait in Kafka, and the servers say that the partitions are still reading it.
    """

    def _get_copartitioned_groups(  # type: ignore[override]  # a class method there, which knows no settings
        self, topics: set[str], cluster: Any, subscriptions: Mapping[str, Sequence[str]]
    ) -> Mapping[int, Iterable[set[str]]]:
        read_by_all = set.intersection(*(set(subscription) for subscription in subscriptions.values()))
        left = sorted(topics - read_by_all)
        if left:
            log.warning("some topics are left unread: not every worker of the group knows them", topics=left)
        return {self.app.conf.topic_partitions: [read_by_all]} if read_by_all else {}
