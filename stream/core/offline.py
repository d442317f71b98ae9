"""Calculates numbers from files of events: with the same core, one partition, no lateness limit, and all days."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from stream.core.lenient_json import UNDECODABLE, fields_of, object_of
from stream.core.messages import Reader
from stream.core.partition.batch_applier import NOTHING_STORED
from stream.core.partition.batch_reader import Refused
from stream.core.partition.partition import Partition
from stream.core.partition.progress import OUTCOMES, REKEYED
from stream.core.privacy import ANONYMISED
from stream.core.rejections import Reason, Rejected
from stream.core.report import closed_days, closed_samples, live_samples
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.snapshot import Snapshot

_END_OF_TIME_MS = 1 << 62

# After so many events the clock is moved. This is often enough for small rows, and rare enough to cost nothing.
_BATCH = 1_000

_NO_INPUT = ""  # stands for the input of lines whose topic is not known


class UnusableLine(NamedTuple):
    """A line that can't be used, and why."""

    number: int  # the number of the line, from 1
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Computed:
    """The numbers at one moment and those of the last closed days, oldest first."""

    at_ms: int
    live: list[Sample]
    closed: list[tuple[int, list[Sample]]]
    events: dict[str, int]
    left_out: dict[str, int]  # what messages told and no family counts, by word


class OversizedLine(bytes):
    """Replaces a line that is too large to be kept in memory: it is empty, and has the size of the line."""

    size: int

    @classmethod
    def of(cls, size: int) -> "OversizedLine":
        """A line of so many bytes."""
        line = cls()
        line.size = size
        return line


class UnreadableLine(bytes):
    """Stands for what no message can be made of: it is empty, and tells why."""

    why: str

    @classmethod
    def of(cls, why: str) -> "UnreadableLine":
        """What can't be read, for this reason."""
        line = cls()
        line.why = why
        return line


class _Line(msgspec.Struct):
    topic: str


_line = msgspec.json.Decoder(_Line).decode

_UNREADABLE = (OversizedLine, UnreadableLine)


class _FileRecord(msgspec.Struct, gc=False):
    """A line of a file as a record, as if it were read from Kafka."""

    value: bytes | None
    offset: int  # the number of the line
    timestamp: int = 0
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Offline:
    """Applies lines of JSON, each with its `topic`, in the given order. `readers` read the lines of each topic.

    If `only` names an input, all lines are of that one: then they have no topic, and need not be JSON.

    The numbers are those at `at_ms`, or if that is not given, at the time of the newest event. Events after `at_ms`, or
    without it after the clock `clock_ms`, are refused as events of the future, because a wrong date must not move all
    windows.
    """

    def __init__(
        self,
        rules: Rules,
        readers: Mapping[str, Reader],
        *,
        at_ms: int | None = None,
        clock_ms: int = _END_OF_TIME_MS,
        max_message_bytes: int = 1_000_000,
        only: str | None = None,
    ) -> None:
        self._readers = readers
        self._only = only
        numbers = count(1)
        # An erasure needs the times of what is taken out, and packed identities have none.
        self._partition = Partition(
            replace(rules, allowed_lateness_ms=None, packs_identities=not rules.erases),
            max_message_bytes=max_message_bytes,
            random_ids=lambda: f"{ANONYMISED}{next(numbers)}",
        )
        self._at_ms = at_ms
        self._not_after_ms = clock_ms if at_ms is None else at_ms
        self._max_message_bytes = max_message_bytes
        self.lines = 0  # how many were given so far

    def apply(self, lines: Iterable[bytes]) -> Iterator[UnusableLine]:
        """Apply lines that follow the lines given before. Yields those that can't be used."""
        rest = iter(lines)
        while chunk := list(islice(rest, _BATCH)):
            first = self.lines + 1
            self.lines += len(chunk)
            yield from self.apply_numbered(range(first, first + len(chunk)), chunk)

    def apply_numbered(self, numbers: Sequence[int], lines: Sequence[bytes]) -> list[UnusableLine]:
        """Apply some lines with these numbers. Returns those that can't be used."""
        if self._only is not None:
            return self._apply_all(self._only, numbers, lines)
        unusable: list[UnusableLine] = []
        topic = ""
        head: bytes | tuple[()] = ()  # how the lines of this topic begin; an empty tuple matches no line
        records: list[_FileRecord] = []
        for number, line in zip(numbers, lines, strict=True):
            # In files of one topic all lines begin in the same way. Then a line is parsed once instead of twice.
            if line.startswith(head):
                records.append(_FileRecord(line, number))
                continue
            if (not line or line.isspace()) and not isinstance(line, _UNREADABLE):
                continue
            try:
                its_topic = self._topic_of(line)
            except Rejected as rejection:
                self._partition.progress.count(_NO_INPUT, {}, [rejection.reason])
                unusable.append(UnusableLine(number, rejection.reason, str(rejection)))
                continue
            if its_topic != topic:
                unusable += map(_unusable_line, self._apply_records(topic, records))
                topic, head, records = its_topic, b'{"topic":"%s",' % its_topic.encode(), []
            records.append(_FileRecord(line, number))
        unusable += map(_unusable_line, self._apply_records(topic, records))
        self._tick()
        return unusable

    def _apply_all(self, topic: str, numbers: Sequence[int], lines: Sequence[bytes]) -> list[UnusableLine]:
        """Apply lines that are all of one topic. Returns those that can't be used."""
        records, unusable = [], []
        for number, line in zip(numbers, lines, strict=True):
            if isinstance(line, _UNREADABLE):
                rejection = self._refusal_of(line)
                self._partition.progress.count(topic, {}, [rejection.reason])
                unusable.append(UnusableLine(number, rejection.reason, str(rejection)))
            elif line and not line.isspace():
                records.append(_FileRecord(line, number))
        unusable += map(_unusable_line, self._apply_records(topic, records))
        self._tick()
        return sorted(unusable, key=attrgetter("number"))

    def _tick(self) -> None:
        self._partition.tick(self.newest_ms if self._at_ms is None else self._at_ms, behind=())

    def _refusal_of(self, line: "OversizedLine | UnreadableLine") -> Rejected:
        if isinstance(line, UnreadableLine):
            return Rejected(Reason.NOT_JSON, line.why)
        return Rejected(Reason.TOO_LARGE, f"{line.size} bytes, {self._max_message_bytes} are allowed")

    def _apply_records(self, topic: str, records: list[_FileRecord]) -> list[Refused]:
        if not records:
            return []
        batch = self._partition.read(topic, records, self._readers[topic], not_after_ms=self._not_after_ms)
        return self._partition.apply(batch, NOTHING_STORED, moves_clock=self._at_ms is None)[0]

    @property
    def newest_ms(self) -> int:
        """The time of the newest event applied; -1 before the first."""
        return max(self._partition.progress.newest_ms.values(), default=-1)

    def parts(self, family: str) -> Iterator[tuple[str, Any]]:
        """All users, each with the part of a family of this name."""
        return self._partition.parts(family)

    def snapshot(self, now_ms: int) -> Snapshot:
        """The sums at a time, which is not before the newest event, with all closed days and all values of segments.

        If the users of a file are divided among several processes, their snapshots add up to that of a single process.
        """
        self._partition.tick(now_ms, behind=())
        return self._partition.snapshot(closed_days=_END_OF_TIME_MS, all_values=True)

    def computed(self, *, days: int = 1) -> Computed:
        """The numbers after all lines were applied, with the last `days` closed days."""
        return computed_of(self.snapshot(self.newest_ms), self._partition.rules, days=days)

    def _topic_of(self, line: bytes) -> str:
        if isinstance(line, _UNREADABLE):
            raise self._refusal_of(line)
        try:
            try:
                topic = _line(line).topic
            except UNDECODABLE:
                topic = _line(object_of(fields_of(line), _Line.__struct_fields__)).topic
        except msgspec.ValidationError as error:
            raise Rejected(Reason.MISSING_FIELD, f"a line needs `$.topic`: {error}") from None
        except msgspec.DecodeError as error:
            raise Rejected(Reason.NOT_JSON, str(error)) from None
        if topic not in self._readers:
            raise Rejected(Reason.UNKNOWN_VALUE, f"{topic!r} at `$.topic` is none of {', '.join(self._readers)}")
        return topic


def computed_of(snapshot: Snapshot, rules: Rules, *, days: int) -> Computed:
    """The numbers that follow from a snapshot, with the last `days` closed days."""
    events = {outcome: 0 for outcome in OUTCOMES if outcome != REKEYED}
    for counts in snapshot.outcomes.values():
        for outcome, times in counts.items():
            events[outcome] += times
    left_out: dict[str, int] = {}
    for counts in snapshot.left_out.values():
        for word, times in counts.items():
            left_out[word] = left_out.get(word, 0) + times
    return Computed(
        at_ms=snapshot.now_ms,
        live=live_samples(snapshot, rules),
        closed=[(day, closed_samples(snapshot, rules, day)) for day in closed_days(snapshot, count=days)],
        events=events,
        left_out=dict(sorted(left_out.items())),
    )


def _unusable_line(refused: Refused) -> UnusableLine:
    return UnusableLine(refused.record.offset, refused.reason, refused.detail)
