"""Who an event is of: one name for each user, however producers write the id.

A user known only by `anonymous_id` is another one than the user of the same `user_id`.
"""

from unicodedata import normalize

from stream.core.rejections import Reason, Rejected

ANONYMOUS = "\x1f"  # a control character that trimming removes from any real id

# What clients send for "nobody": counted as one busy user they would spoil every number (the list of PostHog, less
# "0", which real systems use as an id).
_PLACEHOLDERS = frozenset(
    {
        *("", "null", "undefined", "anonymous", "none", "nil", "nan", "guest", "distinctid", "distinct_id", "id"),
        *("email", "not_authenticated", "true", "false", "[object object]"),
        *("00000000-0000-0000-0000-000000000000", "0" * 32),
    }
)
_LONGEST_PLACEHOLDER = max(map(len, _PLACEHOLDERS))
LONGEST_ID = 512

# User ids as they were sent, and the user each means. A cache of at most five megabytes, cleared when it is full.
users_by_id: dict[str, str] = {}
IDS_REMEMBERED = 50_000


def user_of(user_id: str | None, anonymous_id: str | None) -> str:
    """The one name of a user: trimmed and in Unicode normal form C. Raises Rejected for a placeholder."""
    if user_id is None:
        if anonymous_id is None:
            raise Rejected(Reason.MISSING_FIELD, "needs `$.user_id` or `$.anonymous_id`")
        return ANONYMOUS + _canonical(anonymous_id, "anonymous_id")
    user = _canonical(user_id, "user_id")
    if len(users_by_id) >= IDS_REMEMBERED:
        users_by_id.clear()
    users_by_id[user_id] = user
    return user


def _canonical(raw: str, field: str) -> str:
    name = raw.strip() if raw.isascii() else normalize("NFC", raw).strip()
    if len(name) <= _LONGEST_PLACEHOLDER and name.lower() in _PLACEHOLDERS:
        raise Rejected(Reason.BAD_USER, f"{raw!r} at `$.{field}` is a placeholder, not a user")
    if len(name) > LONGEST_ID:
        raise Rejected(Reason.BAD_USER, f"`$.{field}` has {len(name)} characters, {LONGEST_ID} are allowed")
    return name


def partition_key(user: str) -> bytes:
    """What producers key a user's records by: the id itself."""
    return user.removeprefix(ANONYMOUS).encode()
