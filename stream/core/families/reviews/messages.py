"""The native messages of reviews, and the event that is made of them."""

from typing import Literal

from stream.core.events import Event
from stream.core.families.reviews.part import REMOVED, Version
from stream.core.ids import Id, id_of
from stream.core.messages import LabelledMessage, MessageKind
from stream.core.rejections import Reason, Rejected

_FEWEST, _MOST = 1, 5


class ReviewMessage(LabelledMessage, gc=False, kw_only=True):
    """A message of the kind `reviews`."""

    review_id: Id
    stars: int | float | None = None
    status: Literal["published", "removed"] | None = "published"


class ReviewWritten(Event, frozen=True, gc=False):
    """A review was published, edited or removed."""

    review_id: str
    version: Version


def event_of(message: ReviewMessage, user: str, at_ms: int, is_bot: bool, key: bytes | None) -> ReviewWritten:
    """The version of a review in a message. Raises Rejected."""
    review_id = id_of(message.review_id)
    if review_id is None:
        raise Rejected(Reason.MISSING_FIELD, f"{message.review_id!r} at `$.review_id` names no review")
    stars = message.stars
    if stars is not None and stars != int(stars):
        raise Rejected(Reason.OUT_OF_RANGE, f"stars are a whole number: {stars} at `$.stars`")
    if stars is not None and not _FEWEST <= stars <= _MOST:
        raise Rejected(Reason.OUT_OF_RANGE, f"{stars} at `$.stars` is not between {_FEWEST} and {_MOST}")
    if message.status == "removed":
        return ReviewWritten(user, at_ms, is_bot, review_id, Version(at_ms, True, REMOVED))
    if stars is None:
        raise Rejected(Reason.MISSING_FIELD, "a review that is not removed needs `$.stars`")
    return ReviewWritten(user, at_ms, is_bot, review_id, Version(at_ms, False, int(stars)))


REVIEWS = MessageKind(
    "reviews",
    ReviewMessage,
    event_of,
    fields={
        "review_id": "the id of the review, which an edit has too",
        "stars": "1 to 5; a review that is removed needs none",
        "status": "published, also after an edit, or removed",
    },
    examples=(
        {"user_id": "ada", "event_time": "2026-11-21T10:00:00Z", "review_id": "r-1", "stars": 4},
        {"user_id": "ada", "event_time": "2026-11-21T18:00:00Z", "review_id": "r-1", "stars": 5},
    ),
)
