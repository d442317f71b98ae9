"""Recognises events that are sent again where nothing is ever forgotten, in 8 bytes for each event.

A worker forgets an identity when the same event would be too late, and keeps it as a number until then: some 40 bytes,
and a dict twice as many more. For `compute` no event is too late. So it keeps each identity for as long as it runs, and
its memory would grow by all of these bytes with each line of a file. What is kept here is just as exact: all 64 bits.
"""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from struct import Struct, pack
from typing import Final

BYTES_OF_AN_IDENTITY: Final = 8

_pack_one = Struct(">Q").pack


def packed(identities: Sequence[int]) -> bytes:
    """Identities one after the other, to be added to others by `+`."""
    return _pack_one(identities[0]) if len(identities) == 1 else pack(f">{len(identities)}Q", *identities)


def is_packed_in(known: bytes, identity: int) -> bool:
    """Whether an identity is one of those that are packed."""
    wanted = _pack_one(identity)
    at = known.find(wanted)
    while at >= 0 and at % BYTES_OF_AN_IDENTITY:  # these bytes are the end of one and the beginning of the next
        at = known.find(wanted, at + 1)
    return at >= 0


class PackedTimes(dict[int, int]):
    """Takes the place of a dict of times by identity, but knows only whether it has an identity."""

    __slots__ = ("_identities",)

    def __init__(self) -> None:
        super().__init__()
        self._identities = array("Q")  # sorted: mostly an event is newer than those before it, and comes to the end

    def __contains__(self, identity: object) -> bool:
        assert isinstance(identity, int)
        known = self._identities
        at = bisect_left(known, identity)
        return at < len(known) and known[at] == identity

    def __setitem__(self, identity: int, at_ms: int) -> None:
        """Remember an identity that is not known yet."""
        known = self._identities
        known.insert(bisect_left(known, identity), identity)

    def __len__(self) -> int:
        return len(self._identities)
