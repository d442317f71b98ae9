"""The native messages of social networks, and the events that are made of them."""

from enum import Enum
from typing import Annotated, Literal
from zlib import crc32

import msgspec

from stream.core.events import Event
from stream.core.families.social.part import NO_SENTIMENT, Interaction, Kind
from stream.core.ids import Id, id_of
from stream.core.messages import LabelledMessage, MessageKind, identity_of
from stream.core.rejections import Reason, Rejected
from stream.core.segments import cleaned_value


class Type(str, Enum):
    """What a message tells."""

    LIKE = "like"
    UNLIKE = "unlike"
    COMMENT = "comment"
    UNCOMMENT = "uncomment"
    SHARE = "share"
    UNSHARE = "unshare"
    SAVE = "save"
    UNSAVE = "unsave"
    MENTION = "mention"
    UNMENTION = "unmention"
    FOLLOW = "follow"
    UNFOLLOW = "unfollow"
    AUDIENCE = "audience"


_UNDONE = "un"

# More than there are people.
People = Annotated[int, msgspec.Meta(ge=0, le=100_000_000_000)]


class SocialMessage(LabelledMessage, gc=False, kw_only=True):
    """A message of the kind `social`."""

    type: Type
    network: Id
    post_id: Id | None = None
    interaction_id: Id | None = None
    sentiment: Literal["positive", "neutral", "negative"] | None = None
    followers: People | None = None
    reach: People | None = None


class Interacted(Event, frozen=True, gc=False):
    """Somebody liked, commented, shared, saved, mentioned or followed, or took that back."""

    thing: str  # two interactions with the same one are versions of one thing
    version: Interaction


class AudienceCounted(Event, frozen=True, gc=False):
    """How many people a page has, which is the user of the event. None: not told."""

    network: str
    followers: int | None
    reach: int | None


def event_of(message: SocialMessage, user: str, at_ms: int, is_bot: bool, key: bytes | None) -> Event:
    """The interaction or the audience of a message. Raises Rejected."""
    network = cleaned_value(message.network)
    if not network:
        raise Rejected(Reason.MISSING_FIELD, f"{message.network!r} at `$.network` names no network")
    name = message.type.value
    if message.type is Type.AUDIENCE:
        if message.followers is None and message.reach is None:
            raise Rejected(Reason.MISSING_FIELD, "an audience needs `$.followers` or `$.reach`")
        return AudienceCounted(user, at_ms, is_bot, network, message.followers, message.reach)
    kind, is_undone = Kind(name.removeprefix(_UNDONE)), name.startswith(_UNDONE)
    sentiment = message.sentiment or NO_SENTIMENT
    version = Interaction(at_ms, is_undone, kind.value, network, sentiment if kind is Kind.MENTION else NO_SENTIMENT)
    return Interacted(user, at_ms, is_bot, _thing(message, kind, is_undone, network, at_ms), version)


def _thing(message: SocialMessage, kind: Kind, is_undone: bool, network: str, at_ms: int) -> str:
    """What an interaction is a version of. Raises Rejected."""
    if kind not in (Kind.COMMENT, Kind.MENTION):
        return f"{kind.value} {network} {id_of(message.post_id) or ''}"
    interaction_id = id_of(message.interaction_id)
    if interaction_id is not None:
        return f"#{interaction_id}"
    if is_undone:
        detail = f"what {message.type.value} takes back has to be named at `$.interaction_id`"
        raise Rejected(Reason.MISSING_FIELD, detail)
    content = crc32(f"{kind.value} {network} {message.post_id} {message.sentiment}".encode())
    return f"={identity_of(at_ms, message.event_id, content)}"


_OF_AUDIENCE = frozenset({"followers", "reach"})
_OF_INTERACTIONS = frozenset({"post_id", "interaction_id", "sentiment"})

SOCIAL = MessageKind(
    "social",
    SocialMessage,
    event_of,
    type_field="type",
    ignored_fields={one.value: _OF_INTERACTIONS if one is Type.AUDIENCE else _OF_AUDIENCE for one in Type},
    fields={
        "type": "like, comment, share, save, mention, follow, each with un… to take it back; or audience",
        "network": "the name of the network",
        "post_id": "the post; a like, share, save or follow stands once for each user, network and post",
        "interaction_id": "the id of a comment or a mention, by which it is edited or taken back",
        "sentiment": "of a mention: positive, neutral or negative",
        "followers": "of an audience: how many follow the page, which is the user of the message",
        "reach": "of an audience: how many people the page reaches",
    },
    examples=(
        {
            "user_id": "ada",
            "event_time": "2026-11-21T10:00:00Z",
            "type": "like",
            "network": "mastodon",
            "post_id": "p-1",
        },
        {
            "user_id": "our-page",
            "event_time": "2026-11-21T10:00:00Z",
            "type": "audience",
            "network": "mastodon",
            "followers": 500,
        },
    ),
)
