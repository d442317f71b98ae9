"""JSON objects as real producers write them, where the strict and fast decoder gives up.

Two things in them are no reason to lose an event. Text cut in the middle of a character: a title of 100 letters that
ends within an emoji leaves an unpaired surrogate, or bytes that are no UTF-8; the character becomes U+FFFD, the
replacement character of Unicode. And nesting: the decoder follows a thousand levels at most; what lies deeper than a
hundred is checked and becomes null, for nothing that we read is nested.

What is no JSON object stays none. This is many times slower than the strict decoder: ask that one first.
"""

import re
from collections.abc import Collection

import msgspec

# What the strict decoder raises for bytes that it can't decode.
UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# Characters that are cut, and escapes that are none but look like them. Bytes that are no UTF-8 are read as U+DC80 and
# more ("surrogateescape"), which no decoded text holds otherwise.
_CUT = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair
    r"|(?P<cut>\\u[dD][89a-fA-F][0-9a-fA-F]{2}|[\udc80-\udcff]+)"
    r"|(?P<sent>\\u[fF]{3}[dD])"  # U+FFFD, as the producer sent it
    r"|\\.",
    re.DOTALL,
)
_MAY_BE_CUT = re.compile(r"\\u(?:[dD][89a-fA-F]|[fF]{3}[dD])|[\udc80-\udcff]")
# A replaced character is written as an escape, and one that was sent is not: so the first can be told from the second.
_REPLACED = r"\ufffd"
_ESCAPES = re.compile(rb"\\(?:(?P<replaced>ufffd)|.)", re.DOTALL)

_LEVELS = 100
_MOST_LEVELS = 100_000  # to follow as many takes a fifth of a second
_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Anything(msgspec.Struct):
    """An object of which no field is read."""


_check = msgspec.json.Decoder(_Anything).decode


def fields_of(value: bytes) -> dict[str, msgspec.Raw]:
    """The fields of an object, each as its JSON. Raises msgspec.DecodeError for what is no object."""
    text = value.decode("utf-8", "surrogateescape")
    if _MAY_BE_CUT.search(text):  # else looking at each escape would take long for nothing
        text = _CUT.sub(_replaced, text)
    whole = text.encode(errors="replace")  # what is left of bytes that are no UTF-8 is no JSON either
    try:
        return _fields(whole)
    except RecursionError:
        return _fields(_without_deep_parts(whole))


def object_of(fields: dict[str, msgspec.Raw], names: Collection[str]) -> bytes:
    """An object of those fields that have one of these names."""
    return msgspec.json.encode({name: raw for name, raw in fields.items() if name in names})


def is_cut(field: msgspec.Raw) -> bool:
    """Whether a field that `fields_of` has returned holds a replaced character."""
    return any(escape["replaced"] for escape in _ESCAPES.finditer(bytes(field)))


def _replaced(found: re.Match[str]) -> str:
    if found["cut"]:
        return _REPLACED
    return "\ufffd" if found["sent"] else found[0]


def _without_deep_parts(value: bytes) -> bytes:
    """The same, with null for what is nested deeper. Raises msgspec.DecodeError where that is broken."""
    outer: list[list[bytes]] = []  # of each part that has begun, what lies around it
    around: list[bytes] = []
    depth = taken = 0
    for found in _STRING_OR_BRACKET.finditer(value):
        bracket, here = value[found.start()], found.start()
        if bracket in b"[{":
            depth += 1
            if depth > _MOST_LEVELS:
                raise msgspec.DecodeError(f"nested deeper than {_MOST_LEVELS} levels")
            if depth % _LEVELS == 0:
                outer.append([*around, value[taken:here]])
                around, taken = [], here
        elif bracket in b"]}":
            if depth % _LEVELS == 0 and outer:
                _check(b'{"":%s}' % b"".join([*around, value[taken : here + 1]]))
                around, taken = [*outer.pop(), b"null"], here + 1
            depth -= 1
    if outer:  # the first part that has no end: what lies before it is as broken as the whole
        return b"".join(outer[0])
    return b"".join([*around, value[taken:]])
