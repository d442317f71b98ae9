"""What the worker asks of a store: read rows, and take a delta whole with the offset it was written at.

A store holds one partition. Its keys and values are those of a checkpoint, so that what is written and what a restart
reads are the same thing.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

Items = Iterable[tuple[bytes, bytes | None]]


class StoreFailed(RuntimeError):
    """The store can't be read or written. The worker stops before it acknowledges anything."""


class StoreUnavailable(StoreFailed):
    """The store can't be reached now. What was asked may be asked again: nothing is lost by waiting."""


class PartitionTakenOver(StoreFailed):
    """Another worker has taken the partition over: this one must not write."""


class StateLost(StoreFailed):
    """The store holds less than was written to it: emptied, or set back to an older copy."""


class Store(Protocol):
    """The state of one partition."""

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of some keys, None for each that is not there."""
        ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Every item whose key begins with `prefix`, in order of key."""
        ...

    def scan_some(self, prefix: bytes, *, after: bytes, count: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """About `count` items whose key begins with `prefix`, and where to go on: empty at the end of a round.

        In any order; an item that stays is in each round at least once. The first round begins with an empty `after`.
        """
        ...

    def write(self, items: Items, *, offset: int) -> None:
        """Put values, remove keys whose value is None, and note `offset`: all of it or nothing.

        The same write may be repeated after StoreUnavailable.
        """
        ...

    def offset(self) -> int | None:
        """The offset of the last write, or None for an empty store."""
        ...

    def clear(self) -> None:
        """Remove everything, the offset too."""
        ...

    @property
    def epoch(self) -> int:
        """Counts who has opened a store that all workers share, this one too; 0 where a changelog counts takeovers."""
        ...

    def close(self) -> None:
        """Release the store; it may be opened again."""
        ...
