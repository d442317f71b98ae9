"""Has a deployment become well after a storm, and does it stay so: a judgement on what was observed in a pause.

In a pause no fault begins. Then the servers must be ready again, next to nothing may wait to be read, and workers must
stop taking partitions over. A pause ends as soon as all that has held for a few seconds, so that who is well wastes
no time.

Workers that rebalance without end are found by a count, which does not depend on how fast a machine is. Only the time
until all is well does, so its limit is a setting of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# Longer than two rounds of a group that rebalances without end, which takes 2.5 s for one.
CALM_SECONDS: Final = 6.0

# Who is not well after so many times what it may take is given up.
PATIENCE: Final = 2

# What a worker may take part in after a storm: it comes back itself, and for each of the others one that joins and one
# that is missed, when its session has ended.
TAKEOVERS_OF_ITS_OWN: Final = 4
TAKEOVERS_FOR_EACH_WORKER: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was seen at one moment. Times are in seconds, from any moment on."""

    at_seconds: float
    unready: tuple[str, ...]  # why servers say that their numbers can't be trusted
    lag: float | None  # events that wait, by the server that knows of most; None where none tells
    takeovers: tuple[int, ...]  # of each worker, since the run began


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is demanded of a pause."""

    well_within_seconds: float
    lag: float  # events that may wait while a load goes on
    workers: int

    @property
    def takeovers(self) -> int:
        """How often a worker may take partitions over in one pause."""
        return TAKEOVERS_OF_ITS_OWN + TAKEOVERS_FOR_EACH_WORKER * self.workers


def trouble(sample: Sample, limits: Limits) -> str:
    """What is not well at a moment; empty where all is."""
    if sample.unready:
        return sample.unready[0]
    if sample.lag is None:
        return "no server tells how many events wait"
    return f"{sample.lag:,.0f} events wait" if sample.lag > limits.lag else ""


def well_since(samples: Sequence[Sample], limits: Limits) -> float | None:
    """Since when all has been well and no partition was taken over, up to the last sample; None where it is not."""
    since = None
    for earlier, sample in zip([None, *samples], samples, strict=False):
        moved = earlier is not None and earlier.takeovers != sample.takeovers
        if trouble(sample, limits):
            since = None
        elif since is None or moved:
            since = sample.at_seconds
    return since


def takeovers_in(samples: Sequence[Sample]) -> int:
    """How often the busiest worker has taken partitions over between the first sample and the last."""
    if not samples:
        return 0
    return max(now - before for before, now in zip(samples[0].takeovers, samples[-1].takeovers, strict=True))


def is_over(samples: Sequence[Sample], limits: Limits) -> bool:
    """Whether a pause may end: all is well and calm, or it is clear that it never will be."""
    if not samples:
        return False
    if takeovers_in(samples) > limits.takeovers:
        return True
    now, since = samples[-1].at_seconds, well_since(samples, limits)
    if since is not None:
        return now - since >= CALM_SECONDS
    # Who is late is waited for, so that it can be told how late.
    return now - samples[0].at_seconds > PATIENCE * limits.well_within_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a pause has shown."""

    well_after_seconds: float | None  # from its beginning; None where it did not become well to stay so
    takeovers: int  # of the busiest worker
    complaint: str  # empty where all was as it must be


def judge(samples: Sequence[Sample], limits: Limits) -> Verdict:
    """The verdict on a pause that is over."""
    assert samples, "nothing was observed"
    now, since, takeovers = samples[-1].at_seconds, well_since(samples, limits), takeovers_in(samples)
    is_calm = since is not None and now - since >= CALM_SECONDS
    after = since - samples[0].at_seconds if is_calm and since is not None else None
    return Verdict(well_after_seconds=after, takeovers=takeovers, complaint=_complaint(samples, after, limits))


def _complaint(samples: Sequence[Sample], after: float | None, limits: Limits) -> str:
    taken = takeovers_in(samples)
    if taken > limits.takeovers:
        return (
            f"a worker took partitions over {taken} times without a new fault, "
            f"of which {limits.takeovers} can have a reason"
        )
    if after is None:
        return f"not well within {PATIENCE * limits.well_within_seconds:g} s: {trouble(samples[-1], limits)}"
    is_late = after > limits.well_within_seconds
    return f"well after {after:.1f} s, not within {limits.well_within_seconds:g} s" if is_late else ""
