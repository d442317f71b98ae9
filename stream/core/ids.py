"""Ids are compared as text: trimmed, and in Unicode normal form C.

A whole number is the same id as its decimal text: `42` and `"42"` are one id. An empty text and a placeholder, which
clients send if they know no id, are treated as if the field were absent.
"""

from unicodedata import normalize

# The types in which an id may be sent.
Id = str | int

# What clients send if they know no id. Counted as one very active user it would make every number wrong. The list is
# PostHog's without "0", which real systems use as an id.
_PLACEHOLDERS = frozenset(
    {
        *("", "null", "undefined", "anonymous", "none", "nil", "nan", "guest", "distinctid", "distinct_id", "id"),
        *("email", "not_authenticated", "true", "false", "[object object]"),
        *("00000000-0000-0000-0000-000000000000", "0" * 32),
    }
)
_MAX_PLACEHOLDER_LENGTH = max(map(len, _PLACEHOLDERS))

# By id as it was sent: the id as text. Many events have the same one, for example all steps of a session. A cache of a
# few megabytes, which is cleared when it is full.
_cache: dict[Id | None, str | None] = {}
_MAX_CACHED = 20_000
_MAX_CACHED_LENGTH = 64


def text_of(raw: Id) -> str:
    """An id, or any other short text, in the form in which it is compared."""
    if type(raw) is int:
        return str(raw)
    text: str = raw  # type: ignore[assignment]
    return text.strip() if text.isascii() else normalize("NFC", text).strip()


def is_placeholder(text: str) -> bool:
    """Whether a trimmed text has no meaning: it is empty, or clients send it if they know no value."""
    return len(text) <= _MAX_PLACEHOLDER_LENGTH and text.lower() in _PLACEHOLDERS


def id_of(raw: Id | None) -> str | None:
    """The id of a session, a response or an interaction as text, or None if there is no usable one."""
    try:
        return _cache[raw]
    except KeyError:
        return _read(raw)


def _read(raw: Id | None) -> str | None:
    text = "" if raw is None else text_of(raw)
    read = None if is_placeholder(text) else text
    if type(raw) is int or raw is None or len(raw) <= _MAX_CACHED_LENGTH:  # type: ignore[arg-type]
        if len(_cache) >= _MAX_CACHED:
            _cache.clear()
        _cache[raw] = read
    return read
