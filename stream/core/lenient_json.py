"""Decodes JSON objects of real producers that the strict and fast decoder refuses.

Two faults are no reason to refuse an event. The first is text that is cut in the middle of a character: a title that is
cut after 100 letters, within an emoji, ends with an unpaired surrogate, or with bytes that are not UTF-8. The cut
character becomes U+FFFD, the replacement character of Unicode. The second is deep nesting: the decoder follows at most
a thousand levels. Here, what is nested deeper than a hundred is checked and becomes null, because no field that we read
is nested.

Anything else that is not a JSON object is still refused. This is many times slower than the strict decoder, which
should be tried first.
"""

import re
from collections.abc import Collection

import msgspec

# The errors of the strict decoder for bytes that it can't decode.
UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# Cut characters, and escapes that look like them. Bytes that are not UTF-8 are read as U+DC80 and above
# ("surrogateescape"), which a decoded text does not have otherwise.
_CUT = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair
    r"|(?P<cut>\\u[dD][89a-fA-F][0-9a-fA-F]{2}|[\udc80-\udcff]+)"
    r"|(?P<sent>\\u[fF]{3}[dD])"  # U+FFFD, as the producer sent it
    r"|\\.",
    re.DOTALL,
)
_MAY_BE_CUT = re.compile(r"\\u(?:[dD][89a-fA-F]|[fF]{3}[dD])|[\udc80-\udcff]")
# A cut character is replaced by the escape of U+FFFD, and a U+FFFD that was sent is written as a character. So the two
# can be distinguished.
_REPLACED = r"\ufffd"
_ESCAPES = re.compile(rb"\\(?:(?P<replaced>ufffd)|.)", re.DOTALL)

_LEVELS = 100
_MOST_LEVELS = 100_000  # to follow so many takes a fifth of a second
_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Anything(msgspec.Struct):
    """An object of which no field is read."""


_check = msgspec.json.Decoder(_Anything).decode


def fields_of(value: bytes) -> dict[str, msgspec.Raw]:
    """The fields of an object, each as JSON. Raises msgspec.DecodeError if it is not an object."""
    text = value.decode("utf-8", "surrogateescape")
    if _MAY_BE_CUT.search(text):  # otherwise the slow check of each escape is not necessary
        text = _CUT.sub(_replaced, text)
    whole = text.encode(errors="replace")  # if there are still bytes that are not UTF-8, this is not JSON either
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
    """The same object, with null for what is nested too deep. Raises msgspec.DecodeError if that part is not JSON."""
    outer: list[list[bytes]] = []  # for each deep part that has begun: the text around it
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
    if outer:  # a part without an end: the text before it can't be decoded either, and shows the same fault
        return b"".join(outer[0])
    return b"".join([*around, value[taken:]])
