"""What closed days say, of all partitions: told once each, and again when late events have changed them.

Of each partition and day the bytes are kept that the worker told, for a year and more of them would fill the memory of
a small server as objects. What is asked for is put together and kept at hand until a part of it changes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce
from operator import add

import msgspec
import structlog

from stream.core.days import Amounts
from stream.core.report import closed_samples
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.snapshot import ClosedDay, Snapshot, Sums
from stream.core.time import date_of
from stream.telemetry import NOBODY, Owner, Report, decode_closed_day

log = structlog.get_logger(__name__)

# Days that are kept at hand as samples: those that the page draws, and some more.
_AT_HAND = 64

_encode = msgspec.msgpack.Encoder().encode
_decode: Callable[[bytes], ClosedDay] = msgspec.msgpack.Decoder(ClosedDay).decode


class _Undecoded(msgspec.Struct):
    """A closed day whose families are left as they are."""

    families: dict[str, msgspec.Raw]


_decode_families = msgspec.msgpack.Decoder(_Undecoded).decode
_decode_windows = msgspec.msgpack.Decoder(dict[int, msgspec.Raw]).decode
_decode_amounts = msgspec.msgpack.Decoder(Amounts).decode


class ClosedDays:
    """The closed days of all partitions."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._told: dict[int, dict[int, bytes]] = {}  # by partition and day
        self._told_by: dict[tuple[int, int], Owner] = {}  # by partition and day: who has told it last
        self._samples: dict[int, tuple[int, list[Sample]]] = {}  # by day: with the first day of which all is known
        self.changes = 0  # counts them

    def put(
        self,
        partition: int,
        day: int,
        value: bytes | None,
        *,
        deleted_by: Owner = NOBODY,
        owner_epoch: int | None = None,
    ) -> None:
        """Take in what a partition says of a day, as it lies in Kafka; None where that is kept no more.

        A worker that was replaced and does not know it yet may still tell of days. What it says does not take the place
        of what a later owner has said: unless its epoch is `owner_epoch`, of the owner that reports now. Epochs begin
        anew where the changelog that counts them was lost.
        """
        report = None if value is None else decode_closed_day(value)
        told_by = deleted_by if report is None else report.told_by
        held_by = self._told_by.get((partition, day), NOBODY)
        if told_by.epoch and told_by < held_by and told_by.epoch != owner_epoch:
            return
        if report is None:
            self._told_by.pop((partition, day), None)
            self._put(partition, day, None)
        else:
            self._told_by[partition, day] = told_by
            self._put(partition, day, _encode(report.closed))

    def put_report(self, report: Report) -> None:
        """Take in the days that a report tells itself, as it does where there is no topic of days."""
        snapshot = report.snapshot
        for day in snapshot.days():
            families = {name: sums.closed[day] for name, sums in snapshot.families.items() if day in sums.closed}
            self._put(report.partition, day, _encode(ClosedDay(day, families, -1)))

    def _put(self, partition: int, day: int, closed: bytes | None) -> None:
        told = self._told.setdefault(partition, {})
        if told.get(day) == closed:
            return
        if closed is None:
            del told[day]
        else:
            told[day] = closed
        self._samples.pop(day, None)
        self.changes += 1

    # -- which days there are ----------------------------------------------------------------------------------------

    def through(self, reports: Iterable[Report]) -> int | None:
        """The last day that every partition has closed, and told of; None before there is one."""
        telling = [report for report in reports if report.snapshot.last_closed_day is not None]
        day = min((report.snapshot.last_closed_day or 0 for report in telling), default=None)
        if day is None:
            return None
        since = {report.partition: report.days_since for report in telling if report.days_since is not None}
        first = min(since.values(), default=day + 1)
        while day >= first and self._is_missing(day, since):
            day -= 1
        return day

    def _is_missing(self, day: int, since: Mapping[int, int]) -> bool:
        """Whether a partition that tells of days from some day on has not told of this one."""
        return any(first <= day and day not in self._told.get(partition, ()) for partition, first in since.items())

    def days(self, first: int, last: int) -> list[int]:
        """The days between these, both included, of which something is known."""
        return sorted({day for told in self._told.values() for day in told if first <= day <= last})

    # -- what they say -----------------------------------------------------------------------------------------------

    def of(self, day: int) -> Iterator[ClosedDay]:
        """What each partition says of a day."""
        return (_decode(told[day]) for _, told in sorted(self._told.items()) if day in told)

    def of_window(self, day: int, family: str, length: int) -> Iterator[Amounts]:
        """What each partition says of one window of a family on a day. Nothing else is decoded."""
        for _, told in sorted(self._told.items()):
            windows = _decode_families(told[day]).families.get(family) if day in told else None
            amounts = None if windows is None else _decode_windows(windows).get(length)
            if amounts is not None:
                yield _decode_amounts(amounts)

    def samples(self, day: int, *, first_ms: int | None) -> list[Sample]:
        """Every number of a day, where the first event of all is of this time."""
        whole_since = self._rules.whole_since(first_ms)
        known = self._samples.get(day)
        if known is not None and known[0] == whole_since:
            return known[1]
        try:
            samples = closed_samples(self._sums(day, first_ms), self._rules, day)
        except ValueError as error:
            log.error("the sums of a closed day can't be", day=date_of(day).isoformat(), reason=str(error))
            samples = []
        if len(self._samples) >= _AT_HAND:
            del self._samples[min(self._samples)]
        self._samples[day] = whole_since, samples
        return samples

    def _sums(self, day: int, first_ms: int | None) -> Snapshot:
        snapshots = (
            Snapshot(
                now_ms=closed.changed_ms,
                families={name: Sums(closed={day: of_windows}) for name, of_windows in closed.families.items()},
            )
            for closed in self.of(day)
        )
        return msgspec.structs.replace(reduce(add, snapshots, Snapshot()), first_ms=first_ms, last_closed_day=day)

    def changed_ms(self, day: int) -> int:
        """The clock when a day was changed last: when it closed, or when late events changed it."""
        return max((closed.changed_ms for closed in self.of(day)), default=-1)

    def corrections(self, day: int) -> int:
        """How often late events have changed a day, added up over all partitions."""
        return sum(closed.corrections for closed in self.of(day))
