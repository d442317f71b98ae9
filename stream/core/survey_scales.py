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
