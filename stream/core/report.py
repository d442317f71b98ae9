"""From sums to numbers: the samples of every metric, live and of closed days. Each family makes its own.

What is undefined is absent: a ratio over nothing has no sample, never 0.
"""

from stream.core.families import cross_family
from stream.core.families.registry import families
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.snapshot import Snapshot


def live_samples(snapshot: Snapshot, rules: Rules) -> list[Sample]:
    """Every live number at the snapshot's clock. Before the first event there is none."""
    if snapshot.now_ms < 0:
        return []
    samples = [sample for family in families(rules) for sample in family.live(snapshot.family(family.name))]
    return [*samples, *cross_family.live(snapshot, rules)]


def closed_samples(snapshot: Snapshot, rules: Rules, day: int) -> list[Sample]:
    """Every number of one closed day. None for a day before the first event."""
    if snapshot.last_closed_day is None or day > snapshot.last_closed_day:
        return []
    samples: list[Sample] = []
    for family in families(rules):
        sums = snapshot.family(family.name)
        if day in sums.closed:
            samples.extend(family.closed(sums, day))
    return samples


def closed_days(snapshot: Snapshot, *, count: int) -> list[int]:
    """The last `count` closed days of which something is known, oldest first."""
    last = snapshot.last_closed_day
    return [] if last is None else [day for day in snapshot.days() if last - count < day <= last]
