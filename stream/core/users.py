"""The user of an event: one text for each user, however producers write the id.

An `anonymous_id` and a `user_id` of the same text are two different users.
"""

from stream.core.ids import Id, is_placeholder, text_of
from stream.core.rejections import Reason, Rejected

ANONYMOUS_PREFIX = "\x1f"  # no `user_id` begins with this control character, because ids are trimmed

_DEVICE = "anonymous:"

MAX_ID_LENGTH = 512

# By user id as it was sent: the user. A cache of at most five megabytes, which is cleared when it is full.
users_by_id: dict[Id, str] = {}
MAX_CACHED_IDS = 50_000


def user_of(user_id: Id | None, anonymous_id: Id | None) -> str:
    """The user of a message: its `user_id`, or its `anonymous_id` if there is no usable `user_id`.

    Raises Rejected if neither can be used.
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
    """The id as text; empty if there is none or if it is a placeholder. Raises Rejected if it is too long."""
    if raw is None:
        return ""
    name = text_of(raw)
    if is_placeholder(name):
        return ""
    if len(name) > MAX_ID_LENGTH:
        raise Rejected(Reason.BAD_USER, f"`$.{field}` has {len(name)} characters, {MAX_ID_LENGTH} are allowed")
    return name


def public_id(user: str) -> str:
    """The user as one text that people see: what is known of a device alone begins with `anonymous:`."""
    return f"{_DEVICE}{user.removeprefix(ANONYMOUS_PREFIX)}" if user.startswith(ANONYMOUS_PREFIX) else user


def user_of_public_id(text: str) -> str:
    """The user that people name so."""
    return f"{ANONYMOUS_PREFIX}{text.removeprefix(_DEVICE)}" if text.startswith(_DEVICE) else text


def partition_key(user: str) -> bytes:
    """The key that producers give to the records of a user: the id itself."""
    return user.removeprefix(ANONYMOUS_PREFIX).encode()
