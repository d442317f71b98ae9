"""Who an event is of: one name for each user, however producers write the id.

A user known only by `anonymous_id` is another one than the user of the same `user_id`.
"""

from stream.core.ids import Id, is_placeholder, text_of
from stream.core.rejections import Reason, Rejected

ANONYMOUS = "\x1f"  # a control character that trimming removes from any real id

LONGEST_ID = 512

# User ids as they were sent, and the user each means. A cache of at most five megabytes, cleared when it is full.
users_by_id: dict[Id, str] = {}
IDS_REMEMBERED = 50_000


def user_of(user_id: Id | None, anonymous_id: Id | None) -> str:
    """The one name of a user: by `user_id`, or by `anonymous_id` where the other tells nobody.

    Raises Rejected where neither does.
    """
    user = _named(user_id, "user_id")
    if user and user_id is not None:
        if isinstance(user_id, int) or len(user_id) <= LONGEST_ID:
            if len(users_by_id) >= IDS_REMEMBERED:
                users_by_id.clear()
            users_by_id[user_id] = user
        return user
    device = _named(anonymous_id, "anonymous_id")
    if device:
        return ANONYMOUS + device
    if user_id is None and anonymous_id is None:
        raise Rejected(Reason.MISSING_FIELD, "needs `$.user_id` or `$.anonymous_id`")
    told = f"{_told(user_id, 'user_id')}, {_told(anonymous_id, 'anonymous_id')}"
    raise Rejected(Reason.BAD_USER, f"tells no user: {told}")


def _told(raw: Id | None, field: str) -> str:
    return f"no `$.{field}`" if raw is None else f"{raw!r} at `$.{field}` is a placeholder"


def _named(raw: Id | None, field: str) -> str:
    """The id as text; empty where it is of nobody."""
    if raw is None:
        return ""
    name = text_of(raw)
    if is_placeholder(name):
        return ""
    if len(name) > LONGEST_ID:
        raise Rejected(Reason.BAD_USER, f"`$.{field}` has {len(name)} characters, {LONGEST_ID} are allowed")
    return name


def partition_key(user: str) -> bytes:
    """What producers key a user's records by: the id itself."""
    return user.removeprefix(ANONYMOUS).encode()
