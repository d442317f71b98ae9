"""Numbers from events at rest: the same core, one partition, no lateness limit, every day kept."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

import msgspec

from stream.core.messages import Reader
from stream.core.partition.applying import NOTHING_STORED
from stream.core.partition.partition import Partition
from stream.core.partition.progress import OUTCOMES, REKEYED
from stream.core.partition.reading import Refused
from stream.core.rejections import Reason, Rejected
from stream.core.report import closed_days, closed_samples, live_samples
from stream.core.rules import Rules
from stream.core.samples import Sample

_NEVER_TOO_LATE_MS = 1 << 62

# Events between two looks at the clock: few enough that rows stay small, many enough that looking costs nothing.
_BATCH = 1_000


class _Line(msgspec.Struct):
    topic: str


_line = msgspec.json.Decoder(_Line).decode


@dataclass(frozen=True, slots=True)
class Computed:
    """The numbers at one moment and those of the last closed days, oldest first."""

    at_ms: int
    live: list[Sample]
    closed: list[tuple[int, list[Sample]]]
    events: dict[str, int]


class _AtRest(msgspec.Struct, gc=False):
    """A line of a file, as the record it would be in Kafka."""

    value: bytes | None
    offset: int
    timestamp: int = 0
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Offline:
    """Applies lines of JSON, each with its `topic`, in the order given. `readers` read the lines of each topic."""

    def __init__(self, rules: Rules, readers: Mapping[str, Reader], *, at_ms: int | None = None) -> None:
        self._readers = readers
        self._partition = Partition(replace(rules, allowed_lateness_ms=None))
        self._at_ms = at_ms
        self.lines = 0  # given so far
        self._no_topic = 0

    def apply(self, lines: Iterable[bytes]) -> Iterator[Refused]:
        """Apply lines; yields those that can't be used, with their number (from 1) as offset."""
        rest = iter(lines)
        while chunk := list(islice(rest, _BATCH)):
            yield from self._apply_chunk(chunk)

    def _apply_chunk(self, lines: list[bytes]) -> Iterator[Refused]:
        topic, head = "", b"\0"
        records: list[_AtRest] = []
        for number, line in enumerate(lines, start=self.lines + 1):
            # Files of one topic begin each line alike: then the line is parsed once instead of twice.
            if line.startswith(head):
                records.append(_AtRest(line, number))
                continue
            if not line or line.isspace():
                continue
            record = _AtRest(line, number)
            try:
                its_topic = self._topic_of(line)
            except Rejected as rejection:
                self._no_topic += 1
                yield Refused(record, rejection.reason, str(rejection))
                continue
            if its_topic != topic:
                yield from self._apply_records(topic, records)
                topic, head, records = its_topic, b'{"topic":"%s",' % its_topic.encode(), []
            records.append(record)
        self.lines += len(lines)
        yield from self._apply_records(topic, records)
        newest_ms = max(self._partition.progress.newest_ms.values(), default=-1)
        self._partition.tick(newest_ms if self._at_ms is None else self._at_ms, behind=())

    def _apply_records(self, topic: str, records: list[_AtRest]) -> list[Refused]:
        if not records:
            return []
        limit_ms = _NEVER_TOO_LATE_MS if self._at_ms is None else self._at_ms
        batch = self._partition.read(topic, records, self._readers[topic], not_after_ms=limit_ms)
        return self._partition.apply(batch, NOTHING_STORED, moves_clock=self._at_ms is None)[0]

    def computed(self, *, days: int = 1) -> Computed:
        """The numbers now that all lines are applied, with the last `days` closed days."""
        partition = self._partition
        snapshot = partition.snapshot(closed_days=_NEVER_TOO_LATE_MS)
        events = {outcome: 0 for outcome in OUTCOMES if outcome != REKEYED}
        for counts in partition.progress.outcomes.values():
            for outcome, count in counts.items():
                events[outcome] += count
        events["invalid"] += self._no_topic
        closed = closed_days(snapshot, count=days)
        return Computed(
            at_ms=snapshot.now_ms,
            live=live_samples(snapshot, partition.rules),
            closed=[(day, closed_samples(snapshot, partition.rules, day)) for day in closed],
            events=events,
        )

    def _topic_of(self, line: bytes) -> str:
        try:
            topic = _line(line).topic
        except msgspec.ValidationError as error:
            raise Rejected(Reason.MISSING_FIELD, f"a line needs `$.topic`: {error}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Rejected(Reason.NOT_JSON, str(error)) from None
        if topic not in self._readers:
            raise Rejected(Reason.UNKNOWN_VALUE, f"{topic!r} at `$.topic` is none of {', '.join(self._readers)}")
        return topic
