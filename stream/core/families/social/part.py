"""What one user did on social networks; and of a page of the brand, which is a user too, how many people it has.

An interaction counts at its newest version, so it may be forgotten when no window reaches that any more. An audience
holds until the next number is told, and for as many days as the setting `memory` says after the last one.
"""

from enum import Enum
from typing import NamedTuple

import msgspec


class Kind(str, Enum):
    """What somebody does."""

    LIKE = "like"
    COMMENT = "comment"
    SHARE = "share"
    SAVE = "save"
    MENTION = "mention"
    FOLLOW = "follow"


NO_SENTIMENT = ""


class Interaction(NamedTuple):
    """What one event tells of an interaction. Of equal times the one that takes it back is the greater one."""

    at_ms: int
    is_undone: bool
    kind: str
    network: str
    sentiment: str


class People(NamedTuple):
    """A number of followers, or of people reached, that was told of a page."""

    at_ms: int
    number: int


Interactions = tuple[Interaction, ...]
Counts = tuple[People, ...]  # in order


class UserInteractions(msgspec.Struct, array_like=True, gc=False):
    """The interactions of one user, and the audience of one page."""

    by_thing: dict[str, Interactions] = {}
    audience: dict[str, Counts] = {}  # by the field of the ledger
    # What the totals hold, if it has changed since then; never stored.
    booked: dict[str, Interactions] | None = None
    booked_audience: dict[str, Counts] = {}
