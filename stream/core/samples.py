"""Samples, which are single values of metrics, and those of means, shares and net scores."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from stream.core.intervals import Interval, net_score, wilson

Labels = Mapping[str, str]


class Sample(NamedTuple):
    """One value of a metric, with its labels."""

    name: str
    labels: Labels
    value: float


def mean(name: str, labels: Labels, amount: float, count: int) -> Iterable[Sample]:
    """The mean of `count` things that add up to `amount`; no sample if `count` is 0."""
    return (Sample(name, labels, amount / count),) if count else ()


def share(name: str, labels: Labels, part: float, whole: int) -> Iterator[Sample]:
    """A share with its Wilson interval; no sample if `whole` is 0."""
    interval = wilson(part, whole)
    if interval is not None:
        yield from _with_ends(Sample(name, labels, part / whole), interval)


def net(name: str, labels: Labels, positive: int, negative: int, whole: int) -> Iterator[Sample]:
    """100 times the share of positive answers minus that of negative ones, with its interval; no sample without any."""
    interval = net_score(positive, negative, whole)
    if interval is not None:
        yield from _with_ends(Sample(name, labels, 100 * (positive - negative) / whole), interval)


def _with_ends(sample: Sample, interval: Interval) -> Iterator[Sample]:
    yield sample
    yield Sample(f"{sample.name}_lower", sample.labels, interval.lower)
    yield Sample(f"{sample.name}_upper", sample.labels, interval.upper)
