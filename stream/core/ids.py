"""Ids as producers send them, and the one text that each means: trimmed, in Unicode normal form C.

A whole number is taken as its decimal text: `42` and `"42"` are one id. An empty text, and what clients send for
"nobody", count as if the field were not there.
"""

from unicodedata import normalize

# How an id may be sent.
Id = str | int

# What clients send where they know no id: counted as one busy user it would spoil every number (the list of PostHog,
# less "0", which real systems use as an id).
_PLACEHOLDERS = frozenset(
    {
        *("", "null", "undefined", "anonymous", "none", "nil", "nan", "guest", "distinctid", "distinct_id", "id"),
        *("email", "not_authenticated", "true", "false", "[object object]"),
        *("00000000-0000-0000-0000-000000000000", "0" * 32),
    }
)
_MAX_PLACEHOLDER_LENGTH = max(map(len, _PLACEHOLDERS))

# Ids of things as they were sent, and what each means: the steps of a session carry the same one. A cache of a few
# megabytes, cleared when it is full.
_cache: dict[Id | None, str | None] = {}
_MAX_CACHED = 20_000
_MAX_CACHED_LENGTH = 64


def text_of(raw: Id) -> str:
    """An id, or any other short text, as it is compared."""
    if type(raw) is int:
        return str(raw)
    text: str = raw  # type: ignore[assignment]
    return text.strip() if text.isascii() else normalize("NFC", text).strip()


def is_placeholder(text: str) -> bool:
    """Whether a trimmed text tells nothing: it is empty, or what clients send where they know no value."""
    return len(text) <= _MAX_PLACEHOLDER_LENGTH and text.lower() in _PLACEHOLDERS


def id_of(raw: Id | None) -> str | None:
    """The id of a thing (a session, a response, an interaction), or None where none is told."""
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
