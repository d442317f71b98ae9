"""Durations in logarithmic bins, for quantiles that are at most 1 % wrong.

A bin is 2 % wider than the one before it. It is represented by the value in its relative middle, so no duration in it
differs from that by more than 1 % (the bins of DDSketch, Masson et al. 2019). A histogram is only a count for each bin.
So a session can be moved from one bin to another after a late step, and the histograms of partitions can be added.
"""

from collections.abc import Iterable
from math import ceil, log
from operator import itemgetter

_WIDTH = 1.02
_PER_BIN = 1 / log(_WIDTH)

# Those that are told of everything that has a length.
QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99)

_count_of = itemgetter(1)


def bin_of(value: int) -> int:
    """Number of the bin that holds a whole value >= 0. Bin 0 holds only 0."""
    return 0 if value <= 0 else 1 + ceil(log(value) * _PER_BIN - 1e-9)


def value_of(number: int) -> float:
    """The value that represents a bin. Every value of the bin differs from it by at most 1 %."""
    return 0.0 if number == 0 else 2 * _WIDTH ** (number - 1) / (1 + _WIDTH)


def nearest_rank(counts: Iterable[tuple[int, int]], share: float) -> int | None:
    """The number that this share of the counted numbers do not exceed, or None if nothing was counted.

    `counts` are pairs of a number and how often it was counted, in any order.
    """
    ordered = sorted(counts)
    total = sum(map(_count_of, ordered))
    if total == 0:
        return None
    rank = max(1, ceil(share * total - 1e-9))
    for number, count in ordered[:-1]:
        rank -= count
        if rank <= 0:
            return number
    return ordered[-1][0]


def quantile(counts: Iterable[tuple[int, int]], share: float) -> float | None:
    """The value that this share of the counted values do not exceed (nearest rank), or None if nothing was counted.

    `counts` are pairs of a bin number and a count >= 0, in any order.
    """
    number = nearest_rank(counts, share)
    return None if number is None else value_of(number)
