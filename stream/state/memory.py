"""State in memory, for tests, demos, and deployments that would rather rebuild it from Kafka than keep a disk."""

from collections.abc import Iterator, Sequence
from heapq import nsmallest

from stream.core.store import Items


class MemoryStore:
    """The state of one partition in a dict. It is gone when the process ends, and rebuilt from the changelog."""

    epoch = 0

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._offset: int | None = None

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self._values.get(key) for key in keys]

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        yield from sorted(item for item in self._values.items() if item[0].startswith(prefix))

    def scan_some(self, prefix: bytes, *, after: bytes, count: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        found = nsmallest(count, (key for key in self._values if key > after and key.startswith(prefix)))
        return [(key, self._values[key]) for key in found], found[-1] if len(found) == count else b""

    def write(self, items: Items, *, offset: int) -> None:
        for key, value in items:
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = value
        self._offset = offset

    def offset(self) -> int | None:
        return self._offset

    def clear(self) -> None:
        self._values.clear()
        self._offset = None

    def close(self) -> None:
        """Nothing to release."""
