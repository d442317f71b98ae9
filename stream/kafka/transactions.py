"""Transactions of producers that are open: what lies behind one can't be read until it ends.

A partition is read up to its last stable offset, which is where its oldest open transaction begins. Under producers
that write in transactions it moves all the time, some records before the end. One that stands still says that a
transaction hangs: its producer is slow, or has died and the broker waits for `transaction.timeout.ms`.
"""

from typing import NamedTuple

from stream.core.time import SECOND_MS
from stream.telemetry import OpenTransaction


class Reach(NamedTuple):
    """How far a partition of an input is read, and what holds it back there."""

    read_to: int | None = None  # nothing before this offset is left to apply; None while something is, or nobody knows
    open_transaction: OpenTransaction | None = None


class StableOffsets:
    """How long the last stable offset of each partition has been the same, with records behind it."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, int], tuple[int, int]] = {}  # the offset, and when it was first seen there

    def look(self, place: tuple[str, int], *, stable: int, end: int, at_ms: int) -> OpenTransaction | None:
        """Take in what a fetch told at a moment; returns the transaction that is open, if one is.

        Two fetches that tell the same offset have seen the same transaction open, whatever was between them. Time
        without any fetch, as when Kafka is away, does not count.
        """
        if stable >= end:
            self._since.pop(place, None)
            return None
        known = self._since.get(place)
        if known is None or known[0] != stable:
            known = self._since[place] = (stable, at_ms)
        return OpenTransaction(seconds=max(0, at_ms - known[1]) / SECOND_MS, records=end - stable)
