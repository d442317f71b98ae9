"""Who an event is of: one name for each user, however producers write the id.

A user known only by `anonymous_id` is another one than the user of the same `user_id`.
"""

from stream.core.ids import Id, is_placeholder, text_of
from stream.core.rejections import Reason, Rejected

ANONYMOUS_PREFIX = "\x1f"  # a control character that trimming removes from any real id

MAX_ID_LENGTH = 512

# User ids as they were sent, and the user each means. A cache of at most five megabytes, cleared when it is full.
users_by_id: dict[Id, str] = {}
MAX_CACHED_IDS = 50_000


def user_of(user_id: Id | None, anonymous_id: Id | None) -> str:
    """The one name of a user: by `user_id`, or by `anonymous_id` where the other tells nobody.

    Raises Rejected where neither does.
    """
    user = _checked_id(user_id, "user_id")
    if user and user_id is not None:
        if isinstance(user_id, int) or len(user_id) <= MAX_ID_LENGTH:
            if len(users_by_id) >= MAX_CACHED_IDS:
                users_by_id.clear()
            users_by_id[user_id] = user
        return user
    device = _checked_id(anonymous_id, "anonymous_id")
    if device:
        return ANONYMOUS_PREFIX + device
    if user_id is None and anonymous_id is None:
        raise Rejected(Reason.MISSING_FIELD, "needs `$.user_id` or `$.anonymous_id`")
    problems = f"{_problem_with(user_id, 'user_id')}, {_problem_with(anonymous_id, 'anonymous_id')}"
    raise Rejected(Reason.BAD_USER, f"tells no user: {problems}")


def _problem_with(raw: Id | None, field: str) -> str:
    return f"no `$.{field}`" if raw is None else f"{raw!r} at `$.{field}` is a placeholder"


def _checked_id(raw: Id | None, field: str) -> str:
    """The id as text; empty where it is of nobody."""
    if raw is None:
        return ""
    name = text_of(raw)
    if is_placeholder(name):
        return ""
    if len(name) > MAX_ID_LENGTH:
        raise Rejected(Reason.BAD_USER, f"`$.{field}` has {len(name)} characters, {MAX_ID_LENGTH} are allowed")
    return name


def partition_key(user: str) -> bytes:
    """What producers key a user's records by: the id itself."""
    return user.removeprefix(ANONYMOUS_PREFIX).encode()
