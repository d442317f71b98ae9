"""The native messages of features, and the event that is made of them."""

from typing import Literal
from zlib import crc32

from stream.core.events import FeatureUsed
from stream.core.ids import Id
from stream.core.messages import LabelledMessage, MessageKind, identity_of, segments_of
from stream.core.rejections import Reason, Rejected
from stream.core.segments import cleaned_value


class FeatureMessage(LabelledMessage, gc=False, kw_only=True):
    """A message of the kind `features`."""

    feature: Id
    type: Literal["used"] | None = "used"
    interactive: bool | None = True


def event_of(message: FeatureMessage, user: str, at_ms: int, is_bot: bool, key: bytes | None) -> FeatureUsed:
    """The use of a feature in a message. Raises Rejected."""
    feature = cleaned_value(message.feature)
    if not feature:
        raise Rejected(Reason.MISSING_FIELD, f"{message.feature!r} at `$.feature` names no feature")
    is_interactive = message.interactive is not False
    identity = identity_of(at_ms, message.event_id, crc32(feature.encode(), is_interactive))
    return FeatureUsed(user, at_ms, is_bot, identity, feature, is_interactive, segments_of(message))


FEATURES = MessageKind(
    "features",
    FeatureMessage,
    event_of,
    fields={
        "type": "used, the only one",
        "feature": "the name of the feature that was used",
        "interactive": "false where no person used it, such as a job that runs at night: it counts nowhere",
    },
    examples=({"user_id": "ada", "event_time": "2026-11-21T10:00:00Z", "type": "used", "feature": "search"},),
)
