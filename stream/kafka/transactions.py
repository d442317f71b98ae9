"""Open transactions of producers: records behind the beginning of one cannot be read until it ends.

A partition is read up to its last stable offset, which is where its oldest open transaction begins. When producers
write in transactions, this offset moves all the time and stays a few records before the end. If it stands still, a
transaction hangs: its producer is slow, or has died and the broker waits for `transaction.timeout.ms`.
"""

from typing import NamedTuple

from stream.core.time import SECOND_MS
from stream.telemetry import OpenTransaction


class ReadProgress(NamedTuple):
    """How far a partition of an input has been read, and the open transaction that stops it there."""

    read_to: int | None = None  # all records before this offset are applied; None if some are left, or if unknown
    open_transaction: OpenTransaction | None = None


class StableOffsets:
    """Measures for how long the last stable offset of each partition has stood still with records behind it."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, int], tuple[int, int]] = {}  # the offset, and the time when it was first seen

    def observe(self, place: tuple[str, int], *, stable: int, end: int, at_ms: int) -> OpenTransaction | None:
        """Take in the result of a fetch at time `at_ms`; returns the open transaction, if there is one.

        Two fetches with the same last stable offset have seen the same open transaction. Time without any fetch, for
        example while Kafka cannot be reached, does not count.
        """
        if stable >= end:
            self._since.pop(place, None)
            return None
        known = self._since.get(place)
        if known is None or known[0] != stable:
            known = self._since[place] = (stable, at_ms)
        return OpenTransaction(seconds=max(0, at_ms - known[1]) / SECOND_MS, records=end - stable)
