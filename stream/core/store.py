"""The interface of a state store: it returns rows, and writes a delta as a whole, together with its changelog offset.

A store has the state of one partition. Its keys and values are those of a checkpoint, so a restart reads what a
checkpoint has written.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

Items = Iterable[tuple[bytes, bytes | None]]


class StoreFailed(RuntimeError):
    """The store can't be read or written. The worker ends, and commits no further offset."""


class StoreUnavailable(StoreFailed):
    """The store can't be reached now. The same request can be repeated later, and nothing is lost by waiting."""


class PartitionTakenOver(StoreFailed):
    """Another worker has taken the partition over, so this one must not write."""


class StateLost(StoreFailed):
    """The store has less than was written to it: it was emptied, or replaced by an older copy."""


class Store(Protocol):
    """The state of one partition."""

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of some keys; None for each key that is not in the store."""
        ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All items whose keys begin with `prefix`, in order of their keys."""
        ...

    def scan_some(self, prefix: bytes, *, after: bytes, count: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """About `count` items whose keys begin with `prefix`, and where to continue; empty at the end of a round.

        Pass the second value as `after` in the next call; a round begins with an empty one. Items come in any order. An
        item that is in the store during a whole round comes at least once in it.
        """
        ...

    def write(self, items: Items, *, offset: int) -> None:
        """Write values, delete keys whose value is None, and store `offset`: all of it or nothing.

        The same write may be repeated after StoreUnavailable.
        """
        ...

    def offset(self) -> int | None:
        """The offset of the last write, or None for an empty store."""
        ...

    def clear(self) -> None:
        """Delete everything, the offset too."""
        ...

    @property
    def epoch(self) -> int:
        """How often a store that workers share was opened, this time included; 0 if a changelog counts takeovers."""
        ...

    def close(self) -> None:
        """Close the store, so that it can be opened again."""
        ...
