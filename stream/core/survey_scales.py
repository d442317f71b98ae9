"""What survey answers are measured on: kinds, statuses, scales and the boxes that count as good."""

from enum import Enum
from typing import NamedTuple

# The four questions of the Customer Experience Index, in the order in which scores are kept.
DIMENSIONS = ("effort", "empathy", "understanding", "efficiency")

# Rescaled scores are summed as whole billionths, so that taking one out again leaves no rounding behind.
UNITS = 1_000_000_000


class Scale(NamedTuple):
    """The lowest and the highest box of a question, both included."""

    lowest: int
    highest: int

    def rescaled(self, score: int, *, to: "Scale") -> int:
        """The score on another scale, linearly, in UNITS."""
        share = (score - self.lowest) * (to.highest - to.lowest) * UNITS
        return to.lowest * UNITS + (2 * share + (span := self.highest - self.lowest)) // (2 * span)


# By the number of boxes of a scale, up to which the best so many are those of satisfied people: Formbricks' published
# table, extended to 8 and 9 boxes.
_SATISFIED = ((3, 1), (7, 2), (11, 3))


def satisfied_boxes(scale: Scale) -> int:
    """How many of the best boxes of a scale are those of satisfied people.

    One of 2 or 3 boxes, two of 4 to 7, three of 8 to 11; of more, such as 0 to 100, three tenths.
    """
    boxes = scale.highest - scale.lowest + 1
    return next((best for most, best in _SATISFIED if boxes <= most), 3 * boxes // 10)


class Kind(str, Enum):
    """What a survey asks for, and the scale it is asked on unless the answer says otherwise."""

    CSAT = "csat"
    NPS = "nps"
    CES = "ces"
    CXI = "cxi"


SCALES = {Kind.CSAT: Scale(1, 5), Kind.NPS: Scale(0, 10), Kind.CES: Scale(1, 7), Kind.CXI: Scale(1, 5)}


class Status(str, Enum):
    """How far a response has come. Of two states of the same moment the later one here counts."""

    SHOWN = "shown"
    DISMISSED = "dismissed"
    PARTIAL = "partial"
    COMPLETED = "completed"
    RETRACTED = "retracted"
