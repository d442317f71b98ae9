"""95 % confidence intervals of shares, which are valid for small samples too.

Wilson's interval (1927) is for a share of independent things. The adjusted-Wald interval is for the Net Promoter Score:
three answers are added, of which a quarter are promoters and a quarter detractors (Sauro and Lewis, after Agresti and
Coull).
"""

from math import sqrt
from typing import NamedTuple

# 95 % of a normal distribution lies within 1.96 standard deviations.
_Z = 1.96


class Interval(NamedTuple):
    """Both ends of a confidence interval, in the unit of its number."""

    lower: float
    upper: float


def wilson(part: float, whole: int) -> Interval | None:
    """The interval of the share part / whole, or None if the whole is 0.

    `part` may be a sum of fractions. A mean of values between 0 and 1 varies at most as much as a share of the same
    size, so the interval may then be wider than necessary, but never narrower. Raises ValueError if the part is larger
    than the whole or negative.
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
    """The interval of 100 x (positive - negative) / whole, such as NPS, or None without answers."""
    if whole == 0:
        return None
    answers = whole + 3
    up, down = (positive + 0.75) / answers, (negative + 0.75) / answers
    reach = _Z * sqrt((up + down - (up - down) ** 2) / answers)
    return Interval(max(-100.0, 100 * (up - down - reach)), min(100.0, 100 * (up - down + reach)))
