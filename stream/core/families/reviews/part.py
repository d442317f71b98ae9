"""The reviews of one user, each with its newest version and those at the end of earlier days.

A review counts at its newest edit. So an edit that comes longer after the last one than any window reaches may as well
be another review of the same id: no number can tell the difference, and the old versions need not be kept for it.
"""

from typing import NamedTuple

import msgspec

REMOVED = 0  # instead of stars


class Version(NamedTuple):
    """What one event tells of a review. Of versions of one time removed is the greater one, then more stars."""

    at_ms: int
    is_removed: bool
    stars: int


Versions = tuple[Version, ...]


class UserReviews(msgspec.Struct, gc=False):
    """The reviews of one user."""

    by_id: dict[str, Versions] = {}
    booked: dict[str, Versions] | None = None  # what the totals hold, if it has changed since then; never stored
