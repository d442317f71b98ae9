"""What the core asks of a store: take a delta whole, with the changelog offset it was written at.

A store holds one partition. Its keys and values are those of the changelog, so that what a checkpoint writes and what a
recovery reads are the same thing.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

Items = Iterable[tuple[bytes, bytes | None]]


class StoreBroken(RuntimeError):
    """The store can't be read or written. The worker stops before it acknowledges anything."""


class Store(Protocol):
    """The state of one partition."""

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Every item whose key begins with `prefix`, in order of key."""
        ...

    def write(self, items: Items, *, offset: int) -> None:
        """Put values, remove keys whose value is None, and note the changelog offset: all of it or nothing."""
        ...

    def offset(self) -> int | None:
        """Offset of the last changelog record that is in the store, or None for an empty one."""
        ...

    def close(self) -> None:
        """Release the store; it may be opened again."""
        ...
