"""Names under which users can be found: whose a survey response is, for messages that name nothing else.

Some producers key survey messages by the response, and can take one back only by that key. The answer leaves the name
in the partition of its key; a null message with the same key finds there whose response it is.
"""

from collections.abc import Iterable

import msgspec

from stream.core.partition.rows import Delta, Stored

INDEX_PREFIX = "named/"


class IndexEntry(msgspec.Struct, frozen=True, array_like=True):
    """Whom a name means, and when that was told."""

    user: str
    at_ms: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(IndexEntry).decode


class UserIndex:
    """The names of one partition, as far as the store does not hold them yet."""

    def __init__(self) -> None:
        self._unsaved: dict[str, IndexEntry] = {}
        self._collected: dict[str, IndexEntry] = {}  # those of the last delta: the store may not have them yet
        self._expired: set[bytes] = set()

    def put(self, reference: str, user: str, at_ms: int) -> None:
        """Note whom a name means."""
        self._unsaved[reference] = IndexEntry(user, at_ms)

    def key_to_fetch(self, reference: str, stored: Stored) -> bytes | None:
        """The key whose value is needed to tell whom a name means; None when nothing is."""
        key = (INDEX_PREFIX + reference).encode()
        return key if self._in_memory(reference) is None and key not in stored else None

    def user(self, reference: str, stored: Stored) -> str | None:
        """Whom a name means; None when nobody left it."""
        entry = self._in_memory(reference)
        if entry is None:
            value = stored.get((INDEX_PREFIX + reference).encode())
            entry = None if value is None else _decode(value)
        return None if entry is None else entry.user

    def _in_memory(self, reference: str) -> IndexEntry | None:
        return self._unsaved.get(reference) or self._collected.get(reference)

    def __len__(self) -> int:
        return len(self._unsaved)

    def collect(self) -> Delta:
        """The names that have changed since the last call."""
        delta: Delta = [
            ((INDEX_PREFIX + reference).encode(), _encode(entry)) for reference, entry in self._unsaved.items()
        ]
        delta.extend((key, None) for key in sorted(self._expired))
        self._collected, self._unsaved = self._unsaved, {}
        self._expired = set()
        return delta

    def forget(self) -> None:
        """The last delta is stored."""
        self._collected.clear()

    def sweep(self, items: Iterable[tuple[bytes, bytes]], *, expired_before_ms: int) -> None:
        """Look at stored names whether they are still needed."""
        for key, value in items:
            if (
                key.decode().removeprefix(INDEX_PREFIX) not in self._unsaved
                and _decode(value).at_ms < expired_before_ms
            ):
                self._expired.add(key)
