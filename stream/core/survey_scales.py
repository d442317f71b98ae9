"""Survey answers: their kinds, statuses and scales, and which scores count as satisfied."""

from enum import Enum
from typing import NamedTuple

# The four questions of the Customer Experience Index, in the order in which their scores are stored.
DIMENSIONS = ("effort", "empathy", "understanding", "efficiency")

# Rescaled scores are summed in whole billionths, so that a score can be subtracted again without a rounding error.
UNITS = 1_000_000_000


class Scale(NamedTuple):
    """The lowest and the highest box of a question, inclusive."""

    lowest: int
    highest: int

    def rescaled(self, score: int, *, to: "Scale") -> int:
        """The score converted linearly to another scale, in UNITS."""
        share = (score - self.lowest) * (to.highest - to.lowest) * UNITS
        return to.lowest * UNITS + (2 * share + (span := self.highest - self.lowest)) // (2 * span)


# Pairs of the largest number of boxes of a scale, and how many of the best of them mean satisfied. This is Formbricks'
# published table, extended to 8 and 9 boxes.
_SATISFIED = ((3, 1), (7, 2), (11, 3))


def satisfied_boxes(scale: Scale) -> int:
    """How many of the best boxes of a scale mean satisfied.

    One of 2 or 3 boxes, two of 4 to 7, three of 8 to 11, and three tenths of more, such as 0 to 100.
    """
    boxes = scale.highest - scale.lowest + 1
    return next((best for most, best in _SATISFIED if boxes <= most), 3 * boxes // 10)


class Kind(str, Enum):
    """The kind of a survey. SCALES has the scale on which each is asked, unless the answer has another one."""

    CSAT = "csat"
    NPS = "nps"
    CES = "ces"
    CXI = "cxi"


SCALES = {Kind.CSAT: Scale(1, 5), Kind.NPS: Scale(0, 10), Kind.CES: Scale(1, 7), Kind.CXI: Scale(1, 5)}


class Status(str, Enum):
    """The status of a response. Of two states of the same time, the one that comes later in this list counts."""

    SHOWN = "shown"
    DISMISSED = "dismissed"
    PARTIAL = "partial"
    COMPLETED = "completed"
    RETRACTED = "retracted"
