"""How sure a share is: 95 % intervals that stay honest for small samples.

Wilson (1927) for a share of independent things, adjusted-Wald for the Net Promoter Score (Sauro and Lewis, after
Agresti and Coull: three answers are added, a quarter of them promoters, a quarter detractors).
"""

from math import sqrt
from typing import NamedTuple

# 95 % of a normal distribution lies within 1.96 standard deviations.
_Z = 1.96


class Interval(NamedTuple):
    """Both ends of a confidence interval, in the unit of the number it is for."""

    lower: float
    upper: float


def wilson(part: float, whole: int) -> Interval | None:
    """Interval of the share part / whole, or None for a share of nothing.

    `part` may be a sum of fractions: a mean of values between 0 and 1 varies at most as much as a coin of the
    same mean, so the interval is then wider than need be, never narrower. Raises ValueError for a part that is none.
    """
    if whole == 0:
        return None
    if not 0 <= part <= whole:
        raise ValueError(f"{part} is no part of {whole}")
    share = part / whole
    z2 = _Z * _Z
    centre = share + z2 / (2 * whole)
    reach = _Z * sqrt(share * (1 - share) / whole + z2 / (4 * whole * whole))
    return Interval(max(0.0, (centre - reach) / (1 + z2 / whole)), min(1.0, (centre + reach) / (1 + z2 / whole)))


def net_score(positive: int, negative: int, whole: int) -> Interval | None:
    """Interval of 100 x (positive - negative) / whole, such as NPS, or None for no answers."""
    if whole == 0:
        return None
    answers = whole + 3
    up, down = (positive + 0.75) / answers, (negative + 0.75) / answers
    reach = _Z * sqrt((up + down - (up - down) ** 2) / answers)
    return Interval(max(-100.0, 100 * (up - down - reach)), min(100.0, 100 * (up - down + reach)))
