"""From sums to numbers: the samples of every metric, live and of closed days. Each family makes its own.

What is undefined is absent: a ratio over nothing has no sample, never 0.
"""

from stream.core.families import across
from stream.core.families.registry import families
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.segments import NAMED_VALUES, named
from stream.core.snapshot import Snapshot


def live_samples(snapshot: Snapshot, rules: Rules) -> list[Sample]:
    """Every live number at the snapshot's clock. Before the first event there is none."""
    if snapshot.now_ms < 0:
        return []
    counted = families(rules)
    samples = [sample for family in counted for sample in family.live(snapshot.family(family.name))]
    samples += across.live(snapshot, rules)
    if rules.segments:
        names = named([sums.segments for sums in snapshot.families.values()], NAMED_VALUES, rules.named_values)
        for family in counted:
            samples += family.live_by_segment(snapshot.family(family.name), names)
    return samples


def closed_samples(snapshot: Snapshot, rules: Rules, day: int) -> list[Sample]:
    """Every number of one closed day. None for a day before the first event."""
    if snapshot.last_closed_day is None or day > snapshot.last_closed_day:
        return []
    samples: list[Sample] = []
    whole_since = rules.whole_since(snapshot.first_ms)
    told = {name: sums.closed[day] for name, sums in snapshot.families.items() if day in sums.closed}
    counted = [family for family in families(rules) if family.name in told]
    for family in counted:
        samples.extend(family.closed(told[family.name], day, whole_since=whole_since))
    if samples:
        samples.extend(across.closed(snapshot, rules, day))
    if rules.segments:
        names = named([*told.values()], NAMED_VALUES, rules.named_values)
        for family in counted:
            samples.extend(family.closed_by_segment(told[family.name], names))
    return samples


def closed_days(snapshot: Snapshot, *, count: int) -> list[int]:
    """The last `count` closed days of which something is known, oldest first."""
    last = snapshot.last_closed_day
    return [] if last is None else [day for day in snapshot.days() if last - count < day <= last]
