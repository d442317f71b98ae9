"""Calculates the samples of all metrics from sums, live and of closed days. Each family calculates its own.

An undefined number has no sample. So a ratio whose denominator is 0 is absent, and not 0.
"""

from stream.core.families import cross_family
from stream.core.families.registry import families
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.snapshot import Snapshot


def live_samples(snapshot: Snapshot, rules: Rules) -> list[Sample]:
    """All live numbers at the time of the snapshot. Before the first event there are none."""
    if snapshot.now_ms < 0:
        return []
    samples = [sample for family in families(rules) for sample in family.live(snapshot.family(family.name))]
    return [*samples, *cross_family.live(snapshot, rules)]


def closed_samples(snapshot: Snapshot, rules: Rules, day: int) -> list[Sample]:
    """All numbers of one closed day. A day before the first event has none."""
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
