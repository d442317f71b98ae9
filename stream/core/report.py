"""Calculates the samples of all metrics from sums, live and of closed days. Each family calculates its own.

An undefined number has no sample. So a ratio whose denominator is 0 is absent, and not 0.
"""

from functools import lru_cache

from stream.core.families import cross_family
from stream.core.families.registry import families
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.segments import NAMED_VALUES, named
from stream.core.snapshot import Snapshot

# Families that count nothing: they are asked what sums mean, for each of some hundred days.
_families = lru_cache(maxsize=4)(families)


def live_samples(snapshot: Snapshot, rules: Rules) -> list[Sample]:
    """All live numbers at the time of the snapshot. Before the first event there are none."""
    if snapshot.now_ms < 0:
        return []
    counted = _families(rules)
    samples = [sample for family in counted for sample in family.live(snapshot.family(family.name))]
    samples += cross_family.live(snapshot, rules)
    if rules.segments:
        names = named([sums.segments for sums in snapshot.families.values()], NAMED_VALUES, rules.named_values)
        for family in counted:
            samples += family.live_by_segment(snapshot.family(family.name), names)
    return samples


def closed_samples(snapshot: Snapshot, rules: Rules, day: int) -> list[Sample]:
    """All numbers of one closed day. A day before the first event has none."""
    if snapshot.last_closed_day is None or day > snapshot.last_closed_day:
        return []
    samples: list[Sample] = []
    whole_since = rules.whole_since(snapshot.first_ms)
    told = {name: sums.closed[day] for name, sums in snapshot.families.items() if day in sums.closed}
    if not told:
        return []
    all_families = _families(rules)
    for family in all_families:
        samples.extend(family.closed(told.get(family.name, {}), day, whole_since=whole_since))
    samples.extend(cross_family.closed(snapshot, rules, day))
    if rules.segments:
        names = named([*told.values()], NAMED_VALUES, rules.named_values)
        for family in all_families:
            samples.extend(family.closed_by_segment(told.get(family.name, {}), names))
    return samples


def closed_days(snapshot: Snapshot, *, count: int) -> list[int]:
    """The last `count` closed days of which something is known, oldest first."""
    last = snapshot.last_closed_day
    return [] if last is None else [day for day in snapshot.days() if last - count < day <= last]
