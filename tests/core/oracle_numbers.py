"""Windows, means, shares and intervals of the recount."""

import datetime as dt
from collections.abc import Sequence
from fractions import Fraction
from math import sqrt
from statistics import fmean
from typing import NamedTuple

from stream.core import zones

Key = tuple[str, frozenset[tuple[str, str]]]
Samples = dict[Key, float]

MINUTE, HOUR = 60_000, 3_600_000
MINUTES = {"m": 1, "h": 60, "d": 1_440}


class Window(NamedTuple):
    """A live window that ends with the clock."""

    name: str
    now: int

    @property
    def minutes(self) -> int:
        return int(self.name[:-1]) * MINUTES[self.name[-1]]

    def __contains__(self, at: object) -> bool:
        """Whether the minute has come, and its bucket is one of the window."""
        assert isinstance(at, int)
        bucket = MINUTE if self.minutes <= MINUTES["d"] else HOUR
        covered = self.minutes * MINUTE // bucket
        return has_come(at, self.now) and at // bucket >= self.now // bucket - covered + 1


class DaysWindow(NamedTuple):
    """Local days in a row, the last one as numbered since 1970."""

    name: str
    last: int
    zone: str
    now: int  # the last moment that has come

    def __contains__(self, at: object) -> bool:
        assert isinstance(at, int)
        return self.last - int(self.name[:-1]) < day_of(at, self.zone) <= self.last


AnyWindow = Window | DaysWindow


def longest(windows: Sequence[AnyWindow]) -> AnyWindow:
    return max(windows, key=lambda window: int(window.name[:-1]) * MINUTES[window.name[-1]])


def day_of(at_ms: int, zone: str) -> int:
    """Number of the local calendar day since 1970-01-01."""
    moment = dt.datetime.fromtimestamp(at_ms // 1_000, zones.zone(zone))
    return (moment.date() - dt.date(1970, 1, 1)).days


def has_come(at: int, now: int) -> bool:
    return at // MINUTE <= now // MINUTE


def key(metric: str, **labels: str) -> Key:
    return metric, frozenset(labels.items())


def mean(samples: Samples, name: str, values: Sequence[float], **labels: str) -> None:
    if values:
        samples[key(name, **labels)] = fmean(values)


def share(samples: Samples, name: str, part: Fraction | int, whole: int, **labels: str) -> None:
    """A share with its Wilson interval: the p at which |share - p| is 1.96 standard errors of p."""
    if whole:
        ratio, z2 = part / whole, 1.96**2
        # (ratio - p)^2 = z^2 p (1 - p) / n, solved for p.
        a, b, c = 1 + z2 / whole, -(2 * ratio + z2 / whole), ratio * ratio
        root = sqrt(max(0.0, b * b - 4 * a * c))
        samples[key(name, **labels)] = float(ratio)
        samples[key(f"{name}_lower", **labels)] = max(0.0, (-b - root) / (2 * a))
        samples[key(f"{name}_upper", **labels)] = min(1.0, (-b + root) / (2 * a))


def net(samples: Samples, name: str, good: int, bad: int, whole: int, **labels: str) -> None:
    """A net score with its adjusted-Wald interval: three answers are added, a quarter good, a quarter bad."""
    if whole:
        padded = whole + 3
        middle = (good - bad) / padded
        spread = (good + bad + 1.5) / padded - middle**2
        reach = 1.96 * sqrt(spread / padded)
        samples[key(name, **labels)] = 100 * (good - bad) / whole
        samples[key(f"{name}_lower", **labels)] = max(-100.0, 100 * (middle - reach))
        samples[key(f"{name}_upper", **labels)] = min(100.0, 100 * (middle + reach))
