"""Names under which users can be found: whose a survey response is, for messages that name nothing else.

Some producers key survey messages by the response, and can take one back only by that key. The answer leaves the name
in the partition of its key; a null message with the same key finds there whose response it is.
"""

from collections.abc import Iterable

import msgspec

from stream.core.families.family import Horizon
from stream.core.partition.rows import Delta, Stored

NAMED = "named/"


class Named(msgspec.Struct, frozen=True, array_like=True):
    """Whom a name means, and when that was told."""

    user: str
    at_ms: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Named).decode


class Names:
    """The names of one partition, as far as the store does not hold them yet.

    A name means its user for `known_ms` after it was left.
    """

    def __init__(self, *, known_ms: int) -> None:
        self._known_ms = known_ms
        self._unsaved: dict[str, Named] = {}
        self._collected: dict[str, Named] = {}  # those of the last delta: the store may not have them yet
        self._over: set[bytes] = set()

    def leave(self, name: str, user: str, at_ms: int) -> None:
        """Note whom a name means."""
        self._unsaved[name] = Named(user, at_ms)

    def wanted(self, name: str, stored: Stored) -> bytes | None:
        """The key whose value is needed to tell whom a name means; None when nothing is."""
        key = (NAMED + name).encode()
        return key if self._in_memory(name) is None and key not in stored else None

    def user(self, name: str, stored: Stored, at_ms: int) -> str | None:
        """Whom a name means at a time; None when nobody left it, or only long before."""
        known = self._in_memory(name)
        if known is None:
            value = stored.get((NAMED + name).encode())
            known = None if value is None else _decode(value)
        return None if known is None or known.at_ms + self._known_ms < at_ms else known.user

    def _in_memory(self, name: str) -> Named | None:
        return self._unsaved.get(name) or self._collected.get(name)

    def __len__(self) -> int:
        return len(self._unsaved)

    def collect(self) -> Delta:
        """The names that have changed since the last call."""
        delta: Delta = [((NAMED + name).encode(), _encode(named)) for name, named in self._unsaved.items()]
        delta.extend((key, None) for key in sorted(self._over.difference(key for key, _ in delta)))
        self._collected, self._unsaved = self._unsaved, {}
        self._over = set()
        return delta

    def forget(self) -> None:
        """The last delta is stored."""
        self._collected.clear()

    def sweep(self, items: Iterable[tuple[bytes, bytes]], horizon: Horizon) -> None:
        """Look at stored names whether they are still needed."""
        over_before_ms = horizon.before_ms - self._known_ms
        for key, value in items:
            if key.decode().removeprefix(NAMED) not in self._unsaved and _decode(value).at_ms < over_before_ms:
                self._over.add(key)
