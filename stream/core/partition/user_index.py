"""An index from references to users, for messages that have a reference instead of a user.

Some producers use the response id as the key of survey messages. Then they can remove a response only by a null message
with that key. The partition of the key stores the user of each response, and so finds the user of the null message.
"""

from collections.abc import Iterable

import msgspec

from stream.core.families.family import Horizon
from stream.core.partition.rows import Delta, Stored
from stream.core.privacy import Erased

INDEX_PREFIX = "named/"


class IndexEntry(msgspec.Struct, frozen=True, array_like=True):
    """The user of a reference, and the time of the event that had it."""

    user: str
    at_ms: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(IndexEntry).decode


class UserIndex:
    """The index of one partition. In memory it has only the entries that are not in the store yet.

    A reference means its user for `known_ms` after the event that had it.
    """

    def __init__(self, erased: Erased, *, known_ms: int) -> None:
        self._erased = erased
        self._known_ms = known_ms
        self._unsaved: dict[str, IndexEntry] = {}
        self._collected: dict[str, IndexEntry] = {}  # those of the last delta, which may not be in the store yet
        self._expired: set[bytes] = set()

    def put(self, reference: str, user: str, at_ms: int) -> None:
        """Store the user of a reference."""
        self._unsaved[reference] = IndexEntry(user, at_ms)

    def key_to_fetch(self, reference: str, stored: Stored) -> bytes | None:
        """The key that must be fetched to find the user of a reference, or None if it is in memory or in `stored`."""
        key = (INDEX_PREFIX + reference).encode()
        return key if self._in_memory(reference) is None and key not in stored else None

    def user(self, reference: str, stored: Stored, at_ms: int) -> str | None:
        """The user whom a reference means at a time, or None if there is none, or only long before."""
        entry = self._in_memory(reference)
        if entry is None:
            value = stored.get((INDEX_PREFIX + reference).encode())
            entry = None if value is None else _decode(value)
        if entry is None or entry.at_ms + self._known_ms < at_ms or self._was_erased_between(entry, at_ms):
            return None
        return entry.user

    def erase(self, user: str) -> None:
        """Delete the entries of a user that are in memory. Those in the store go when they are swept next."""
        for entries in (self._unsaved, self._collected):
            for reference in [reference for reference, entry in entries.items() if entry.user == user]:
                del entries[reference]
                self._expired.add((INDEX_PREFIX + reference).encode())

    def _is_erased(self, entry: IndexEntry) -> bool:
        return bool(self._erased) and entry.at_ms <= self._erased.until_ms(entry.user)

    def _was_erased_between(self, entry: IndexEntry, at_ms: int) -> bool:
        """Whether the user of an entry was erased after it, and before this time: then it means nobody any more."""
        return bool(self._erased) and entry.at_ms <= self._erased.until_ms(entry.user) < at_ms

    def _in_memory(self, reference: str) -> IndexEntry | None:
        return self._unsaved.get(reference) or self._collected.get(reference)

    def __len__(self) -> int:
        return len(self._unsaved)

    def collect(self) -> Delta:
        """The entries that have changed since the last call."""
        delta: Delta = [
            ((INDEX_PREFIX + reference).encode(), _encode(entry)) for reference, entry in self._unsaved.items()
        ]
        delta.extend((key, None) for key in sorted(self._expired.difference(key for key, _ in delta)))
        self._collected, self._unsaved = self._unsaved, {}
        self._expired = set()
        return delta

    def forget(self) -> None:
        """Drop the entries of the last delta from memory. Call it when that delta is stored."""
        self._collected.clear()

    def sweep(self, items: Iterable[tuple[bytes, bytes]], horizon: Horizon) -> None:
        """Check whether stored entries are still needed."""
        expired_before_ms = horizon.before_ms - self._known_ms
        for key, value in items:
            if key.decode().removeprefix(INDEX_PREFIX) not in self._unsaved:
                entry = _decode(value)
                if entry.at_ms < expired_before_ms or self._is_erased(entry):
                    self._expired.add(key)
